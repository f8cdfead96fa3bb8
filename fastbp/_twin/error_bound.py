"""How far rounding may lead a gradient from its true value: E1 to E6 with a running error bound.

The rules for sums and products are in `rounding`, those of activations and losses in `bounds`.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .. import _arguments
from .bounds import ACTIVATIONS, LOSSES
from .rounding import FASTBP, Arithmetic, Ball, format_of


class Quantities(NamedTuple):
    """The quantities of a gradient, or a bound on each; layer l is entry l - 1 of a list."""

    z: list
    h: list
    delta: list
    dW: list
    db: list
    loss: object

    def flat(self):
        """The gradient as one vector: dW_1.ravel(), db_1, dW_2.ravel(), ..."""
        return np.concatenate([np.ravel(a) for pair in zip(self.dW, self.db, strict=True)
                               for a in pair])


def running_error_bound(do, weights, biases, X, y, *, activation="sigmoid", loss="bce",
                        sample_weight=None, reduction="sum", pos_weight=None, label_smoothing=0.0,
                        off=None):
    """Values of all that `backprop` computes, in a wider format, and the error bound of each.

    Parameters
    ----------
    do : Arithmetic
        The dtype and the rounding of the computation that is bounded, the format of the values.
    weights, biases, X, y, activation, loss, sample_weight, reduction, pos_weight, label_smoothing
        As for `backprop`; arrays are rounded to the dtype first. Under "softmax" the labels of a
        batch without samples are given as (0, n_outputs).
    off : (n_params,) float64 ndarray, optional
        How far weights and biases may be off, in the order of the gradient.

    Returns
    -------
    exact, bound : Quantities
        dW, db and loss follow `reduction`; z, h and delta are those of the sum. The values are off
        themselves, by what the bound is for the format's unit roundoff.
    """
    described = _arguments.LOSSES[loss]
    n, n_outputs = len(X), len(biases[-1])
    W, b = _parameters(do, weights, biases, off)
    if described.is_distribution and np.ndim(y) == 1:
        y = np.eye(n_outputs)[np.asarray(y, int)]
    t = do.targets(np.reshape(y, (n, n_outputs)), label_smoothing,
                   n_outputs if described.is_distribution else 2)
    p = None if pos_weight is None else do.given(pos_weight)
    w = None if sample_weight is None else do.given(np.reshape(sample_weight, (n, 1)))
    names = _arguments.each_activation(activation, len(W) - 1)
    z, h, slope = [], [do.given(X)], []
    with np.errstate(all="ignore"):  # bounds may overflow, products of tails underflow
        for W_l, b_l in zip(W, b, strict=True):
            z.append(do.product(h[-1], W_l, b_l))
            if len(z) < len(W):
                h_l, slope_l = ACTIVATIONS[names[len(z) - 1]](do, z[-1])
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
    db = [Ball(ball.x[0], ball.e[0]) for ball in db]
    values = z, h[1:], delta, dW, db
    return (Quantities(*([ball.x for ball in balls] for balls in values), L.x),
            Quantities(*([ball.e for ball in balls] for balls in values), L.e))


def _parameters(do, weights, biases, off):
    """Weights and biases, each with the bound of its own error."""
    if off is None:
        return [do.given(a) for a in weights], [do.given(a) for a in biases]
    ends = np.cumsum([0, *(a.size for layer in zip(weights, biases, strict=True) for a in layer)])
    e = [off[first:last] for first, last in pairwise(ends)]
    return ([do.given(a, e_a.reshape(a.shape)) for a, e_a in zip(weights, e[::2], strict=True)],
            [do.given(a, e_a) for a, e_a in zip(biases, e[1::2], strict=True)])


def error_bound(weights, biases, X, y, rounding=FASTBP, wide=np.float64, off=None, *,
                activation="sigmoid", loss="bce"):
    """The gradient of the summed loss in a wider format, and its running error bound.

    Parameters
    ----------
    weights, biases : sequences of (fan_in, fan_out) and (fan_out,) ndarrays
        Their dtype is that of the computation which is bounded.
    X, y, off, activation, loss
        As for `running_error_bound`.
    rounding : Rounding
        The roundings of the computation that is bounded.
    wide : dtype
        Of the values.

    Returns
    -------
    grad : (n_params,) ndarray of `wide`
        Itself off by `own_error` times the bound.
    bound : (n_params,) float64 ndarray
        Of |computed - true|.
    """
    do = Arithmetic(weights[0].dtype, rounding, format_of(wide))
    exact, bound = running_error_bound(do, weights, biases, X, y, activation=activation, loss=loss,
                                       off=off)
    return exact.flat(), bound.flat()


class Clipped(NamedTuple):
    """sum_i c_i g_i with c_i = min(1, limit / ||g_i||), the norms, and a bound on each of them."""

    total: object
    norms: list
    off_total: object
    off_norms: list


def clipped_sum(samples, n, limit, own, u, norm=np.linalg.norm):
    """The clipped sum of n samples, and how far a computation of it may be off.

    A norm is off by ||e||, and by ``own`` of itself. So c is off by c r, with r = ||e|| / (||g|| -
    ||e||) + own + 4 u: the roundings of norm, quotient, c and c delta. The sum is off by n + 2
    roundings of what it adds up.

    Parameters
    ----------
    samples : iterable of (g, e)
        The gradient of each, whose norm is above that of its bound e.
    n, limit, own, u : numbers
        u is the unit roundoff.
    norm : callable
        In a format that is wider than that of u.
    """
    total, off_total, norms, off_norms = 0, 0, [], []
    for g, e in samples:
        size, off = norm(g), norm(e)
        c = min(1, limit / size)
        r = off / (size - off) + own + 4 * u
        total = total + c * g
        off_total = off_total + c * ((1 + r) * e + (r + (n + 2) * u) * np.abs(g))
        norms.append(size)
        off_norms.append(off + own * size * (1 + u))
    return Clipped(total, norms, off_total, off_norms)
