"""What `input_grad` and `jacobian` compute, in a wider format, with the running bound of each.

The rules are those of oracle.py; no test is here.
"""

import numpy as np
import oracle

from fastbp import _arguments
from fastbp._twin.bounds import ACTIVATIONS, LOSSES
from fastbp._twin.rounding import FASTBP, Ball


def descended(do, weights, slopes, delta):
    """E5: delta_L ... delta_1."""
    yield delta
    for W, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        delta = do.times(do.product(delta, do.given(W.T)), slope)
        yield delta


def input_grad(weights, biases, X, y, *, u, rounding=FASTBP, **options):
    """dL/dX and its bound."""
    exact, bound = oracle.error_bound(weights, biases, X, y, u=u, rounding=rounding, **options)
    do = oracle.arithmetic(u, rounding)
    with np.errstate(all="ignore"):
        dX = do.product(Ball(exact.delta[0], bound.delta[0]), do.given(weights[0].T))
    return dX.x, (1 + 2 * do.wide.u / u) * dX.e


def delta_L(do, z, k, of, output):
    """Row k of dh_L/dz_L, or of the unit matrix."""
    unit = np.zeros(z.x.shape)
    unit[:, k] = 1
    if of == "logits" or output == "identity":
        return do.given(unit)
    if output == "softmax":             # -p_k times E3 of class k
        p, delta, _ = LOSSES["softmax"](do, z, do.given(unit), None)
        row = do.times(Ball(p.x[:, k:k + 1], p.e[:, k:k + 1]), delta)
        return Ball(-row.x, row.e)
    slope = (LOSSES["poisson"](do, z, do.given(unit), None)[0] if output == "exponential"
             else ACTIVATIONS[output](do, z)[1])
    return Ball(np.where(unit, slope.x, 0), np.where(unit, slope.e, 0))


def jacobian(weights, biases, X, *, u, of="output", wrt="params", activation="sigmoid", loss="bce",
             rounding=FASTBP):
    """The Jacobian and its bound, (n, n_outputs, n_params or n_features)."""
    do = oracle.arithmetic(u, rounding)
    output = _arguments.LOSSES[loss].output
    names = [*_arguments.each_activation(activation, len(weights) - 1), "identity"]
    h, slopes = [do.given(X)], []
    rows = []
    with np.errstate(all="ignore"):
        for W, b, name in zip(weights, biases, names, strict=True):
            z = do.product(h[-1], do.given(W), do.given(b))
            h_l, slope = ACTIVATIONS[name](do, z)
            h.append(h_l)
            slopes.append(slope)
        for k in range(z.x.shape[1]):
            deltas = [*descended(do, weights, slopes[:-1], delta_L(do, z, k, of, output))][::-1]
            if wrt == "input":
                rows.append([do.product(deltas[0], do.given(weights[0].T))])
            else:
                rows.append([ball for h_l, delta in zip(h[:-1], deltas, strict=True)
                             for ball in (outer(do, h_l, delta), delta)])
    x, e = (np.stack([np.concatenate([np.broadcast_to(getattr(ball, part), ball.x.shape)
                                      for ball in row], axis=1) for row in rows], axis=1)
            for part in "xe")
    return x, (1 + 2 * do.wide.u / u) * e


def outer(do, h, delta):
    """E6 of every sample, flat."""
    each = do.times(Ball(h.x[:, :, None], np.broadcast_to(h.e, h.x.shape)[:, :, None]),
                    Ball(delta.x[:, None, :],
                         np.broadcast_to(delta.e, delta.x.shape)[:, None, :]))
    return Ball(each.x.reshape(len(h.x), -1), each.e.reshape(len(h.x), -1))
