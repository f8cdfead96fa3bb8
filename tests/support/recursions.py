"""`Layers` on arrays: weights in either layout, a batch, what a pass gives; no test is here."""


import numpy as np
import pytest
from oracle import random_network

from fastbp import Layers

SIZES = (3, 5, 4, 2)
LAYOUTS = pytest.mark.parametrize("layout", ["io", "oi"])
SAMPLES = [1, 3, 64, 255, 256, 257, 700]
BATCHES = pytest.mark.parametrize("n", SAMPLES)


def build(sizes, dtype, layout="io", activations=None):
    activations = activations or ["sigmoid"] * (len(sizes) - 1)
    return Layers(sizes, activations, dtype=dtype, layout=layout)


def laid_out(weights, layout):
    return weights if layout == "io" else [np.ascontiguousarray(W.T) for W in weights]


def gradients(layers, weights, biases, X, grad_output, input_grad=True):
    """h_L and what `backward` writes, weights as (fan_in, fan_out); every output starts as NaN."""
    weights = laid_out(weights, layers.layout)
    h = layers.forward(weights, biases, X)
    dW = [np.full_like(W, np.nan) for W in weights]
    db = [np.full_like(b, np.nan) for b in biases]
    dX = np.full(X.shape, np.nan, layers.dtype) if input_grad else None
    assert layers.backward(grad_output, dW, db, dX) is None
    return h, [W.T if layers.layout == "oi" else W for W in dW], db, dX


def problem(n, dtype, sizes=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    weights, biases = random_network(rng, sizes, dtype)
    X, g = rng.standard_normal((n, sizes[0])), rng.standard_normal((n, sizes[-1]))
    return weights, biases, X.astype(dtype), g.astype(dtype)


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
