"""Promise: σ, σ′, δ_L and the loss of a sample are within a few units in the last place, saturated
or not: E1 to E4 for the exact z given (how errors of z travel is for test_gradient_bound.py).

Errors are in ulps of the exact result, subnormal spacing included, so that they hold through
gradual underflow. float32 is compared with float64, every 101st input of all there are (every one
with `-m exhaustive`); float64 with the 64 bits of x87 long double in bulk, where there is one, and
with 50 digits at the points that are hardest. `pytest -s` prints the worst error and its input.
"""

import math

import numpy as np
import oracle
import pytest
from ulps import WIDER, Worst, adversarial, needs_wide, stratified, ulps, wide_error

import fastbp

# Where searches of millions of points found the largest errors of the loss, one per variant.
WORST_OF_LOSS = {
    "float32": ["-0x1.dc341ap-11", "-0x1.054b0cp-9", "-0x1.6aa804p-12"],
    "float64": ["0x1.f49dc16d8627bp-17", "-0x1.7e31219a3d0ebp-10", "0x1.4878b65f55417p-7"],
}

# ---- σ


def float32_sweep(stride):
    """σ at every `stride`-th float32: its `Worst`; asserts that it is monotone and keeps NaN."""
    worst = Worst()
    for sign in (0, 1 << 31):
        previous = np.float32(0.5)
        for start in range(0, 1 << 31, stride << 20):
            bits = np.arange(start, min(start + (stride << 20), 1 << 31), stride, dtype=np.uint32)
            z = (bits | np.uint32(sign)).view(np.float32)
            h = fastbp.sigmoid(z)
            nan = np.isnan(z)
            if nan.any():
                assert np.array_equal(np.isnan(h), nan)
                z, h = z[~nan], h[~nan]
            if z.size == 0:
                continue
            steps = np.diff(h, prepend=previous)
            assert np.all(steps <= 0 if sign else steps >= 0), "σ is not monotone"
            previous = h[-1]
            e = np.exp(-np.abs(z.astype(np.float64)))
            q = e / (1 + e)
            worst.see(ulps(h, q if sign else 1 - q), z)
    return worst


def test_sigmoid_at_every_101st_float32(isa):
    float32_sweep(101).check("sigma", isa, "float32", wide_error("float32"))


@pytest.mark.exhaustive
def test_sigmoid_at_every_float32(isa):
    float32_sweep(1).check("sigma", isa, "float32", wide_error("float32"))


def float64_sweep(n_chunks, rng):
    worst = Worst()
    for _ in range(n_chunks):
        z = np.sort(stratified("float64", 1 << 18, rng))
        h = fastbp.sigmoid(z)
        assert np.all(np.diff(h) >= 0), "σ is not monotone"
        worst.see(ulps(h, wide_tails(z)[1]), z)
    return worst


@needs_wide
def test_sigmoid_at_many_float64(isa):
    float64_sweep(4, np.random.default_rng(1)).check(
        "sigma", isa, "float64", wide_error("float64"))


@needs_wide
@pytest.mark.exhaustive
def test_sigmoid_at_very_many_float64(isa):
    float64_sweep(400, np.random.default_rng(2)).check(
        "sigma", isa, "float64", wide_error("float64"))


def test_sigmoid_to_50_digits_where_it_is_hardest(isa, dtype):
    z = np.concatenate([adversarial(dtype), stratified(dtype, 2000, np.random.default_rng(3))])
    worst = Worst()
    worst.see(oracle.ulp_error(fastbp.sigmoid(z), oracle.exact_sigmoid(z)), z)
    worst.check("sigma", isa, dtype)


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


# ---- σ′, δ_L and the loss, of samples given by their logits


def slope_of(z):
    """σ′ as the recursion uses it: ∂h/∂x of one unit with weight 1 and bias 0, where z is x."""
    layers = fastbp.Layers([1, 1], ["sigmoid"], dtype=z.dtype)
    one, zero = np.ones((1, 1), z.dtype), np.zeros(1, z.dtype)
    layers.forward([one], [zero], z[:, None])
    slopes = np.empty((z.size, 1), z.dtype)
    layers.backward(np.ones((z.size, 1), z.dtype), [one.copy()], [zero.copy()], slopes)
    return slopes[:, 0]


def delta_of(z, y):
    return fastbp.bce_with_logits(z, y)[1]


def loss_of(z, y):
    """The loss of each sample by itself, in the dtype of the computation."""
    pairs = zip(z[:, None], y[:, None], strict=True)
    loss = [fastbp.bce_with_logits(*pair)[0] for pair in pairs]
    assert np.array_equal(np.array(loss).astype(z.dtype), loss)
    return np.array(loss, z.dtype)


