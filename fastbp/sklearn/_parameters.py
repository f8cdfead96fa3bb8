"""An estimator's parameters, and constraints of them beyond those that scikit-learn has."""

import functools
import math
from collections.abc import Iterable
from numbers import Integral, Real
from types import SimpleNamespace

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

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


class Parameters(BaseEstimator):
    """An estimator whose numbers may be of any kind."""

    @classmethod
    @functools.cache        # it reads the signature, and is asked several times for each fit
    def _get_param_names(cls):
        return super()._get_param_names()

    def _store(self, given):
        """Set the parameters from the locals of `__init__`."""
        for name in self._get_param_names():
            setattr(self, name, given[name])

    def _given(self):
        """The parameters, those that are numbers of any kind as Python's."""
        return SimpleNamespace(**{name: _arguments.as_number(value)
                                  for name, value in self.get_params(deep=False).items()})

    def _validate_params(self):
        validate_parameter_constraints(self._parameter_constraints, vars(self._given()),
                                       caller_name=type(self).__name__)
