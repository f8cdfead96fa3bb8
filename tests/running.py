"""The rules of the running error bound: each takes arrays with bounds and gives arrays with bounds.

u is the unit roundoff, K the length of a sum, |·| elementwise, e_x what a computed x may be off:

    γ(K) = n u/(1 − n u),  n = min(K, 256) + ⌈K/256⌉ + 1;      η(K) = (K + 2) · tiny
    e_z  = γ(K) (|h| |W| + |b|) + e_h |W| + η
    e_g  = γ(K) |δ| |Wᵀ| + e_δ |Wᵀ| + η,  g = δ Wᵀ
    e_δ  = |h′| e_g + |g| e_h′ + e_g e_h′ + u |g| |h′| + η
    e_dW = γ(m) |hᵀ| |δ| + e_hᵀ |δ| + |hᵀ| e_δ + e_hᵀ e_δ + η        m = n_samples; db: h = 1

An activation moves with z by no more than follows, and rounds by c u beside that (`Rounding`):

    σ         e_h = min(|h| expm1(e_z), |σ′| e_z + e_z²/20)         |d ln σ/dz| ≤ 1, max |σ″| < 1/10
              e_h′ = min(|σ′| expm1(e_z), e_z/10)                   |d ln σ′/dz| ≤ 1
    tanh      e_h = min(|tanh′| e_z + 2 e_z²/5, e_z)                max |tanh″| = 4/(3√3) < 4/5
              e_h′ = min(|tanh′| expm1(2 e_z), 4 e_z/5)             |d ln tanh′/dz| = 2 |tanh z| ≤ 2
    relu      e_h = max(0, min(z, 0) + e_z),  e_h′ = 1 where |z| ≤ e_z, else 0; no rounding
    identity  e_h = e_z,  e_h′ = 0; no rounding

So do h_L, δ_L = f − t and the loss ℓ of one output, M = (1 − t) f + t (1 − f) being |δ_L| for t = 0
and 1, and P the larger of 1 and pos_weight p, which is a factor of t in M and ℓ:

    bce            e_δ = min(M expm1(e_z), P e_z/4)                |d ln σ(±z)/dz| ≤ 1, max σ′ = 1/4
                   e_ℓ = min(ℓ expm1(e_z), P e_z)                  |d ln ln(1 + e^z)/dz| ≤ 1
    softmax        e_δ = min(M expm1(E), E/4),  E = 2 max_k e_z_k  below
                   e_ℓ = t min(−ln p expm1(E), E)
    squared_error  e_δ = e_z + u |δ|,  e_ℓ = |δ| e_z + e_z²/2 + 3 u ℓ
    poisson        e_δ = e_f + u |δ|,  e_f = f expm1(e_z) + c u f
                   e_ℓ = e_f + t e_z + u |ℓ| + u t |z|             no FMA: t z rounds too

d ln p_j = dz_j − Σ_k p_k dz_k = Σ_{k≠j} p_k (dz_j − dz_k) is at most (1 − p_j) E, d ln (1 − p_j) at
most p_j E, and d ln (−ln p_j) at most E, because −ln p_j ≥ 1 − p_j; |dp_j| ≤ p_j (1 − p_j) E ≤ E/4.
A smoothed t is off by three roundings, e_t = 3 u t, which enters e_δ P times and e_ℓ as
P ln(1 + e^|z|) e_t, or −ln p e_t.

Where x is a computed factor, |x| + e_x stands for |x|, so that no term of second order is lost.
"""

from typing import NamedTuple

import mpmath
import numpy as np

KC = 256  # the reduction block of contract N1

mp = mpmath.mp.clone()
mp.dps = 50


class Wide(NamedTuple):
    """A format with its elementwise functions: float64, an extended long double, or 50 digits."""

    array: object
    exp: object
    expm1: object
    log1p: object
    u: float


DIGITS = Wide(*(np.frompyfunc(f, 1, 1) for f in (mp.mpf, mp.exp, mp.expm1, mp.log1p)),
              float(mp.eps) / 2)


