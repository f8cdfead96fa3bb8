"""MLPClassifier: two classes, several, or several labels at once."""

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastbp import _arguments
from fastbp._arguments.descriptors import UNIT_INTERVAL
from fastbp.sklearn._base import BaseMLP, is_stochastic
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._conversions import (
    distinct_labels,
    refuse_names_of_labels,
    unfitted,
    with_weights,
)
from fastbp.sklearn._samples import Samples, slopes
from fastbp.sklearn._together import Data, alone, now
from fastbp.sklearn._weights import check_class_weight, of_classes

# The losses of labels, as a network has them.
CLASS_LOSSES = tuple(name for name, loss in _arguments.LOSSES.items()
                     if loss.targets is UNIT_INTERVAL)


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron of class labels: scikit-learn's, trained by fastbp.

    Minimises the cross-entropy of sigmoid outputs (two classes, or several labels at once) or of a
    softmax, plus alpha / 2 times the sum of W^2, over the sum of the weights, in nats.

    Parameters
    ----------
    hidden_layer_sizes, activation, ..., max_fun
        Those of `sklearn.neural_network.MLPClassifier`, with its meanings and defaults.
        `activation` may also be a sequence with one for each hidden layer, `solver` "newton-cg":
        Newton's method on all samples, which stops as "lbfgs" does.
    class_weight : dict, "balanced", list of dicts or None
        Multiplies the weight of each sample by that of its class: {label: weight}, where others
        have 1; n_samples / (n_classes * count) of the training data; for several labels at once
        one dict {0: weight, 1: weight} each.
    n_threads : int or None
        As in `fastbp.MLP`; the result does not depend on it.
    dtype : {"float32", "float64"} or None
        Of the network. None: float32 if X is, else float64, and what it was where it is trained
        further.

    Attributes
    ----------
    coefs_, intercepts_ : lists of ndarrays (fan_in, fan_out) and (fan_out,)
        Views into the parameters of the network. Arrays may be put in their place.
    classes_ : ndarray or list of ndarrays
    class_weight_ : (n_classes,) ndarray
        Of the last training data, with `class_weight` and one label a sample.
    loss_curve_, loss_, best_loss_, n_iter_, t_, n_layers_, n_outputs_, out_activation_
        scikit-learn's. Its log loss ends at -log(eps) of the dtype; this one does not.
    validation_scores_, validation_loss_curve_ : lists of float, or None
        Accuracy, and loss without the penalty, of the held-out samples after each epoch.
    best_validation_score_ : float or None
    stopped_ : bool
        Whether the last call ended because there was no improvement.
    n_features_in_, feature_names_in_
        scikit-learn's.

    Raises
    ------
    ValueError
        From the methods, for parameters and arguments that do not fit.
    """

    _parameter_constraints = {**BaseMLP._parameter_constraints,
                              "class_weight": [dict, list, StrOptions({"balanced"}), None]}
    _theirs = Theirs
    loss = "log_loss"

    @_arguments.explained
    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 class_weight=None, n_threads=None, dtype=None):
        self._store(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @classmethod
    @_arguments.public
    def from_network(cls, net, classes=None, feature_names=None):
        """A fitted estimator with copies of a network's weights, which can be trained on.

        Parameters
        ----------
        net : fastbp.MLP
            With loss "bce", of one output for two classes or of several for as many labels, or
            "softmax" of three outputs or more.
        classes : sequence of labels, optional
            In the order of the network's y, all different. None, or empty: 0, 1, …; that alone for
            several labels at once.
        feature_names : sequence of str, optional
            The columns of X, for `feature_names_in_`.

        Returns
        -------
        MLPClassifier
            `predict_proba` has the outputs of `net`, to the bit. Its sizes, activations, dtype and
            `n_threads` are parameters, others have their defaults; `n_iter_` is 0. `classes_` is
            sorted: where `classes` is not, so are the outputs, and that of two classes is of the
            other one, by weights of the other sign, and rounds otherwise.

        Raises
        ------
        TypeError
            For a `net` that is no `fastbp.MLP`, and names that are no str.
        ValueError
            For another loss, classes or names that are too many, too few, or the same, and a
            "softmax" of two outputs.
        """
        model = unfitted(cls, net, CLASS_LOSSES, feature_names)
        W, b, n_outputs = [*net.weights], [*net.biases], net.layer_sizes[-1]
        n_classes = _arguments.LOSSES[net.loss].n_classes(n_outputs)
        if n_classes is None:
            refuse_names_of_labels(classes, n_outputs)
            fitted_to = np.eye(n_outputs, dtype=int)
        else:
            if n_classes == n_outputs == 2:
                raise ValueError(f"net has loss {net.loss!r} of 2 outputs; for two classes "
                                 f"{cls.__name__} has loss 'bce' of 1, whose last weights and "
                                 "biases should be those of the second output minus the first's")
            fitted_to = distinct_labels(classes, n_classes)
            order = np.argsort(fitted_to)
            if n_outputs > 1:
                W[-1], b[-1] = W[-1][:, order], b[-1][order]
            elif order[0]:
                W[-1], b[-1] = -W[-1], -b[-1]
        model._label_binarizer = LabelBinarizer().fit(fitted_to)
        model.classes_ = model._label_binarizer.classes_
        return with_weights(model, W, b)

    @available_if(is_stochastic)
    @_arguments.explained
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None, *, X_val=None, y_val=None,
                    sample_weight_val=None):
        """Train for one epoch from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As in `fit`. `early_stopping` needs a given validation set here.
        classes : array-like of shape (n_classes,)
            All there will be; needed at the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`, and for labels that are not in `classes`.
        """
        if self.class_weight == "balanced":
            raise ValueError("class_weight is 'balanced' in partial_fit, which does not see all "
                             "of y; it should be a dict or None")
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        held_out = X_val, y_val, sample_weight_val
        alone(self._fit(Data(X, y), sample_weight, held_out, True, NoTask()))
        return self

    @_arguments.public
    def predict(self, X):
        """The classes predicted for rows of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels, or an indicator matrix of them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        probabilities = self._outputs(X)
        if self.n_outputs_ == 1:
            probabilities = probabilities.ravel()
        return self._label_binarizer.inverse_transform(probabilities)

    @_arguments.public
    def predict_proba(self, X):
        """The probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the dtype of the network. Of several labels, each by itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        return self._predicted(self._outputs(X))

    @_arguments.public
    def predict_log_proba(self, X):
        """The logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In nats.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    @_arguments.public
    def input_gradient(self, X):
        """The derivative of `predict_proba` by the features, one row for each class.

        What saliency maps show: by how much, to first order, each class becomes more probable as
        a feature of the sample grows. Of a sample that is nearly certain it is tiny, and keeps its
        relative accuracy: divided by its largest entry it is the map of the logit, or for several
        classes that of the logit against the others.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes, n_features)
            In the dtype of the network, in the order of `classes_`; per unit of X as it is given.
            Dense for a sparse X, too.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        RuntimeError
            When `fit` or `input_gradient` of this estimator has not ended, in any thread.
        """
        rows = self._outputs(X, slopes)
        return np.concatenate([-rows, rows], axis=1) if self.n_outputs_ == 1 else rows

    # ---- what BaseMLP asks for

    def _predicted(self, h):
        """`predict_proba` from the outputs."""
        return np.hstack([1 - h, h]) if self.n_outputs_ == 1 else h

    def _describe(self, y, sample_weight, fresh, incremental, once):
        """Learn the classes, or check those of y; and the weights of classes."""
        check_class_weight(self.class_weight)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = once(LabelBinarizer().fit, y, "classes")
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_shape(y)
            if self.warm_start and set(unique_labels(y)) != set(self.classes_):
                raise ValueError("warm_start can only be used where `y` has the same classes as in "
                                 f"the previous call to fit. Previously got {self.classes_}, `y` "
                                 f"has {unique_labels(y)}")
            self._check_like(y)
        self._describe_outputs()
        if self.class_weight is not None and y.ndim == 1:
            self.class_weight_ = of_classes(self.class_weight, self.classes_, y, sample_weight)

    def _describe_outputs(self):
        kind = self._label_binarizer.y_type_
        self.out_activation_ = "softmax" if kind == "multiclass" else "logistic"
        self.n_outputs_ = 1 if kind == "binary" else len(self.classes_)

    def _check_shape(self, y):
        several = self._label_binarizer.y_type_.startswith("multilabel")
        expected = ("n_samples", len(self.classes_)) if several else ("n_samples",)
        if y.shape[1:] != expected[1:]:
            raise ValueError(f"y has shape {y.shape}; it should have shape "
                             f"{_arguments.shown(expected)}, as at the first fit")

    def _check_like(self, y):
        self._check_shape(y)
        found = unique_labels(y)
        if not set(found) <= set(self.classes_):
            raise ValueError(f"y has the classes {found}; they should be among {self.classes_}")

    def _class_indices(self, y):
        return np.searchsorted(self.classes_, y)

    def _weight_of_class(self, y):
        if self.class_weight is None:
            return None
        if y.ndim == 1:
            return self.class_weight_[self._class_indices(y)]
        return compute_sample_weight(self.class_weight, y)

    def _samples(self, X, y, weight, places=None, once=now):
        def targets(y):
            if self.out_activation_ == "softmax":
                return self._class_indices(y)
            known = (self._class_indices(y) if y.ndim == 1 else
                     self._label_binarizer.transform(y) != 0)
            return known.astype(X.dtype)

        return Samples(X, once(targets, y, self.out_activation_, X.dtype), weight, places)

    def _strata(self, y):
        """Two classes are split in proportion, as scikit-learn does, and named so; several not."""
        return self._class_indices(y).astype(bool).astype(str) if self.n_outputs_ == 1 else None

    def _score(self, h, y, weight):
        """The share of samples whose labels are all right."""
        if self.out_activation_ == "softmax":
            right = h.argmax(axis=1) == y
        else:
            right = ((h > 0.5) == y.reshape(h.shape)).all(axis=1)
        return float(right.mean() if weight is None else np.average(right, weights=weight))
