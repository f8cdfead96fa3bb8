"""Constraints of an estimator's parameters, beyond those that scikit-learn has."""

import math
from collections.abc import Iterable
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from fastbp import _arguments


class Number(Interval):
    """A real number in an interval, not too large for a float, and not a bool."""

    def is_satisfied_by(self, val):
        try:
            return (not isinstance(val, bool) and super().is_satisfied_by(val)
                    and math.isfinite(float(val)))
        except OverflowError:
            return False


def positive(closed="left"):
    return Number(Real, 0, None, closed=closed)


def at_least_one():
    return Interval(Integral, 1, None, closed="left")


def hidden_sizes(value):
    """The sizes of the hidden layers, a list of int."""
    if isinstance(value, Iterable) and getattr(value, "ndim", 1):
        return [_arguments.count(f"hidden_layer_sizes[{i}]", size) for i, size in enumerate(value)]
    return [_arguments.count("hidden_layer_sizes", value)]
