"""Promise N4: products with one output, or one input, keep the chains of N1, though the samples
become their columns: they have the bits of a column of a wider product.
"""

import numpy as np
import pytest
from bits import same_bits
from chains import chain, elements, uniform
from record import needs_fma

import fastbp

SAMPLES = (1, 2, 7, 8, 9, 15, 16, 17, 33, 64, 255, 257, 600)


def one_layer(W, b, X):
    layers = fastbp.Layers(W.shape, ["identity"], dtype=X.dtype)
    h = layers.forward([W], [b], X)
    grads = np.empty_like(W), np.empty_like(b), np.empty_like(X)
    layers.backward(h, [grads[0]], [grads[1]], grads[2])
    return h, *grads


@pytest.mark.parametrize("K", [1, 5, 64, 257])
def test_one_output_is_a_column_of_many(isa, dtype, K):
    source = np.random.PCG64(K)
    W, b = uniform(source, K, 40, dtype=dtype), uniform(source, 40, dtype=dtype)
    for n in SAMPLES:
        X = uniform(source, n, K, dtype=dtype)
        many, dW, db, _ = one_layer(W, b, X)
        for j in (0, 39):
            h, dW_j, db_j, _ = one_layer(np.ascontiguousarray(W[:, j:j + 1]), b[j:j + 1].copy(), X)
            assert same_bits(h[:, 0], many[:, j]), n
            assert same_bits(dW_j[:, 0], dW[:, j]) and same_bits(db_j[0], db[j]), n


@pytest.mark.parametrize("fan_out", [1, 5, 64, 257])
def test_one_input_is_a_column_of_many(isa, dtype, fan_out):
    source = np.random.PCG64(fan_out)
    W = uniform(source, 40, fan_out, dtype=dtype)
    for n in SAMPLES:
        delta = uniform(source, n, fan_out, dtype=dtype)
        h = np.abs(uniform(source, n, 40, dtype=dtype))
        below, (dW, _) = fastbp.delta_step(delta, W, h), fastbp.weight_grad(h, delta)
        for k in (0, 39):
            alone = h[:, k:k + 1].copy()
            assert same_bits(fastbp.delta_step(delta, W[k:k + 1], alone)[:, 0], below[:, k]), n
            assert same_bits(fastbp.weight_grad(alone, delta)[0][0], dW[k]), n


@needs_fma
@pytest.mark.parametrize("n", [1, 9, 300])
def test_one_output_is_the_chain(isa, dtype, n):
    source = np.random.PCG64(n)
    X, W = uniform(source, n, 300, dtype=dtype), uniform(source, 300, 1, dtype=dtype)
    b = uniform(source, 1, dtype=dtype)
    z, dW, _, _ = one_layer(W, b, X)
    for i, _ in elements(n, 1):
        assert z[i, 0] == chain(X[i], W[:, 0], dtype, bias=b[0])
    for k, _ in elements(300, 1):
        assert dW[k, 0] == chain(X[:, k], z[:, 0], dtype)
