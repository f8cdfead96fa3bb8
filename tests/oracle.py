"""What the tests compare with: exact values, and bounds on how far rounding may lead from them.

`error_bound` evaluates a sigmoid network and its gradient (E1 to E6) in a wider format, and beside
every array the running error bound of what any computation under contract N1 may return. u is the
unit roundoff, K the length of a sum, |·| elementwise, e_x the bound of x:

    γ(K) = n u/(1 − n u),  n = min(K, 256) + ⌈K/256⌉ + 1;      η(K) = (K + 2) · tiny
    e_z  = γ(K) (|h| |W| + |b|) + e_h |W| + η
    e_h  = min(|h| expm1(e_z), |σ′| e_z + e_z²/20) + c u |h|         max |σ″| = 1/(6√3) < 1/10
    e_σ′ = |σ′| expm1(e_z) + c u |σ′|                                |d ln σ′/dz| ≤ 1
    e_δL = M expm1(e_z) + c u M,  M = (1 − y) σ(z) + y σ(−z)         |d ln σ(±z)/dz| ≤ 1
    e_g  = γ(K) |δ| |Wᵀ| + e_δ |Wᵀ| + η,  g = δ Wᵀ
    e_δ  = |σ′| e_g + |g| e_σ′ + e_g e_σ′ + u |g| |σ′| + η
    e_dW = γ(m) |hᵀ| |δ| + e_hᵀ |δ| + |hᵀ| e_δ + e_hᵀ e_δ + η        m = n_samples; db: h = 1

with c the constant of each function in `Rounding`. Where x is a computed factor, |x| + e_x stands
for |x|, so that no term of second order is lost; a Lipschitz bound takes over where expm1(e_z) is
large. The scalar functions at the end are exact to 50 digits, to count units in the last place.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import mpmath
import numpy as np

KC = 256  # the reduction block of contract N1

mp = mpmath.mp.clone()
mp.dps = 50


class Rounding(NamedTuple):
    """Relative errors of the elementwise functions for the exact z, in units of u; 1 ulp ≤ 2 u."""

    sigma: int
    slope: int
    delta: int  # relative to M, which is |δ| for a hard label
    loss: int  # for a hard label


FASTBP = Rounding(sigma=2, slope=4, delta=4, loss=4)  # as promised

# NumPy's own tests hold exp to 3 ulp and log1p to 2 ulp of the rounded value: 7 u and 5 u. So
# q = e/(1 + e) is within 7 + 1 + 1 = 9 u, 1 − q one more, q (1 − q) and (1 − y) − q two more, and
# log1p(e) plus an addition within 7 + 5 + 1. One u on top is for the products of these errors.
NUMPY = Rounding(sigma=11, slope=12, delta=12, loss=14)


class Quantities(NamedTuple):
    """What a gradient computes, or a bound on each; layer l is entry l − 1 of a list."""

    z: list
    h: list
    delta: list
    dW: list
    db: list
    loss: object


# ---- values with error bounds


class _Wide(NamedTuple):
    """A format with its elementwise functions: float64, an extended long double, or mpmath."""

    array: object
    exp: object
    log1p: object
    u: float


def _wider_than(u):
    """A format whose rounding is next to nothing beside the unit roundoff ``u``."""
    if u > 2.0**-40:
        return _Wide(np.float64, np.exp, np.log1p, 2.0**-53)
    if np.finfo(np.longdouble).nmant >= 63:
        return _Wide(np.longdouble, np.exp, np.log1p, 2.0**-64)
    number, exp, log1p = (np.frompyfunc(f, 1, 1) for f in (mp.mpf, mp.exp, mp.log1p))
    return _Wide(number, exp, log1p, 2.0**-106)


def _size(x):
    return np.asarray(np.abs(x)).astype(np.float64)


class _Ball:
    """Wide values x, and the bound e of what a computation of them may be off."""

    def __init__(self, x, e=None):
        self.x, self.size = x, _size(x)
        self.e = np.zeros_like(self.size) if e is None else e

    @property
    def T(self):
        return _Ball(self.x.T, self.e.T)


class _Arithmetic:
    """The formulas at the head of this file, for one unit roundoff."""

    def __init__(self, u, rounding):
        self.u, self.c, self.wide = u, rounding, _wider_than(u)
        self.dtype, self.tiny = (
            (np.float32, 2.0**-149) if u > 2.0**-40 else (np.float64, 2.0**-1074))

    def given(self, x):
        """An argument of the network: exact, once it has the dtype of the computation."""
        return _Ball(self.wide.array(np.asarray(x, self.dtype).astype(np.float64)))

    def rounded(self, size, e, c):
        """The bound of values off by e that undergo c units of rounding."""
        return e + c * (self.u * (size + e) + self.tiny)

    def product(self, A, B, b=None):
        """A B + b (E1, E6, and g of E5)."""
        K = A.x.shape[1]
        n = min(K, KC) + -(-K // KC) + 1
        gamma = n * self.u / (1 - n * self.u)
        x, size = A.x @ B.x, A.size @ B.size
        if b is not None:
            x, size = x + b.x, size + b.size
        carried = A.e @ (B.size + B.e) + A.size @ B.e
        return _Ball(x, gamma * (size + carried) + carried + (K + 2) * self.tiny)

    def times(self, A, B):
        """A ⊙ B."""
        e = A.size * B.e + A.e * B.size + A.e * B.e
        return _Ball(A.x * B.x, self.rounded(A.size * B.size, e, 1) + 2 * self.tiny)

    def tails(self, z):
        """e^{−|z|}, σ(z) and σ(−z), without bounds."""
        e = self.wide.exp(-np.abs(z.x))
        q = e / (1 + e)
        return e, np.where(z.x < 0, q, 1 - q), np.where(z.x < 0, 1 - q, q)

    def activate(self, z):
        """σ(z) (E1) and σ′(z) (E4)."""
        _, up, down = self.tails(z)
        h, slope = _Ball(up), _Ball(up * down)
        # fmin and not minimum: 0 · expm1(inf) is NaN
        e_h = np.fmin(h.size * np.expm1(z.e), slope.size * z.e + z.e**2 / 20)
        e_slope = np.fmin(slope.size * np.expm1(z.e), z.e / 10)
        h.e = self.rounded(h.size, e_h, self.c.sigma)
        slope.e = self.rounded(slope.size, e_slope, self.c.slope)
        return h, slope

    def output_delta(self, z, y):
        """δ_L (E3) of samples that count once."""
        _, up, down = self.tails(z)
        M = _size((1 - y.x) * up + y.x * down)
        e = np.fmin(M * np.expm1(z.e), z.e / 4)  # max σ′ = 1/4
        return _Ball((1 - y.x) * up - y.x * down, self.rounded(M, e, self.c.delta))

    def loss(self, z, y, w):
        """L (E2): terms in the dtype of the computation, weighted, summed in float64."""
        e = self.tails(z)[0]
        terms = _Ball(np.where(z.x < 0, 0, z.x) - y.x * z.x + self.wide.log1p(e))
        drift = np.fmin(terms.size * np.expm1(z.e), z.e)  # |d ln loss/dz| ≤ 1, |d loss/dz| ≤ 1
        terms.e = self.rounded(terms.size, drift, self.c.loss)
        # a soft label rounds y z and max(z, 0) − y z, neither larger than |z|
        terms.e = terms.e + 2 * self.u * (z.size + z.e) * ((y.size > 0) & (y.size < 1))
        if w is not None:
            terms = self.times(_Ball(w.x + 0 * terms.x), terms)
        e = terms.e.sum() + terms.x.size * 2.0**-53 * (terms.size + terms.e).sum()
        return _Ball(terms.x.sum(), e)

    def mean(self, A, w, n_samples):
        """A divided by n, or by the sum of the weights, itself a float64 sum cast to the dtype."""
        total, c = (n_samples, 1) if w is None else (w.x.sum(), 2 + n_samples * 2.0**-53 / self.u)
        return _Ball(A.x / total, self.rounded(A.size, A.e, c) / float(total) + self.tiny)


def error_bound(weights, biases, X, y, *, sample_weight=None, reduction="sum", u, rounding=FASTBP):
    """Exact values of everything `backprop` computes, and the running error bound of each.

    Parameters
    ----------
    weights, biases, X, y, sample_weight, reduction
        As for `backprop`; rounded to the dtype of ``u`` first.
    u : float
        Unit roundoff of the computation: 2**-24 (float32) or 2**-53 (float64).
    rounding : Rounding
        What the elementwise functions of the code under test are held to.

    Returns
    -------
    exact, bound : Quantities
        dW, db and loss follow ``reduction``; z, h and delta are those of the sum.
    """
    do = _Arithmetic(u, rounding)
    n = len(X)
    W, b = [do.given(a) for a in weights], [do.given(a) for a in biases]
    h, y = [do.given(X)], do.given(np.reshape(y, (n, len(biases[-1]))))
    w = None if sample_weight is None else do.given(np.reshape(sample_weight, (n, 1)))
    z, slope = [], []
    with np.errstate(all="ignore"):  # bounds may overflow, products of tails underflow
        for W_l, b_l in zip(W, b, strict=True):
            z.append(do.product(h[-1], W_l, b_l))
            for values, ball in zip((h, slope), do.activate(z[-1]), strict=True):
                values.append(ball)
        delta = [do.output_delta(z[-1], y)]
        if w is not None:
            delta = [do.times(_Ball(w.x + 0 * delta[0].x), delta[0])]
        for W_l, slope_l in zip(W[:0:-1], slope[-2::-1], strict=True):
            delta.insert(0, do.times(do.product(delta[0], W_l.T), slope_l))
        dW = [do.product(h_l.T, delta_l) for h_l, delta_l in zip(h[:-1], delta, strict=True)]
        ones = do.given(np.ones((1, n)))
        db = [do.product(ones, delta_l) for delta_l in delta]
        loss = do.loss(z[-1], y, w)
        if reduction == "mean":
            dW, db = ([do.mean(A, w, n) for A in balls] for balls in (dW, db))
            loss = do.mean(loss, w, n)
        own = 1 + 2 * do.wide.u / u  # the wide format has the same bound for its own u
        values = z, h[1:], delta, dW, db
        db[:] = [_Ball(ball.x[0], ball.e[0]) for ball in db]
        return (Quantities(*([ball.x for ball in balls] for balls in values), loss.x),
                Quantities(*([own * ball.e for ball in balls] for balls in values), own * loss.e))


class Worst(NamedTuple):
    """The largest error of an array, relative to its bound, and where it is."""

    index: tuple
    of_bound: float
    lapack: float  # max |error| / (u √K |A| |B|), a figure to watch; NaN if no factors were given


def assert_within(actual, exact, bound, what, factors=None):
    """Assert |actual − exact| ≤ bound for every element; return the `Worst`.

    ``factors`` is (A, B, u) if ``actual`` is a product A B computed with unit roundoff u.
    """
    actual, exact = np.asarray(actual), np.asarray(exact)
    assert actual.shape == exact.shape, f"{what} has shape {actual.shape}, not {exact.shape}"
    if actual.size == 0:
        return Worst((), 0.0, math.nan)
    with np.errstate(all="ignore"):
        error = _size(actual.astype(exact.dtype) - exact)
        ratio = np.where(error == 0, 0, error / bound)
    index = np.unravel_index(np.argmax(np.nan_to_num(ratio, nan=np.inf)), ratio.shape)
    index = tuple(map(int, index))
    lapack = math.nan
    if factors is not None:
        A, B, u = factors
        scale = u * math.sqrt(A.shape[1]) * (_size(A) @ _size(B))
        lapack = float(np.max(error / np.maximum(scale, np.finfo(np.float64).tiny)))
    assert ratio[index] <= 1, (
        f"{what}{list(index)} is {actual[index]!r}, exactly {exact[index]!s}: off by "
        f"{error[index]:.3g}, which is {ratio[index]:.3g} of its bound (LAPACK ratio {lapack:.3g})")
    return Worst(index, float(ratio[index]), lapack)


# ---- scalar functions to 50 digits, elementwise over arrays


def _elementwise(function):
    """``function`` of mpf as a function of real arrays: an mpf, or an object array of them."""

    def call(*x):
        return function(*(v if isinstance(v, mp.mpf) else mp.mpf(float(v)) for v in x))

    return np.frompyfunc(call, function.__code__.co_argcount, 1)


def _sigma(z):
    return 1 / (1 + mp.exp(-z))


exact_sigmoid = _elementwise(_sigma)
exact_slope = _elementwise(lambda z: _sigma(z) * _sigma(-z))
exact_softplus = _elementwise(lambda z: mp.log1p(mp.exp(z)))
exact_delta = _elementwise(lambda z, y: (1 - y) * _sigma(z) - y * _sigma(-z))
exact_loss = _elementwise(
    lambda z, y: y * mp.log1p(mp.exp(-z)) + (1 - y) * mp.log1p(mp.exp(z)))


def ulp(x, dtype):
    """The spacing of ``dtype`` at the mpf ``x``, down to that of the subnormal numbers."""
    info = np.finfo(dtype)
    exponent = mp.frexp(x)[1]  # 2^(exponent − 1) ≤ |x| < 2^exponent
    return mp.ldexp(1, int(max(exponent, info.minexp + 1)) - info.nmant - 1)


def ulp_error(actual, exact):
    """|actual − exact| in units in the last place of ``exact``, as float64; inf for NaN."""
    actual = np.asarray(actual)

    def error(a, x):
        return float(abs(mp.mpf(a) - x) / ulp(x, actual.dtype)) if math.isfinite(a) else math.inf

    return np.frompyfunc(error, 2, 1)(actual.astype(np.float64), exact).astype(np.float64)


# ---- networks, and the derivation read literally


def random_network(rng, sizes, dtype, scale=1.0):
    """Weights of standard deviation ``scale``/√fan_in and biases of ``scale``, in ``dtype``."""
    pairs = list(pairwise(sizes))
    weights = [(rng.standard_normal(p) * scale / math.sqrt(p[0])).astype(dtype) for p in pairs]
    biases = [(rng.standard_normal(p[1]) * scale).astype(dtype) for p in pairs]
    return weights, biases


def node_form_gradient(weights, biases, X, y):
    """E7 for three layers and one output: dL/dW_1, an object array of mpf to 50 digits.

    ∂L/∂W_1[k, m] = −Σ_i (y_i − f_i) Σ_j W_3[j] h_2^j (1 − h_2^j) W_2[m, j] h_1^m (1 − h_1^m) x_i[k]
    """
    (W1, W2, W3), (b1, b2, b3) = (
        [np.vectorize(mp.mpf, otypes=[object])(a.astype(float)) for a in arrays]
        for arrays in (weights, biases))
    dW1 = np.full(W1.shape, mp.mpf(0))
    for x, y_i in zip(X.astype(float), np.ravel(y).astype(float), strict=True):
        nodes1, nodes2 = range(W1.shape[1]), range(W2.shape[1])
        h1 = [_sigma(sum(x[k] * W1[k, m] for k in range(len(x))) + b1[m]) for m in nodes1]
        h2 = [_sigma(sum(h1[m] * W2[m, j] for m in nodes1) + b2[j]) for j in nodes2]
        f = _sigma(sum(h2[j] * W3[j, 0] for j in nodes2) + b3[0])
        for k, m in np.ndindex(W1.shape):
            over_j = sum(W3[j, 0] * h2[j] * (1 - h2[j]) * W2[m, j] for j in nodes2)
            dW1[k, m] -= (y_i - f) * over_j * h1[m] * (1 - h1[m]) * x[k]
    return dW1