def wider_than(u):
    """A format whose rounding is next to nothing beside the unit roundoff ``u``."""
    if u > 2.0**-40:
        return Wide(np.float64, np.exp, np.expm1, np.log1p, 2.0**-53)
    if np.finfo(np.longdouble).nmant >= 63:
        return Wide(np.longdouble, np.exp, np.expm1, np.log1p, 2.0**-64)
    return DIGITS


def magnitude(x):
    """|x| in float64."""
    return np.asarray(np.abs(x)).astype(np.float64)


class Ball:
    """Wide values x, and the bound e of what a computation of them may be off."""

    def __init__(self, x, e=None):
        self.x, self.size = x, magnitude(x)
        self.e = np.zeros_like(self.size) if e is None else e

    @property
    def T(self):
        return Ball(self.x.T, self.e.T)


class Arithmetic:
    """What all networks have in common, for one unit roundoff and `Rounding` c."""

    def __init__(self, u, rounding, wide=None):
        self.u, self.c, self.wide = u, rounding, wide or wider_than(u)
        self.dtype, self.tiny = (
            (np.float32, 2.0**-149) if u > 2.0**-40 else (np.float64, 2.0**-1074))

    def given(self, x):
        """An argument of the network: exact, once it has the dtype of the computation."""
        return Ball(self.wide.array(np.asarray(x, self.dtype).astype(np.float64)))

    def targets(self, y, smoothing, n_classes):
        """t = (1 − ε) y + ε/n_classes of labels y."""
        t = self.given(y)
        if smoothing:
            epsilon = self.wide.array(smoothing)
            t = Ball((1 - epsilon) * t.x + epsilon / n_classes)
            t.e = 3 * self.u * t.size
        return t

    def rounded(self, x, e, c):
        """Values x, off by e, that undergo c units of rounding."""
        return Ball(x, e + c * (self.u * (magnitude(x) + e) + self.tiny))

    def product(self, A, B, b=None):
        """A B + b (E1, E6, and g of E5)."""
        K = A.x.shape[1]
        n = min(K, KC) + -(-K // KC) + 1
        gamma = n * self.u / (1 - n * self.u)
        x, size = A.x @ B.x, A.size @ B.size
        if b is not None:
            x, size = x + b.x, size + b.size
        carried = A.e @ (B.size + B.e) + A.size @ B.e
        return Ball(x, gamma * (size + carried) + carried + (K + 2) * self.tiny)

    def times(self, A, B):
        """A ⊙ B."""
        e = A.size * B.e + A.e * B.size + A.e * B.e
        return self.rounded(A.x * B.x, e + 2 * self.tiny, 1)

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
        return Ball(A.x / total, self.rounded(A.x, A.e, c).e / float(total) + self.tiny)


# ---- activations: of z, h (E1) and h′ (E4)


def tails(do, z):
    """e^−|z|, σ(z) and σ(−z)."""
    e = do.wide.exp(-np.abs(z))
    q = e / (1 + e)
    return e, np.where(z < 0, q, 1 - q), np.where(z < 0, 1 - q, q)


def sigmoid(do, z):
    _, up, down = tails(do, z.x)
    h, slope = magnitude(up), magnitude(up * down)
    # fmin and not minimum: 0 · expm1(inf) is NaN
    e_h = np.fmin(h * np.expm1(z.e), slope * z.e + z.e**2 / 20)
    e_slope = np.fmin(slope * np.expm1(z.e), z.e / 10)
    return do.rounded(up, e_h, do.c.sigma), do.rounded(up * down, e_slope, do.c.slope)


def tanh(do, z):
    e, up, down = tails(do, 2 * z.x)
    h = -do.wide.expm1(-2 * np.abs(z.x)) / (1 + e)
    slope = magnitude(4 * up * down)
    e_h = np.fmin(slope * z.e + 0.4 * z.e**2, z.e)
    e_slope = np.fmin(slope * np.expm1(2 * z.e), 0.8 * z.e)
    return (do.rounded(np.where(z.x < 0, -h, h), e_h, do.c.sigma),
            do.rounded(4 * up * down, e_slope, do.c.slope))


def relu(do, z):
    e_h = np.where(z.x < 0, np.maximum(z.e - z.size, 0), z.e)
    return (Ball(np.where(z.x < 0, 0, z.x), e_h),
            Ball(np.where(z.x > 0, 1, 0), np.where(z.size <= z.e, 1.0, 0.0)))


def identity(do, z):
    return z, Ball(np.ones_like(z.x))


ACTIVATIONS = {"sigmoid": sigmoid, "tanh": tanh, "relu": relu, "identity": identity}


# ---- losses: of z, targets t and pos_weight p, f = h_L (E1), δ_L (E3) and the terms of L (E2)


def is_soft(t):
    """1 for targets that are neither 0 nor 1, where two terms that round are left of each."""
    return np.where((t.size > 0) & (t.size < 1), 1, 0)


def bce(do, z, t, p):
    E, up, down = tails(do, z.x)
    log = do.wide.log1p(E)
    softplus = np.where(z.x < 0, 0, z.x) + log, np.where(z.x < 0, -z.x, 0) + log
    positive, most = (t.x, 1) if p is None else (t.x * p.x, np.maximum(p.size, 1))
    M = magnitude((1 - t.x) * up + positive * down)
    e = np.fmin(M * np.expm1(z.e), most * z.e / 4) + most * t.e
    c = do.c.delta * (1 if p is None else 1 + is_soft(t))
    e = do.rounded(M, e, c).e + c * do.tiny * most  # a tail that underflows is multiplied by p
    delta = Ball((1 - t.x) * up - positive * down, e)
    terms = (1 - t.x) * softplus[0] + positive * softplus[1]
    e = np.fmin(magnitude(terms) * np.expm1(z.e), most * z.e)
    e = e + most * t.e * (z.size + z.e + np.log(2))  # ln(1 + e^|z|) ≤ |z| + ln 2
    if p is None:  # t z and max(z, 0) − t z round, neither larger than |z|
        terms = do.rounded(terms, e, do.c.loss)
        terms.e = terms.e + is_soft(t) * 2 * do.u * (z.size + z.e)
    else:  # the product with p t rounds, and without FMA that with log1p(E) does
        terms = do.rounded(terms, e, (do.c.loss + 2) * (1 + is_soft(t)))
    return sigmoid(do, z)[0], delta, terms


def softmax(do, z, t, _):
    top = z.x.max(axis=1, keepdims=True)
    E = do.wide.exp(z.x - top)
    others = E @ (1 - np.eye(z.x.shape[1], dtype=int))  # Σ_{k≠j} E_k, without a cancellation
    up, down = E / E.sum(axis=1, keepdims=True), others / E.sum(axis=1, keepdims=True)
    e_z = 2 * (z.e + do.c.shift * do.u * magnitude(top - z.x)).max(axis=1, keepdims=True)
    h = do.rounded(up, np.fmin(magnitude(up) * np.expm1(e_z), e_z / 4), do.c.softmax)
    M = magnitude((1 - t.x) * up + t.x * down)
    e = np.fmin(M * np.expm1(e_z), e_z / 4) + t.e
    delta = Ball((1 - t.x) * up - t.x * down,
                 do.rounded(M, e, do.c.softmax * (1 + is_soft(t))).e)
    surprise = top - z.x + do.wide.log1p(others.min(axis=1, keepdims=True))  # −ln p
    size = magnitude(surprise)
    e = (t.size + t.e) * np.fmin(size * np.expm1(e_z), e_z) + t.e * size
    return h, delta, do.rounded(t.x * surprise, e, do.c.softmax * (1 + is_soft(t)))


def squared_error(do, z, t, _):
    delta = do.rounded(z.x - t.x, z.e, 1)
    return z, delta, do.rounded(delta.x**2 / 2, delta.size * z.e + z.e**2 / 2, 3)


def poisson(do, z, t, _):
    f = do.wide.exp(z.x)
    h = do.rounded(f, magnitude(f) * np.expm1(z.e), do.c.sigma)
    terms = do.rounded(f - t.x * z.x, h.e + t.size * z.e, 1)
    terms.e = terms.e + do.u * t.size * (z.size + z.e)
    return h, do.rounded(f - t.x, h.e, 1), terms


LOSSES = {"bce": bce, "softmax": softmax, "squared_error": squared_error, "poisson": poisson}
