"""Promise N3: sums over samples are in float64, in one order: element i of a batch goes to partial
sum i mod 8, the eight are added as a tree, and "mean" divides once, at the end. The sum over the
classes of a softmax keeps its rounding errors.
"""

import functools

import numpy as np
import pytest
from bits import numbers, same_bits, sample_weights

import fastbp


def squared_errors(z, y):
    """E2 of each element, as it is rounded."""
    delta = z - y
    return (delta.dtype.type(0.5) * delta * delta).ravel().tolist()


def in_order(terms):
    s = [0.0] * 8
    for i, term in enumerate(terms):
        s[i % 8] += term
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))


def batch(n, n_outputs, dtype):
    """The errors differ by powers of two, so that float64 rounds a sum of those of float32."""
    source, scale = np.random.PCG64(n), np.ldexp(1.0, np.arange(n) * 7 % 31).astype(dtype)
    net = fastbp.MLP([6, n_outputs], loss="squared_error", dtype=dtype, seed=0)
    X, y = numbers(source, (n, 6), dtype, 0), numbers(source, (n, n_outputs), dtype, 1)
    return net, X, y * scale[:, None]


BATCHES = pytest.mark.parametrize("n, n_outputs", [(1, 1), (37, 1), (7, 3), (256, 5), (700, 3)])


@BATCHES
def test_a_loss_is_added_in_order(isa, dtype, n, n_outputs):
    net, X, y = batch(n, n_outputs, dtype)
    z = net.logits(X)
    expected = in_order(squared_errors(z, y))
    for found in (fastbp.squared_error(z, y)[0], net.loss_value(X, y), net.backprop(X, y)):
        assert found == expected


def test_another_order_would_show(dtype):
    """One sum, and four partial sums instead of eight."""
    found = []
    for n in range(300, 320):
        net, X, y = batch(n, 3, dtype)
        terms = squared_errors(net.logits(X), y)
        found.append((in_order(terms), functools.reduce(float.__add__, terms), sum(
            functools.reduce(float.__add__, terms[i::4]) for i in range(4))))
    eight, one, four = zip(*found, strict=True)
    assert eight != one and eight != four


@BATCHES
def test_weights_multiply_in_float64(isa, dtype, n, n_outputs):
    net, X, y = batch(n, n_outputs, dtype)
    w = sample_weights(np.random.PCG64(n), n, dtype)
    terms = [float(w[i // n_outputs]) * error
             for i, error in enumerate(squared_errors(net.logits(X), y))]
    assert net.backprop(X, y, sample_weight=w) == in_order(terms)
    mean = net.loss_value(X, y, sample_weight=w, reduction="mean")
    assert mean == in_order(terms) / float(w.sum(dtype=np.float64))     # of sixteenths: exact


@pytest.mark.parametrize("n", [1, 2, 32, 33, 96, 256])
def test_the_mean_is_the_sum_divided_once(isa, dtype, n):
    """Also by a power of two, and where gradients are subnormal numbers."""
    rng = np.random.default_rng(n)
    tiny = np.finfo(dtype).tiny
    net = fastbp.MLP([5, 7, 2], dtype=dtype, seed=0)
    for scale in (1, 4 * tiny):
        X = (rng.standard_normal((n, 5)) * scale).astype(dtype)
        y = rng.integers(0, 2, (n, 2)).astype(dtype)
        loss = net.backprop(X, y)
        expected = net.grad / net.dtype.type(n)
        assert (np.abs(expected[:35]) < tiny).any() == (scale != 1)
        assert net.backprop(X, y, reduction="mean") == loss / n
        np.testing.assert_array_equal(net.grad, expected)


def test_an_epoch_of_one_batch_adds_alike(isa, dtype):
    net, X, y = batch(300, 3, dtype)
    expected = net.loss_value(X, y)
    found = net.train_epoch(X, y, fastbp.SGD(2.0**-40), batch_size=300, shuffle=False)
    assert same_bits(found, expected / 300)


def test_a_softmax_keeps_what_its_sum_rounds_off(isa):
    """1000 terms of e^−37, each less than half an ulp of the 1 before them, are not lost."""
    z = np.full((1, 1001), -37.0)
    z[0, 0] = 0.0
    loss, _ = fastbp.softmax_with_logits(z, np.array([0]))
    assert abs(loss / (1000 * np.exp(-37.0)) - 1) < 1e-12 and 1.0 + np.exp(-37.0) == 1.0
