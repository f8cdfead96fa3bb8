"""DaskMLPClassifier: labels of a table that many machines hold."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_class_weight

from fastbp import _arguments
from fastbp.dask import _passes
from fastbp.dask._estimator import DaskMLP, constraints
from fastbp.dask._looks import look_at_labels
from fastbp.dask._score import accuracy, scored_table
from fastbp.dask._targets import Labels, Summary
from fastbp.sklearn import MLPClassifier
from fastbp.sklearn._weights import check_class_weight


class DaskMLPClassifier(ClassifierMixin, DaskMLP):
    """A multilayer perceptron of class labels, trained where the rows are.

    Minimises what `fastbp.sklearn.MLPClassifier` does. The result has the same bits for any number
    of workers, any that are lost or come back, and any partitions of the same rows. SciPy's part of
    "lbfgs" and "newton-cg" depends on the BLAS of the client's process.

    Parameters
    ----------
    hidden_layer_sizes, activation, alpha, learning_rate, ..., max_fun, class_weight, dtype
        Those of `fastbp.sklearn.MLPClassifier`. `tol` and `n_iter_no_change` decide when to stop.
    solver : {"lbfgs", "newton-cg", "adam", "sgd"}
        "lbfgs" and "newton-cg" make one pass over all rows for each loss and product of the
        Hessian. "adam" and "sgd" make steps.
    batch_size : int or "auto"
        Rows of a step, rounded to whole blocks of the grid; "auto": 16 blocks. With
        `average_every` the rows of a mini-batch; "auto": 200.
    average_every : int, optional
        After how many blocks the replicas are averaged. None: there is one network, and a step is
        the gradient of a batch over all workers.
    n_replicas : int
        How many replicas there are under `average_every`; at most as many workers are busy.
    verbose : bool
        A bar on the terminal with the loss of each iteration and rows per second.
    n_threads : int
        Of each task. No bit depends on it.
    checkpoint : str or path-like, optional
        A file of the client, needs the extra io, and `random_state` other than None. The fit
        resumes from it, on any cluster, and ends with the bits of one that was not stopped. It has
        16 bytes a parameter for every pass of "lbfgs" and "newton-cg", and the state at the end of
        an epoch of "adam" and "sgd".
    client : distributed.Client, optional
        None: the default client, or this process if there is none or `dask.config` names a
        scheduler of one machine, such as "synchronous". It is not part of a copy or a pickle.

    Attributes
    ----------
    classes_ : ndarray
    coefs_, intercepts_, loss_, loss_curve_, n_iter_, n_features_in_, feature_names_in_, ...
        Those of `fastbp.sklearn.MLPClassifier`; `loss_curve_` with "adam" and "sgd" alone.

    Raises
    ------
    TypeError, ValueError
        From the methods, for parameters and arguments that do not fit.
    """

    _parameter_constraints = constraints(MLPClassifier)
    _member = MLPClassifier

    @_arguments.explained
    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="lbfgs",
                 alpha=0.0001, batch_size="auto", average_every=None, n_replicas=16,
                 learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200,
                 shuffle=True, random_state=None, tol=1e-4, verbose=False, momentum=0.9,
                 nesterovs_momentum=True, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000, class_weight=None, n_threads=1, dtype=None,
                 checkpoint=None, client=None):
        self._store(locals())

    @_arguments.public
    def predict(self, X):
        """The classes predicted for rows of X, when they are computed.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of n rows and n_features columns

        Returns
        -------
        dask.array.Array of shape (n,) or (n, n_classes), or dask.dataframe.Series
            For a DataFrame with its index, and the names that y had at the fit.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        if self._several_labels():
            example, n = np.zeros((1, self.n_outputs_), int), self.n_outputs_
        else:
            example, n = self.classes_, 1
        return self._lazily("predict", X, example, self._columns_of_targets(n))

    @_arguments.public
    def predict_proba(self, X):
        """The probability of each class for rows of X, when they are computed.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of n rows and n_features columns

        Returns
        -------
        dask.array.Array of shape (n, n_classes), or dask.dataframe.DataFrame
            A DataFrame, with the index of X and a column for each class, for a DataFrame.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        self._several_labels()
        example = np.zeros((1, len(self.classes_)), self.local_.coefs_[0].dtype)
        return self._lazily("predict_proba", X, example, self.classes_.tolist())

    @_arguments.public
    def score(self, X, y, sample_weight=None):
        """The share of rows whose class is predicted, computed where the rows are.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of n rows and n_features columns
        y : dask.array.Array, dask.dataframe.Series or DataFrame of n rows
        sample_weight : dask.array.Array or dask.dataframe.Series of n rows, optional
            Not negative.

        Returns
        -------
        float
            In [0, 1], by weight. With several labels, all of a row have to be right.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As `fit`.
        """
        self._check_fitted()
        return accuracy(*scored_table(self, X, y, sample_weight, look_at_labels))

    # ---- what DaskMLP asks for

    def _several_labels(self):
        self._check_fitted()
        return self.local_._label_binarizer.y_type_.startswith("multilabel")

    def _look_at_y(self, dtype):
        return look_at_labels

    def _describe(self, local, y, weight, dtype):
        """Learn the classes; returns what makes targets of y."""
        check_class_weight(self.class_weight)
        classes, counts = y.classes()
        if y.ndim == 2 and y.n_columns > 1:
            if not set(classes.tolist()) <= {0, 1}:
                raise ValueError(f"y has {y.n_columns} columns with values such as "
                                 f"{classes.tolist()[-1]!r}; of several labels at once they "
                                 "should be 0 and 1")
            if self.class_weight is not None:
                raise ValueError("class_weight is given with an indicator matrix of several "
                                 "labels; it should be None")
            fitted_to, own = np.eye(y.n_columns, dtype=int), None
        else:
            if len(classes) < 2:
                raise ValueError(f"y has the label {classes.tolist()[0]!r} alone; it should have "
                                 "two or more")
            fitted_to, own = classes, classes
        local._label_binarizer = LabelBinarizer().fit(fitted_to)
        local.classes_ = local._label_binarizer.classes_
        local._describe_outputs()
        weights = None
        if self.class_weight is not None:
            if self.class_weight == "balanced" and weight is not None:
                raise ValueError("class_weight is 'balanced' with sample_weight; it should be a "
                                 "dict or None")
            weights = local.class_weight_ = class_weights(self.class_weight, classes, counts)
        return Labels(own, weights, dtype)

    def _summary(self, local, table):
        return Summary(float(table.sum(_passes.statistics, of_block=_passes.weights)[0]))


def class_weights(class_weight, classes, counts):
    """(n_classes,) float64: "balanced" is n_samples / (n_classes * count)."""
    if class_weight == "balanced":
        return counts.sum() / (len(classes) * counts)
    return compute_class_weight(class_weight, classes=classes, y=classes)
