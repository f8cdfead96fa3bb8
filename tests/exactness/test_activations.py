"""Promise: tanh is odd to the bit and monotone, e^z is right at its ends, relu and identity are
exact; a network has the bits of `activate`: E1 and E4. test_sweeps.py counts ulps.
"""

import numpy as np
import oracle
import pytest
import sweeps
from ulps import Worst, adversarial, stratified

import fastbp
from fastbp import _arguments

UNSIGNED = {"float32": np.uint32, "float64": np.uint64}


def tanh(z):
    """tanh z and its derivative; asserts that −z has the same but for the sign of tanh."""
    h, slope = fastbp.activate(z, "tanh")
    odd, even = fastbp.activate(-z, "tanh")
    assert np.array_equal(odd, -h, equal_nan=True) and np.array_equal(even, slope, equal_nan=True)
    known = ~np.isnan(z)
    assert np.array_equal(np.signbit(h[known]), np.signbit(z[known]))   # of zeros too
    return h, slope


def exponential(z):
    """e^z as a network has it: the output of one unit with weight 1 and bias 0."""
    net = fastbp.MLP([1, 1], loss="poisson", dtype=z.dtype, seed=0)
    net.params[:] = 1, 0
    return net.forward(z[:, None])[:, 0]


# ---- tanh


def test_tanh_is_odd(isa, dtype):
    for z, in sweeps.hardest(dtype):
        tanh(z)


def test_tanh_is_monotone_from_one_float_to_the_next(isa, dtype):
    unsigned = UNSIGNED[dtype]
    for z in np.abs(adversarial(dtype)[::7] / 2):
        run = (z.view(unsigned) + np.arange(200, dtype=unsigned)).view(dtype)
        assert np.all(np.diff(tanh(run)[0]) >= 0), z


def test_tanh_of_special_values(isa, dtype):
    info = np.finfo(dtype)
    tiny = [info.smallest_subnormal, 3 * info.smallest_subnormal, info.smallest_normal, info.eps**2]
    h, slope = tanh(np.array([0, np.inf, info.max, *tiny], dtype))
    assert h.tolist() == [0, 1, 1, *np.array(tiny, dtype)]
    assert slope.tolist() == [1, 0, 0, 1, 1, 1, 1]
    assert np.isnan(tanh(np.array([np.nan], dtype))).all()


# ---- e^z


def test_exponential_of_a_loss(isa, dtype):
    """Sweeps count the ulps of a δ_L of "poisson", which has these bits."""
    z = stratified(dtype, 10_000, np.random.default_rng(33))
    delta = fastbp.poisson_with_logits(z, np.zeros_like(z))[1]
    assert np.array_equal(delta, exponential(z))


def test_exponential_to_50_digits_where_it_is_hardest(isa, dtype):
    """To the largest finite and the least subnormal, one float after the other."""
    info = np.finfo(dtype)
    z = adversarial(dtype)[::3]
    ends = np.array([np.log(info.max), np.log(info.smallest_normal)]).astype(dtype).view(
        UNSIGNED[dtype])[:, None] + np.arange(-50, 50).astype(UNSIGNED[dtype])
    z = np.concatenate([z, ends.view(dtype).ravel()])
    exact, worst = oracle.exact_exp(z), Worst()
    fits = exact < oracle.mp.mpf(float(info.max))
    h = exponential(z)
    assert np.all(np.isinf(h[~fits]) | (h[~fits] == info.max))
    worst.see(oracle.ulp_error(h[fits], exact[fits]), z[fits])
    worst.check("exp", isa, dtype)


def test_exponential_of_special_values(isa, dtype):
    info = np.finfo(dtype)
    lowest = np.log(2.0) * (info.minexp - info.nmant)
    z = np.array([0, -0.0, np.inf, -np.inf, info.max, -info.max, info.smallest_subnormal,
                  lowest - 0.6, lowest - 0.8], dtype)
    least = info.smallest_subnormal
    assert exponential(z).tolist() == [1, 1, np.inf, 0, np.inf, 0, 1, least, 0]
    assert np.isnan(exponential(np.array([np.nan], dtype)))[0]


# ---- relu and identity


def test_relu_and_identity_are_exact(isa, dtype):
    info = np.finfo(dtype)
    z = np.concatenate([
        stratified(dtype, 1001, np.random.default_rng(34)),
        np.array([0, -0.0, np.inf, -np.inf, info.max, -info.max, info.smallest_subnormal,
                  -info.smallest_subnormal], dtype)])
    h, slope = fastbp.activate(z, "relu")
    assert np.array_equal(h, np.maximum(z, 0)) and np.array_equal(slope, np.where(z > 0, 1, 0))
    h, slope = fastbp.activate(z, "identity")
    assert np.array_equal(h, z) and np.all(slope == 1)
    nan = np.array([np.nan], dtype)
    assert all(np.isnan(fastbp.activate(nan, name)[0]) for name in ("relu", "identity"))


# ---- one function, whatever way it is called


@pytest.mark.parametrize("activation", _arguments.ACTIVATIONS)
def test_activations_of_a_network(isa, dtype, activation):
    """Layers of one unit with weight 1 and bias 0 are the function to the bit, for any length."""
    for n in (*range(1, 70), 255, 256, 257, 1000):
        z = stratified(dtype, n, np.random.default_rng(n))
        h, slope = fastbp.activate(z, activation)
        layers = fastbp.Layers([1, 1], [activation], dtype=dtype)
        one, zero = np.ones((1, 1), dtype), np.zeros(1, dtype)
        assert np.array_equal(layers.forward([one], [zero], z[:, None])[:, 0], h)
        found = np.empty((n, 1), dtype)
        layers.backward(np.ones((n, 1), dtype), [one.copy()], [zero.copy()], found)
        assert np.array_equal(found[:, 0], slope)
