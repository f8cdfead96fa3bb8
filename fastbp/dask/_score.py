"""How good the predictions for all rows are, computed where these are."""

from functools import partial

import numpy as np

from fastbp import _arguments
from fastbp.dask import _passes
from fastbp.dask._looks import numbers
from fastbp.dask._objective import as_they_are, collections_of, require_weight
from fastbp.dask._places import place_of
from fastbp.dask._tables import Table, see


def scored_table(estimator, X, y, sample_weight, look_at_y):
    """The `Table` of a call of `score`, with y as it is, and a local estimator for arrays."""
    local = estimator.to_local()
    if hasattr(local, "feature_names_in_"):
        del local.feature_names_in_         # `Collection` compares them, and a block has none
    names = getattr(estimator.local_, "feature_names_in_", None)
    dtype = local.coefs_[0].dtype
    place = place_of(estimator.client)
    X, y, weight = collections_of(X, y, sample_weight)
    if names is not None and X.names is not None and X.names != names.tolist():
        raise ValueError(f"X has the columns {X.names}; it should have {names.tolist()}, as at the "
                         "fit")
    see(place, X, y, weight, dtype, look_at_y)
    if X.n_columns != local.n_features_in_:
        raise ValueError(f"X has {_arguments.counted(X.n_columns, 'column')}; it should have "
                         f"{local.n_features_in_}, as at the fit")
    if (y.n_columns or 1) != (columns := columns_of_y(local)):
        raise ValueError(f"y has {_arguments.counted(y.n_columns or 1, 'column')}; it should have "
                         f"{columns}, as at the fit")
    return Table(place, X, y, weight, dtype, as_they_are), local


def columns_of_y(local):
    """How many y had at the fit."""
    several = hasattr(local, "classes_") and local._label_binarizer.y_type_ == "multiclass"
    return 1 if several else local.n_outputs_


def accuracy(table, local):
    """The share of the weights of rows whose labels are all right."""
    total, right = table.sum(_passes.statistics, of_block=partial(right_of, local))
    require_weight(total)
    return float(right / total)


def right_of(local, number, X, y, weight):
    predicted = local.predict(X)
    right = (predicted == y.reshape(predicted.shape)).reshape(len(X), -1).all(axis=1)
    return [_passes.weight_of(X, weight),
            right.sum() if weight is None else (right * np.float64(weight)).sum()]


def r2(table, local):
    """The mean over the targets of 1 − Σ w (y − f)² / Σ w (y − mean of y)²."""
    total, *sums = table.sum(_passes.statistics, of_block=sums_of_targets)
    require_weight(total)
    parts = table.sum(_passes.statistics,
                      of_block=partial(squares_of, local, np.array(sums) / total))
    of_errors, of_targets = parts.reshape(2, -1)
    constant = of_targets == 0      # as scikit-learn: 1 where there is no error, else 0
    shares = np.divide(of_errors, of_targets, out=(of_errors != 0).astype(float), where=~constant)
    return float(1 - shares.mean())


def sums_of_targets(number, X, y, weight):
    y = numbers(y, np.float64).reshape(len(y), -1)
    w = np.ones(len(y)) if weight is None else np.float64(weight)
    return [w.sum(), *(w[:, None] * y).sum(axis=0)]


def squares_of(local, means, number, X, y, weight):
    y = numbers(y, np.float64).reshape(len(y), -1)
    w = 1.0 if weight is None else np.float64(weight)[:, None]
    f = np.float64(local.predict(X)).reshape(y.shape)
    return [*(w * (y - f)**2).sum(axis=0), *(w * (y - means)**2).sum(axis=0)]
