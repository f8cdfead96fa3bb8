"""Promise: inputs may lie any way, and the memory of a pass does not grow with the batch.

Inputs that are strided, reversed, transposed, byte-swapped, unaligned or read-only give what their
contiguous copies give, and stay as they are. A batch may be empty. What lies beside an array is
test_guards.py's, memory that cannot be had test_allocation.py's.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from all_pairs import all_pairs

import fastbp


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
        "MLP.input_grad": (lambda X, y, w: net.input_grad(X, y, sample_weight=w), [X, y, w]),
        "MLP.jacobian": (lambda X: (net.jacobian(X), net.jacobian(X, wrt="input")), [X]),
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


@all_pairs("isa", "dtype", sizes=[(3, 1), (30, 64, 64, 1), (300, 7, 130, 3)], threads=[1, 3])
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
@pytest.mark.parametrize("dtype, call", [
    ("float32", "backprop"), ("float64", "loss_value"),
    *(pytest.param(*case, marks=pytest.mark.exhaustive)
      for case in (("float32", "loss_value"), ("float64", "backprop")))])
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
