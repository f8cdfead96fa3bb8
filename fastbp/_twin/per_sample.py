"""The gradient of each sample in NumPy: the twins of the methods of `MLP` of the same names.

    ‖g_i‖² = Σ_l ‖δ_{l,i}‖² (1 + ‖h_{l−1,i}‖²)

Norms are in float64, each of a vector over its largest element, so that nothing overflows on the
way to a norm that does not.
"""

import numpy as np

from .. import _arguments, _random
from .mathematics import by_params, deltas
from .problem import by_name, checked


def norm(x, least=0):
    """‖(least, x)‖₂ along the last axis as two factors: the largest element, or 1, and the rest."""
    x = np.asarray(x, np.float64)
    largest = np.abs(x).max(axis=-1, initial=least)
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1)
    return scale, np.sqrt((least / scale) ** 2 + ((x / scale[..., None]) ** 2).sum(axis=-1))


def norms_of(inputs, deltas):
    """‖g_i‖ from the inputs h_{l−1} of the layers and their δ_l."""
    of_layers = []
    for h, delta in zip(inputs, deltas, strict=True):
        (a, b), (c, d) = norm(delta), norm(h, 1)
        of_layers.append((a * c) * (b * d))
    return np.multiply(*norm(np.stack(of_layers, axis=-1)))


@_arguments.public
def per_sample_grad_norms(weights, biases, X, y, *, activation="sigmoid", loss="bce",
                          sample_weight=None, out=None, pos_weight=None, class_weight=None,
                          label_smoothing=0.0):
    """‖g_i‖₂ of the gradient of each sample's loss.

    Parameters
    ----------
    weights, biases, X, y, activation, loss, pos_weight, class_weight, label_smoothing
        As for `backprop`.
    sample_weight : array (n,), optional
        Multiplies each sample's loss.
    out : ndarray (n,), optional
        Where to write: C-contiguous, of the dtype of the network.

    Returns
    -------
    ndarray (n,)

    Raises
    ------
    TypeError, ValueError
        As `backprop`; `out` does not fit.
    """
    given = by_name(weights, biases, X=X, y=y, sample_weight=sample_weight)
    p = checked(weights, biases, X, y, reduction="sum", activation=activation, loss=loss,
                sample_weight=sample_weight, pos_weight=pos_weight, class_weight=class_weight,
                label_smoothing=label_smoothing)
    out = _arguments.output("out", out, (len(p.X),), p.X.dtype, given)
    out[...] = norms_of(*deltas(*p.given)[1:])
    return out


@_arguments.public
def clipped_backprop(weights, biases, X, y, max_norm, *, activation="sigmoid", loss="bce",
                     sample_weight=None, reduction="sum", noise_multiplier=0.0, rng=None,
                     pos_weight=None, class_weight=None, label_smoothing=0.0):
    """Loss, Σ_i min(1, max_norm/‖g_i‖) g_i with noise, and the norms ‖g_i‖ of the gradients.

    The noise is noise_multiplier · max_norm times normal numbers, which `_random.normals` makes of
    raw draws, in the order W_1, b_1, W_2, ….

    Parameters
    ----------
    weights, biases, X, y, activation, loss, pos_weight, class_weight, label_smoothing
        As for `backprop`.
    max_norm : float
        Above 0; with infinity nothing is clipped.
    sample_weight : array (n,), optional
        Multiplies each sample's loss before its gradient is clipped.
    reduction : {"sum", "mean"}
        "mean" divides loss and gradient, with its noise, by n, whatever the weights.
    noise_multiplier : float
        At least 0.
    rng : numpy.random.Generator, BitGenerator or None
        Source of the noise; not an int.

    Returns
    -------
    loss : float
        In nats, neither clipped nor with noise.
    dW, db : lists of ndarrays like `weights` and `biases`
    norms : ndarray (n,)

    Raises
    ------
    TypeError, ValueError
        As `backprop`; `max_norm` is not above 0; a norm is infinite or NaN; noise_multiplier or rng
        do not fit.
    """
    max_norm = _arguments.limit("max_norm", max_norm)
    multiplier, source = _arguments.noise(noise_multiplier, rng)
    _arguments.choice("reduction", reduction, ("sum", "mean"))
    p = checked(weights, biases, X, y, reduction="sum", activation=activation, loss=loss,
                sample_weight=sample_weight, pos_weight=pos_weight, class_weight=class_weight,
                label_smoothing=label_smoothing)
    n, dtype = p.X.shape[0], p.X.dtype
    deviation = _arguments.deviation(multiplier, max_norm, dtype)
    _arguments.at_least_one_sample(n, reduction)
    value, inputs, each = deltas(*p.given)
    exact = norms_of(inputs, each)
    norms = exact.astype(dtype)
    if not np.isfinite(norms).all():
        bad = int(np.argmin(np.isfinite(norms)))
        _arguments.refuse_norm(bad, norms[bad], dtype)
    divisor = n if reduction == "mean" else 1
    clipped = [clip(h, delta, exact[:, None], max_norm)
               for h, delta in zip(inputs, each, strict=True)]
    dW = [h.T @ delta for h, delta in zip(inputs, clipped, strict=True)]
    db = [delta.sum(axis=0) for delta in clipped]
    if multiplier > 0:
        dW, db = with_noise(dW, db, deviation, source)
    return (float(value / divisor), *([(g / divisor).astype(dtype) for g in part]
                                      for part in (dW, db)), norms)


