"""Promise N1: an element of a product is one chain of fused multiply-adds over k ascending from +0,
in blocks of 256 whose results are added in ascending order; an element of db is one with h = 1.

E1, E5 and E6 are held to chains that are computed one step after the other (support/chains.py), for
lengths beside a block and shapes beside vectors and tiles.
"""

import numpy as np
import pytest
from chains import chain, elements, uniform
from record import needs_fma

import fastbp

LENGTHS = pytest.mark.parametrize("K", [1, 2, 255, 256, 257, 600])
SHAPES = [(1, 1), (1, 33), (7, 5), (33, 17), (14, 64)]


def operands(dtype, *shapes):
    source = np.random.PCG64(sum(map(sum, shapes)))
    return [uniform(source, *shape, dtype=dtype) for shape in shapes]


def assert_chains(found, rows, columns, dtype):
    """found[i, j] is the chain of rows[i] and columns[j]."""
    for i, j in elements(*found.shape):
        assert found[i, j] == chain(rows[i], columns[j], dtype), (i, j)


@needs_fma
@LENGTHS
def test_forward(isa, dtype, K):
    for n, fan_out in SHAPES:
        X, W = operands(dtype, (n, K), (K, fan_out))
        layers = fastbp.Layers([K, fan_out], ["identity"], dtype=dtype)
        assert_chains(layers.forward([W], [np.zeros(fan_out, dtype)], X), X, W.T, dtype)


@needs_fma
@LENGTHS
def test_backward(isa, dtype, K):
    for n, fan_in in SHAPES:
        X, W, g = operands(dtype, (n, fan_in), (fan_in, K), (n, K))
        layers = fastbp.Layers([fan_in, K], ["identity"], dtype=dtype)
        layers.forward([W], [np.zeros(K, dtype)], X)
        dX = np.empty_like(X)
        layers.backward(g, [np.empty_like(W)], [np.empty(K, dtype)], dX)
        assert_chains(dX, g, W, dtype)


@needs_fma
@LENGTHS
def test_weight_grad(isa, dtype, K):
    for fan_in, fan_out in SHAPES:
        h, delta = operands(dtype, (K, fan_in), (K, fan_out))
        dW, db = fastbp.weight_grad(h, delta)
        assert_chains(dW, h.T, delta.T, dtype)
        assert_chains(db[None], np.ones((1, K)), delta.T, dtype)


def test_another_chain_would_show(dtype):
    """Blocks of other lengths, another direction, and products that are rounded before the sum."""
    a, b = operands(dtype, (16, 600), (16, 600))
    ours = [chain(x, y, dtype) for x, y in zip(a, b, strict=True)]
    for block in (128, 255, 512, 600):
        assert ours != [chain(x, y, dtype, block) for x, y in zip(a, b, strict=True)]
    assert ours != [chain(x[::-1], y[::-1], dtype) for x, y in zip(a, b, strict=True)]
    assert ours != [chain(x * y, np.ones(600), dtype) for x, y in zip(a, b, strict=True)]
