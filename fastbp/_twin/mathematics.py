"""The equations of `reference` without checks: any float or complex dtype, `np.longdouble` too.

An activation gives h and act'(z) (E1, E4), a loss its terms and δ_L = f − t (E2, E3); the recursion
(E5, E6) is one for all. Complex arrays are for derivatives by a complex step, so that |x| means
±x by the sign of the real part. Cancellation is avoided as in the kernels: by tails (see
`reference`), and for a softmax by what is left to the other classes.
"""

import numpy as np

from .. import _arguments

BCE = _arguments.LossOptions()


def _abs(x):
    """|x|; for complex x its continuation off the real axis, ±x by the sign of the real part."""
    return np.where(x.real < 0, -x, x) if x.dtype.kind == "c" else np.abs(x)


# ---- E1, E4: h and act'(z)


def sigmoid(z):
    e = np.exp(-_abs(z))
    q = e / (1 + e)
    return _abs((z.real >= 0) - q), q * (1 - q)  # |1 − q| or |0 − q|; np.where would be slower


def tanh(z):
    e = np.exp(-2 * _abs(z))
    return np.tanh(z), 4 * e / (1 + e) ** 2


def relu(z):
    positive = z.real > 0
    return np.where(np.isnan(z) | positive, z, 0), positive.astype(z.real.dtype)


def identity(z):
    return z, np.ones_like(z)


ACTIVATIONS = {name: globals()[name] for name in _arguments.ACTIVATIONS}


# ---- E1 of the outputs: h_L


def below_largest(z):
    """z_j − m, m = max_k z_k, which is 0 for one of the largest, +inf or not; and all but that one.

    With two of +inf, or where all are −inf, the others have a NaN.
    """
    top = np.argmax(z.real, axis=-1)[..., None]
    others = np.arange(z.shape[-1]) != top
    m = np.take_along_axis(z, top, axis=-1)
    return np.subtract(z, m, out=np.zeros_like(z), where=others), others


def softmax(z):
    e = np.exp(below_largest(z)[0])
    return e / e.sum(axis=-1, keepdims=True)


OUTPUTS = {**{name: lambda z, function=function: function(z)[0]
              for name, function in ACTIVATIONS.items()},
           "exponential": np.exp, "softmax": softmax}


# ---- E2, E3: the terms of L, one for each sample and output, and δ_L = f − t


def counted(w, x):
    """w x, which is 0 where w is 0 and x infinite: the limit from finite x."""
    return w * np.where((w == 0) & np.isinf(x), 0, x)


def bce_loss(z, t, p=None):
    """Binary cross-entropy; t = 1 counts ``p`` times."""
    e = np.exp(-_abs(z))
    q = e / (1 + e)
    negative = z.real < 0
    linear = counted(np.where(negative, t, 1 - t), _abs(z))
    if p is None:
        return linear + np.log1p(e), np.where(negative, q - t, (1 - t) - q)
    c = (1 - t) + p * t
    terms = np.where(negative, p * linear, linear) + c * np.log1p(e)
    return terms, np.where(negative, c * q - p * t, (1 - t) - c * q)


def softmax_loss(z, t):
    """Cross-entropy of a softmax: Σ_j t_j ((m − z_j) + log S), S = 1 + R, m = max_j z_j.

    R sums e^{z_j − m} over all j but one of the largest: log1p(R) and R/S keep what rounding takes
    from log S and 1 − p.
    """
    a, others = below_largest(z)
    e = np.exp(a)
    R = np.where(others, e, 0).sum(axis=1, keepdims=True)
    S = 1 + R
    terms = counted(t, -a + np.log1p(R))
    return terms, np.where(others | (t <= 0.5), e / S - t, (1 - t) - R / S)


def squared_error_loss(z, t):
    return (z - t) / 2 * (z - t), z - t


def poisson_loss(z, t):
    """e^z − t z, which is e^z where that is infinite."""
    f = np.exp(z)
    return f - counted(t, np.where(np.isinf(f), 0, z)), f - t


LOSSES = {name: globals()[f"{name}_loss"] for name in _arguments.LOSSES}


