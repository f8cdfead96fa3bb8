"""Promise: every element of an output is written, nothing beside it; inputs may lie any way.

Outputs start as NaN between canaries, inputs lie between NaN, and in a process of its own every
array ends or begins where the memory does. Then inputs that are strided, reversed, transposed,
byte-swapped, unaligned or read-only give what their contiguous copies give, and stay as they
are. Last, a call that fits allocates nothing, the workspace does not grow with the batch, and a
batch may be empty.
"""

import ctypes
import mmap
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp._kernels import dispatch

# (n, fan_in, fan_out) around vectors of 2 to 16 lanes, panels, tiles and the block of 256
SHAPES = [
    (1, 1, 1), (1, 2, 3), (2, 3, 1), (3, 1, 2), (5, 7, 9), (7, 15, 17), (13, 16, 31), (14, 33, 15),
    (15, 17, 33), (16, 8, 4), (17, 65, 3), (31, 3, 65), (64, 130, 129), (129, 64, 128),
    (255, 5, 2), (256, 2, 5), (257, 9, 12), (300, 129, 1), (4, 257, 63), (66, 67, 257),
]
CANARY, MARGIN = 0xA5, 256  # bytes


class Guarded:
    """Arrays of NaN between canaries; `check` asserts that they, and only they, were written."""

    def __init__(self, dtype):
        self.dtype, self.buffers = np.dtype(dtype), []

    def __call__(self, *shape):
        size = int(np.prod(shape)) * self.dtype.itemsize
        buffer = np.full(size + 2 * MARGIN, CANARY, np.uint8)
        array = buffer[MARGIN:MARGIN + size].view(self.dtype).reshape(shape)
        array[...] = np.nan
        self.buffers.append((buffer, array))
        return array

    def check(self, what):
        for buffer, array in self.buffers:
            assert not np.isnan(array).any(), f"{what}: not every element was written"
            assert np.all(buffer[:MARGIN] == CANARY), f"{what}: written before the array"
            assert np.all(buffer[-MARGIN:] == CANARY), f"{what}: written after the array"
        self.buffers.clear()


def between_nan(a):
    """A copy of `a` with NaN on both sides, which a read beside it would carry into the result."""
    buffer = np.full(a.size + 2 * MARGIN, np.nan, a.dtype)
    view = buffer[MARGIN:MARGIN + a.size].reshape(a.shape)
    view[...] = a
    return view


def arguments(n, fan_in, fan_out, dtype):
    """X, W in both layouts, b, delta, h, classes and weights, of moderate size and none NaN."""
    rng = np.random.default_rng(n + fan_in)
    shapes = {"X": (n, fan_in), "W": (fan_in, fan_out), "b": (fan_out,), "delta": (n, fan_out)}
    found = {name: rng.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}
    return found | {"h": abs(found["X"]), "W.T": np.ascontiguousarray(found["W"].T),
                    "class": rng.integers(0, fan_in, n).astype(dtype),
                    "weight": rng.uniform(0.5, 2, n).astype(dtype)}


def write_everything(a, empty, dtype, check=lambda what: None):
    """Every function that takes an output, on the arguments `a`; outputs come from `empty`."""
    (n, fan_in), fan_out = a["X"].shape, a["b"].size
    fastbp.sigmoid(a["X"], out=empty(n, fan_in))
    check("sigmoid")
    fastbp.sigmoid_backward(a["X"], a["h"], out=empty(n, fan_in))
    check("sigmoid_backward")
    fastbp.delta_step(a["delta"], a["W"], a["h"], out=empty(n, fan_in))
    check("delta_step")
    fastbp.delta_step(a["delta"][0], a["W"], a["h"][0], out=empty(fan_in))
    check("delta_step of one sample")
    dW, db = fastbp.weight_grad(a["X"], a["delta"])
    assert np.isfinite(dW).all() and np.isfinite(db).all()
    net = fastbp.MLP([fan_in, fan_out], dtype=dtype, seed=0)
    net.forward(a["X"], out=empty(n, fan_out))
    check("forward")
    net.logits(a["X"], out=empty(n, fan_out))
    check("logits")
    for layout, W in (("io", a["W"]), ("oi", a["W.T"])):
        layers = fastbp.Layers([fan_in, fan_out], ["sigmoid"], dtype=dtype, layout=layout)
        h = layers.forward([W], [a["b"]], a["X"])
        assert np.isfinite(h).all()
        layers.backward(a["delta"], [empty(*W.shape)], [empty(fan_out)], empty(n, fan_in))
        check(f"Layers.backward in layout {layout}")
    write_activations_and_losses(a, empty, dtype, check)
    y = (a["delta"] > 0).astype(dtype)
    net.grad[:] = np.nan
    net.backprop(a["X"], y, sample_weight=a["h"][:, 0].copy(), l2=0.5)
    assert np.isfinite(net.grad).all()
    return net, y


