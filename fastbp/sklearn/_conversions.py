"""Estimators to networks and to scikit-learn's own estimators, and back: copies of the weights.

What goes over is what predicts: sizes, activations, outputs, weights in their dtype, classes, names
of features; between two estimators the parameters too, and the counts and curves of the training.
The state of an optimizer does not, nor do the options of a loss or the weights of classes.

    network          to_network, from_network    the same outputs, to the bit
    scikit-learn's   to_sklearn, from_sklearn    the same weights; predictions agree to rounding
"""

import copy
import reprlib

import numpy as np
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

import fastbp
from fastbp import _arguments
from fastbp._arguments import tables
from fastbp.sklearn._stochastic import begin

# Attributes that mean the same in scikit-learn's estimators.
SHARED = ("n_features_in_", "feature_names_in_", "classes_", "_label_binarizer", "out_activation_",
          "n_outputs_", "n_layers_", "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_",
          "validation_scores_", "best_validation_score_", "_no_improvement_count")


class Convertible:
    """The conversions of a BaseMLP whose `_theirs` is scikit-learn's class of the same name."""

    @_arguments.public
    def to_network(self):
        """A network with copies of the weights, whose outputs are the predictions, to the bit.

        Returns
        -------
        fastbp.MLP
            In the dtype of the weights, with the estimator's `n_threads`. Its outputs are the
            probability of the second class, or of each class or label, or the targets, and its
            loss is the one that `fit` minimises; `class_weight` is not in it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError
            For arrays in `coefs_` and `intercepts_`, or an `activation`, that do not fit.
        """
        check_is_fitted(self, "coefs_")
        return self._assembled()

    @_arguments.public
    def to_sklearn(self):
        """scikit-learn's own estimator, fitted: copies of the weights, parameters and attributes.

        It predicts without fastbp, and trains on with a new optimizer. "newton-cg", which
        scikit-learn lacks, becomes "lbfgs"; `class_weight`, `n_threads` and `dtype` stay behind.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            Its predictions differ by rounding. Those of float32 weights are computed in the dtype
            that X has.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError
            For hidden layers of different activations, which scikit-learn lacks.
        """
        net = self.to_network()
        if not isinstance(net.activation, str):
            raise ValueError(f"activation is {reprlib.repr(self.activation)}; for scikit-learn's "
                             "estimator it should be the same for all hidden layers")
        names = self._theirs._get_param_names()
        params = {name: value for name, value in vars(self._given()).items() if name in names}
        params |= {"hidden_layer_sizes": net.layer_sizes[1:-1],
                   "activation": _arguments.ACTIVATIONS[net.activation].sklearn,
                   "solver": "lbfgs" if self.solver == "newton-cg" else self.solver}
        theirs = self._theirs(**copy.deepcopy(params))
        copy_attributes(self, theirs)
        # The last two are what a fit with early stopping goes back to while nothing is better.
        for name, arrays in (("coefs_", net.weights), ("intercepts_", net.biases),
                             ("_best_coefs", net.weights), ("_best_intercepts", net.biases)):
            setattr(theirs, name, [array.copy() for array in arrays])
        return theirs

    @classmethod
    @_arguments.public
    def from_sklearn(cls, estimator):
        """An estimator with the weights, parameters and attributes of scikit-learn's own, copied.

        It trains on with a new optimizer. The losses of held-out samples, which scikit-learn does
        not keep, are NaN in `validation_loss_curve_`.

        Parameters
        ----------
        estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
            Of the same name as this class, and fitted.

        Returns
        -------
        MLPClassifier or MLPRegressor
            A network of the dtype of the weights; predictions differ by rounding.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        TypeError
            For an estimator of another class.
        ValueError
            For arrays in its `coefs_` and `intercepts_` that do not fit.
        """
        if not isinstance(estimator, cls._theirs):
            kind = type(estimator)
            raise TypeError(f"estimator is of type {kind.__module__}.{kind.__qualname__}; it "
                            f"should be a sklearn.neural_network.{cls._theirs.__name__}")
        check_is_fitted(estimator, "coefs_")
        params = estimator.get_params(deep=False)
        model = cls(**copy.deepcopy({name: params[name] for name in cls._get_param_names()
                                     if name in params}))
        copy_attributes(estimator, model)
        scores = getattr(model, "validation_scores_", None)
        model.validation_loss_curve_ = None if scores is None else [np.nan] * len(scores)
        return with_weights(model, estimator.coefs_, estimator.intercepts_)


def copy_attributes(source, target):
    for name in SHARED:
        if name in vars(source):
            setattr(target, name, copy.deepcopy(vars(source)[name]))


def with_weights(model, coefs, intercepts):
    """The model on a network of its own that has copies of these arrays."""
    model.coefs_, model.intercepts_ = [*coefs], [*intercepts]
    model._bind(model._assembled())
    return model


# ---- from a network


def unfitted(cls, net, losses, feature_names, **params):
    """An estimator of a network's shape and functions, without weights and classes.

    `losses` are the names of those that the class has.
    """
    if not isinstance(net, fastbp.MLP):
        raise TypeError(f"net is of type {type(net).__name__}; it should be a fastbp.MLP"
                        f"{_arguments.way_to_a_network(net)}")
    if net.loss not in losses:
        raise ValueError(f"net has loss {net.loss!r}; for {cls.__name__} it should be "
                         f"{' or '.join(map(repr, losses))}")
    sizes = net.layer_sizes
    names = _arguments.distinct_names("feature_names",
                                      () if feature_names is None else feature_names, sizes[0])
    alike = isinstance(net.activation, str)
    activations = [_arguments.ACTIVATIONS[name].sklearn
                   for name in ([net.activation] if alike else net.activation)]
    model = cls(hidden_layer_sizes=sizes[1:-1], activation=activations[0] if alike else activations,
                n_threads=net.n_threads, dtype=net.dtype.name, **params)
    model.n_features_in_, model.n_outputs_, model.n_layers_ = sizes[0], sizes[-1], len(sizes)
    if names:
        model.feature_names_in_ = np.array(names, dtype=object)
    model.out_activation_ = _arguments.LOSSES[net.loss].sklearn
    model.n_iter_ = model.t_ = 0
    begin(model)
    return model


def is_absent(classes):
    return classes is None or np.size(classes) == 0


def distinct_labels(classes, n):
    """`n` different labels as an array, of a kind that scikit-learn takes as classes."""
    if is_absent(classes):
        return np.arange(n)
    tables.refuse_missing("classes", classes)
    labels = np.asarray(classes)
    if labels.shape != (n,):
        raise ValueError(f"classes has shape {labels.shape}; it should have shape {(n,)}, a label "
                         "for each class that the outputs of net tell apart")
    try:
        fit = type_of_target(labels) in ("binary", "multiclass") and np.unique(labels).size == n
    except (TypeError, ValueError):
        fit = False
    if not fit:
        raise ValueError(f"classes is {reprlib.repr(classes)}; it should be {n} different labels, "
                         "all strings or all integers")
    return labels


def refuse_names_of_labels(classes, n):
    """Labels that a sample may have several of are columns, which have numbers for names."""
    if not is_absent(classes) and not np.array_equal(classes, np.arange(n)):
        raise ValueError(f"classes is {reprlib.repr(classes)}; for {n} outputs that each tell two "
                         "classes apart, columns of an indicator matrix, it should be None")
