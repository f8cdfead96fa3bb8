"""The equations in plain NumPy: specification, oracle of the tests, baseline of the benchmarks.

    E1   z_l = h_{l-1} W_l + b_l,  h_l = σ(z_l),  h_0 = X     (n, fan_in)(fan_in, fan_out)
    E2   L = Σ max(z, 0) − y z + log1p(e^{−|z|})              over samples and outputs, in nats
    E3   δ_L = ∂L/∂z_L = σ(z_L) − y                           (n, n_outputs)
    E4   σ′ = h ⊙ (1 − h)                                     like h
    E5   δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ h_l ⊙ (1 − h_l)           (n, fan_out_l)
    E6   dW_l = h_{l-1}ᵀ δ_l,  db_l = Σ_i δ_l                 like W_l, b_l

One sample a row, W is (fan_in, fan_out); numbers and signs are those of docs/derivation.md. The
public functions check their arguments once and hand over to a core that is only mathematics; it
takes complex arrays (derivatives by a complex step) and ``np.longdouble`` as well.

The h of a saturated unit rounds to 1, which takes 1 − h and h − y with it. So all three come from
the smaller tail, q = σ(−|z|) = e/(1 + e) with e = e^{−|z|}, which keeps its relative accuracy:

    σ = z<0 ? q : 1 − q        σ′ = q (1 − q)        δ_L = z<0 ? q − y : (1 − y) − q

No bits are promised here: sums are in the order in which NumPy and its BLAS take them. An "array"
below is what NumPy can read as real numbers; float32 throughout stays float32, all else is float64.
"""

import numpy as np

from . import _checks

__all__ = ["SGD", "Adam", "backprop", "bce_with_logits", "delta_step", "forward", "sigmoid",
           "sigmoid_backward", "weight_grad"]


# ---- the core: no checks, any float or complex dtype


def _abs(x):
    """|x|; for complex x its continuation off the real axis, ±x by the sign of the real part."""
    return np.where(x.real < 0, -x, x) if x.dtype.kind == "c" else np.abs(x)


def _activate(z):
    """σ(z) (E1) and σ′(z) (E4)."""
    e = np.exp(-_abs(z))
    q = e / (1 + e)
    return _abs((z.real >= 0) - q), q * (1 - q)  # |1 − q| or |0 − q|; np.where would be slower


def _bce(z, y):
    """The terms of L (E2), one for each sample and output, and δ_L (E3)."""
    e = np.exp(-_abs(z))
    q = e / (1 + e)
    negative = z.real < 0
    terms = np.where(negative, 0, z) - y * z + np.log1p(e)
    return terms, np.where(negative, q - y, (1 - y) - q)


def _weighted_bce(z, y, w=None):
    """L, summed in float64 or wider, and δ_L; row i counts w_i times, ``w`` being a column."""
    terms, delta = _bce(z, y)
    terms = terms.astype(np.promote_types(terms.dtype, np.float64), copy=False)
    if w is not None:
        terms = terms * w
        delta *= w
    return terms.sum(), delta


def _forward(weights, biases, X):
    """E1: the inputs [h_0 … h_{L-1}] of the layers, [σ′_1 … σ′_{L-1}] of the hidden ones, z_L."""
    inputs, slopes = [X], []
    z = X @ weights[0] + biases[0]
    for W, b in zip(weights[1:], biases[1:], strict=True):
        h, slope = _activate(z)
        inputs.append(h)
        slopes.append(slope)
        z = h @ W + b
    return inputs, slopes, z


def _gradient(weights, biases, X, y, w=None):
    """E1 to E6: L, [dW_1 …], [db_1 …]; ``y`` is (n, n_outputs), ``w`` (n, 1) or ``None``."""
    inputs, slopes, z = _forward(weights, biases, X)
    loss, delta = _weighted_bce(z, y, w)
    dW, db = list(weights), list(biases)
    for k in reversed(range(len(weights))):
        dW[k], db[k] = inputs[k].T @ delta, delta.sum(axis=0)
        if k > 0:
            delta = delta @ weights[k].T * slopes[k - 1]
    return loss, dW, db


# ---- one function per equation


def sigmoid(z, out=None):
    """The logistic function, h = σ(z) = 1/(1 + e^{−z}) (E1).

    Parameters
    ----------
    z : array of any shape
    out : ndarray, optional
        Where to write: C-contiguous, like the result. May be `z` itself.

    Returns
    -------
    ndarray like `z`, or a NumPy scalar if `z` has no dimensions
        In [0, 1], without overflow; NaN where `z` is.

    Raises
    ------
    TypeError
        `z` is complex, object, string or masked; `out` is no array of the result's dtype.
    ValueError
        `out` has another shape, is not C-contiguous, is read-only, or overlaps `z` otherwise.
    """
    given, z = z, _checks.real_array("z", z)
    h = _checks.output("out", out, z.shape, z.dtype, {"z": given}, in_place=("z",))
    e = np.exp(-_abs(z))
    np.subtract(z >= 0, e / (1 + e), out=h)
    np.abs(h, out=h)
    return h[()] if out is None else h


