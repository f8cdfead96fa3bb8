"""What DaskMLPClassifier and DaskMLPRegressor share: `fit`, lazy predictions, `to_local`.

What is fitted is an estimator of `fastbp.sklearn` on the client's side: its parameters, its network
and its optimizer. The rows stay with the workers, which send sums over them.
"""

import copy
import time
import warnings
from contextlib import contextmanager, nullcontext

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastbp import _arguments
from fastbp._progress import progress
from fastbp.dask import _steps, _tables
from fastbp.dask._objective import Objective, collections_of, require_weight
from fastbp.dask._places import place_of
from fastbp.dask._resume import EvaluationLog, FitCheckpoint, go_on, keep_epoch
from fastbp.dask._steps import begin_steps, fit_steps
from fastbp.dask._tables import Collection, Table, see
from fastbp.sklearn._base import STOCHASTIC
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._parameters import Parameters, at_least_one, hidden_sizes
from fastbp.sklearn._whole import fit_whole

# Parameters of the estimators of fastbp.sklearn that a table on many machines has no use for.
ABSENT = ("early_stopping", "validation_fraction", "warm_start")
# Above are `warn`, fit_steps or fit_whole, two methods, fit and its decorator.
CALLER_OF_FIT = 7


def constraints(member):
    theirs = {name: each for name, each in member._parameter_constraints.items()
              if name not in ABSENT}
    return {**theirs, "average_every": [at_least_one(), None], "n_replicas": [at_least_one()],
            "n_threads": [at_least_one()], "checkpoint": "no_validation",
            "client": "no_validation"}


class Watch(NoTask):
    """The task of a fit: a line of progress after each iteration, if it is asked for.

    Attributes
    ----------
    passes, loss : int, float
        Passes over all rows so far, and the last loss.
    after : callable or None
        Is called after each iteration.
    """

    def __init__(self, show, n_rows):
        self.show, self.n_rows, self.done, self.after = show, n_rows, 0, None
        self.passes, self.start, self.loss = 0, time.monotonic(), np.nan

    def warn(self, message, category):
        warnings.warn(message, category, stacklevel=CALLER_OF_FIT)

    def end(self):
        self.done += 1
        if self.after:
            self.after()
        if self.show:
            seconds = max(time.monotonic() - self.start, 1e-9)
            self.show(self.done, [f"{self.passes * self.n_rows / seconds:,.0f} rows/s",
                                  f"loss {self.loss:.6g}"])
        return False


