"""How far rounding may lead a gradient from its true value: E1 to E6 with a running bound.

Beside every array x of a network stands e_x, what a computation with unit roundoff u may be off.
|.| is elementwise, K the length of a sum, tiny the least number:

    gamma(K) = n u / (1 - n u),  n = min(K, block) + ceil(K / block) + 1,  eta(K) = (K + 2) tiny
    e_z      = gamma(K) (|h| |W| + |b|) + e_h |W| + eta(K)
    e_g      = gamma(K) |delta| |W^T| + e_delta |W^T| + eta(K),  g = delta W^T
    e_delta  = |h'| e_g + |g| e_h' + e_g e_h' + u |g| |h'| + eta
    e_dW     = gamma(m) |h^T| |delta| + e_h^T |delta| + |h^T| e_delta + e_h^T e_delta + eta(m)

m is the number of samples, and db is dW with h = 1. A computed factor is at most |x| + e_x. Where
W and b are known to e_W and e_b only, e_z and e_g have |h| e_W, e_b and |delta| e_W^T more. e_x is
infinite where x may overflow, or a sum on its way to x.

Each function moves with z by no more than this, and has c u of its value, or of M, beside it:

    sigma     e_h = min(h expm1(e_z), h' e_z + e_z^2 / 20)            max |sigma''| < 1/10
              e_h' = min(h' expm1(e_z), e_z / 10)                     |d ln sigma' / dz| <= 1
    tanh      e_h = min(h' e_z + 2 e_z^2 / 5, e_z)                    max |tanh''| < 4/5
              e_h' = min(h' expm1(2 e_z), 4 e_z / 5)                  |d ln tanh' / dz| <= 2
    relu      e_h = max(0, min(z, 0) + e_z), e_h' = 1 where |z| <= e_z, else 0
    identity  e_h = e_z, e_h' = 0

    bce            e_deltaL = min(M expm1(e_z), e_z / 4),  M = (1 - y) f + y (1 - f)
    softmax        e_deltaL = min(M expm1(E), E / 4),  E = 2 max_k e_z_k over the outputs
    squared_error  e_deltaL = e_z + u |delta_L|
    poisson        e_deltaL = f expm1(e_z) + c_sigma u f + u |delta_L|

for d ln p_j = sum_k p_k (dz_j - dz_k) is at most (1 - p_j) E, d ln (1 - p_j) at most p_j E, and
dp_j = p_j d ln p_j at most E / 4. A z - max z that rounds adds u |z - max z| to e_z.

Where 1 - h, 1 - h^2 and h - y are taken from the rounded h, its error c_sigma u |h| enters all of
them: e_h' has c_sigma u h or 2 c_sigma u |h| more, for |d (h (1 - h)) / dh| <= 1 and
|d (1 - h^2) / dh| = 2 |h|, and M of the last term is 1.
"""

import math
from typing import NamedTuple

import numpy as np

from . import _arguments, _mathematics


class Rounding(NamedTuple):
    """Errors of the functions for the exact z, in units of u; terms summed in a row.

    `sigma` is that of tanh and e^z too, `slope` of their derivatives, `delta` of a binary
    cross-entropy, `softmax` of p and of its delta_L for hard labels, `shift` of z - max z.
    `from_h`: 1 - h, 1 - h^2 and h - y are taken from the rounded h.
    """

    sigma: int
    slope: int
    delta: int
    softmax: int
    block: int
    shift: int = 0
    from_h: bool = False


# The promise of the FMA variants: sigma within 1 ulp <= 2 u, sigma' and delta_L 4 u, N1's blocks.
# E_j = e^(z_j - max z) is within 1.1 u, so is the sum of all, which rounds, and so does a quotient.
FASTBP = Rounding(sigma=2, slope=4, delta=4, softmax=5, block=256)

# Any order of summation, and e^-|z| within 3 ulp <= 7 u of the rounded value, to which NumPy holds
# itself: q = e / (1 + e) adds 2 u, 1 - q one, q (1 - q) and (1 - y) - q two, their products one;
# tanh' = 4 e / (1 + e)^2 has 7 u + 4 u. Of at most 16 classes the sum of e^(z_j - max z) is within
# 7 u + 15 u, and the quotient of two within 7 u + 22 u + 2 u.
ANY = Rounding(sigma=11, slope=12, delta=12, softmax=32, block=2**62, shift=1)

