"""The equations in plain NumPy: specification, oracle of the tests, baseline of the benchmarks.

    E1   z_l = h_{l-1} W_l + b_l,  h_l = σ(z_l),  h_0 = X     (n, fan_in)(fan_in, fan_out)
    E2   L = Σ max(z, 0) − y z + log1p(e^{−|z|})              over samples and outputs, in nats
    E3   δ_L = ∂L/∂z_L = σ(z_L) − y                           (n, n_outputs)
    E4   σ′ = h ⊙ (1 − h)                                     like h
    E5   δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ h_l ⊙ (1 − h_l)           (n, fan_out_l)
    E6   dW_l = h_{l-1}ᵀ δ_l,  db_l = Σ_i δ_l                 like W_l, b_l

One sample a row, W is (fan_in, fan_out); numbers and signs are those of docs/derivation.md. Other
activations change E1 and E4, other losses E2 and h_L: δ_L = h_L − y holds for each with its own
output. The functions here check their arguments once and hand over to
`_twin/mathematics.py`; `input_grad` and `jacobian` are in `_twin/inputs.py`, the optimizers in
`_twin/optimizers.py`, products of the Hessian (E8, E9) in `_twin/second_order.py`.

The h of a saturated unit rounds to 1, which takes 1 − h and h − y with it. So all three come from
the smaller tail, q = σ(−|z|) = e/(1 + e) with e = e^{−|z|}, which keeps its relative accuracy:

    σ = z<0 ? q : 1 − q        σ′ = q (1 − q)        δ_L = z<0 ? q − y : (1 − y) − q

No bits are promised here: sums are in the order in which NumPy and its BLAS take them. An "array"
below is what NumPy can read as real numbers; float32 throughout stays float32, all else is float64.
"""

import numpy as np

from . import _arguments
from ._twin import mathematics
from ._twin.inputs import input_grad, jacobian
from ._twin.optimizers import SGD, Adam, clip_grad_norm
from ._twin.per_sample import clipped_backprop, per_sample_grad_norms, per_sample_grads
from ._twin.problem import checked
from ._twin.second_order import gnvp, hvp, linearize

__all__ = ["SGD", "Adam", "activate", "backprop", "bce_with_logits", "clip_grad_norm",
           "clipped_backprop", "delta_step", "forward", "gnvp", "hvp", "input_grad", "jacobian",
           "linearize", "per_sample_grad_norms", "per_sample_grads", "poisson_with_logits",
           "sigmoid", "sigmoid_backward", "softmax_with_logits", "squared_error", "weight_grad"]


# ---- one function per equation


@_arguments.public
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
        `z` is complex, object, string or masked; `out` is not an array, or has another dtype.
    ValueError
        `out` has another shape, is not C-contiguous, is read-only, or overlaps `z` otherwise.
    """
    given, z = z, _arguments.real_array("z", z)
    h = _arguments.output("out", out, z.shape, z.dtype, {"z": given}, in_place=("z",))
    h[...] = mathematics.sigmoid(z)[0]
    return h[()] if out is None else h


@_arguments.public
def activate(z, activation="sigmoid"):
    """An activation and its derivative, h = act(z) and act'(z) (E1, E4).

    Parameters
    ----------
    z : array of any shape
    activation : {"sigmoid", "tanh", "relu", "identity"}

    Returns
    -------
    h, slope : ndarrays like `z`

    Raises
    ------
    TypeError
        `z` is complex, object, string or masked.
    ValueError
        `activation` is unknown.
    """
    name = _arguments.choice("activation", activation, _arguments.ACTIVATIONS)
    h, slope = mathematics.ACTIVATIONS[name](_arguments.real_array("z", z))
    return h[()], slope[()]


@_arguments.public
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
        An argument is complex, object, string or masked; `out` is not an array, or has another
        dtype.
    ValueError
        Shapes differ; `out` is not C-contiguous, is read-only, or overlaps an argument otherwise.
    """
    given = {"grad": grad, "h": h}
    grad = _arguments.real_array("grad", grad)
    h = _arguments.real_array("h", h, shape=grad.shape)
    dtype = _arguments.common_dtype(grad, h)
    dz = _arguments.output("out", out, grad.shape, dtype, given, in_place=("grad",))
    grad, h = _arguments.as_dtype([grad, h], dtype)
    np.multiply(grad, h * (1 - h), out=dz)
    return dz[()] if out is None else dz


