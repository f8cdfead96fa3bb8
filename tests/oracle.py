"""What the tests compare with: exact values, and bounds on how far rounding may lead from them.

`error_bound` evaluates a network and its gradient (E1 to E6) in a wider format, and beside every
array the running error bound of what any computation under contract N1 may return, by the rules of
running.py. `assert_within` holds a computation to both. The scalar functions after it are exact to
50 digits, to count units in the last place; `node_form_gradient` is the derivation's E7.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from running import ACTIVATIONS, LOSSES, Arithmetic, Ball, magnitude, mp


class Rounding(NamedTuple):
    """Relative errors of the elementwise functions for the exact z, in units of u; 1 ulp ≤ 2 u.

    Soft targets, 0 < t < 1, make two terms of δ and the loss, and doubled constants.
    """

    sigma: int  # σ, tanh and e^z
    slope: int  # their derivatives
    delta: int  # of "bce", relative to M, which is |δ| for a hard label
    loss: int  # of "bce", for a hard label
    softmax: int  # p, δ relative to M, and the loss
    shift: int = 0  # of z − max z, relative to itself


# As promised; of a softmax, E_j = e^(z_j − max z) is within 1.1 u and so is Σ E_j before it rounds:
# a quotient of them is within 1.1 + 1.1 + 1 + 1 < 5, and ln Σ E_j with the sum it is in as well.
FASTBP = Rounding(sigma=2, slope=4, delta=4, loss=4, softmax=5)

# NumPy's own tests hold exp to 3 ulp and log1p to 2 ulp of the rounded value: 7 u and 5 u. So
# q = e/(1 + e) is within 7 + 1 + 1 = 9 u, 1 − q one more, q (1 − q) and (1 − y) − q two more, and
# log1p(e) plus an addition within 7 + 5 + 1. One u on top is for the products of these errors. tanh
# is no worse, and tanh′ = 4 e/(1 + e)² within 7 + 2 + 1 + 1. Of up to 16 classes, Σ E_j is within
# 7 + 15, so that a quotient is within 7 + 22 + 1, and log1p(R) plus an addition within 22 + 5 + 1.
NUMPY = Rounding(sigma=11, slope=12, delta=12, loss=14, softmax=32, shift=1)


class Quantities(NamedTuple):
    """What a gradient computes, or a bound on each; layer l is entry l − 1 of a list."""

    z: list
    h: list
    delta: list
    dW: list
    db: list
    loss: object


# ---- values with error bounds


def error_bound(weights, biases, X, y, *, activation="sigmoid", loss="bce", sample_weight=None,
                reduction="sum", pos_weight=None, label_smoothing=0.0, u, rounding=FASTBP,
                wide=None):
    """Exact values of everything `backprop` computes, and the running error bound of each.

    Parameters
    ----------
    weights, biases, X, y, activation, loss, sample_weight, reduction, pos_weight, label_smoothing
        As for `backprop`; arrays are rounded to the dtype of ``u`` first.
    u : float
        Unit roundoff of the computation: 2**-24 (float32) or 2**-53 (float64).
    rounding : Rounding
        What the elementwise functions of the code under test are held to.
    wide : running.Wide, optional
        The format of the evaluation; by default one that is wide enough for ``u``, and fast.

    Returns
    -------
    exact, bound : Quantities
        dW, db and loss follow ``reduction``; z, h and delta are those of the sum.
    """
    do = Arithmetic(u, rounding, wide)
    n, n_outputs = len(X), len(biases[-1])
    W, b = [do.given(a) for a in weights], [do.given(a) for a in biases]
    if loss == "softmax" and np.ndim(y) == 1:
        y = np.eye(n_outputs)[np.asarray(y, int)]
    n_classes = 2 if loss == "bce" else n_outputs
    t = do.targets(np.reshape(y, (n, n_outputs)), label_smoothing, n_classes)
    p = None if pos_weight is None else do.given(pos_weight)
    w = None if sample_weight is None else do.given(np.reshape(sample_weight, (n, 1)))
    z, h, slope = [], [do.given(X)], []
    with np.errstate(all="ignore"):  # bounds may overflow, products of tails underflow
        for W_l, b_l in zip(W, b, strict=True):
            z.append(do.product(h[-1], W_l, b_l))
            if len(z) < len(W):
                h_l, slope_l = ACTIVATIONS[activation](do, z[-1])
                h.append(h_l)
                slope.append(slope_l)
        f, delta_L, terms = LOSSES[loss](do, z[-1], t, p)
        h.append(f)
        delta = [do.weighted(w, delta_L)]
        for W_l, slope_l in zip(W[:0:-1], slope[::-1], strict=True):
            delta.insert(0, do.times(do.product(delta[0], W_l.T), slope_l))
        dW = [do.product(h_l.T, delta_l) for h_l, delta_l in zip(h[:-1], delta, strict=True)]
        ones = do.given(np.ones((1, n)))
        db = [do.product(ones, delta_l) for delta_l in delta]
        L = do.total(do.weighted(w, terms))
        if reduction == "mean":
            dW, db = ([do.mean(A, w, n) for A in balls] for balls in (dW, db))
            L = do.mean(L, w, n)
        own = 1 + 2 * do.wide.u / u  # the wide format has the same bound for its own u
        values = z, h[1:], delta, dW, db
        db[:] = [Ball(ball.x[0], ball.e[0]) for ball in db]
        return (Quantities(*([ball.x for ball in balls] for balls in values), L.x),
                Quantities(*([own * ball.e for ball in balls] for balls in values), own * L.e))


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
