"""y of an estimator as its network takes it, and the loss as scikit-learn reports it."""

from typing import Any, NamedTuple

import numpy as np

import fastbp
from fastbp.dask._looks import numbers
from fastbp.sklearn._poisson import least_poisson_loss


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


class Domain(NamedTuple):
    """What a loss takes for y: a network of one input refuses what any network would.

    Attributes
    ----------
    loss : str
    n_outputs : int or None
        None: as many as y has columns.
    dtype : numpy.dtype
    targets : callable
        y of a partition as the network takes it, and weights or None.
    """

    loss: str
    n_outputs: int
    dtype: Any
    targets: Any

    def __call__(self, y):
        y, _ = self.targets(y)
        n_outputs = self.n_outputs or (1 if y.ndim == 1 else y.shape[1])
        net = fastbp.MLP([1, n_outputs], loss=self.loss, dtype=self.dtype, n_threads=1)
        net.loss_value(np.zeros((len(y), 1), self.dtype), y)


class Summary(NamedTuple):
    """The loss of all rows as scikit-learn has it; see `fastbp.sklearn._samples`."""

    total_weight: float
    divisor: int = 1
    offset: float = 0.0

    def reported(self, loss, penalty):
        return float(loss / self.divisor + penalty + self.offset / self.total_weight)


def poisson_offset(number, X, y, weight):
    """The weight of a block, and what scikit-learn adds to its Poisson loss."""
    of_row = -least_poisson_loss(y)
    if weight is None:
        return [len(y), of_row.sum()]
    return [weight.sum(dtype=np.float64), (weight * of_row).sum()]