def sigmoid_backward(grad, h, out=None):
    """From ∂L/∂h to ∂L/∂z through a sigmoid, grad ⊙ h ⊙ (1 − h) (E4).

    An h that has rounded to 1 gives 0 here; `backprop`, which has z, keeps the tail.

    Parameters
    ----------
    grad, h : array of any one shape
        ∂L/∂h, and the sigmoid's output.
    out : ndarray, optional
        Where to write: C-contiguous, like the result. May be `grad` itself.

    Returns
    -------
    ndarray like `grad`, or a NumPy scalar if `grad` has no dimensions

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked; `out` is no array of the result's dtype.
    ValueError
        Shapes differ; `out` is not C-contiguous, is read-only, or overlaps an argument otherwise.
    """
    given = {"grad": grad, "h": h}
    grad = _checks.real_array("grad", grad)
    h = _checks.real_array("h", h, shape=grad.shape)
    dtype = _checks.common_dtype(grad, h)
    dz = _checks.output("out", out, grad.shape, dtype, given, in_place=("grad",))
    grad, h = _checks.as_dtype([grad, h], dtype)
    np.multiply(grad, h * (1 - h), out=dz)
    return dz[()] if out is None else dz


def delta_step(delta_next, W_next, h, out=None):
    """One step of the recursion, δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ h_l ⊙ (1 − h_l) (E5).

    Parameters
    ----------
    delta_next : array (n, n_next), or (n_next,) for one sample
        ∂L/∂z of the next layer.
    W_next : array (n_here, n_next)
        The next layer's weights.
    h : array (n, n_here), or (n_here,)
        This layer's outputs.
    out : ndarray, optional
        Where to write: C-contiguous, like the result, memory of its own.

    Returns
    -------
    ndarray like `h`
        ∂L/∂z of this layer.

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked; `out` is no array of the result's dtype.
    ValueError
        Shapes do not fit; `out` is not C-contiguous, is read-only, or overlaps an argument.
    """
    given = {"delta_next": delta_next, "W_next": W_next, "h": h}
    delta = _checks.real_array("delta_next", delta_next)
    if delta.ndim != 1:
        delta = _checks.real_array("delta_next", delta, shape=("n_samples", "n_next"))
    *rows, n_next = delta.shape
    W = _checks.real_array("W_next", W_next, shape=("n_here", n_next))
    h = _checks.real_array("h", h, shape=(*rows, W.shape[0]))
    dtype = _checks.common_dtype(delta, W, h)
    result = _checks.output("out", out, h.shape, dtype, given)
    delta, W, h = _checks.as_dtype([delta, W, h], dtype)
    np.matmul(delta, W.T, out=result)
    result *= h * (1 - h)
    return result


def weight_grad(h_prev, delta):
    """A layer's gradient, dW = h_{l-1}ᵀ δ_l and db = Σ_i δ_l (E6).

    Parameters
    ----------
    h_prev : array (n, fan_in)
        The layer's inputs.
    delta : array (n, fan_out)
        ∂L/∂z of the layer.

    Returns
    -------
    dW : ndarray (fan_in, fan_out)
    db : ndarray (fan_out,)

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked.
    ValueError
        Shapes do not fit.
    """
    h_prev = _checks.real_array("h_prev", h_prev, shape=("n_samples", "fan_in"))
    delta = _checks.real_array("delta", delta, shape=(h_prev.shape[0], "fan_out"))
    h_prev, delta = _checks.as_dtype([h_prev, delta], _checks.common_dtype(h_prev, delta))
    return h_prev.T @ delta, delta.sum(axis=0)


def bce_with_logits(z, y, sample_weight=None):
    """Binary cross-entropy of logits, summed (E2), and its derivative by them (E3).

    Parameters
    ----------
    z : array (n,) or (n, n_outputs)
        Logits.
    y : array like `z`
        Targets in [0, 1].
    sample_weight : array (n,), optional

    Returns
    -------
    loss : float
        In nats, summed in float64.
    delta : ndarray like `z`

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked.
    ValueError
        Shapes do not fit, a target is outside [0, 1] or NaN, a weight is negative or not finite.
    """
    z = _checks.real_array("z", z)
    if z.ndim != 1:
        z = _checks.real_array("z", z, shape=("n_samples", "n_outputs"))
    y = _checks.real_array("y", y, shape=z.shape)
    w = _checks.sample_weight(sample_weight, z.shape[0], "sum", None)
    dtype = _checks.common_dtype(z, y, *(() if w is None else (w,)))
    z, y = _checks.as_dtype([z, y], dtype)
    _checks.unit_interval_rows("y", y)
    if w is not None:
        w = w.astype(dtype, copy=False).reshape(-1, *(1,) * (z.ndim - 1))
    loss, delta = _weighted_bce(z, y, w)
    return float(loss), delta