def targets(options, z, y):
    """t, like z, and ``pos_weight`` or None; y may be the classes of a softmax."""
    n_outputs = z.shape[1] if z.ndim == 2 else 1
    if options.loss.is_distribution and y.ndim == 1:
        y = np.eye(n_outputs, dtype=z.real.dtype)[y.astype(np.intp)]
    a, b = options.smoothing(n_outputs)
    t = y if a == 1 else a * y + z.real.dtype.type(b)
    p = options.pos_weight
    return t, p if p is None else _arguments.positive_array("pos_weight", p, t.dtype)


def weighted_loss(options, z, y, w=None):
    """L, summed in float64 or wider, and δ_L; row i counts w_i times, ``w`` being a column.

    ``options`` is a `_arguments.LossOptions`; y may be the classes of a softmax.
    """
    t, p = targets(options, z, y)
    terms, delta = LOSSES[options.name](z, t) if p is None else LOSSES[options.name](z, t, p)
    terms = terms.astype(np.promote_types(terms.dtype, np.float64), copy=False)
    if w is not None:
        terms, delta = counted(w, terms), counted(w, delta)
    return terms.sum(), delta


# ---- the recursion


def forward(weights, biases, X, activation="sigmoid"):
    """E1: the inputs [h_0 … h_{L-1}] of the layers, [act'(z_1) …] of the hidden ones, z_L.

    ``activation`` is a name, or a sequence with that of each hidden layer.
    """
    inputs, slopes = [X], []
    names = _arguments.each_activation(activation, len(weights) - 1)
    z = X @ weights[0] + biases[0]
    for W, b, name in zip(weights[1:], biases[1:], names, strict=True):
        h, slope = ACTIVATIONS[name](z)
        inputs.append(h)
        slopes.append(slope)
        z = h @ W + b
    return inputs, slopes, z


def descent(weights, slopes, delta):
    """E5: [δ_1 … δ_L] from δ_L."""
    found = [delta]
    for W, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        found.insert(0, found[0] @ W.T * slope)
    return found


def deltas(weights, biases, X, y, options=BCE, w=None, activation="sigmoid"):
    """E1 to E5: L, the layers' inputs [h_0 …], [δ_1 …]; ``w`` is a column (n, 1) or ``None``."""
    inputs, slopes, z = forward(weights, biases, X, activation)
    loss, delta = weighted_loss(options, z, y, w)
    return loss, inputs, descent(weights, slopes, delta)


def gradient(weights, biases, X, y, options=BCE, w=None, activation="sigmoid"):
    """E1 to E6: L, [dW_1 …], [db_1 …], from the arguments of `deltas`."""
    loss, inputs, found = deltas(weights, biases, X, y, options, w, activation)
    dW = [h.T @ delta for h, delta in zip(inputs, found, strict=True)]
    return loss, dW, [delta.sum(axis=0) for delta in found]


# ---- for each sample: by its input or by the parameters


def by_input(weights, deltas):
    """δ_1 W_1ᵀ."""
    return deltas[0] @ weights[0].T


def by_params(inputs, deltas):
    """E6 of each sample: a row dW_1.ravel(), db_1, dW_2.ravel(), … for each."""
    return np.concatenate([part for h, delta in zip(inputs, deltas, strict=True) for part in (
        (h[:, :, None] * delta[:, None, :]).reshape(len(h), h.shape[1] * delta.shape[1]), delta)],
        axis=1)


def output_slopes(output, z):
    """dh_L/dz_L of every sample, (n, n_outputs, n_outputs).

    A softmax has p_k (t − p) for t = e_k: δ_L of class k, whose 1 − p_k keeps its accuracy.
    """
    unit = np.eye(z.shape[1], dtype=z.real.dtype)
    if output == "softmax":
        rows = [softmax_loss(z, np.broadcast_to(t, z.shape))[1] for t in unit]
        return -softmax(z)[:, :, None] * np.stack(rows, axis=1)
    slope = np.exp(z) if output == "exponential" else ACTIVATIONS[output](z)[1]
    return np.where(unit == 1, slope[:, None, :], 0)


def jacobian(weights, biases, X, output, to_input, activation="sigmoid"):
    """The derivative of every output (n, n_outputs, …) by X or by W_1.ravel(), b_1, W_2 …"""
    inputs, slopes, z = forward(weights, biases, X, activation)
    rows = []
    for delta_L in np.moveaxis(output_slopes(output, z), 1, 0):
        found = descent(weights, slopes, delta_L)
        rows.append(by_input(weights, found) if to_input else by_params(inputs, found))
    return np.stack(rows, axis=1)
