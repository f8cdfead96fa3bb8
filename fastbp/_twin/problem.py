"""The checked arguments of `reference.backprop`, and of all that is made from its recursion."""

from typing import NamedTuple

import numpy as np

from .. import _arguments


class Problem(NamedTuple):
    """A network, its batch, and how the loss counts: all arrays in one dtype."""

    weights: list
    biases: list
    X: object
    y: object
    options: object  # a `_arguments.LossOptions`
    w: object  # what each sample counts, a column (n, 1), or None
    activation: object  # a name, or a tuple of names
    total: object  # what "mean" divides by, in float64; None for "sum"

    @property
    def given(self):
        """The arguments of `mathematics.gradient`."""
        return self[:-1]

    def divide(self, arrays):
        """The mean; in float64, so that a total float32 cannot hold is not rounded first."""
        if self.total is not None:
            for a in arrays:
                np.divide(a, self.total, out=a, casting="same_kind")


def checked(weights, biases, X, y, *, activation, loss, sample_weight, reduction, pos_weight,
            class_weight, label_smoothing):
    """The `Problem`; errors name the argument."""
    _arguments.choice("reduction", reduction, ("sum", "mean"))
    weights, biases = _arguments.layer_lists(weights, biases)
    activation = _arguments.hidden_activations(activation, len(weights) - 1)
    weights, biases, X, _ = _arguments.network_arrays(weights, biases, X)
    n_samples, n_outputs, dtype = X.shape[0], biases[-1].size, X.dtype
    options = _arguments.loss_options(loss, n_outputs, pos_weight, class_weight, label_smoothing)
    y = _arguments.targets(y, n_samples, n_outputs, dtype, options.name)
    _arguments.at_least_one_sample(n_samples, reduction)
    w = _arguments.weights_with_classes(sample_weight, options, y, n_samples, reduction, dtype)
    total = None
    if reduction == "mean":
        total = np.float64(n_samples if w is None else w.sum(dtype=np.float64))
    return Problem(weights, biases, X, y, options, None if w is None else w[:, None], activation,
                   total)


def by_name(weights, biases, **others):
    """Every array that is given, by its name in messages."""
    return {**{f"{name}[{i}]": a for name, arrays in (("weights", weights), ("biases", biases))
               for i, a in enumerate(_arguments.sequence(name, arrays))}, **others}
