"""Counting units in the last place: points to evaluate at, the largest error and where it is.

float32 is compared with float64, float64 with the 64 bits of x87 long double in bulk, where there
is one. Exact values to 50 digits are in oracle.py; no test is here.
"""

import math

import numpy as np
import pytest

# Largest errors promised, in ulps. The variant without FMA may have its own: its residuals are
# exact by Dekker's splitting, but its polynomials round twice a step.
PROMISED = {
    "sigma": 1.0, "tanh": 1.0, "exp": 1.0,  # h
    "slope": 4.0,  # act'(z)
    "p": 4.0,  # of a softmax
    "delta": 4.0, "loss": 2.0,  # of hard labels
}
GENERIC = dict(PROMISED)

WIDER = {"float32": np.float64, "float64": np.longdouble}
LARGEST = {"float32": 80.0, "float64": 300.0}  # |z|: e^−2|z| has all its digits, or none
BULK = np.finfo(np.longdouble).nmant >= 63


def wide_error(dtype):
    """What the wide format itself may be off, in ulps: 16 of its units cover e^x and log1p."""
    return 16.0 * float(np.finfo(WIDER[dtype]).eps / np.finfo(dtype).eps)


needs_wide = pytest.mark.skipif(not BULK, reason="long double is no wider than float64 here")


def spacing(exact, dtype):
    """1 ulp of `dtype` at wide values."""
    info = np.finfo(dtype)
    exponent = np.frexp(exact)[1] - 1  # 2^exponent <= |exact|
    return np.ldexp(exact.dtype.type(1), np.maximum(exponent, info.minexp) - info.nmant)


def ulps(actual, exact):
    error = np.abs(actual.astype(exact.dtype) - exact) / spacing(exact, actual.dtype)
    return np.where(np.isnan(actual), np.inf, error.astype(np.float64))


class Worst:
    """The largest error seen and where."""

    def __init__(self):
        self.error, self.at = 0.0, None

    def see(self, errors, *inputs):
        if errors.size:
            errors = np.nan_to_num(errors, nan=np.inf, posinf=np.inf)
            i = int(np.argmax(errors))
            if errors[i] >= self.error:
                self.error, self.at = float(errors[i]), tuple(float(x[i]).hex() for x in inputs)

    def check(self, what, isa, dtype, slack=0.0):
        bound = (GENERIC if isa == "generic" else PROMISED)[what]
        print(f"{what} {dtype} {isa}: {self.error:.4f} ulp at {', '.join(self.at)}")
        assert self.error + slack <= bound, f"{what} is off by {self.error} ulp at {self.at}"


# ---- points


def stratified(dtype, n, rng):
    """`n` values of every magnitude, denser where σ is neither z/4 + 1/2 nor saturated."""
    limit = 110.0 if dtype == "float32" else 750.0
    even = rng.uniform(-limit, limit, n // 2)
    narrow = rng.uniform(-40, 40, n // 4)
    exponents = rng.uniform(-70, math.log2(limit), n - n // 2 - n // 4)
    signs = rng.choice([-1.0, 1.0], exponents.size)
    return np.concatenate([even, narrow, signs * 2.0**exponents]).astype(dtype)


def adversarial(dtype):
    """Where a step of the algorithm changes: around multiples of ln2/2, powers of two, the ends."""
    multiples = np.arange(0, 2200 if dtype == "float64" else 320) * (math.log(2) / 2)
    powers = 2.0 ** np.arange(-60, 10)
    ends = np.array([16.6, 17.3287, 36.04, 36.7368, 87.33, 88.72, 103.28, 103.97, 104.0,
                     708.39, 744.44, 745.13, 745.25, 750.0])
    z = np.concatenate([multiples, powers, ends]).astype(dtype)
    around, up, down = [z], z, z
    for _ in range(3):
        up, down = np.nextafter(up, z.dtype.type(np.inf)), np.nextafter(down, z.dtype.type(0))
        around += [up, down]
    z = np.concatenate(around)
    return np.concatenate([z, -z])


def logits(dtype, n, n_outputs, rng):
    """Rows of every spread, classes that are nearly certain, and ties; a class of each."""
    z = rng.standard_normal((n, n_outputs)) * rng.choice([0.01, 1.0, 5.0, 20.0], (n, 1))
    z[::5] = rng.uniform(-LARGEST[dtype], LARGEST[dtype], z[::5].shape)
    z[1::5, 0] += rng.uniform(0, LARGEST[dtype], len(z[1::5]))
    z[2::5, -1] = z[2::5].max(axis=1)  # one of two that are largest
    z[3::50] = 0.25  # all are
    y = np.where(rng.random(n) < 0.5, z.argmax(axis=1), rng.integers(0, n_outputs, n))
    return np.clip(z, -LARGEST[dtype], LARGEST[dtype]).astype(dtype), y


# ---- losses


def sample_losses(function, z, y, **options):
    """The loss of each sample by itself, in the dtype of the computation."""
    each = (slice(i, i + 1) for i in range(len(z)))
    return np.array([function(z[i], y[i], **options)[0] for i in each], z.dtype)
