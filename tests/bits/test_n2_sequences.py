"""Promise N2: the bias comes after the chain; σ, tanh, their derivatives, e^z and log1p are each
one fixed sequence of IEEE operations, wherever a number stands; nothing is contracted.

That these sequences are the same for every instruction set is L3, and that they stay what they are,
the recorded digests.
"""

import numpy as np
import pytest
from bits import moved, same_bits
from chains import chain, elements, uniform
from record import needs_fma
from ulps import stratified

import fastbp
from fastbp import _arguments


@needs_fma
@pytest.mark.parametrize("K", [3, 256, 300])
@pytest.mark.parametrize("n, fan_out", [(1, 1), (9, 1), (1, 40), (20, 17)])
def test_the_bias_comes_after_the_chain(isa, dtype, K, n, fan_out):
    source = np.random.PCG64(K)
    X, W = uniform(source, n, K, dtype=dtype), uniform(source, K, fan_out, dtype=dtype)
    b = 16 * uniform(source, fan_out, dtype=dtype)
    layers = fastbp.Layers([K, fan_out], ["identity"], dtype=dtype)
    z = layers.forward([W], [b], X)
    for i, j in elements(n, fan_out):
        assert z[i, j] == chain(X[i], W[:, j], dtype, bias=b[j])


def test_a_bias_before_the_chain_would_show(dtype):
    source = np.random.PCG64(1)
    a, b = uniform(source, 50, 20, dtype=dtype), uniform(source, 50, 20, dtype=dtype)
    after = [chain(x, y, dtype, bias=7) for x, y in zip(a, b, strict=True)]
    assert after != [chain([7, *x], [1, *y], dtype) for x, y in zip(a, b, strict=True)]


def functions():
    """Arrays of one length from one array: all of them act on each number alone."""
    yield from (lambda z, name=name: fastbp.activate(z, name) for name in _arguments.ACTIVATIONS)
    yield lambda z: [fastbp.bce_with_logits(z, np.zeros_like(z))[1]]
    yield lambda z: [fastbp.poisson_with_logits(z, np.zeros_like(z))[1]]
    # E2 of each number alone: log1p(e^−|z|), and e^z
    yield lambda z: [[fastbp.bce_with_logits(z[i:i + 1], z[:1] * 0)[0] for i in range(len(z))]]


def test_a_sequence_knows_no_place_in_a_vector(isa, dtype):
    """In any lane, in a tail of any length, at any address."""
    z = stratified(dtype, 80, np.random.default_rng(2))
    size = np.dtype(dtype).itemsize
    for function in functions():
        whole = function(z)
        for i in range(len(z)):
            alone = function(moved(z[i:i + 1], size * (i % (64 // size))))
            assert all(same_bits(one[0], all_[i]) for one, all_ in zip(alone, whole, strict=True))
        for start, end in ((0, 80), (1, 80), (3, 64), (7, 24), (17, 50), (40, 77)):
            part = function(moved(z[start:end], size))
            assert all(map(same_bits, part, [a[start:end] for a in whole]))


def test_nothing_is_contracted(isa, dtype):
    """(1 − t) + p t of a positive that counts p times rounds three times, and shows where z = 0."""
    source = np.random.PCG64(3)
    t, p = (np.abs(uniform(source, 200, dtype=dtype)) for _ in range(2))
    negative, positive, wide = 1 - t, p * t, np.longdouble
    c = negative + positive
    fused = (negative.astype(wide) + p.astype(wide) * t.astype(wide)).astype(dtype)
    assert (c != fused).any() or np.finfo(wide).nmant == np.finfo(dtype).nmant
    for i in range(200):
        _, delta = fastbp.bce_with_logits(np.zeros((1, 1), dtype), t[i:i + 1, None],
                                          pos_weight=p[i])
        assert delta[0, 0] == negative[i] - c[i] / 2