# What can be asked of any library: sigma as above, then h (1 - h) and h - y. The division of a mean
# is among the 12 u: sigma is within 9 u, the difference 1 u, the quotient 1 u. p = e^(log p) has
# 7 u, and of log p = (z - max z) - log S 22 u of S, 5 u log S <= 14 u, and 1 u of its size.
LIBRARY = ANY._replace(softmax=48, shift=2, from_h=True)

# Of two roundings for the same u, sums of up to 4000 terms: gamma for ANY / gamma for FASTBP < 16.
LOOSEST = 16


class Ball(NamedTuple):
    """Values, and what a computation of them may be off."""

    x: np.ndarray
    e: np.ndarray = np.float64(0)

    @property
    def T(self):
        return Ball(self.x.T, self.e.T)


ZERO = Ball(np.float64(0))


class Rules:
    """The formulas above for one dtype and `Rounding`."""

    def __init__(self, dtype, rounding):
        info = np.finfo(dtype)
        self.u, self.tiny, self.c = float(info.eps) / 2, float(info.smallest_subnormal), rounding
        self.largest = float(info.max)

    def rounded(self, size, e, c):
        """e_x of values off by e after roundings of c u in all; infinite where they overflow."""
        e = e + c * (self.u * (size + e) + self.tiny)
        return np.where(size + e < self.largest, e, np.inf)

    def ball(self, x, e, c):
        """The same with its values."""
        return Ball(x, self.rounded(_size(x), e, c))

    def product(self, A, B, b=ZERO):
        """A B + b: z of E1, g of E5, dW and db of E6."""
        K, block = A.x.shape[1], self.c.block
        n = (min(K, block) + -(-K // block) + 1) * self.u
        gamma = n / (1 - n)
        size_A, size_B = _size(A.x), _size(B.x)
        e = (gamma * size_A + (1 + gamma) * A.e) @ size_B + (K + 2) * self.tiny
        e += gamma * _size(b.x) + (1 + gamma) * b.e
        if B.e.ndim:
            e += (1 + gamma) * (size_A + A.e) @ B.e
        # e has gamma of all magnitudes: no partial sum overflows below that of the largest number
        return Ball(A.x @ B.x + b.x, np.where(e < gamma * self.largest, e, np.inf))

    def times(self, A, B):
        """The product of single elements: delta of E5."""
        size_A, size_B = _size(A.x), _size(B.x)
        e = size_A * B.e + A.e * size_B + A.e * B.e
        return Ball(A.x * B.x, self.rounded(size_A * size_B, e, 1) + 2 * self.tiny)


def _size(x):
    return np.abs(x).astype(np.float64, copy=False) if np.ndim(x) else abs(x)


def tails(z):
    """sigma(z) and sigma(-z), neither from the other's rounded value."""
    e = np.exp(-np.abs(z))
    q = e / (1 + e)
    return np.where(z < 0, q, 1 - q), np.where(z < 0, 1 - q, q)


def wider(dtype):
    """float64 for float32; for float64 the long double, which may be no wider on this machine."""
    return np.float64 if np.dtype(dtype).itemsize == 4 else np.longdouble


def own_error(dtype, wide):
    """What values computed in `wide` are off, at most, relative to the bound for `dtype`.

    The bound grows with u at least in proportion, since expm1 is convex.
    """
    return LOOSEST * float(np.finfo(wide).eps / np.finfo(dtype).eps)


# ---- activations: h and h' of z


def sigmoid(do, z):
    up, down = tails(z.x)
    h, slope = _size(up), _size(up * down)
    relative = np.expm1(z.e)
    e_h = np.fmin(h * relative, slope * z.e + z.e**2 / 20)
    e_slope = np.fmin(slope * relative, z.e / 10)
    if do.c.from_h:
        e_slope += do.c.sigma * do.u * h
    return do.ball(up, e_h, do.c.sigma), do.ball(up * down, e_slope, do.c.slope)


def tanh(do, z):
    up, down = tails(2 * z.x)
    h = np.sign(z.x) * np.expm1(-2 * np.abs(z.x)) / (-1 - np.exp(-2 * np.abs(z.x)))
    slope = _size(4 * up * down)
    e_h = np.fmin(slope * z.e + 0.4 * z.e**2, z.e)
    e_slope = np.fmin(slope * np.expm1(2 * z.e), 0.8 * z.e)
    if do.c.from_h:
        e_slope += 2 * do.c.sigma * do.u * _size(h)
    return do.ball(h, e_h, do.c.sigma), do.ball(4 * up * down, e_slope, do.c.slope)


def relu(do, z):
    e_h = np.where(z.x < 0, np.fmax(z.e - _size(z.x), 0), z.e)
    return (Ball(np.fmax(z.x, 0), e_h),
            Ball(np.where(z.x > 0, 1.0, 0.0), np.where(_size(z.x) <= z.e, 1.0, 0.0)))


def identity(do, z):
    return z, Ball(np.ones_like(z.x), np.zeros_like(z.e))


ACTIVATIONS = {name: globals()[name] for name in _arguments.ACTIVATIONS}


# ---- losses: delta_L of z and targets


def bce(do, z, y):
    up, down = tails(z.x)
    return _gap(do, up, down, y, z.e, do.c.delta)


def softmax(do, z, y):
    a, _ = _mathematics.below_largest(z.x)
    E = np.exp(a)
    others = E @ (1 - np.eye(E.shape[1], dtype=E.dtype))    # 1 - p without a cancellation
    S = E.sum(axis=1, keepdims=True)
    e = 2 * (z.e + do.c.shift * do.u * _size(a)).max(axis=1, keepdims=True)
    return _gap(do, E / S, others / S, y, e, do.c.softmax)


def _gap(do, f, rest, y, e, c):
    """f - y, where f + rest = 1 and neither's logarithm moves by more than e."""
    M = _size((1 - y) * f + y * rest)
    size = 1 if do.c.from_h else M
    return Ball((1 - y) * f - y * rest, do.rounded(size, np.fmin(M * np.expm1(e), e / 4), c))


def squared_error(do, z, y):
    return do.ball(z.x - y, z.e, 1)


def poisson(do, z, y):
    f = np.exp(z.x)
    return do.ball(f - y, do.rounded(_size(f), _size(f) * np.expm1(z.e), do.c.sigma), 1)


LOSSES = {name: globals()[name] for name in _arguments.LOSSES}


# ---- the whole gradient


def error_bound(weights, biases, X, y, rounding=FASTBP, wide=np.float64, off=None, *,
                activation="sigmoid", loss="bce"):
    """The gradient of the summed loss in a wider format, and its running error bound.

    Parameters
    ----------
    weights, biases : sequences of (fan_in, fan_out) and (fan_out,) ndarrays
        Their dtype is that of the computation which is bounded.
    X : (n, n_features) ndarray
    y : (n, n_outputs) ndarray, or (n,) classes of a softmax
        Hard labels, where they are labels.
    rounding : Rounding
        What is known about the computation.
    wide : dtype
        Of the values.
    off : (n_params,) float64 ndarray, optional
        e_W and e_b, in the order of the gradient.
    activation, loss : str
        As for `MLP`.

    Returns
    -------
    grad : (n_params,) ndarray of `wide`
        dW_1.ravel(), db_1, dW_2.ravel(), ...; itself off by `own_error` times the bound.
    bound : (n_params,) float64 ndarray
        Of |computed - true|.
    """
    rules = Rules(weights[0].dtype, rounding)
    if _arguments.LOSSES[loss].is_distribution and y.ndim == 1:
        y = np.eye(biases[-1].size)[y.astype(np.intp)]
    W = [Ball(a.astype(wide)) for a in weights]
    b = [Ball(a.astype(wide)) for a in biases]
    if off is not None:
        shapes = [a.x.shape for layer in zip(W, b, strict=True) for a in layer]
        parts = np.split(off, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
        e = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        W = [a._replace(e=e_a) for a, e_a in zip(W, e[::2], strict=True)]
        b = [a._replace(e=e_a) for a, e_a in zip(b, e[1::2], strict=True)]
    inputs, slopes = [Ball(X.astype(wide))], []
    with np.errstate(all="ignore"):  # a bound may overflow, a product of tails underflow
        z = rules.product(inputs[0], W[0], b[0])
        for W_l, b_l in zip(W[1:], b[1:], strict=True):
            h, slope = ACTIVATIONS[activation](rules, z)
            inputs.append(h)
            slopes.append(slope)
            z = rules.product(h, W_l, b_l)
        delta = LOSSES[loss](rules, z, y.astype(wide))
        ones, parts = Ball(np.ones((1, len(X)), wide)), []
        for k in reversed(range(len(W))):
            parts[:0] = rules.product(inputs[k].T, delta), rules.product(ones, delta)
            if k > 0:
                delta = rules.times(rules.product(delta, W[k].T), slopes[k - 1])
    return (np.concatenate([part.x.ravel() for part in parts]),
            np.concatenate([part.e.ravel() for part in parts]))
