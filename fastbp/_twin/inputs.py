"""`input_grad` and `jacobian` in NumPy, the twins of `MLP`'s; `reference` shows them."""

from .. import _arguments
from . import mathematics
from .problem import by_name, checked


@_arguments.public
def input_grad(weights, biases, X, y, *, activation="sigmoid", loss="bce", sample_weight=None,
               pos_weight=None, class_weight=None, label_smoothing=0.0, out=None):
    """The gradient of the summed loss by the input, dL/dX = δ_1 W_1ᵀ (E1 to E5).

    Parameters
    ----------
    weights : sequence of arrays (fan_in, fan_out)
    biases : sequence of arrays (fan_out,)
    X : array (n, n_features)
    y, activation, loss, sample_weight, pos_weight, class_weight, label_smoothing
        As for `backprop`.
    out : ndarray (n, n_features), optional
        Where to write: C-contiguous, like the result, memory of its own.

    Returns
    -------
    ndarray (n, n_features)

    Raises
    ------
    TypeError, ValueError
        As `backprop`; `out` has another dtype or shape, is not C-contiguous, is read-only, or
        overlaps an argument.
    """
    given = by_name(weights, biases, X=X, y=y, sample_weight=sample_weight)
    p = checked(weights, biases, X, y, activation=activation, loss=loss,
                sample_weight=sample_weight, reduction="sum", pos_weight=pos_weight,
                class_weight=class_weight, label_smoothing=label_smoothing)
    result = _arguments.output("out", out, p.X.shape, p.X.dtype, given)
    result[...] = mathematics.by_input(p.weights, mathematics.deltas(*p.given)[2])
    return result


@_arguments.public
def jacobian(weights, biases, X, *, activation="sigmoid", loss="bce", of="output", wrt="params",
             out=None):
    """The derivative of every output by the parameters or the input (E1 to E6 for each output).

    Parameters
    ----------
    weights : sequence of arrays (fan_in, fan_out)
    biases : sequence of arrays (fan_out,)
    X : array (n, n_features)
    activation : {"sigmoid", "tanh", "relu", "identity"} or sequence of these
        Of all hidden layers, or one for each.
    loss : {"bce", "softmax", "squared_error", "poisson"}
        Which makes the outputs of the logits.
    of : {"output", "logits"}
        Whose derivative: h_L, or z_L.
    wrt : {"params", "input"}
        By W_1.ravel(), b_1, W_2.ravel(), ..., or by the sample's own row of X.
    out : ndarray like the result, optional
        Where to write: C-contiguous, memory of its own.

    Returns
    -------
    ndarray (n, n_outputs, n_params) or (n, n_outputs, n_features)

    Raises
    ------
    TypeError
        An argument is complex, object, string or masked, or not a sequence; `out` is not an array,
        or has another dtype.
    ValueError
        Shapes do not fit, a name is unknown; `out` is not C-contiguous, is read-only, or overlaps
        an argument.
    """
    given = by_name(weights, biases, X=X)
    weights, biases = _arguments.layer_lists(weights, biases)
    activation = _arguments.hidden_activations(activation, len(weights) - 1)
    weights, biases, X, _ = _arguments.network_arrays(weights, biases, X)
    output = _arguments.loss_options(loss, biases[-1].size).loss.output
    if _arguments.choice("of", of, ("output", "logits")) == "logits":
        output = "identity"
    to_input = _arguments.choice("wrt", wrt, ("params", "input")) == "input"
    width = X.shape[1] if to_input else sum(a.size for a in (*weights, *biases))
    result = _arguments.output("out", out, (len(X), biases[-1].size, width), X.dtype, given)
    result[...] = mathematics.jacobian(weights, biases, X, output, to_input, activation)
    return result