def write_activations_and_losses(a, empty, dtype, check):
    """The same for each of them; X is logits too."""
    (n, fan_in), fan_out = a["X"].shape, a["b"].size
    for activation in ("tanh", "relu", "identity"):
        layers = fastbp.Layers([fan_in, fan_out], [activation], dtype=dtype)
        assert np.isfinite(layers.forward([a["W"]], [a["b"]], a["X"])).all()
        layers.backward(a["delta"], [empty(fan_in, fan_out)], [empty(fan_out)], empty(n, fan_in))
        check(f"Layers.backward of {activation}")
        assert all(np.isfinite(x).all() for x in fastbp.activate(a["X"], activation))
    for loss, function in (("softmax", fastbp.softmax_with_logits),
                           ("squared_error", fastbp.squared_error),
                           ("poisson", fastbp.poisson_with_logits)):
        if fan_in == 1 and loss == "softmax":
            continue
        y = a["class"] if loss == "softmax" else a["h"]
        value, delta = function(a["X"], y, a["weight"])
        assert np.isfinite(value) and np.isfinite(delta).all(), f"{loss}: NaN from beside an input"
        net = fastbp.MLP([fan_in, fan_in], loss=loss, dtype=dtype, seed=0)
        net.forward(a["X"], out=empty(n, fan_in))
        check(f"forward under {loss}")
        net.grad[:] = np.nan
        net.backprop(a["X"], y, sample_weight=a["weight"])
        assert np.isfinite(net.grad).all()


def test_outputs_are_written_and_nothing_beside_them(isa, dtype):
    for shape in SHAPES:
        guarded = Guarded(dtype)
        a = {name: between_nan(x) for name, x in arguments(*shape, dtype).items()}
        copies = {name: x.copy() for name, x in a.items()}
        write_everything(a, guarded, dtype, guarded.check)
        for name, x in a.items():
            assert np.array_equal(x, copies[name]), f"{name} was written to"


def test_deep_networks_write_every_gradient(isa, dtype):
    for sizes in ((2, 8, 8, 1), (5, 17, 1, 33, 3), (64, 65, 1)):
        guarded, pairs = Guarded(dtype), list(zip(sizes, sizes[1:], strict=False))
        rng = np.random.default_rng(31)
        W = [rng.uniform(-1, 1, pair).astype(dtype) for pair in pairs]
        b = [rng.uniform(-1, 1, pair[1]).astype(dtype) for pair in pairs]
        layers = fastbp.Layers(sizes, ["sigmoid"] * len(pairs), dtype=dtype)
        for n in (1, 300, 2):  # a smaller batch after a larger one
            layers.forward(W, b, rng.uniform(-1, 1, (n, sizes[0])))
            layers.backward(rng.uniform(-1, 1, (n, sizes[-1])), [guarded(*p) for p in pairs],
                            [guarded(p[1]) for p in pairs], guarded(n, sizes[0]))
            guarded.check(f"{sizes}, {n} rows")


def test_in_place(isa, dtype):
    z = np.linspace(-5, 5, 77).astype(dtype)
    h, grad = fastbp.sigmoid(z), z[::-1].copy()
    expected = fastbp.sigmoid_backward(grad, h)
    assert fastbp.sigmoid_backward(grad, h, out=grad) is grad and np.array_equal(grad, expected)
    assert fastbp.sigmoid(z, out=z) is z and np.array_equal(z, h)


# ---- where the memory ends


