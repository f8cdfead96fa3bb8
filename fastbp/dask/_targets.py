"""y of an estimator as its network takes it, and the loss as scikit-learn reports it."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import xlogy

from fastbp.dask._looks import numbers


class Labels(NamedTuple):
    """Class labels to targets: indices for a softmax, else 0.0 and 1.0.

    Attributes
    ----------
    classes : (n_classes,) ndarray, sorted; None for an indicator matrix of several labels
    weights : (n_classes,) ndarray or None
        What a sample counts by its class.
    dtype : numpy.dtype
    """

    classes: Any
    weights: Any
    dtype: Any

    def __call__(self, y):
        if self.classes is None:
            return np.ascontiguousarray(y != 0, self.dtype), None
        index = np.searchsorted(self.classes, y.ravel())
        target = index if len(self.classes) > 2 else index.astype(self.dtype)
        return target, None if self.weights is None else self.weights[index]


class Reals(NamedTuple):
    """Real targets; those of one column as a vector."""

    dtype: Any

    def __call__(self, y):
        y = numbers(y, self.dtype)
        return (y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y), None


class Summary(NamedTuple):
    """The loss of all rows as scikit-learn has it; see `fastbp.sklearn._samples`."""

    total_weight: float
    divisor: int = 1
    offset: float = 0.0

    def reported(self, loss, penalty):
        return float(loss / self.divisor + penalty + self.offset / self.total_weight)


def poisson_offset(X, y, weight):
    """The weight of a block, and what scikit-learn adds to its Poisson loss."""
    y = np.float64(y)
    of_row = (xlogy(y, y) - y).reshape(len(y), -1).sum(axis=1)
    if weight is None:
        return [len(y), of_row.sum()]
    return [weight.sum(dtype=np.float64), np.float64(weight) @ of_row]
