"""Promise: hidden layers of different activations have the gradient of the mathematics.

The oracle is a complex step in 100 digits; it knows no derivative and shares no code with what it
judges. The random networks of test_gradient_bound.py are mixed as well.
"""

import functools

import mpmath
import numpy as np
import oracle
import pytest
from all_pairs import all_pairs

import fastbp
from fastbp import reference

U = {"float32": 2.0**-24, "float64": 2.0**-53}
SIZES, N = (2, 3, 4, 3, 1), 3
MIXED = [("tanh", "relu", "sigmoid"), ("relu", "identity", "tanh"), ("identity", "sigmoid", "relu"),
         ("sigmoid", "tanh", "tanh")]

mp = mpmath.mp.clone()
mp.dps = 100
STEP = mp.mpf(10) ** -60        # its square is nothing beside the 50 digits that are wanted
FUNCTIONS = {"sigmoid": lambda z: 1 / (1 + mp.exp(-z)), "tanh": mp.tanh, "identity": lambda z: z,
             "relu": lambda z: z if mp.re(z) > 0 else mp.mpf(0)}


def problem(dtype):
    rng = np.random.default_rng(5)
    weights, biases = oracle.random_network(rng, SIZES, dtype, 1.5)
    X = rng.standard_normal((N, SIZES[0])).astype(dtype)
    return weights, biases, X, rng.integers(0, 2, (N, 1)).astype(dtype)


def loss_of(weights, biases, X, y, activation):
    """E1 and E2 in 100 digits."""
    h = X
    for W, b, name in zip(weights, biases, [*activation, "identity"], strict=True):
        h = np.frompyfunc(FUNCTIONS[name], 1, 1)(h @ W + b)
    return sum(mp.log(1 + mp.exp(z)) - t * z for z, t in zip(h.flat, y.flat, strict=True))


@functools.cache
def by_complex_steps(activation, dtype):
    """[dW_1 …], [db_1 …]: Im L(p + i step) / step for every parameter."""
    weights, biases, X, y = (
        [np.vectorize(mp.mpf, otypes=[object])(a.astype(float)) for a in arrays]
        for arrays in (*problem(dtype)[:2], *([a] for a in problem(dtype)[2:])))
    gradients = []
    for arrays in (weights, biases):
        gradients.append([np.empty_like(a) for a in arrays])
        for a, grad in zip(arrays, gradients[-1], strict=True):
            for index in np.ndindex(a.shape):
                own, a[index] = a[index], a[index] + 1j * STEP
                loss = loss_of(weights, biases, *X, *y, activation)
                a[index], grad[index] = own, mp.im(loss) / STEP
    return gradients


def assert_gradient(found, exact, bound):
    for name, ours, theirs, most in zip(("dW", "db"), found, exact, bound, strict=True):
        for l in range(len(SIZES) - 1):
            oracle.assert_within(ours[l], theirs[l], most[l], f"{name}_{l + 1}")


@all_pairs("isa", "dtype", activation=MIXED)
def test_gradient_by_complex_steps(isa, dtype, activation):
    """50 digits are exact beside the bound, so the bound is all the tolerance."""
    exact, args = by_complex_steps(activation, dtype), problem(dtype)
    _, bound = oracle.error_bound(*args, u=U[dtype], activation=activation)
    assert_gradient(fastbp.backprop(*args, activation=activation)[1:], exact, bound[3:5])
    _, bound = oracle.error_bound(*args, u=U[dtype], activation=activation, rounding=oracle.NUMPY)
    assert_gradient(reference.backprop(*args, activation=activation)[1:], exact, bound[3:5])
    turned = fastbp.backprop(*args, activation=activation[::-1])[1:]
    with pytest.raises(AssertionError, match="of its bound"):
        assert_gradient(turned, exact, bound[3:5])


@all_pairs("isa", "dtype", activation=MIXED)
def test_certificate_by_complex_steps(isa, dtype, activation):
    *given, X, y = problem(dtype)
    net = fastbp.MLP(SIZES, activation=activation, dtype=dtype)
    for own, array in zip((*net.weights, *net.biases), sum(given, []), strict=True):
        own[...] = array
    net.backprop(X, y)
    found, exact = net.weight_grads + net.bias_grads, sum(by_complex_steps(activation, dtype), [])
    net.grad[:], found = net.error_bound(X, y), [g.copy() for g in found]
    for l, (ours, theirs, most) in enumerate(zip(
            found, exact, net.weight_grads + net.bias_grads, strict=True)):
        oracle.assert_within(ours, theirs, most.astype(float), f"array {l}")