def wide_tails(z):
    """e^−|z|, σ(z) and σ(−z) in the wide format."""
    e = np.exp(-np.abs(z.astype(WIDER[z.dtype.name])))
    q = e / (1 + e)
    return e, np.where(z < 0, q, 1 - q), np.where(z < 0, 1 - q, q)


def hard_labels(z):
    """Every z with both labels."""
    return np.concatenate([z, z]), np.repeat(np.array([0, 1], z.dtype), z.size)


@needs_wide
def test_slope_of_many_logits(isa, dtype):
    z, worst = stratified(dtype, 200_000, np.random.default_rng(4)), Worst()
    _, up, down = wide_tails(z)
    worst.see(ulps(slope_of(z), up * down), z)
    worst.check("slope", isa, dtype, wide_error(dtype))


@needs_wide
def test_delta_of_many_logits(isa, dtype):
    z, y = hard_labels(stratified(dtype, 200_000, np.random.default_rng(5)))
    worst = Worst()
    _, up, down = wide_tails(z)
    worst.see(ulps(delta_of(z, y), np.where(y == 1, -down, up)), z, y)
    worst.check("delta", isa, dtype, wide_error(dtype))


def loss_sweep(dtype, n_chunks, rng):
    """Every magnitude, and as many small logits: a loss of about ln 2 is the hardest."""
    worst = Worst()
    for _ in range(n_chunks):
        small = rng.choice([-1, 1], 15_000) * 2.0 ** rng.uniform(-np.finfo(dtype).nmant, 0, 15_000)
        z, y = hard_labels(np.concatenate([stratified(dtype, 15_000, rng), small.astype(dtype)]))
        exact = np.log1p(wide_tails(z)[0]) + np.where((z > 0) == (y == 0), np.abs(z), 0)
        worst.see(ulps(loss_of(z, y), exact), z, y)
    return worst


@needs_wide
def test_loss_of_many_logits(isa, dtype):
    loss_sweep(dtype, 1, np.random.default_rng(6)).check("loss", isa, dtype, wide_error(dtype))


@needs_wide
@pytest.mark.exhaustive
def test_loss_of_very_many_logits(isa, dtype):
    loss_sweep(dtype, 100, np.random.default_rng(8)).check("loss", isa, dtype, wide_error(dtype))


def test_tails_to_50_digits_from_minus_750_to_750(isa, dtype):
    """A plain σ(z) − y or h (1 − h) has no correct digit here from z = 17 (37 in float64) on."""
    even = np.linspace(-750, 750, 1501).astype(dtype)
    z = np.concatenate([even, adversarial(dtype)[::5]])
    slope, delta, loss = Worst(), Worst(), Worst()
    slope.see(oracle.ulp_error(slope_of(z), oracle.exact_slope(z)), z)
    z, y = hard_labels(z)
    delta.see(oracle.ulp_error(delta_of(z, y), oracle.exact_delta(z, y)), z, y)
    loss.see(oracle.ulp_error(loss_of(z, y), oracle.exact_loss(z, y)), z, y)
    slope.check("slope", isa, dtype)
    delta.check("delta", isa, dtype)
    loss.check("loss", isa, dtype)


def test_loss_where_it_was_worst(isa, dtype):
    z, y = hard_labels(np.array([float.fromhex(x) for x in WORST_OF_LOSS[dtype]], dtype))
    worst = Worst()
    worst.see(oracle.ulp_error(loss_of(z, y), oracle.exact_loss(z, y)), z, y)
    worst.check("loss", isa, dtype)


def test_delta_of_soft_labels(isa, dtype):
    """Relative to M = (1 − y) σ(z) + y σ(−z): δ itself may cancel, as f − y must."""
    rng = np.random.default_rng(7)
    z = stratified(dtype, 3000, rng)
    y = np.where(rng.random(z.size) < 0.5, rng.random(z.size), 2.0 ** rng.uniform(-40, 0, z.size))
    y = y.astype(dtype)
    exact = oracle.exact_delta(z, y)
    up = oracle.exact_sigmoid(z)
    M = (1 - y.astype(object)) * up + y.astype(object) * (1 - up)
    error = np.abs(delta_of(z, y).astype(object) - exact)
    u, tiny = float(np.finfo(dtype).epsneg), float(np.finfo(dtype).smallest_subnormal)
    assert np.all(error <= oracle.FASTBP.delta * u * M + tiny)


def test_loss_at_the_largest_logits(isa, dtype):
    largest = np.finfo(dtype).max
    z, y = hard_labels(np.array([largest, -largest], dtype))
    assert loss_of(z, y).tolist() == [largest, 0, 0, largest]