def _network(weights, biases, X):
    """The arrays of a network and its inputs, checked, in the one dtype of the computation."""
    weights, biases, sizes = _checks.layer_arrays(weights, biases)
    X = _checks.real_array("X", X, shape=("n_samples", sizes[0]))
    dtype = _checks.common_dtype(weights[0], X)
    weights, biases, (X,) = (_checks.as_dtype(arrays, dtype) for arrays in (weights, biases, [X]))
    return weights, biases, X


def forward(weights, biases, X):
    """Logits z_L and outputs h_L (E1), each (n, n_outputs), of the network `backprop` takes."""
    z = _forward(*_network(weights, biases, X))[-1]
    return z, _activate(z)[0]


def backprop(weights, biases, X, y, *, sample_weight=None, reduction="sum"):
    """Loss and gradient of a sigmoid network under binary cross-entropy (E1 to E6).

    Parameters
    ----------
    weights : sequence of arrays (fan_in, fan_out)
    biases : sequence of arrays (fan_out,)
    X : array (n, n_features)
    y : array (n, n_outputs), or (n,) for one output
        Targets in [0, 1]. They and the sample weights take the dtype of the other arguments.
    sample_weight : array (n,), optional
    reduction : {"sum", "mean"}
        "mean" divides loss and gradient by n, or by the sum of the sample weights.

    Returns
    -------
    loss : float
        In nats.
    dW, db : lists of ndarrays like `weights` and `biases`

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked, or no sequence.
    ValueError
        Shapes do not fit, a target is outside [0, 1] or NaN, a weight is negative or not finite,
        `reduction` is unknown, or "mean" would divide by zero.
    """
    _checks.choice("reduction", reduction, ("sum", "mean"))
    weights, biases, X = _network(weights, biases, X)
    n_samples, dtype = X.shape[0], X.dtype
    _checks.at_least_one_sample(n_samples, reduction)
    y = _checks.targets(y, n_samples, biases[-1].size, dtype)
    w = _checks.sample_weight(sample_weight, n_samples, reduction, dtype)
    loss, dW, db = _gradient(weights, biases, X, y, None if w is None else w[:, None])
    if reduction == "mean":
        total = np.float64(n_samples if w is None else w.sum(dtype=np.float64))
        loss /= total
        for g in (*dW, *db):  # in float64, so that a total float32 cannot hold is not rounded first
            np.divide(g, total, out=g, casting="same_kind")
    return float(loss), dW, db


# ---- optimizers


class SGD:
    """v ← μ v + g, p ← p − lr (g + μ v if nesterov else v), with g = grad + weight_decay · p.

    ``step(params, grad)`` updates a flat array in place. Raises as `fastbp.SGD` does.
    """

    def __init__(self, lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.lr = _checks.positive("lr", lr)
        self.momentum = _checks.fraction("momentum", momentum)
        self.nesterov = _checks.nesterov(nesterov, self.momentum)
        self.weight_decay = _checks.non_negative("weight_decay", weight_decay)
        self._v = None

    def step(self, params, grad):
        params, g = _checks.optimizer_arrays(params, grad)
        self._v = v = np.zeros_like(params) if self._v is None else self._v
        _checks.optimizer_state(params.size, params.dtype, v.size, v.dtype)
        g = g + self.weight_decay * params
        v *= self.momentum
        v += g
        params -= self.lr * (g + self.momentum * v if self.nesterov else v)


class Adam:
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr · m̂/(√v̂ + eps).

    m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ); with ``eps_hat``, p ← p − lr·√(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + eps).
    Before either, p ← (1 − lr · weight_decay) p. ``step(params, grad)`` updates a flat array in
    place. Raises as `fastbp.Adam` does.
    """

    def __init__(self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, eps_hat=False):
        self.lr = _checks.positive("lr", lr)
        self.betas = _checks.betas(betas)
        self.eps = _checks.positive("eps", eps)
        self.weight_decay = _checks.non_negative("weight_decay", weight_decay)
        self.eps_hat = _checks.boolean("eps_hat", eps_hat)
        self._t, self._m, self._v = 0, None, None

    def step(self, params, grad):
        params, g = _checks.optimizer_arrays(params, grad)
        if self._m is None:
            self._m, self._v = np.zeros_like(params), np.zeros_like(params)
        _checks.optimizer_state(params.size, params.dtype, self._m.size, self._m.dtype)
        self._t += 1
        m, v, (beta1, beta2) = self._m, self._v, self.betas
        correction1, correction2 = 1 - beta1**self._t, 1 - beta2**self._t
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        params *= 1 - self.lr * self.weight_decay
        if self.eps_hat:
            params -= self.lr * correction2**0.5 / correction1 * (m / (np.sqrt(v) + self.eps))
        else:
            params -= self.lr * (m / correction1 / (np.sqrt(v / correction2) + self.eps))
