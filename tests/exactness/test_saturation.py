"""Promise: the gradient of a network whose units are saturated lies inside the running bound of
oracle.py, evaluated to 50 digits; and that bound is a small part of each of its elements.

|z| goes up to 80 in float32 and 700 in float64, in hidden layers, at the output, or shared between
them so that the product of their tails is a normal number.
"""

import functools

import numpy as np
import oracle
import pytest

import fastbp

U = {"float32": 2.0**-24, "float64": 2.0**-53}
# |z| of the units of each layer, as a part of the largest
LAYERS = [(1.0, 0.01), (0.01, 1.0), (0.5, 0.5), (0.33, 0.33, 0.33), (0.01, 0.01, 1.0)]
LARGEST = {"float32": 80.0, "float64": 700.0}


@functools.cache
def saturated(parts, dtype, y):
    """Weights, biases, one sample, its label; then what is exact, and the bound of each."""
    rng = np.random.default_rng(len(parts))
    sizes = (3, *(4 for _ in parts[1:]), 1)
    weights, biases = oracle.random_network(rng, sizes, dtype, 0.25)
    for b, part in zip(biases, parts, strict=True):
        signs = np.resize([1, -1], b.size)
        b[:] = signs * (LARGEST[dtype] * part - 2) * rng.uniform(0.97, 1, b.size)
    X = rng.uniform(0.5, 1, (1, 3)).astype(dtype)
    targets = np.array([[y]], dtype)
    return weights, biases, X, targets, *oracle.error_bound(
        weights, biases, X, targets, u=U[dtype], wide=oracle.DIGITS)


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("parts", LAYERS)
def test_gradient_of_saturated_units(isa, dtype, parts, y):
    weights, biases, X, targets, exact, bound = saturated(parts, dtype, y)
    for z, part in zip(exact.z, parts, strict=True):
        assert np.all(np.abs(z) >= (LARGEST[dtype] * part - 2) * 0.9)
        assert np.all(np.abs(z) <= LARGEST[dtype])
    loss, dW, db = fastbp.backprop(weights, biases, X, targets)
    oracle.assert_within(loss, exact.loss, bound.loss, "loss")
    for got, x, e in zip([*dW, *db], [*exact.dW, *exact.db], [*bound.dW, *bound.db], strict=True):
        oracle.assert_within(got, x, e, "gradient")
        # u |z| for each tail, more where g = δ Wᵀ cancels; h (1 − h) would be off by the whole
        assert np.all(e <= 200 * U[dtype] * LARGEST[dtype] * np.abs(x))
    net = fastbp.MLP([3, *map(len, biases)], dtype=dtype, seed=0)
    net.params[:] = np.concatenate([a.ravel() for pair in zip(weights, biases, strict=True)
                                    for a in pair])
    assert net.backprop(X, targets) == loss
    for own, given in zip([*net.weight_grads, *net.bias_grads], [*dW, *db], strict=True):
        assert np.array_equal(own, given)
