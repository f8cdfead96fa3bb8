"""Counting units in the last place: points to evaluate at, the largest error and where it is.

float32 is compared with float64, float64 with the 64 bits of x87 long double in bulk, where there
is one. Exact values to 50 digits are in oracle.py; no test is here.
"""

import math
import re

import numpy as np
import pytest

# Largest errors promised, in ulps. Of a loss whose positives count p times, the product with p and
# the sum it is in round beside log1p; of that of a softmax, the sum of its e^z. The variant without
# FMA rounds the steps of a polynomial and such products twice, which losses show; its residuals are
# exact by Dekker's splitting.
PROMISED = {
    "sigma": 1.0, "tanh": 1.0, "exp": 1.0,  # h
    "slope": 4.0,  # act'(z)
    "p": 4.0,  # of a softmax
    "delta": 4.0, "loss": 2.0, "weighted loss": 3.0, "softmax loss": 3.0,  # of hard labels
}
GENERIC = PROMISED | {"loss": 2.5, "weighted loss": 4.0}

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
    """|actual − exact| in units in the last place of wide `exact`, as float64; NaN for a NaN."""
    error = np.abs(actual.astype(exact.dtype) - exact) / spacing(exact, actual.dtype)
    return error.astype(np.float64)


def hexadecimal(x):
    """As float.hex, without the zeros at the end."""
    return re.sub(r"\.?0*p", "p", float(x).hex())


class Worst:
    """The largest error seen and where; with it whatever may be larger, as each is off by `slack`.

    An error belongs to a sample: to the inputs of its index, that may be rows.
    """

    def __init__(self, slack=0.0):
        self.error, self.at, self.n_seen, self.slack = 0.0, None, 0, slack
        self.rivals = None  # errors and inputs within 2 slack of the largest

    def see(self, errors, *inputs):
        self.n_seen += len(errors)
        self._keep(errors, *inputs)

    def merge(self, other):
        self.n_seen += other.n_seen
        if other.rivals:
            self._keep(*other.rivals)

    def _keep(self, errors, *inputs):
        if not errors.size or errors.max() < self.error - 2 * self.slack:  # a NaN is not
            return
        errors = np.nan_to_num(errors, nan=np.inf, posinf=np.inf)
        self.error = max(self.error, float(errors.max()))
        near = errors >= self.error - 2 * self.slack
        found = [errors[near], *(x[near] for x in inputs)]
        if self.rivals:
            old = self.rivals[0] >= self.error - 2 * self.slack
            found = [np.concatenate([a[old], b]) for a, b in zip(self.rivals, found, strict=True)]
        self.rivals = found
        i = int(np.argmax(found[0]))
        self.at = tuple(" ".join(map(hexadecimal, np.ravel(x[i]))) for x in found[1:])

    def settled(self, error):
        """The same after `error`, a function of the inputs, has counted again without slack."""
        exact = Worst()
        exact.see(error(*self.rivals[1:]), *self.rivals[1:])
        exact.n_seen = self.n_seen
        assert abs(exact.error - self.error) <= self.slack, (exact.error, self.error, self.at)
        return exact

    def check(self, what, isa, dtype):
        bound = (GENERIC if isa == "generic" else PROMISED)[what]
        print(f"{what} {dtype} {isa}: {self.error:.4f} ulp at {', '.join(self.at)}")
        assert self.error <= bound, f"{what} is off by {self.error} ulp at {self.at}"


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
