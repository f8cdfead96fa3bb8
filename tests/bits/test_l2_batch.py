"""Promise L2: a sample's z, h, δ and ∂L/∂X have the same bits whatever else is in the batch, and
wherever in it the sample stands; its terms pass unchanged through a gradient.
"""

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import (
    EVERY_KIND,
    layers_of,
    name_of,
    network,
    network_of,
    numbers,
    recursion,
    same_bits,
    sample_weights,
)

import fastbp
from fastbp import _random

CRITERIA = {"bce": fastbp.bce_with_logits, "softmax": fastbp.softmax_with_logits,
            "squared_error": fastbp.squared_error, "poisson": fastbp.poisson_with_logits}


@pytest.mark.parametrize("sizes", [(2, 8, 8, 1), (64, 1), (257, 33, 5), (30, 64, 129, 17)])
def test_outputs_of_a_sample(isa, dtype, sizes):
    net, X, _ = network(sizes, 600, dtype)
    z, h = net.logits(X), net.forward(X)
    order = _random.permutation(600, _random.raw_bits(1, 599))
    assert same_bits(net.logits(X[order]), z[order])
    assert same_bits(net.forward(X[order]), h[order])
    for size in (1, 2, 3, 7, 13, 14, 255, 256, 257, 599):
        for start in (0, 1, 598) if size == 1 else range(0, 600, size):
            part = slice(start, start + size)
            assert same_bits(net.logits(X[part]), z[part])
            assert same_bits(net.forward(X[part]), h[part])


@pytest.mark.parametrize("here, above", [(1, 1), (8, 1), (33, 17), (129, 300), (16, 257)])
def test_delta_of_a_sample(isa, dtype, here, above):
    source, n = np.random.PCG64(here), 300
    delta, W = numbers(source, (n, above), dtype, 0), numbers(source, (here, above), dtype, 0)
    h = np.abs(numbers(source, (n, here), dtype, 0))
    whole = fastbp.delta_step(delta, W, h)
    order = _random.permutation(n, _random.raw_bits(2, n - 1))
    assert same_bits(fastbp.delta_step(delta[order], W, h[order]), whole[order])
    for size in (1, 2, 3, 5, 6, 13, 14, 16, 255, 256, 257):
        for start in range(0, n, max(size, 20)):
            part = slice(start, start + size)
            assert same_bits(fastbp.delta_step(delta[part], W, h[part]), whole[part])
    assert same_bits(fastbp.delta_step(delta[7], W, h[7]), whole[7])


@pytest.mark.parametrize("sizes", [(2, 8, 8, 1), (33, 17, 5)])
def test_gradient_of_a_sample(isa, dtype, sizes):
    """Weights of zero everywhere else add zeros: the chains pass the sample's terms unchanged."""
    net, X, y = network(sizes, 600, dtype)
    for row in (0, 1, 255, 256, 300, 599):
        loss = net.backprop(X[row:row + 1], y[row:row + 1])
        alone, w = net.grad.copy(), np.zeros(600, dtype)
        w[row] = 1
        if sizes[-1] == 1:  # otherwise its outputs go to other partial sums of the loss
            assert net.backprop(X, y, sample_weight=w) == loss
        net.backprop(X, y, sample_weight=w)
        assert np.array_equal(net.grad, alone)  # zeros may differ in sign


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_rows_of_a_sample(isa, dtype, kind):
    """z, h, δ_L and ∂L/∂X, through δ of every layer, whatever rows come along and in what order."""
    sizes, n = (30, 17, 9, 5), 600          # the Jacobian is in blocks of 51 samples
    activation, loss, options = kind
    net, X, y = network_of(*kind, sizes, n, dtype)
    w = sample_weights(np.random.PCG64(n), n, dtype)
    layers = layers_of(kind, sizes, dtype)

    def results(rows):
        z = net.logits(X[rows])
        h, dX, *_ = recursion(layers, net.weights, net.biases, X[rows])
        _, delta = CRITERIA[loss](z, y[rows], w[rows], **options)
        return (z, net.forward(X[rows]), delta, h, dX,
                net.input_grad(X[rows], y[rows], sample_weight=w[rows]), net.jacobian(X[rows]),
                net.jacobian(X[rows], of="logits", wrt="input"))

    whole = results(slice(None))
    order = _random.permutation(n, _random.raw_bits(1, n - 1))
    assert all(map(same_bits, results(order), [a[order] for a in whole]))
    for size in (1, 2, 7, 13, 16, 255, 257):
        for start in (0, 1, 255, n - 1) if size < 3 else range(0, n, max(size, 60)):
            part = slice(start, start + size)
            assert all(map(same_bits, results(part), [a[part] for a in whole])), part
