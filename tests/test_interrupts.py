"""Promise: Ctrl-C ends a long call within 0.1 s, however large its arrays and wide its layers are.

Passes over many samples are in test_concurrency.py. Here each single product, or sweep over an
array, takes longer than that; whoever called goes on afterwards and gets the same bits.
"""

import numpy as np
import pytest
from calling import interrupted, takes_signals

import fastbp

pytestmark = takes_signals
WIDE = 8192
ONE_CALL = 100_000_000


def forever(call):
    while True:
        call()


@pytest.mark.parametrize("name", ["sigmoid", "sigmoid_backward", "activate"])
def test_a_sweep_over_an_array(name):
    z = np.zeros(ONE_CALL, "f")
    out = np.empty_like(z)
    call = {"sigmoid": lambda: fastbp.sigmoid(z, out=out),
            "sigmoid_backward": lambda: fastbp.sigmoid_backward(z, z, out=out),
            "activate": lambda: fastbp.activate(z, "tanh")}[name]
    with interrupted(0.1):
        forever(call)
    assert (fastbp.sigmoid(z[:9]) == 0.5).all()


@pytest.mark.parametrize("name", ["delta_step", "weight_grad"])
def test_one_product(name):
    square = np.ones((WIDE, WIDE // 4), "f")
    rows = np.ones((1024, WIDE // 4), "f")
    call = {"delta_step": lambda: fastbp.delta_step(rows, square, np.ones((1024, WIDE), "f")),
            "weight_grad": lambda: fastbp.weight_grad(square, square)}[name]
    with interrupted(0.2):
        forever(call)


@pytest.mark.parametrize("method", ["backprop", "error_bound"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_wide_layer(n_threads, method):
    net = fastbp.MLP([WIDE, WIDE // 2, 1], seed=0, n_threads=n_threads)
    X, y = np.ones((512, WIDE), "f"), np.ones(512, "f")
    few = net.backprop(X[:3], y[:3])
    before = net.params.copy()
    with interrupted(0.1, n_threads=n_threads):
        forever(lambda: getattr(net, method)(X, y))
    np.testing.assert_array_equal(net.params, before)
    assert net.backprop(X[:3], y[:3]) == few
