"""Promise: a call whose memory is refused raises MemoryError, and all is as it was before.

Each request that fastbp's compiled code makes, for memory, an object or an array, is refused once:
the first, the second, ..., until a call has no more. Then a call that fits allocates nothing.
"""

import platform
import sysconfig

import numpy as np
import pytest
from allocator import Allocator, in_process
from c_api import Plan, problem
from every_call import arguments, calls, one_of_each

import fastbp
from fastbp._engine import team
from fastbp._optimizer import Optimizer

needs_malloc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="the allocator calls glibc's; without a GIL Python's objects do not come from it")
SIZES, N_SAMPLES = (16, 32, 8), 64
ATTEMPTS = 10


def bits(value):
    """What a call returns or changes, comparable."""
    if isinstance(value, Optimizer):
        return bits([*value.state_dict().values()])
    if isinstance(value, (tuple, list)):
        return [bits(v) for v in value]
    return None if value is None else np.asarray(value).tobytes()


class Attempts:
    """Calls that are refused something."""

    def __init__(self, dtype):
        self.dtype, self.allocator = dtype, Allocator()

    def __call__(self, call, after):
        """Whether request number `after` was made and refused; all that is promised is asserted."""
        outputs = call.arrays(np.zeros, self.dtype)
        run, held = call.prepare(**outputs)
        held = [*held, *outputs.values()]
        before = bits(held)
        team._leave()                          # so that the call has to start its threads
        result, error, refused = self.allocator.refusing(run, after)
        if error is not None:
            assert isinstance(error, MemoryError) and refused, (call.name, after, error)
            assert bits(held) == before, f"{call.name}: changed, and failed at request {after}"
            result = run()
        return refused, bits([result, held])

    def all_of(self, call):
        """Refuse every request of a call in turn."""
        self(call, 10**6)                       # imports and caches
        _, expected = self(call, 10**6)
        after, refused = 0, True
        while refused:
            refused, found = self(call, after)
            assert found == expected, f"{call.name}: other bits, refused request {after}"
            if refused:
                self.does_not_leak(call, after)
            after += refused
        return after

    def does_not_leak(self, call, after):
        """A leak is a block at every attempt."""
        held = np.zeros(ATTEMPTS, int)
        for i in range(ATTEMPTS):
            self(call, after)
            held[i] = self.allocator.settled_blocks()
            if i and held[i] <= held[i - 1]:
                return
        raise AssertionError(f"{call.name}: holds {held} blocks, refused request {after}")


def refuse(dtype, n_threads, which):
    a = arguments(N_SAMPLES, SIZES, dtype)
    attempts = Attempts(dtype)
    found = list(calls(a, SIZES, dtype, int(n_threads)))
    if which != "all":
        found = one_of_each(found)
    if which == "every other":      # in float32 alone, or in float64 with threads
        found = found[dtype == "float64"::2]
    for call in found:
        print(call.name, flush=True)
        print(attempts.all_of(call), flush=True)


@needs_malloc
@pytest.mark.parametrize("which", [
    "every other", *(pytest.param(which, marks=pytest.mark.exhaustive)
                     for which in ("one of each", "all"))])
@pytest.mark.parametrize("dtype, n_threads", [("float32", "1"), ("float64", "3")])
def test_refused_memory(dtype, n_threads, which, tmp_path):
    lines = in_process(tmp_path, refuse, dtype, n_threads, which)
    needless = {name.rpartition(": ")[2]
                for name, requests in zip(lines[::2], lines[1::2], strict=True) if requests == "0"}
    assert needless <= {"forward", "logits", "sigmoid", "sigmoid_backward", "delta_step",
                        "delta_step of one sample"}     # into arrays given


def refuse_growth():
    """Memory that calls borrow: each of these calls needs more than those before."""
    allocator = Allocator()
    rng = np.random.default_rng(0)
    X, y, wide = rng.random((250, 30)), rng.random((250, 20)), rng.random((250, 1000))
    net = fastbp.MLP((30, 40, 20), dtype="float64", seed=0, n_threads=1)
    fastbp.backprop(net.weights, net.biases, X[:1], y[:1])      # now its layers are there,
    weight_grad = fastbp.weight_grad                            # and the module of this
    for call in (lambda: net.forward(X[:20]), lambda: net.forward(X[:80]),
                 lambda: net.loss_value(X, y),
                 lambda: flat(fastbp.backprop(net.weights, net.biases, X, y)),
                 lambda: flat(weight_grad(wide, wide))):
        after, refused, messages = 0, True, []
        while refused:
            result, error, refused = allocator.refusing(call, after)
            assert error is None or isinstance(error, MemoryError)
            messages += [str(error)] * (error is not None)
            after += 1
        assert bits(result) == bits(call())
        print(sum("the workspace needs" in message for message in messages))


