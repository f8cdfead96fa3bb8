"""Values with bounds on their errors, and how sums and products carry such bounds.

Beside every array x of a network stands e_x, how far a computation with unit roundoff u may be off.
|.| is elementwise, K the length of a sum, tiny the least number:

    gamma(K) = n u / (1 - n u),  n = min(K, block) + ceil(K / block) + 1,  eta(K) = (K + 2) tiny
    e_z      = gamma(K) (|h| |W| + |b|) + e_h |W| + eta(K)
    e_g      = gamma(K) |delta| |W^T| + e_delta |W^T| + eta(K),  g = delta W^T
    e_delta  = |h'| e_g + |g| e_h' + e_g e_h' + u |g| |h'| + eta
    e_dW     = gamma(m) |h^T| |delta| + e_h^T |delta| + |h^T| e_delta + e_h^T e_delta + eta(m)

m is the number of samples, and db is dW with h = 1. A computed factor is at most |x| + e_x, so that
no term of second order is lost. Where W and b are known to e_W and e_b only, e_z and e_g have
|h| e_W, e_b and |delta| e_W^T more. e_x is infinite where x may overflow, or a sum on its way to x.
The bounds of activations and losses are in `bounds`.
"""

from typing import NamedTuple

import numpy as np


class Rounding(NamedTuple):
    """Errors of the functions for the exact z, in units of u; and how sums are made.

    Soft targets, 0 < t < 1, leave two terms that round of delta and of the loss, and double the
    constants.
    """

    sigma: int  # sigma, tanh and e^z
    slope: int  # their derivatives
    delta: int  # of a binary cross-entropy, relative to M, which is |delta| for a hard label
    loss: int  # of its loss, for a hard label
    softmax: int  # p; delta relative to M; the loss
    block: int  # terms summed in a row
    shift: int = 0  # z - max z, relative to itself
    from_h: bool = False  # 1 - h, 1 - h^2 and h - y are taken from the rounded h


# The promise of the FMA variants: sigma within 1 ulp <= 2 u, sigma' and delta_L 4 u, N1's blocks.
# E_j = e^(z_j - max z) is within 1.1 u, so is the sum of all, which rounds, and so does a quotient:
# 1.1 + 1.1 + 1 + 1 < 5, and so is the logarithm of the sum with the addition that it is in.
FASTBP = Rounding(sigma=2, slope=4, delta=4, loss=4, softmax=5, block=256)

# Any order of summation, and e^-|z| within 3 ulp <= 7 u of the rounded value, log1p within 2 ulp <=
# 5 u, to which NumPy holds itself: q = e / (1 + e) adds 2 u, 1 - q one, q (1 - q) and (1 - y) - q
# two, their products one; tanh' = 4 e / (1 + e)^2 has 7 u + 4 u; log1p(e) and an addition 7 + 5 + 1
# and the products of these errors 1. Of at most 16 classes the sum of e^(z_j - max z) is within
# 7 u + 15 u, and the quotient of two within 7 u + 22 u + 2 u.
ANY_ORDER = Rounding(sigma=11, slope=12, delta=12, loss=14, softmax=32, block=2**62, shift=1)

# What any library can be held to: sigma as above, then h (1 - h) and h - y. The division of a mean
# is among the 12 u: sigma is within 9 u, the difference 1 u, the quotient 1 u. p = e^(log p) has
# 7 u, and of log p = (z - max z) - log S 22 u of S, 5 u log S <= 14 u, and 1 u of its size.
LIBRARY = ANY_ORDER._replace(softmax=48, shift=2, from_h=True)

# gamma for ANY_ORDER / gamma for FASTBP is below 16 for sums of up to 4000 terms.
LARGEST_RATIO = 16


class Wide(NamedTuple):
    """A format that values are evaluated in, with its elementwise functions and unit roundoff."""

    array: object  # converts an array to the format
    exp: object
    expm1: object
    log1p: object
    u: float


def format_of(dtype):
    """The format of a NumPy dtype."""
    return Wide(lambda x: np.asarray(x, dtype), np.exp, np.expm1, np.log1p,
                float(np.finfo(dtype).eps) / 2)


def wider(dtype):
    """float64 for float32; for float64 the long double, or float64 where that is no wider."""
    return np.float64 if np.dtype(dtype).itemsize == 4 or not _long_is_wider() else np.longdouble


