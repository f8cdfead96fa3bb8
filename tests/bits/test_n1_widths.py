"""Promise: N1, an element of a product has the same bits however many columns there are.

Columns behind the last whole vector may be computed with other lanes. They are compared with the
same columns among 64 or 128, which are whole vectors of every variant; wrong lanes, a wrong place
or another order of summation would show.
"""

import numpy as np
import pytest

import fastbp

WIDE = 128
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 17, 18, 19, 20, 22, 23, 24, 33, 36, 50, 65)
DEPTHS = (1, 2, 3, 4, 5, 17, 50, 256, 257, 300)         # of the sums; a block of KC is 256
ROWS = (1, 7, 8, 9, 16, 17, 30, 50)


@pytest.fixture(scope="module")
def reals():
    rng = np.random.default_rng(5)
    return rng.uniform(-1, 1, (2, 300 * 300))


def matrix(reals, which, rows, columns, dtype):
    return reals[which, :rows * columns].reshape(rows, columns).astype(dtype)


def same(narrow, wide):
    return narrow.tobytes() == np.ascontiguousarray(wide).tobytes()


def layer(K, N, activation, dtype, layout="io"):
    return fastbp.Layers((K, N), [activation], dtype=dtype, layout=layout, n_threads=1)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_layer(reals, isa, dtype, activation):
    """E1, in both layouts of W, with b and an activation."""
    for K in DEPTHS:
        W = matrix(reals, 0, K, WIDE, dtype)
        b = W[0] * W[-1]
        for n in ROWS:
            X = matrix(reals, 1, n, K, dtype)
            wide = layer(K, WIDE, activation, dtype).forward([W], [b], X)
            for N in WIDTHS:
                bias, V = b[:N].copy(), W[:, :N].copy()
                narrow = layer(K, N, activation, dtype).forward([V], [bias], X)
                assert same(narrow, wide[:, :N]), (K, n, N)
                V = np.ascontiguousarray(V.T)
                narrow = layer(K, N, activation, dtype, "oi").forward([V], [bias], X)
                assert same(narrow, wide[:, :N]), (K, n, N, "oi")


def test_the_delta_of_a_layer(reals, isa, dtype):
    """E5, times the derivative."""
    for K in DEPTHS:
        W = matrix(reals, 0, WIDE, K, dtype)
        for n in ROWS:
            delta = matrix(reals, 1, n, K, dtype)
            h = np.abs(matrix(reals, 0, n, WIDE, dtype))
            wide = fastbp.delta_step(delta, W, h)
            for N in WIDTHS:
                narrow = fastbp.delta_step(delta, W[:N].copy(), h[:, :N].copy())
                assert same(narrow, wide[:, :N]), (K, n, N)


def test_weights(reals, isa, dtype):
    """E6, with db; the rows of dW are those of the layer below, 300 of them more than a block."""
    for n in DEPTHS:
        delta = matrix(reals, 0, n, WIDE, dtype)
        for fan_in in (*ROWS, 300):
            h = matrix(reals, 1, n, fan_in, dtype)
            dW, db = fastbp.weight_grad(h, delta)
            for N in WIDTHS:
                narrow, sums = fastbp.weight_grad(h, delta[:, :N].copy())
                assert same(narrow, dW[:, :N]), (n, fan_in, N)
                assert same(sums, db[:N]), (n, fan_in, N)