def flat(results):
    return [array for result in results
            for array in (result if isinstance(result, list) else [result])]


@needs_malloc
def test_refused_growth_of_borrowed_memory(tmp_path):
    """It is refused once, and had the next time."""
    assert in_process(tmp_path, refuse_growth) == ["1"] * 5


# ---- what a call that fits allocates


def count(dtype, n_threads):
    """Requests to the allocator by ten calls of each kind, small objects aside."""
    allocations = Allocator().allocations
    fastbp.set_num_threads(int(n_threads))
    rng = np.random.default_rng(0)
    n = 600
    X, y = rng.uniform(-1, 1, (n, 20)).astype(dtype), rng.integers(0, 2, (n, 1)).astype(dtype)
    w = rng.random(n).astype(dtype)
    net = fastbp.MLP((20, 300, 64, 1), dtype=dtype, seed=0, n_threads=int(n_threads))
    layers = fastbp.Layers(net.layer_sizes, ["tanh"] * 3, dtype=dtype, n_threads=int(n_threads))
    adam, h, z = fastbp.Adam(), *(rng.random((n, k)).astype(dtype) for k in (300, 64))
    out, like_h = np.empty((n, 1), dtype), np.empty((n, 300), dtype)

    params = [array for pair in zip(net.weights, net.biases, strict=True) for array in pair]
    grads = [np.empty_like(param) for param in params]
    plan = Plan(problem(net.layer_sizes, dtype, rows=n, threads=int(n_threads)))

    def epoch(**options):
        return lambda: net.train_epoch(X, y, adam, **options)

    for name, call in {
        "nothing": lambda: None,
        "backprop": lambda: net.backprop(X, y),
        "fewer rows": lambda: net.backprop(X[:100], y[:100]),
        "clipped epoch": epoch(max_grad_norm=0.5, shuffle=False),
        "weighted mean": lambda: net.backprop(X, y, sample_weight=w, reduction="mean", l2=0.1),
        "gradient of a plan": lambda: plan.gradient(grads, params, X, y, w),
        "forward of a plan": lambda: plan.outputs("forward", out, params, X),
        "epoch": epoch(batch_size=50, shuffle=False, l2=0.1),
        "step": lambda: adam.step(net.params, net.grad),
        "forward": lambda: net.forward(X, out=out),
        "forward of one row": lambda: net.forward(X[:1], out=out[:1]),
        "logits": lambda: net.logits(X, out=out),
        "loss_value": lambda: net.loss_value(X, y, sample_weight=w),
        "sigmoid": lambda: fastbp.sigmoid(h, out=like_h),
        "sigmoid_backward": lambda: fastbp.sigmoid_backward(h, h, out=like_h),
        "delta_step": lambda: fastbp.delta_step(z, net.weights[1], h, out=like_h),
        "another array": lambda: np.empty(300000, dtype),
        "shuffled epoch": epoch(batch_size=50, rng=0),
        "shuffled epoch of ten times the steps": epoch(batch_size=5, rng=0),
        "value_and_grad": lambda: net.value_and_grad(net.params, X, y),
        "forward to a new array": lambda: net.forward(X),
        "forward of layers": lambda: layers.forward(net.weights, net.biases, X, keep=False),
        "weight_grad": lambda: fastbp.weight_grad(h, z),
        "bce": lambda: fastbp.bce_with_logits(out[:, 0], y[:, 0]),
        "arrays of backprop": lambda: [np.empty_like(a) for a in (*net.weights, *net.biases)],
        "backprop of arrays": lambda: fastbp.backprop(net.weights, net.biases, X, y),
    }.items():
        for _ in range(5):
            call()
        before = allocations()
        for _ in range(10):
            call()
        print(name, allocations() - before, sep=":")


@needs_malloc
@pytest.mark.parametrize("dtype, n_threads", [
    ("float32", "1"), ("float64", "3"),
    *(pytest.param(*case, marks=pytest.mark.exhaustive)
      for case in (("float32", "3"), ("float64", "1")))])
def test_a_call_that_fits_allocates_nothing(dtype, n_threads, tmp_path):
    """The epoch's shuffled order and gathered rows are allocated once, the new gradient too."""
    lines = in_process(tmp_path, count, dtype, n_threads,
                       objects="pymalloc")
    counts = {name: int(number) for name, number in (line.split(":") for line in lines)}
    assert counts.pop("another array") == 10        # what the counter sees of ten arrays
    ten_epochs = counts.pop("shuffled epoch")
    assert counts.pop("shuffled epoch of ten times the steps") == ten_epochs
    for name in ("value_and_grad", "forward to a new array", "forward of layers"):
        assert counts.pop(name) == 10
    assert counts.pop("weight_grad") == counts.pop("bce") == 20     # dW and db, delta and losses
    assert counts.pop("backprop of arrays") == counts.pop("arrays of backprop")
    assert not any(counts.values()), counts
