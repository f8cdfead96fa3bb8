"""What the tests compare with: exact values, and bounds on how far rounding may lead from them.

`error_bound` is the running error bound of `fastbp._twin`, of a network and its gradient (E1 to E6)
evaluated in a wider format. `assert_within` holds a computation to both. The scalar functions after
it are exact to 50 digits, to count units in the last place; `node_form_gradient` is the
derivation's E7.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import mpmath
import numpy as np

from fastbp._twin.error_bound import Quantities, running_error_bound
from fastbp._twin.rounding import ANY_ORDER, FASTBP, Arithmetic, Wide, magnitude

KC = FASTBP.block  # the reduction block of contract N1

# NumPy, whose BLAS sums no more than 256 terms in a row either.
NUMPY = ANY_ORDER._replace(block=KC)

mp = mpmath.mp.clone()
mp.dps = 50
DIGITS = Wide(*(np.frompyfunc(f, 1, 1) for f in (mp.mpf, mp.exp, mp.expm1, mp.log1p)),
              float(mp.eps) / 2)


def arithmetic(u, rounding=FASTBP, wide=None):
    """The rules for the unit roundoff ``u``, in a format whose own rounding is next to nothing."""
    dtype = np.float32 if u > 2.0**-40 else np.float64
    if wide is None and dtype is np.float64 and np.finfo(np.longdouble).nmant < 63:
        wide = DIGITS
    return Arithmetic(dtype, rounding, wide)


# ---- values with error bounds


def error_bound(weights, biases, X, y, *, u, rounding=FASTBP, wide=None, **options):
    """Exact values of everything `backprop` computes, and the running error bound of each.

    Parameters
    ----------
    weights, biases, X, y, options
        As for `backprop`; arrays are rounded to the dtype of ``u`` first.
    u : float
        Unit roundoff of the computation: 2**-24 (float32) or 2**-53 (float64).
    rounding : Rounding
        What the elementwise functions of the code under test are held to.
    wide : Wide, optional
        The format of the evaluation; by default one that is wide enough for ``u``, and fast.

    Returns
    -------
    exact, bound : Quantities
        dW, db and loss follow the reduction; z, h and delta are those of the sum.
    """
    do = arithmetic(u, rounding, wide)
    exact, bound = running_error_bound(do, weights, biases, X, y, **options)
    own = 1 + 2 * do.wide.u / u  # the wide format has the same bound for its own u
    *lists, loss = bound
    return exact, Quantities(*([own * e for e in each] for each in lists), own * loss)


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
        error = magnitude(actual.astype(exact.dtype) - exact)
        ratio = np.where(error == 0, 0, error / bound)
    index = np.unravel_index(np.argmax(np.nan_to_num(ratio, nan=np.inf)), ratio.shape)
    index = tuple(map(int, index))
    lapack = math.nan
    if factors is not None:
        A, B, u = factors
        scale = u * math.sqrt(A.shape[1]) * (magnitude(A) @ magnitude(B))
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
exact_tanh = _elementwise(lambda z: mp.tanh(z))
exact_tanh_slope = _elementwise(lambda z: 1 / mp.cosh(z)**2)
exact_exp = _elementwise(lambda z: mp.exp(z))
exact_delta = _elementwise(lambda z, y: (1 - y) * _sigma(z) - y * _sigma(-z))
exact_loss = _elementwise(
    lambda z, y: y * mp.log1p(mp.exp(-z)) + (1 - y) * mp.log1p(mp.exp(z)))


def exact_softmax(z):
    """p, 1 − p and −ln p of every row of z (n, n_outputs), each from its own tail."""
    z = np.vectorize(mp.mpf, otypes=[object])(z.astype(np.float64))
    top = z.max(axis=1, keepdims=True)
    E = exact_exp(z - top)
    others, S = E @ (1 - np.eye(z.shape[1], dtype=int)), E.sum(axis=1, keepdims=True)
    log = np.frompyfunc(mp.log1p, 1, 1)(others.min(axis=1, keepdims=True))
    return E / S, others / S, top - z + log


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
