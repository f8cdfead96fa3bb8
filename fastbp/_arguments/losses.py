"""Losses by name, and the options that modify them."""

import reprlib
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from .arrays import real_array, require_shape
from .descriptors import DEFAULTS, LOSSES
from .numbers import as_numbers, choice, counted, fraction, integer, non_negative, positive

_SQUARES = "'squared_error' is half the square, summed over the outputs"
_BINARY = "'bce' is that of each output by itself"
_ENTROPY = f"'softmax' is that of one class among several, {_BINARY}"
_ELSEWHERE = {  # what other libraries call a loss
    "mse": _SQUARES, "mean_squared_error": _SQUARES, "l2": _SQUARES,
    "binary_crossentropy": _BINARY, "binary_cross_entropy": _BINARY,
    "cross_entropy": _ENTROPY, "crossentropy": _ENTROPY, "log_loss": _ENTROPY, "nll": _ENTROPY,
    "categorical_crossentropy": _ENTROPY, "sparse_categorical_crossentropy": _ENTROPY,
}


class LossOptions(SimpleNamespace):
    """The name of a loss, and the options that modify it."""

    name = DEFAULTS["loss"]
    pos_weight = None  # or a tuple, one for each output
    class_weight = None  # or a tuple, one for each class
    label_smoothing = 0.0

    @property
    def loss(self):
        """The descriptor."""
        return LOSSES[self.name]

    def smoothing(self, n_outputs):
        """(a, b) of the target t = a y + b."""
        if self.label_smoothing == 0:
            return 1.0, 0.0
        n_classes = n_outputs if self.loss.is_distribution else 2
        return 1 - self.label_smoothing, self.label_smoothing / n_classes


def _loss_named(name):
    try:
        return LOSSES[choice("loss", name, LOSSES)]
    except ValueError as error:
        hint = _ELSEWHERE.get(name.lower()) if isinstance(name, str) else None
        if hint is None:
            raise
        raise ValueError(f"{error}: {hint}") from None


def loss_options(loss, n_outputs, pos_weight=None, class_weight=None, label_smoothing=0.0):
    """The options of a loss; refuses those that this loss does not take."""
    loss = _loss_named(loss)
    if loss.is_distribution and n_outputs < 2:
        raise ValueError(f"there is {n_outputs} output; under loss={loss.name!r} there should be "
                         "at least 2")
    smoothing = fraction("label_smoothing", label_smoothing)
    if smoothing and "label_smoothing" not in loss.options:
        raise ValueError(
            f"label_smoothing is {label_smoothing!r}; under loss={loss.name!r} it should be 0")
    return LossOptions(name=loss.name, label_smoothing=smoothing,
                       pos_weight=_pos_weight(pos_weight, n_outputs, loss),
                       class_weight=_class_weight(class_weight, n_outputs, loss))


def _pos_weight(value, n_outputs, loss):
    if value is None:
        return None
    if "pos_weight" not in loss.options:
        raise ValueError(
            f"pos_weight is {reprlib.repr(value)}; under loss={loss.name!r} it should be None")
    array = real_array("pos_weight", as_numbers(value), np.float64)
    if array.ndim == 0:
        return (positive("pos_weight", array.item()),) * n_outputs
    require_shape("pos_weight", array, (n_outputs,))
    return tuple(positive(f"pos_weight[{j}]", p) for j, p in enumerate(array.tolist()))


def _class_weight(value, n_outputs, loss):
    if value is None:
        return None
    n_classes = loss.n_classes(n_outputs) if "class_weight" in loss.options else None
    if n_classes is None:
        raise ValueError(f"class_weight is {reprlib.repr(value)}; under loss={loss.name!r} with "
                         f"{counted(n_outputs, 'output')} it should be None")
    if isinstance(value, Mapping):  # a class that is not named counts 1
        unknown = [key for key in value if integer(key) not in range(n_classes)]
        if unknown:
            raise ValueError(f"class_weight has the key {unknown[0]!r}; "
                             f"its keys should be integers in [0, {n_classes})")
        value = [value.get(c, 1.0) for c in range(n_classes)]
    if isinstance(value, str):
        raise ValueError(f"class_weight is {value!r}; it should be a dict or {n_classes} numbers, "
                         "one for each class")
    array = real_array("class_weight", as_numbers(value), np.float64, shape=(n_classes,))
    return tuple(non_negative(f"class_weight[{c}]", w) for c, w in enumerate(array.tolist()))
