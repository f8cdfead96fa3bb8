"""The arguments of the twins that compute a whole gradient, checked in one order."""

from typing import Any, NamedTuple

import numpy as np

from .. import _arguments


class Problem(NamedTuple):
    """What `mathematics.gradient` takes, in its order; w is a column (n, 1), or None."""

    weights: list
    biases: list
    X: np.ndarray
    y: np.ndarray
    options: Any
    w: Any
    activation: Any


def problem(weights, biases, X, y, *, reduction, activation, loss, sample_weight, pos_weight,
            class_weight, label_smoothing):
    """A `Problem`; "mean" wants samples, and weights whose sum can divide."""
    weights, biases = _arguments.layer_lists(weights, biases)
    activation = _arguments.hidden_activations(activation, len(weights) - 1)
    weights, biases, X, _ = _arguments.network_arrays(weights, biases, X)
    n_samples, n_outputs, dtype = X.shape[0], biases[-1].size, X.dtype
    options = _arguments.loss_options(loss, n_outputs, pos_weight, class_weight, label_smoothing)
    y = _arguments.targets(y, n_samples, n_outputs, dtype, options.name)
    _arguments.at_least_one_sample(n_samples, reduction)
    w = _arguments.weights_with_classes(sample_weight, options, y, n_samples, reduction, dtype)
    return Problem(weights, biases, X, y, options, None if w is None else w[:, None], activation)
