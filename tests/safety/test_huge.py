"""Promise: arrays beyond 2³¹ elements give right results, sizes that overflow an error at once.

Arrays of zeros are mapped lazily: what is only read takes no memory. Results are small integers, so
exact, or those of the rows that are not zero, to the bit. What writes gigabytes is exhaustive.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from places import PYTHONPATH

import fastbp
from fastbp import MLP, SGD, Adam, Layers
from fastbp._kernels import dispatch

ROWS, COLUMNS = 2**16, 2**15 + 1  # their product is beyond 2^31
LONG = 2**31 + 5


@pytest.fixture(params=[dispatch.available_isas()[0],
                        *(pytest.param(isa, marks=pytest.mark.exhaustive)
                          for isa in dispatch.available_isas()[1:])])
def variant(request):
    """The fastest by default, for some 10^9 multiply-adds; the others take minutes."""
    before = dispatch.get_isa()
    dispatch.set_isa(request.param)
    yield
    dispatch.set_isa(before)


def zeros_but(shape, value):
    """Zeros with `value` at the end."""
    a = np.zeros(shape, "f")
    a.flat[-1] = value
    return a


def zeros_but_last(a, last):
    """Whether that is so, asked in pieces."""
    flat = a.reshape(-1)
    return flat[-1] == last and not any(
        flat[at:min(at + 2**24, flat.size - 1)].any() for at in range(0, flat.size - 1, 2**24))


# ---- arrays beyond 2^31 elements


@pytest.mark.parametrize("layout", ["io", "oi"])
def test_weights(variant, layout):
    """z = 2 * 3 + 1 and dL/dx = 5 * 3 of the last unit; all others are 0."""
    W = zeros_but((ROWS, COLUMNS) if layout == "io" else (COLUMNS, ROWS), 3)
    layers = Layers([ROWS, COLUMNS], ["identity"], layout=layout)
    h = layers.forward([W], [zeros_but(COLUMNS, 1)], zeros_but((1, ROWS), 2))
    assert zeros_but_last(h, 7)
    dX = np.empty((1, ROWS), "f")
    layers.backward(zeros_but((1, COLUMNS), 5), None, None, dX)
    assert zeros_but_last(dX, 15)


def test_samples_of_many_features(variant):
    """The last of them counts: the bits of that row alone."""
    X = np.zeros((ROWS + 1, COLUMNS - 1), "f")
    X[-1] = np.arange(X.shape[1]) % 3
    y = zeros_but(ROWS + 1, 1)
    net = MLP([COLUMNS - 1, 1], loss="squared_error", seed=0)
    alone = net.backprop(X[-1:], y[-1:]), net.grad.copy()
    assert net.backprop(X, y) == alone[0] and np.array_equal(net.grad, alone[1])
    assert zeros_but_last(net.forward(X), net.forward(X[-1:])[0, 0])


def test_an_order_of_samples_of_many_features(variant):
    """One step is made, from 0 by the last row alone, with delta = -1."""
    X = np.zeros((ROWS + 1, COLUMNS - 1), "f")
    X[-1] = np.arange(X.shape[1]) % 3
    net = MLP([COLUMNS - 1, 1], loss="squared_error", seed=0)
    net.params[:] = 0
    loss = net.train_epoch(X, zeros_but(ROWS + 1, 1), SGD(0.5), batch_size=256,
                           order=zeros_but(ROWS + 1, ROWS).astype(int))
    assert loss == 0.5 / (ROWS + 1)
    assert np.array_equal(net.params, 0.5 * np.append(X[-1], 1))


@pytest.mark.exhaustive
def test_many_samples(variant):
    """One feature: z = 2 x, and only the last x is not zero."""
    X, y = zeros_but((LONG, 1), 3), zeros_but(LONG, 1)
    net = MLP([1, 1], loss="squared_error", seed=0, n_threads=2)
    net.params[:] = 2, 0
    assert net.loss_value(X, y) == 12.5
    assert net.backprop(X, y) == 12.5 and net.grad.tolist() == [15, 5]
    assert zeros_but_last(net.forward(X), 6)
    net.train_epoch(X, y, SGD(0.5), shuffle=False, batch_size=2**30)
    assert net.params.tolist() == [2 - 0.5 * 15 / 5, -0.5 * 5 / 5]   # of the last five samples


@pytest.mark.exhaustive
def test_gradients_of_weights(variant):
    dW, db = fastbp.weight_grad(zeros_but((1, ROWS), 2), zeros_but((1, COLUMNS), 3))
    assert zeros_but_last(dW, 6) and zeros_but_last(db, 3)


@pytest.mark.exhaustive
def test_elementwise(variant):
    h = fastbp.sigmoid(zeros_but(LONG, 100))
    assert h[-1] == 1
    h -= 0.5
    assert zeros_but_last(h, 0.5)
    grad = zeros_but(LONG, 4)
    assert fastbp.sigmoid_backward(grad, h, out=grad) is grad and zeros_but_last(grad, 1)


@pytest.mark.exhaustive
def test_steps(variant):
    params = np.zeros(LONG, "f")
    SGD(0.5).step(params, zeros_but(LONG, 4))
    assert zeros_but_last(params, -2)


# ---- sizes that overflow, or that no memory has


def empty(*shape):
    return np.empty(shape, "f")


def same(value, *shape, dtype="f"):
    """An array of one value that takes no memory."""
    return np.broadcast_to(np.dtype(dtype).type(value), shape)


def refused():
    """name -> a call that no machine can carry out."""
    net, X, y = MLP([2, 1], seed=0), np.ones((3, 2), "f"), np.ones(3, "f")
    many, layers, adam = 2**60, Layers([2, 1], ["relu"]), Adam()
    adam.step(np.ones(3), np.ones(3))
    out = np.ones((3, 1), "f")
    return {
        "sizes": lambda: MLP([2**31, 2**31]),
        "sizes that fit 64 bits": lambda: MLP([2**30, 2**29]),
        "sizes and another generator": lambda: MLP([2**30, 2**29], seed=np.random.MT19937(0)),
        "sizes and a weight for each output": lambda: MLP([10**8, 10**9], pos_weight=2.0),
        "layer_sizes": lambda: Layers([2**31, 2**31], ["relu"]),
        "X": lambda: net.forward(same(1, many, 2), out=out),
        "X of bytes": lambda: net.forward(same(1, many, 2, dtype="i1"), out=out),
        "X without columns": lambda: net.forward(empty(many, 0), out=out),
        "y": lambda: net.backprop(X, same(1, many)),
        "sample_weight": lambda: net.backprop(X, y, sample_weight=same(1, many)),
        "order": lambda: net.train_epoch(X, y, SGD(), order=same(0, many, dtype="i1")),
        "batch_losses": lambda: net.train_epoch(X, y, SGD(), batch_losses=same(0, many, 2)),
        "params": lambda: net.value_and_grad(same(0, many), X, y),
        "weights": lambda: layers.forward([same(0, many, 1)], [empty(1)], X),
        "X of layers": lambda: layers.forward([empty(2, 1)], [empty(1)], same(0, many, 2)),
        "vectors of a state": lambda: adam.load_state_dict(
            {**adam.state_dict(), "m": same(0, 2**55), "v": same(0, 2**55)}),
        "sigmoid": lambda: fastbp.sigmoid(same(0, many), out=out),
        "sigmoid of bools": lambda: fastbp.sigmoid(same(True, 2**62, dtype="?"), out=out),
        "delta_step": lambda: fastbp.delta_step(same(0, many), empty(0, many), empty(0)),
        "weight_grad": lambda: fastbp.weight_grad(empty(0, many), empty(0, 1)),
        "weight_grad of both": lambda: fastbp.weight_grad(empty(0, 2**25), empty(0, 2**25)),
        "weight_grad that overflows": lambda: fastbp.weight_grad(empty(0, 2**40), empty(0, 2**40)),
    }, (net.params, net.grad, out, *adam.state_dict().values())


def computed():
    """name -> a call with axes that are as long, and nothing to do; and what it returns."""
    many, X, y = 2**60, np.ones((3, 2), "f"), np.ones(3, "f")
    return {
        "sigmoid": (lambda: fastbp.sigmoid(empty(many, 0)).shape, (many, 0)),
        "activate": (lambda: fastbp.activate(empty(many, 0))[1].shape, (many, 0)),
        "no columns": (lambda: fastbp.weight_grad(empty(0, many), empty(0, 0))[0].shape, (many, 0)),
        "no rows": (lambda: fastbp.weight_grad(empty(many, 0), empty(many, 0))[0].shape, (0, 0)),
        "no units": (lambda: fastbp.delta_step(empty(many, 0), empty(0, 0), empty(many, 0)).shape,
                     (many, 0)),
        "no samples": (lambda: fastbp.delta_step(empty(0, 0), empty(many, 0), empty(0, many)).shape,
                       (0, many)),
        "nothing": (lambda: fastbp.delta_step(empty(0, many), empty(0, many), empty(0, 0)).shape,
                    (0, 0)),
        "bce": (lambda: fastbp.bce_with_logits(empty(many, 0), empty(many, 0))[0], 0),
        "softmax": (lambda: fastbp.softmax_with_logits(empty(0, many), empty(0))[0], 0),
        "squared_error": (lambda: fastbp.squared_error(empty(many, 0), empty(many, 0))[0], 0),
        "poisson": (lambda: fastbp.poisson_with_logits(empty(many, 0), empty(many, 0))[0], 0),
        "batch_size": (lambda: MLP([2, 1], seed=0).train_epoch(X, y, SGD(), batch_size=2**200) > 0,
                       True),
        "layer_sizes": (lambda: Layers([2**59, 1], ["relu"]).workspace_bytes, 0),
    }


def overflow():
    """In 4 GiB more than there are now, which what is tried would exceed at once."""
    import resource
    calls, held = refused()
    before = [np.copy(x) for x in held]
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**32, resource.RLIM_INFINITY))
    for name, call in calls.items():
        print(name, flush=True)
        with pytest.raises((ValueError, MemoryError)):
            call()
        assert all(map(np.array_equal, held, before)), name
    for name, (call, expected) in computed().items():
        print(name, flush=True)
        assert call() == expected, name


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_sizes_that_overflow():
    run = subprocess.run([sys.executable, "-c", f"from {__name__} import overflow; overflow()"],
                         text=True, capture_output=True, timeout=120,
                         env={**os.environ, "PYTHONPATH": PYTHONPATH})
    assert run.returncode == 0, (run.returncode, run.stdout.splitlines()[-1:], run.stderr)
