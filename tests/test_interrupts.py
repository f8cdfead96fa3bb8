"""Promise: Ctrl-C ends a long call within 0.1 s, with large arrays and layers of 32768 units, too.

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


def test_a_shuffle():
    """Its order is the one that a shuffle of all draws at once would give: test_bits_of_calls.py"""
    net, optimizer = fastbp.MLP([1, 1], seed=0), fastbp.SGD()
    X, y = np.ones((20_000_000, 1), "f"), np.zeros(20_000_000, "f")
    before = net.params.copy()
    with interrupted(0.3):
        net.train_epoch(X, y, optimizer, batch_size=len(X))
    np.testing.assert_array_equal(net.params, before)


def test_initial_weights():
    with interrupted(0.3):
        fastbp.MLP([WIDE, 4 * WIDE], seed=0)


WIDEST = 1 << 15


@pytest.mark.parametrize("method", ["backprop", "error_bound", "loss_value", "train_epoch"])
@pytest.mark.parametrize("sizes", [(WIDEST, 64, 1), (64, WIDEST, 1), (1, WIDEST)])
def test_one_layer_of_very_many_units(sizes, method):
    """64 columns of 256 rows would take too long: the rows are taken some after the others."""
    net = fastbp.MLP(sizes, seed=0, n_threads=1)
    X, y = np.ones((256, sizes[0]), "f"), np.ones((256, sizes[-1]), "f")
    if method == "train_epoch":
        def call():
            net.train_epoch(X, y, fastbp.SGD(1e-9), batch_size=len(X))
    else:
        def call():
            getattr(net, method)(X, y)
    with interrupted(0.4):
        forever(call)


@pytest.mark.parametrize("method", ["backprop", "error_bound"])
@pytest.mark.parametrize("sizes", [(4 * WIDEST, 8, 1), (8, 4 * WIDEST, 1)])
def test_rows_in_turn_give_the_same_bits(sizes, method):
    """One thread has other groups of the 100 rows than each of two of its 50."""
    X = np.random.default_rng(0).standard_normal((100, sizes[0]), "f")
    found = []
    for n_threads in (1, 2):
        net = fastbp.MLP(sizes, seed=0, n_threads=n_threads)
        bound = getattr(net, method)(X, np.ones(100, "f"))
        found.append((net.logits(X), net.grad if method == "backprop" else bound))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["delta_step", "weight_grad"])
def test_one_product_of_very_many_units(name):
    wide, rows = np.ones((64, WIDEST), "f"), np.ones((256, WIDEST), "f")
    call = {"delta_step": lambda: fastbp.delta_step(rows, wide, np.ones((256, 64), "f")),
            "weight_grad": lambda: fastbp.weight_grad(np.ones((256, 64), "f"), rows)}[name]
    with interrupted(0.2):
        forever(call)
