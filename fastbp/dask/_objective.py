"""The loss of all rows of Dask collections as a function of the parameters."""

import pickle
from functools import partial

import numpy as np

import fastbp
from fastbp import _arguments
from fastbp.dask import _passes
from fastbp.dask._looks import look_at_numbers
from fastbp.dask._places import place_of
from fastbp.dask._tables import Collection, Table, see
from fastbp.dask._targets import Domain


class Objective:
    """f(params) -> loss, gradient, and f.hessp(params, v): one pass over all rows each.

    Attributes
    ----------
    n_samples : int
    total_weight : float
        The sum of the weights, or the number of rows.
    passes : int
        How many were made.
    """

    def __init__(self, net, table, l2, mean, total_weight=None):
        self._net, self._table, self._l2, self._mean = net, table, l2, mean
        self.n_samples, self.total_weight = table.n_rows, total_weight
        self.passes = 0         # over all rows so far
        if total_weight is None:
            self.total_weight = float(table.sum(_passes.statistics, of_block=_passes.weights)[0])
        require_weight(self.total_weight, mean)

    def __call__(self, params):
        """The loss and its gradient at `params`.

        Parameters
        ----------
        params : array-like of shape (n_params,)

        Returns
        -------
        loss : float
        grad : ndarray of shape (n_params,), float64
            A new one.
        """
        self._net.params = params
        self.passes += 1
        total = self._table.sum(_passes.gradient, net=self._net, l2=self._l2)
        scale = self.total_weight if self._mean else 1.0
        return float(total[0] / scale), total[2:] / scale

    def hessp(self, params, v):
        """The Hessian at `params` times v: an ndarray of shape (n_params,), float64."""
        self._net.params = params
        self.passes += 1
        v = np.asarray(v, self._net.dtype)
        total = self._table.sum(_passes.hessian_product, net=self._net, l2=self._l2, v=v)
        return total / (self.total_weight if self._mean else 1.0)


def require_weight(total, divide=True):
    """Refuse a sum of weights that is infinite, or 0 if it will divide a sum."""
    if not np.isfinite(total):
        raise ValueError("sample_weight has an infinite sum; it should have a finite one")
    if divide and not total:
        raise ValueError("the weight of every row is 0; it should be positive in one at least")


def objective(net, X, y, *, sample_weight=None, reduction="sum", l2=0.0, client=None):
    """The loss of all rows as a function of the parameters, each call one pass over them.

    The rows are cut into a grid of blocks that depends on their number alone, and what the blocks
    give is added in a fixed tree, in float64: loss and gradient have the same bits for any number
    of workers and threads, for any partitions, and without a cluster.

    Parameters
    ----------
    net : fastbp.MLP
        Stays as it is.
    X : dask.array.Array or dask.dataframe.DataFrame of n rows and n_features columns
    y : dask.array.Array, dask.dataframe.Series or DataFrame of n rows
        As `net` takes it.
    sample_weight : dask.array.Array or dask.dataframe.Series of n rows, optional
    reduction : {"sum", "mean"}
        "mean" divides by the sum of the weights.
    l2 : float
        ½·l2·ΣW² is added to the sum.
    client : distributed.Client, optional
        None: the default client, or this process if there is none or `dask.config` names a
        scheduler of one machine, such as "synchronous".

    Returns
    -------
    Objective
        f(params) gives (loss in nats, float64 gradient), f.hessp(params, v) a product of the
        Hessian: what `scipy.optimize.minimize(f, net.params, jac=True, hessp=f.hessp)` takes.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, naming the partition; before training where it can be seen.
    fastbp.dask.SchedulerLost
        From a call, when the scheduler does not answer any more.
    """
    if not isinstance(net, fastbp.MLP):
        raise TypeError(f"net is of type {type(net).__name__}; it should be a fastbp.MLP")
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction is {reduction!r}; it should be 'sum' or 'mean'")
    l2 = _arguments.non_negative("l2", l2)
    place = place_of(client)
    own = pickle.loads(pickle.dumps(net))
    own.n_threads = own.n_threads or 1
    X, y, weight = collections_of(X, y, sample_weight)
    domain = Domain(net.loss, net.layer_sizes[-1], net.dtype, as_they_are)
    see(place, X, y, weight, net.dtype, partial(look_at_numbers, domain=domain))
    if X.n_columns != net.layer_sizes[0]:
        raise ValueError(f"X has {_arguments.counted(X.n_columns, 'column')}; it should have "
                         f"{net.layer_sizes[0]}, the inputs of net")
    return Objective(own, Table(place, X, y, weight, net.dtype, as_they_are), l2,
                     reduction == "mean")


def as_they_are(y):
    return y, None


def collections_of(X, y, sample_weight):
    """Make a `Collection` of X, one of y, and one of the weights unless these are None."""
    X, y = Collection("X", X), Collection("y", y)
    if X.ndim != 2:
        raise ValueError("X has one dimension; it should have two, rows and columns")
    return X, y, None if sample_weight is None else Collection("sample_weight", sample_weight)