def against_the_edge(a, at_end):
    """A copy of `a` whose last byte lies before, or whose first lies after, a forbidden page."""
    libc = ctypes.CDLL(None, use_errno=True)
    page, nbytes = mmap.PAGESIZE, max(a.nbytes, 1)
    room = -(-nbytes // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    for edge in (start, start + page + room):
        if libc.mprotect(ctypes.c_void_p(edge), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = page + (room - a.nbytes if at_end else 0)
    view = np.frombuffer(memory, a.dtype, a.size, offset).reshape(a.shape)
    view[...] = a
    return view


def work_at_the_edge():
    for isa in dispatch.available_isas():
        dispatch.set_isa(isa)
        for dtype in ("float32", "float64"):
            for shape in SHAPES:
                for at_end in (False, True):
                    print(isa, dtype, shape, "at the end" if at_end else "at the start", flush=True)

                    def place(x, at_end=at_end):
                        return against_the_edge(np.asarray(x), at_end)

                    def empty(*shape, dtype=dtype, place=place):
                        return place(np.empty(shape, dtype))

                    a = {k: place(x) for k, x in arguments(*shape, dtype).items()}
                    net, y = write_everything(a, empty, dtype)
                    X, y, w = a["X"], place(y), place(a["h"][:, 0])
                    net.backprop(X, y, sample_weight=w)
                    net.train_epoch(X, y, fastbp.Adam(), batch_size=3, order=place(
                        np.arange(len(X))[::-1]), sample_weight=w + 1)
                    fastbp.bce_with_logits(a["delta"], y, w)
                    params, grad = place(net.params), place(net.grad)
                    net.value_and_grad(params, X, y)
                    for opt in (fastbp.SGD(momentum=0.9), fastbp.Adam()):
                        opt.step(params, grad)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect")
def test_nothing_is_touched_beyond_the_end_of_memory():
    """Any access outside the arrays kills the process; its last line says where."""
    path = os.pathsep.join([str(Path(fastbp.__file__).parents[1]), str(Path(__file__).parent)])
    run = subprocess.run(
        [sys.executable, "-c", "import test_memory; test_memory.work_at_the_edge()"], text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": path}, cwd=Path(__file__).parent)
    assert run.returncode == 0, (run.returncode, run.stdout.splitlines()[-1:], run.stderr)


# ---- inputs that lie differently


def strided(a):
    wide = np.zeros(tuple(3 * s for s in a.shape), a.dtype)
    view = wide[tuple(slice(1, None, 3) for _ in a.shape)]
    view[...] = a
    return view


def reversed_(a):
    flip = tuple(slice(None, None, -1) for _ in a.shape)
    return a[flip].copy()[flip]


def unaligned(a):
    view = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert a.size == 0 or not view.flags.aligned
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


class Subclass(np.ndarray):
    pass


LAYOUTS = {
    "strided": strided, "reversed": reversed_, "Fortran": np.asfortranarray,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()), "unaligned": unaligned,
    "read-only": read_only, "subclass": lambda a: a.copy().view(Subclass),
    "list": np.ndarray.tolist,
}


def calls(dtype):
    """name -> (function of its arguments, those arguments), every public computation."""
    n, sizes = 37, (5, 6, 3)
    rng = np.random.default_rng(32)
    net = fastbp.MLP(sizes, dtype=dtype, seed=1)
    start = net.params.copy()
    X, z = rng.uniform(-1, 1, (n, 5)).astype(dtype), rng.uniform(-1, 1, (n, 3)).astype(dtype)
    y, w = rng.random((n, 3)).astype(dtype), rng.random(n).astype(dtype)
    W, h = net.weights[1].copy(), rng.random((n, 6)).astype(dtype)
    weights, biases = [a.copy() for a in net.weights], [a.copy() for a in net.biases]
    layers = fastbp.Layers(sizes, ["sigmoid"] * 2, dtype=dtype)

    def gradient(X, y, w):
        return net.backprop(X, y, sample_weight=w), net.grad.copy()

    def epoch(X, y, w, order):
        net.params[:] = start
        loss = net.train_epoch(X, y, fastbp.SGD(), order=order, sample_weight=w, batch_size=5)
        params, net.params[:] = net.params.copy(), start
        return loss, params

    def backprop(W1, W2, b1, b2, X, y, w):
        loss, dW, db = fastbp.backprop([W1, W2], [b1, b2], X, y, sample_weight=w)
        return loss, *dW, *db

    def recursion(W1, W2, b1, b2, X, grad):
        out = [np.empty_like(a) for a in (*weights, *biases, X)]
        out[4] = np.empty((n, 5), dtype)
        outputs = layers.forward([W1, W2], [b1, b2], X)
        layers.backward(grad, out[:2], out[2:4], out[4])
        return outputs, *out

    return {
        "sigmoid": (fastbp.sigmoid, [z]),
        "sigmoid_backward": (fastbp.sigmoid_backward, [h, h]),
        "delta_step": (fastbp.delta_step, [z, W, h]),
        "weight_grad": (fastbp.weight_grad, [h, z]),
        "bce_with_logits": (fastbp.bce_with_logits, [z, y, w]),
        "backprop": (backprop, [*weights, *biases, X, y, w]),
        "MLP.forward": (lambda X: (net.forward(X), net.logits(X)), [X]),
        "MLP.loss_value": (lambda X, y, w: net.loss_value(X, y, sample_weight=w), [X, y, w]),
        "MLP.backprop": (gradient, [X, y, w]),
        "MLP.value_and_grad": (net.value_and_grad, [start, X, y]),
        "MLP.objective": (lambda p, X, y: net.objective(X, y)(p), [start, X, y]),
        "MLP.train_epoch": (epoch, [X, y, w, np.arange(n)[::-1].copy()]),
        "Layers": (recursion, [*weights, *biases, X, z]),
    }


# A list of Python floats is float64: for the functions without a dtype of their own, another
# computation.
CALLS = [(call, layout) for call in calls("float32") for layout in LAYOUTS
         if layout != "list" or call.startswith(("MLP.", "Layers"))]


def flat(result):
    return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("call, layout", CALLS)
def test_inputs_in_any_layout(dtype, call, layout):
    function, args = calls(dtype)[call]
    expected = flat(function(*args))
    for i in range(len(args)):
        other = LAYOUTS[layout](args[i])
        before = np.array(other)
        found = flat(function(*args[:i], other, *args[i + 1:]))
        for a, b in zip(found, expected, strict=True):
            # parameters that come as a list are float64, and so is their gradient
            assert np.array_equal(a, b) and (layout == "list" or a.dtype == b.dtype)
        assert np.array_equal(np.array(other), before), f"argument {i} was written to"


def test_inputs_of_other_dtypes_are_converted_as_numpy_would(dtype):
    net = fastbp.MLP([3, 4, 1], dtype=dtype, seed=2)
    X, y = np.arange(30).reshape(10, 3) % 4 - 1, np.arange(10) % 2
    expected = net.backprop(X.astype(dtype), y.astype(dtype)), net.grad.copy()
    for kind in ("int8", "int64", "uint16", "float16", "float32", "float64", "longdouble"):
        other = X.clip(0).astype(kind) if kind == "uint16" else X.astype(kind)
        reference = net.backprop(other.astype(dtype), y.astype(dtype)), net.grad.copy()
        found = net.backprop(other, y.astype(bool)), net.grad.copy()
        assert found[0] == reference[0] and np.array_equal(found[1], reference[1])
        assert kind == "uint16" or np.array_equal(found[1], expected[1])


# ---- the workspace, and no samples


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sizes", [(3, 1), (30, 64, 64, 1), (300, 7, 130, 3)])
def test_workspace_does_not_grow_with_the_batch(isa, dtype, sizes, threads):
    def batch(n):
        rng = np.random.default_rng(n)
        return rng.uniform(-1, 1, (n, sizes[0])), rng.random((n, sizes[-1])).round()

    net = fastbp.MLP(sizes, dtype=dtype, seed=0, n_threads=threads)
    held = []
    for n in (1, 7, 64, 256 * threads):
        net.backprop(*batch(n))
        held.append(net.workspace_bytes)
    assert held == sorted(held)
    for n in (257, 1000, 5000, 3):
        net.backprop(*batch(n))
        net.value_and_grad(net.params, *batch(n))
        net.train_epoch(*batch(n), fastbp.SGD(), batch_size=n)
        net.forward(batch(n)[0])
        assert net.workspace_bytes == held[-1]
    # For each thread h, σ′ and δ of 256 rows, the losses, and panels of at most 256 terms: those
    # of A (256, K), those of B (K, N), padded to vectors of 64 bytes and at least four of them wide
    item, block = np.dtype(dtype).itemsize, 256
    widest = max(sizes) + 64 // item * 4
    assert held[-1] <= threads * (item * block * (3 * sum(sizes[1:]) + sizes[-1] + widest + block)
                                  + 64 * 4 * len(sizes))


# Counts what a process asks its allocator for; the tests are where a compiler is.
COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
static long calls;
long allocations(void) { return calls; }
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
void *malloc(size_t n) { calls++; return __libc_malloc(n); }
void *calloc(size_t n, size_t size) { calls++; return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { calls++; return __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { calls++; return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    calls++;
    return (*p = __libc_memalign(a, n)) ? 0 : 12;
}
"""
COUNTED = """
import ctypes, sys
import numpy as np
import fastbp
allocations = ctypes.CDLL(sys.argv[1]).allocations
allocations.restype = ctypes.c_long
dtype, threads = sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(0)
X, y = rng.uniform(-1, 1, (1000, 20)).astype(dtype), rng.integers(0, 2, (1000, 1)).astype(dtype)
w, order = rng.random(1000).astype(dtype), np.arange(1000)
net = fastbp.MLP((20, 300, 64, 1), dtype=dtype, seed=0, n_threads=threads)
adam = fastbp.Adam()
calls = {
    "nothing": lambda: None,
    "backprop": lambda: net.backprop(X, y),
    "fewer rows": lambda: net.backprop(X[:100], y[:100]),
    "weighted mean": lambda: net.backprop(X, y, sample_weight=w, reduction="mean", l2=0.1),
    "epoch": lambda: net.train_epoch(X, y, adam, batch_size=50, shuffle=False, l2=0.1),
    "step": lambda: adam.step(net.params, net.grad),
    "another array": lambda: np.empty(300000, dtype),
    "shuffled epoch": lambda: net.train_epoch(X, y, adam, batch_size=50, rng=0),
    "shuffled epoch of ten times the steps": lambda: net.train_epoch(X, y, adam, batch_size=5,
                                                                     rng=0),
    "value_and_grad": lambda: net.value_and_grad(net.params, X, y),
}
for name, call in calls.items():
    for _ in range(5):
        call()
    before = allocations()
    for _ in range(10):
        call()
    print(name, allocations() - before, sep=":")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="counts through glibc's malloc")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_call_that_fits_allocates_nothing(dtype, threads, tmp_path):
    """The epoch's shuffled order and gathered rows are allocated once, the new gradient too."""
    (tmp_path / "counter.c").write_text(COUNTER)
    library = str(tmp_path / "counter.so")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, tmp_path / "counter.c"],
                   check=True)
    run = subprocess.run([sys.executable, "-c", COUNTED, library, dtype, threads], text=True,
                         env={**os.environ, "LD_PRELOAD": library}, capture_output=True)
    assert run.returncode == 0, run.stderr
    counts = {name: int(count) for name, count in (line.split(":") for line
                                                   in run.stdout.splitlines())}
    assert counts.pop("another array") == 10        # what the counter sees of ten arrays
    ten_epochs = counts.pop("shuffled epoch")
    assert counts.pop("shuffled epoch of ten times the steps") == ten_epochs
    assert counts.pop("value_and_grad") == 10
    assert not any(counts.values()), counts


PEAK = """
import sys
import numpy as np
import fastbp
dtype, call = sys.argv[1:]
X, y = np.ones((10**6, 8), dtype), np.ones((10**6, 1), dtype)
net = fastbp.MLP((8, 64, 64, 1), dtype=dtype, seed=0, n_threads=1)
def peak():
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
net.backprop(X[:10], y[:10])
net.forward(X[:10])
before = peak()                 # X and y are there, and ones() had nothing beside them
net.backprop(X, y) if call == "backprop" else net.loss_value(X, y)
print(peak() - before, net.workspace_bytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak in /proc")
@pytest.mark.parametrize("call", ["backprop", "loss_value"])
def test_peak_of_a_million_rows(dtype, call):
    """The workspace, which is that of 256 rows, and pages: the layers of 10^6 rows are a GB."""
    run = subprocess.run([sys.executable, "-c", PEAK, dtype, call], text=True, capture_output=True)
    assert run.returncode == 0, run.stderr
    grown, workspace = map(int, run.stdout.split())
    of_256_rows = fastbp.MLP((8, 64, 64, 1), dtype=dtype, n_threads=1)
    of_256_rows.backprop(np.ones((256, 8)), np.ones(256))
    pages = 1 << 18     # of code and stack that were not touched before
    assert grown <= of_256_rows.workspace_bytes + pages
    assert call != "backprop" or workspace == of_256_rows.workspace_bytes


def test_no_samples(isa, dtype):
    net = fastbp.MLP([3, 4, 2], dtype=dtype, seed=0)
    X, y = np.empty((0, 3), dtype), np.empty((0, 2), dtype)
    assert net.forward(X).shape == net.logits(X, out=np.empty((0, 2), dtype)).shape == (0, 2)
    assert net.loss_value(X, y) == 0
    loss, grad = net.value_and_grad(net.params, X, y)
    assert loss == 0 and not grad.any()
    loss, dW, db = fastbp.backprop(net.weights, net.biases, X, y)
    assert loss == 0 and not any(g.any() for g in (*dW, *db))
    assert fastbp.sigmoid(np.empty((0, 4), dtype)).shape == (0, 4)
    assert fastbp.sigmoid_backward(X, X).shape == (0, 3)
    loss, delta = fastbp.bce_with_logits(y, y, np.empty(0, dtype))
    assert loss == 0 and delta.shape == (0, 2)
    for call in (net.backprop, net.loss_value):
        with pytest.raises(ValueError, match="no samples"):
            call(X, y, reduction="mean")
    with pytest.raises(ValueError, match="no samples"):
        net.train_epoch(X, y, fastbp.SGD())
