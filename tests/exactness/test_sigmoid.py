"""Promise: σ is monotone, exact where it can be and underflows gradually; δ_L and σ′ are as good
beyond every underflow, and for soft labels (E1, E3, E4). test_sweeps.py counts ulps.
"""

import functools
import math

import families
import numpy as np
import oracle
import pytest
import sweeps
from ulps import adversarial, stratified

import fastbp

# ---- σ


def test_sigmoid_is_monotone_from_one_float_to_the_next(isa, dtype):
    unsigned = np.uint32 if dtype == "float32" else np.uint64
    for z in np.concatenate([adversarial(dtype)[::7], np.array([1.0, 5.0, -1.0, -5.0], dtype)]):
        run = (z.view(unsigned) + np.arange(200, dtype=unsigned)).view(dtype)  # away from zero
        steps = np.diff(fastbp.sigmoid(run))
        assert np.all(steps <= 0 if np.signbit(z) else steps >= 0), z


def test_sigmoid_of_special_values(isa, dtype):
    info = np.finfo(dtype)
    z = np.array([0.0, -0.0, np.inf, -np.inf, info.max, -info.max, info.smallest_subnormal,
                  -info.smallest_subnormal, info.smallest_normal], dtype)
    assert fastbp.sigmoid(z).tolist() == [0.5, 0.5, 1, 0, 1, 0, 0.5, 0.5, 0.5]
    assert np.isnan(fastbp.sigmoid(np.array([np.nan, -np.nan], dtype))).all()


def test_sigmoid_underflows_gradually(isa, dtype):
    """σ(z) = e^z to rounding here; the last value is the least subnormal, half of it is 0."""
    info = np.finfo(dtype)
    lowest = (info.minexp - info.nmant) * math.log(2)  # e^lowest is the least subnormal
    z = np.linspace(math.log(info.smallest_normal) - 0.01, lowest + 0.01, 500).astype(dtype)
    h = fastbp.sigmoid(z)
    assert np.all(h > 0) and np.all(h < info.smallest_normal)
    assert fastbp.sigmoid(np.array([lowest - 0.6], dtype))[0] == info.smallest_subnormal
    assert fastbp.sigmoid(np.array([lowest - 0.8], dtype))[0] == 0


def test_sigmoid_keeps_every_nan(isa, dtype):
    """Quiet and signalling ones, of both signs."""
    unsigned, sign = (np.uint32, 1 << 31) if dtype == "float32" else (np.uint64, 1 << 63)
    first = sweeps.INFINITE[dtype] + 1
    nan = np.arange(first, sign, (sign - first) // 1001, dtype=unsigned).view(dtype)
    assert np.isnan(nan).all() and np.isnan(fastbp.sigmoid(np.concatenate([nan, -nan]))).all()


# ---- σ′, δ_L and the loss, of samples given by their logits


@functools.cache
def soft_labels(dtype):
    """z, y, δ, and M = (1 − y) σ(z) + y σ(−z), to 50 digits."""
    rng = np.random.default_rng(7)
    z = stratified(dtype, 3000, rng)
    y = np.where(rng.random(z.size) < 0.5, rng.random(z.size), 2.0 ** rng.uniform(-40, 0, z.size))
    y = y.astype(dtype)
    exact = oracle.exact_delta(z, y)
    up = oracle.exact_sigmoid(z)
    return z, y, exact, (1 - y.astype(object)) * up + y.astype(object) * (1 - up)


def test_delta_of_soft_labels(isa, dtype):
    """Relative to M: δ itself may cancel, as f − y must."""
    z, y, exact, M = soft_labels(dtype)
    error = np.abs(fastbp.bce_with_logits(z, y)[1].astype(object) - exact)
    u, tiny = float(np.finfo(dtype).epsneg), float(np.finfo(dtype).smallest_subnormal)
    assert np.all(error <= oracle.FASTBP.delta * u * M + tiny)


@pytest.mark.parametrize("sign", [-1, 1])
def test_beyond_every_underflow(isa, dtype, sign):
    """From |z| = 750 to the largest number, e^−|z| is less than half of the least subnormal."""
    info = np.finfo(dtype)
    z = sign * np.append(np.ldexp(750.0, np.arange(info.maxexp - 9)), info.max).astype(dtype)
    size, up = np.abs(z), 1.0 if sign > 0 else 0.0
    expected = {"σ": up, "σ′": 0, "δ_L, y = 0": up, "δ_L, y = 1": up - 1,
                "loss, y = 0": up * size, "loss, y = 1": (1 - up) * size}
    for name, found in families.logistic(z).items():
        assert np.array_equal(found, np.broadcast_to(expected[name], z.shape)), name