def _long_is_wider():
    """Whether functions of a long double are; Emscripten's round those of its double."""
    e = np.exp(np.longdouble(0.5))
    return e != np.float64(e)


def own_error(dtype, wide):
    """The largest error of values computed in `wide`, relative to the bound for `dtype`.

    The bound grows with u at least in proportion, since expm1 is convex.
    """
    return LARGEST_RATIO * float(np.finfo(wide).eps / np.finfo(dtype).eps)


def magnitude(x):
    """|x| in float64."""
    return np.abs(x).astype(np.float64, copy=False) if np.ndim(x) else np.float64(abs(x))


EXACT = np.float64(0)  # the error of an exact value


class Ball:
    """Values x of a wide format, and e, how far a computation of them may be off; 0 if exact."""

    __slots__ = ("x", "e", "size")

    def __init__(self, x, e=EXACT):
        self.x, self.e, self.size = x, e, magnitude(x)

    @property
    def T(self):
        return Ball(self.x.T, self.e.T)


ZERO = Ball(np.float64(0))


class Arithmetic:
    """Sums and products for one dtype and `Rounding`; values are evaluated in a format `Wide`."""

    def __init__(self, dtype, rounding=FASTBP, wide=None):
        info = np.finfo(dtype)
        self.dtype, self.c = np.dtype(dtype), rounding
        self.wide = format_of(wider(dtype)) if wide is None else wide
        self.u, self.tiny = float(info.eps) / 2, float(info.smallest_subnormal)
        self.largest = float(info.max)

    def given(self, x, e=EXACT):
        """An argument of the network, rounded to the dtype of the computation."""
        return Ball(self.wide.array(np.asarray(x, self.dtype).astype(np.float64)), e)

    def targets(self, y, smoothing, n_classes):
        """t = (1 - epsilon) y + epsilon / n_classes of labels y."""
        t = self.given(y)
        if smoothing:
            epsilon = self.wide.array(smoothing)
            t = Ball((1 - epsilon) * t.x + epsilon / n_classes)
            t.e = 3 * self.u * t.size
        return t

    def rounded(self, size, e, c):
        """e_x of values off by e after roundings of c u in all; infinite where they overflow."""
        e = e + c * (self.u * (size + e) + self.tiny)
        return np.where(size + e < self.largest, e, np.inf)

    def ball(self, x, e, c):
        """The same with its values."""
        return Ball(x, self.rounded(magnitude(x), e, c))

    def product(self, A, B, b=ZERO):
        """A B + b: z of E1, g of E5, dW and db of E6."""
        K, block = A.x.shape[1], self.c.block
        n = (min(K, block) + -(-K // block) + 1) * self.u
        gamma = n / (1 - n)
        e = (gamma * A.size + (1 + gamma) * A.e) @ B.size + (K + 2) * self.tiny
        e += gamma * b.size + (1 + gamma) * b.e
        if np.ndim(B.e):
            e += (1 + gamma) * (A.size + A.e) @ B.e
        # e has gamma of all magnitudes: no partial sum overflows below that of the largest number
        return Ball(A.x @ B.x + b.x, np.where(e < gamma * self.largest, e, np.inf))

    def times(self, A, B):
        """The product of single elements: delta of E5."""
        e = A.size * B.e + A.e * B.size + A.e * B.e
        return Ball(A.x * B.x, self.rounded(A.size * B.size, e, 1) + 2 * self.tiny)

    def weighted(self, w, A):
        """Rows of A, counted w times; w is (n, 1), or None for once."""
        return A if w is None else self.times(Ball(w.x + 0 * A.x), A)

    def total(self, terms):
        """The sum of terms in float64."""
        e = terms.e.sum() + terms.x.size * 2.0**-53 * (terms.size + terms.e).sum()
        return Ball(terms.x.sum(), e)

    def mean(self, A, w, n_samples):
        """A divided by n, or by the sum of the weights, itself a float64 sum cast to the dtype."""
        total, c = (n_samples, 1) if w is None else (w.x.sum(), 2 + n_samples * 2.0**-53 / self.u)
        return Ball(A.x / total, self.rounded(A.size, A.e, c) / float(total) + self.tiny)
