"""How far rounding may lead a gradient from its true value: E1 to E6 with a running bound.

Beside every array x of a sigmoid network under binary cross-entropy stands e_x, what a computation
with unit roundoff u may be off. |.| is elementwise, K the length of a sum, tiny the least number:

    gamma(K) = n u / (1 - n u),  n = min(K, block) + ceil(K / block) + 1,  eta(K) = (K + 2) tiny
    e_z      = gamma(K) (|h| |W| + |b|) + e_h |W| + eta(K)
    e_h      = min(h expm1(e_z), sigma' e_z + e_z^2 / 20) + c_sigma u h       max |sigma''| < 1/10
    e_sigma' = min(sigma' expm1(e_z), e_z / 10) + c_slope u sigma'      |d ln sigma' / dz| <= 1
    e_deltaL = min(M expm1(e_z), e_z / 4) + c_delta u M,  M = (1 - y) sigma(z) + y sigma(-z)
    e_g      = gamma(K) |delta| |W^T| + e_delta |W^T| + eta(K),  g = delta W^T
    e_delta  = sigma' e_g + |g| e_sigma' + e_g e_sigma' + u |g| sigma' + eta
    e_dW     = gamma(m) |h^T| |delta| + e_h^T |delta| + |h^T| e_delta + e_h^T e_delta + eta(m)

m is the number of samples, and db is dW with h = 1. A computed factor is at most |x| + e_x. Where
1 - h and h - y are taken from the rounded h, its error c_sigma u h <= c_sigma u enters both:
e_sigma' has c_sigma u h more, for |d (h (1 - h)) / dh| <= 1, and M of e_deltaL's last term is 1.
Where W and b are known to e_W and e_b only, e_z and e_g have |h| e_W, e_b and |delta| e_W^T more.
"""

import math
from typing import NamedTuple

import numpy as np


class Rounding(NamedTuple):
    """Errors of sigma, sigma' and delta_L for the exact z, in units of u; terms summed in a row.

    `from_h`: 1 - h and h - y are taken from the rounded h.
    """

    sigma: int
    slope: int
    delta: int
    block: int
    from_h: bool = False


# The promise of the FMA variants: sigma within 1 ulp <= 2 u, sigma' and delta_L 4 u, N1's blocks.
FASTBP = Rounding(sigma=2, slope=4, delta=4, block=256)

# Any order of summation, and e^-|z| within 3 ulp <= 7 u of the rounded value, to which NumPy holds
# itself: q = e / (1 + e) adds 2 u, 1 - q one, q (1 - q) and (1 - y) - q two, their products one.
ANY = Rounding(sigma=11, slope=12, delta=12, block=2**62)

# What can be asked of any library: sigma as above, then h (1 - h) and h - y. The division of a mean
# is among the 12 u: sigma is within 9 u, the difference 1 u, the quotient 1 u.
LIBRARY = ANY._replace(from_h=True)

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

    def rounded(self, size, e, c):
        """e_x of values off by e after roundings of c u in all."""
        return e + c * (self.u * (size + e) + self.tiny)

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
        return Ball(A.x @ B.x + b.x, e)

    def times(self, A, B):
        """The product of single elements: delta of E5."""
        size_A, size_B = _size(A.x), _size(B.x)
        e = size_A * B.e + A.e * size_B + A.e * B.e
        return Ball(A.x * B.x, self.rounded(size_A * size_B, e, 1) + 2 * self.tiny)

    def activate(self, z):
        """sigma(z) and sigma'(z)."""
        up, down = tails(z.x)
        h, slope = _size(up), _size(up * down)
        relative = np.expm1(z.e)
        e_h = np.fmin(h * relative, slope * z.e + z.e**2 / 20)
        e_slope = np.fmin(slope * relative, z.e / 10)
        if self.c.from_h:
            e_slope += self.c.sigma * self.u * h
        return (Ball(up, self.rounded(h, e_h, self.c.sigma)),
                Ball(up * down, self.rounded(slope, e_slope, self.c.slope)))

    def output_delta(self, z, y):
        """delta_L."""
        up, down = tails(z.x)
        M = _size((1 - y) * up + y * down)
        e = np.fmin(M * np.expm1(z.e), z.e / 4)  # max sigma' = 1/4
        size = 1 if self.c.from_h else M
        return Ball((1 - y) * up - y * down, self.rounded(size, e, self.c.delta))


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


def error_bound(weights, biases, X, y, rounding=FASTBP, wide=np.float64, off=None):
    """The gradient of the summed loss in a wider format, and its running error bound.

    Parameters
    ----------
    weights, biases : sequences of (fan_in, fan_out) and (fan_out,) ndarrays
        Their dtype is that of the computation which is bounded.
    X : (n, n_features) ndarray
    y : (n, n_outputs) ndarray
    rounding : Rounding
        What is known about the computation.
    wide : dtype
        Of the values.
    off : (n_params,) float64 ndarray, optional
        e_W and e_b, in the order of the gradient.

    Returns
    -------
    grad : (n_params,) ndarray of `wide`
        dW_1.ravel(), db_1, dW_2.ravel(), ...; itself off by `own_error` times the bound.
    bound : (n_params,) float64 ndarray
        Of |computed - true|.
    """
    rules = Rules(weights[0].dtype, rounding)
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
            h, slope = rules.activate(z)
            inputs.append(h)
            slopes.append(slope)
            z = rules.product(h, W_l, b_l)
        delta = rules.output_delta(z, y.astype(wide))
        ones, parts = Ball(np.ones((1, len(X)), wide)), []
        for k in reversed(range(len(W))):
            parts[:0] = rules.product(inputs[k].T, delta), rules.product(ones, delta)
            if k > 0:
                delta = rules.times(rules.product(delta, W[k].T), slopes[k - 1])
    return (np.concatenate([part.x.ravel() for part in parts]),
            np.concatenate([part.e.ravel() for part in parts]))
