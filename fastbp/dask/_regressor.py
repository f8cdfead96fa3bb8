"""DaskMLPRegressor: real targets of a table that many machines hold."""

from functools import partial

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import StrOptions

from fastbp import _arguments
from fastbp.dask import _passes
from fastbp.dask._estimator import DaskMLP, constraints
from fastbp.dask._looks import look_at_numbers
from fastbp.dask._score import r2, scored_table
from fastbp.dask._targets import Domain, Reals, Summary, poisson_offset
from fastbp.sklearn import MLPRegressor
from fastbp.sklearn._regressor import OUTPUTS


class DaskMLPRegressor(RegressorMixin, DaskMLP):
    """A multilayer perceptron of real targets, trained where the rows are.

    Minimises what `fastbp.sklearn.MLPRegressor` does. The result has the same bits for any number
    of workers, any that are lost or come back, and any partitions of the same rows.

    Parameters
    ----------
    loss, hidden_layer_sizes, activation, alpha, learning_rate, ..., max_fun, dtype
        Those of `fastbp.sklearn.MLPRegressor`. `tol` and `n_iter_no_change` decide when to stop.
    solver, batch_size, average_every, n_replicas, verbose, n_threads, checkpoint, client
        Those of `DaskMLPClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, loss_, loss_curve_, n_iter_, n_features_in_, feature_names_in_, ...
        Those of `fastbp.sklearn.MLPRegressor`; `loss_curve_` with "adam" and "sgd" alone.

    Raises
    ------
    TypeError, ValueError
        From the methods, for parameters and arguments that do not fit.
    """

    _parameter_constraints = {**constraints(MLPRegressor), "loss": [StrOptions(set(OUTPUTS))]}
    _member = MLPRegressor

    @_arguments.explained
    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
                 solver="lbfgs", alpha=0.0001, batch_size="auto", average_every=None,
                 n_replicas=16, learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
                 max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False,
                 momentum=0.9, nesterovs_momentum=True, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000, n_threads=1, dtype=None,
                 checkpoint=None, client=None):
        self._store(locals())

    @_arguments.public
    def predict(self, X):
        """The targets predicted for rows of X, when they are computed.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of n rows and n_features columns

        Returns
        -------
        dask.array.Array of shape (n,) or (n, n_outputs), dask.dataframe.Series or DataFrame
            For a DataFrame with its index, and the names that y had at the fit; several targets
            without names are the columns 0, 1, ...

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        self._check_fitted()
        n, dtype = self.n_outputs_, self.local_.coefs_[0].dtype
        return self._lazily("predict", X, np.zeros(1 if n == 1 else (1, n), dtype),
                            self._columns_of_targets(n))

    @_arguments.public
    def score(self, X, y, sample_weight=None):
        """R² of the predictions, computed where the rows are.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of n rows and n_features columns
        y : dask.array.Array, dask.dataframe.Series or DataFrame of n rows
        sample_weight : dask.array.Array or dask.dataframe.Series of n rows, optional
            Not negative.

        Returns
        -------
        float
            1 - (squared errors) / (squares of y less its mean), at most 1; of several targets the
            mean.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As `fit`.
        """
        self._check_fitted()
        return r2(*scored_table(self, X, y, sample_weight, look_at_numbers))

    # ---- what DaskMLP asks for

    def _look_at_y(self, dtype):
        return partial(look_at_numbers, dtype=dtype,
                       domain=Domain(self.loss, None, dtype, Reals(dtype)))

    def _describe(self, local, y, weight, dtype):
        local.out_activation_, local.n_outputs_ = OUTPUTS[self.loss], y.n_columns or 1
        return Reals(dtype)

    def _summary(self, local, table):
        if local.out_activation_ == "exp":
            total, offset = table.sum(_passes.statistics, of_block=poisson_offset)
            return Summary(float(total), offset=float(offset))
        total, = table.sum(_passes.statistics, of_block=_passes.weights)
        return Summary(float(total), local.n_outputs_)