class DaskMLP(Parameters):
    """The estimator without its targets; not for use by itself."""

    def __sklearn_clone__(self):
        """A new one with the same parameters; a client is not copied."""
        params = {name: value if name == "client" else copy.deepcopy(value)
                  for name, value in self.get_params(deep=False).items()}
        return type(self)(**params)

    def __getattr__(self, name):
        """The attributes of a fitted estimator, which end in "_", are those of the local one."""
        if name.endswith("_") and not name.startswith("_") and "local_" in vars(self):
            return getattr(self.local_, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getstate__(self):
        return super().__getstate__() | {"client": None}    # it is of this process alone

    def _columns_of_targets(self, n):
        """The names of y at the fit, one for a series; 0, 1, ... where it had none."""
        names = self._target_names
        return (names or [None])[0] if n == 1 else names or list(range(n))

    @_arguments.explained
    def fit(self, X, y, sample_weight=None):
        """Fit the network to all rows.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of n rows and n_features columns
            Numbers without NaN. The partitions may have any number of rows, none too.
        y : dask.array.Array, dask.dataframe.Series or DataFrame of n rows
        sample_weight : dask.array.Array or dask.dataframe.Series of n rows, optional
            Not negative.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For parameters and arguments that do not fit. A fault of the data is named by its
            partition, before training starts.
        fastbp.dask.SchedulerLost
            When the scheduler does not answer any more.
        """
        self._validate_params()
        given = self._given()
        given.early_stopping, given.verbose, show = False, False, given.verbose
        if given.average_every and given.solver not in STOCHASTIC:
            raise ValueError(f"average_every is {given.average_every} with solver "
                             f"{given.solver!r}; the solver should be 'adam' or 'sgd'")
        place, local = place_of(self.client), self._unfitted()
        if self.checkpoint is not None and self.random_state is None:
            raise ValueError("random_state is None with a checkpoint; it should be an int, without "
                             "which no other fit could go on from it")
        X, y, weight = collections_of(X, y, sample_weight)
        dtype = np.dtype(given.dtype or X.float_dtype())
        see(place, X, y, weight, dtype, self._look_at_y(dtype))
        if not X.n_columns:
            raise ValueError("X has no columns; it should have one or more")
        targets = self._describe(local, y, weight, dtype)
        local.n_features_in_ = X.n_columns
        if X.names is not None:
            local.feature_names_in_ = np.array(X.names, dtype=object)
        sizes = [X.n_columns, *hidden_sizes(given.hidden_layer_sizes), local.n_outputs_]
        random_state = check_random_state(given.random_state)
        net = local._bind(local._initial_network(sizes, dtype, random_state))
        local.n_layers_, local.t_ = len(sizes), 0
        table = Table(place, X, y, weight, dtype, targets, _steps.SHARD_BYTES if
                      given.solver in STOCHASTIC else _tables.SHARD_BYTES)
        with watched(show, given, table) as watch:
            self._solve(local, given, net, table, random_state, watch)
        if not np.isfinite(net.params).all():
            raise ValueError("Solver produced non-finite parameter weights. The input data may "
                             "contain large values and need to be preprocessed.")
        self.local_, self._target_names = local, y.names
        return self

    def _solve(self, local, given, net, table, random_state, watch):
        summary = self._summary(local, table)
        require_weight(summary.total_weight)
        file = None
        if self.checkpoint is not None:
            file = FitCheckpoint(self.checkpoint, self, net, table)
        with file.written() if file else nullcontext():
            solve = self._take_steps if given.solver in STOCHASTIC else self._minimise
            solve(local, given, net, table, summary, random_state, file, watch)

    def _take_steps(self, local, given, net, table, summary, random_state, file, watch):
        begin_steps(local, given)
        if file:
            go_on(file, local, net, random_state)

        def after():
            watch.passes, watch.loss = watch.passes + 1, local.loss_
            if file:
                keep_epoch(file, local, net, random_state)

        watch.after, watch.done = after, local.n_iter_
        fit_steps(local, given, net, table, summary, random_state, watch)

    def _minimise(self, local, given, net, table, summary, random_state, file, watch):
        working = local._new_network(net.layer_sizes, net.dtype)    # `net` has the last iteration's
        objective = Objective(working, table, given.alpha, True, summary.total_weight)
        asked = EvaluationLog(objective, file) if file else objective

        def counted(params):
            loss, grad = asked(params)
            watch.passes, watch.loss = objective.passes, loss
            return loss, grad

        counted.hessp = asked.hessp
        fit_whole(local, given, net, counted, summary, watch)

    def _unfitted(self):
        params = self.get_params(deep=False)
        return self._member(**{name: copy.deepcopy(params[name])
                               for name in self._member._get_param_names() if name in params})

    def _check_fitted(self):
        check_is_fitted(self, "local_")

    def to_local(self):
        """The fitted estimator of `fastbp.sklearn`, with copies of the weights.

        Returns
        -------
        fastbp.sklearn.MLPClassifier or MLPRegressor
            Its predictions are those of this one, to the bit.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        self._check_fitted()
        return copy.deepcopy(self.local_)

    def _lazily(self, method, X, example, columns):
        """`method` of the local estimator on each partition of X, when it is computed.

        `example` is an array of what it returns, for its dtype and its number of columns, `columns`
        the names of these in a frame, or the one name of a series.
        """
        of_parts = Collection("X", X).given
        n = of_parts.shape[1] if of_parts.ndim == 2 else 1
        if n == n and n != self.local_.n_features_in_:          # NaN is a number that Dask lacks
            raise ValueError(f"X has {_arguments.counted(n, 'column')}; it should have "
                             f"{self.local_.n_features_in_}, as at the fit")
        local = self.to_local()
        if hasattr(of_parts, "map_blocks"):
            shape = ({"drop_axis": 1} if example.ndim == 1 else
                     {"chunks": (of_parts.chunks[0], (example.shape[1],))})
            return of_parts.map_blocks(predicted, local, method, dtype=example.dtype,
                                       meta=example[:0], **shape)
        import pandas as pd

        predicted(of_parts._meta, local, method)        # refuses columns of other names now
        empty = (pd.Series(example, name=columns) if example.ndim == 1 else
                 pd.DataFrame(example, columns=columns)).iloc[:0]
        return of_parts.map_partitions(_frame_of, local, method, empty, meta=empty)


@contextmanager
def watched(show, given, table):
    """The `Watch` of a fit."""
    if not show:
        yield Watch(None, table.n_rows)
        return
    what = "epoch" if given.solver in STOCHASTIC else "iteration"
    with progress(what, given.max_iter, may_end_early=True) as bar:
        yield Watch(bar, table.n_rows)


def predicted(part, local, method):
    """Predictions for one partition, which may have no rows."""
    if len(part):
        return getattr(local, method)(part)
    rows = np.zeros((1, local.n_features_in_), local.coefs_[0].dtype)
    if hasattr(part, "columns"):
        rows = type(part)(rows, columns=part.columns)
    return getattr(local, method)(rows)[:0]


def _frame_of(part, local, method, empty):
    values = predicted(part, local, method)
    if values.ndim == 1:
        return type(empty)(values, index=part.index, dtype=empty.dtype, name=empty.name)
    return type(empty)(values, index=part.index, columns=empty.columns)