def clip(h, delta, norms, max_norm):
    """δ (n, fan_out), where a norm (n, 1) is above max_norm times max_norm/‖g‖.

    A product below the least normal number is off by up to half of s, the least number above 0, and
    h multiplies that. Where h is so large that this may count, it is one s nearer to 0.
    """
    over, least = norms > max_norm, np.finfo(delta.dtype).smallest_normal
    most = np.abs(h, dtype=np.float64).max(axis=1, initial=1, keepdims=True)
    few = 2 * float(least) * np.sqrt((h.shape[1] + 1) * delta.shape[1])
    far = over & (few * most > min(max_norm, 1))
    quotient = lowered(delta / np.where(over, norms, 1), far)   # first: |δ| ≤ ‖g‖
    return np.where(over, lowered((quotient * max_norm).astype(delta.dtype), far), delta)


def lowered(x, where):
    """Numbers below the least normal one nearer to 0 by the least number, which is exact."""
    of = np.finfo(x.dtype)
    low = where & (x != 0) & (np.abs(x) < of.smallest_normal)
    return np.where(low, x - np.copysign(of.smallest_subnormal, x), x)


def with_noise(dW, db, deviation, source):
    """The gradient and the noise, added in float64 and rounded once."""
    parts = [g for pair in zip(dW, db, strict=True) for g in pair]
    n_params = sum(g.size for g in parts)
    noise = deviation * _random.normals(_random.many_raw_bits(source, n_params + n_params % 2))
    each = np.split(noise[:n_params], np.cumsum([g.size for g in parts])[:-1])
    parts = [(g + z.reshape(g.shape)).astype(g.dtype) for g, z in zip(parts, each, strict=True)]
    return parts[0::2], parts[1::2]


@_arguments.public
def per_sample_grads(weights, biases, X, y, *, activation="sigmoid", loss="bce",
                     sample_weight=None, out=None, pos_weight=None, class_weight=None,
                     label_smoothing=0.0):
    """The gradient of each sample's loss, a row W_1.ravel(), b_1, W_2.ravel(), … for each.

    Parameters
    ----------
    weights, biases, X, y, activation, loss, pos_weight, class_weight, label_smoothing
        As for `backprop`.
    sample_weight : array (n,), optional
        Multiplies each sample's loss.
    out : ndarray (n, n_params), optional
        Where to write: C-contiguous, of the dtype of the network.

    Returns
    -------
    ndarray (n, n_params)

    Raises
    ------
    TypeError, ValueError
        As `backprop`; `out` does not fit.
    """
    given = by_name(weights, biases, X=X, y=y, sample_weight=sample_weight)
    p = checked(weights, biases, X, y, reduction="sum", activation=activation, loss=loss,
                sample_weight=sample_weight, pos_weight=pos_weight, class_weight=class_weight,
                label_smoothing=label_smoothing)
    n, n_params = len(p.X), sum(W.size + b.size for W, b in zip(p.weights, p.biases, strict=True))
    out = _arguments.output("out", out, (n, n_params), p.X.dtype, given)
    out[...] = by_params(*deltas(*p.given)[1:])
    return out