@_arguments.public
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
        An argument is complex, object, string or masked; `out` is not an array, or has another
        dtype.
    ValueError
        Shapes do not fit; `out` is not C-contiguous, is read-only, or overlaps an argument.
    """
    given = {"delta_next": delta_next, "W_next": W_next, "h": h}
    delta = _arguments.samples_or_one("delta_next", delta_next, "n_next")
    *rows, n_next = delta.shape
    W = _arguments.real_array("W_next", W_next, shape=("n_here", n_next))
    h = _arguments.real_array("h", h, shape=(*rows, W.shape[0]))
    dtype = _arguments.common_dtype(delta, W, h)
    result = _arguments.output("out", out, h.shape, dtype, given)
    delta, W, h = _arguments.as_dtype([delta, W, h], dtype)
    np.matmul(delta, W.T, out=result)
    result *= h * (1 - h)
    return result


@_arguments.public
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
    h_prev = _arguments.real_array("h_prev", h_prev, shape=("n_samples", "fan_in"))
    delta = _arguments.real_array("delta", delta, shape=(h_prev.shape[0], "fan_out"))
    h_prev, delta = _arguments.as_dtype([h_prev, delta], _arguments.common_dtype(h_prev, delta))
    return h_prev.T @ delta, delta.sum(axis=0)


# ---- losses


@_arguments.public
def bce_with_logits(z, y, sample_weight=None, *, pos_weight=None, label_smoothing=0.0):
    """Binary cross-entropy of logits, summed (E2), and its derivative by them (E3).

    Parameters
    ----------
    z : array (n,) or (n, n_outputs)
        Logits.
    y : array like `z`
        Targets in [0, 1].
    sample_weight : array (n,), optional
    pos_weight : float or array (n_outputs,), optional
        Multiplies the part y log h of each output's loss.
    label_smoothing : float in [0, 1)
        The target is (1 − label_smoothing) y + label_smoothing/2.

    Returns
    -------
    loss : float
        In nats, summed in float64. Of an infinite z its limit: 0 where the target is that label,
        infinite elsewhere; a sample of weight 0 adds 0.
    delta : ndarray like `z`

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked.
    ValueError
        Shapes do not fit, a target is outside [0, 1] or NaN, a weight is negative or not finite,
        an option is outside its range.
    """
    return _with_logits("bce", z, y, sample_weight, pos_weight=pos_weight,
                        label_smoothing=label_smoothing)


@_arguments.public
def softmax_with_logits(z, y, sample_weight=None, *, class_weight=None, label_smoothing=0.0):
    """Cross-entropy of a softmax over the outputs, summed (E2), and its derivative (E3).

    Parameters
    ----------
    z : array (n, n_outputs)
        Logits.
    y : array (n,) or (n, n_outputs)
        The class of each sample, or probabilities that sum to 1.
    sample_weight : array (n,), optional
    class_weight : dict or sequence (n_outputs,), optional
        The weight of each class; multiplied with a sample's own weight.
    label_smoothing : float in [0, 1)
        The target is (1 − label_smoothing) y + label_smoothing/n_outputs.

    Returns
    -------
    loss : float
        In nats, summed in float64. One z of +inf in a row has the limit: 0 where that is the class,
        infinite elsewhere. A row with two of them, or of −inf alone, has none: loss and δ are NaN.
    delta : ndarray like `z`

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked.
    ValueError
        Shapes do not fit, a class is not an integer in [0, n_outputs), probabilities are outside
        [0, 1] or do not sum to 1, a weight is negative or not finite, an option out of range.
    """
    return _with_logits("softmax", z, y, sample_weight, class_weight=class_weight,
                        label_smoothing=label_smoothing)


@_arguments.public
def squared_error(z, y, sample_weight=None):
    """Half the squared error, Σ (z − y)²/2 (E2), and its derivative z − y (E3).

    Parameters
    ----------
    z, y : array (n,) or (n, n_outputs)
    sample_weight : array (n,), optional

    Returns
    -------
    loss : float
        Summed in float64; NaN for z and y of the same infinity.
    delta : ndarray like `z`

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked.
    ValueError
        Shapes do not fit, a weight is negative or not finite.
    """
    return _with_logits("squared_error", z, y, sample_weight)


@_arguments.public
def poisson_with_logits(z, y, sample_weight=None):
    """Poisson loss of outputs e^z, Σ e^z − y z (E2), and its derivative e^z − y (E3).

    Parameters
    ----------
    z, y : array (n,) or (n, n_outputs)
        Logarithms of the expected counts; counts, at least 0.
    sample_weight : array (n,), optional

    Returns
    -------
    loss : float
        In nats, summed in float64; without log y!, which has no gradient. Infinite where e^z is,
        and where z is −inf, unless y is 0: then 0.
    delta : ndarray like `z`

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked.
    ValueError
        Shapes do not fit, a count is negative, infinite or NaN, a weight negative or not finite.
    """
    return _with_logits("poisson", z, y, sample_weight)


def _with_logits(name, z, y, sample_weight, **options):
    z, y, w = _arguments.logits_and_targets(z, y, sample_weight, name)
    n_outputs = z.shape[1] if z.ndim == 2 else 1
    options = _arguments.loss_options(name, n_outputs, **options)
    _arguments.target_range(y, n_outputs, name)
    if options.class_weight is not None:
        w = _arguments.class_weights(options.class_weight, y, name, z.dtype, w)
    column = None if w is None else w.reshape(-1, *(1,) * (z.ndim - 1))
    loss, delta = mathematics.weighted_loss(options, z, y, column)
    return float(loss), delta


# ---- the whole gradient


@_arguments.public
def forward(weights, biases, X, *, activation="sigmoid", loss="bce"):
    """Logits z_L and outputs h_L (E1), each (n, n_outputs), of the network `backprop` takes."""
    weights, biases = _arguments.layer_lists(weights, biases)
    hidden = _arguments.hidden_activations(activation, len(weights) - 1)
    z = mathematics.forward(*_arguments.network_arrays(weights, biases, X)[:3], hidden)[-1]
    return z, mathematics.OUTPUTS[_arguments.loss_options(loss, z.shape[1]).loss.output](z)


@_arguments.public
def backprop(weights, biases, X, y, *, activation="sigmoid", loss="bce", sample_weight=None,
             reduction="sum", pos_weight=None, class_weight=None, label_smoothing=0.0):
    """Loss and gradient of a multilayer perceptron (E1 to E6).

    Parameters
    ----------
    weights : sequence of arrays (fan_in, fan_out)
    biases : sequence of arrays (fan_out,)
    X : array (n, n_features)
    y : array (n, n_outputs), or (n,) for one output or the classes of a softmax
        Targets in the loss's range. They and the sample weights take the dtype of the other
        arguments.
    activation : {"sigmoid", "tanh", "relu", "identity"} or sequence of these
        Of all hidden layers, or one for each.
    loss : {"bce", "softmax", "squared_error", "poisson"}
    sample_weight : array (n,), optional
    reduction : {"sum", "mean"}
        "mean" divides loss and gradient by n, or by the sum of the sample weights.
    pos_weight, class_weight, label_smoothing
        As for `bce_with_logits` and `softmax_with_logits`; two class weights for "bce" of one
        output.

    Returns
    -------
    loss : float
        In nats.
    dW, db : lists of ndarrays like `weights` and `biases`

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked, or not a sequence.
    ValueError
        Shapes do not fit, the loss excludes a target, a weight is negative or not finite, a name
        is unknown, an option does not fit the loss, or "mean" would divide by zero.
    """
    p = checked(weights, biases, X, y, activation=activation, loss=loss,
                sample_weight=sample_weight, reduction=reduction, pos_weight=pos_weight,
                class_weight=class_weight, label_smoothing=label_smoothing)
    loss, dW, db = mathematics.gradient(*p.given)
    p.divide([*dW, *db])
    return float(loss if p.total is None else loss / p.total), dW, db
