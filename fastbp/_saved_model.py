"""A network with what belongs to it: how its inputs are prepared, and what its outputs mean."""

import reprlib
import warnings
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _arguments
from fastbp._arguments import tables
from fastbp._arguments.descriptors import REAL
from fastbp._labels import texts_of
from fastbp._preparation import Levels, Preparation, Target
from fastbp._preparation.frames import frame_columns

CALLER = 5  # of a public method, counted from `_prepared`, which warns


class Recipe(NamedTuple):
    """What a model of a table knows beside its network.

    Attributes
    ----------
    preparation : Preparation
    target : Target
    marks : tuple of str
        Texts that stood for missing cells in the table of the training.
    training : dict
        On what it was trained, how, and with which result, as JSON has it.
    """

    preparation: Preparation
    target: Target
    marks: tuple
    training: dict

    @property
    def decimal(self):
        """The decimal mark of the table of the training; None if it is not known."""
        found = self.training.get("decimal")
        return found if found in (".", ",") else None

    @property
    def thousands(self):
        """Whether the other mark stood between thousands there."""
        return self.training.get("thousands") is True


class _Fields(NamedTuple):
    net: "fastbp.MLP | fastbp.Population"
    feature_mean: np.ndarray
    feature_scale: np.ndarray
    feature_names: tuple[str, ...]
    classes: tuple[str, ...] | tuple[float, ...]
    target_name: str


class SavedModel(_Fields):
    """What `load_model` returns.

    Attributes
    ----------
    net : fastbp.MLP or fastbp.Population
        The network, or those of an ensemble; it expects standardised features.
    feature_mean, feature_scale : ndarray of shape (n_features,), float64
        The standardisation; zeros and ones if the file has none.
    feature_names : tuple of str
        The features of the network, in their order; may be empty.
    classes : tuple of str, or of bool, int or float
        For a classifier, the labels in the order of y, as they were given; may be empty.
    target_name : str
        The name of the target; may be empty.
    recipe : Recipe or None
        How the columns of a table become features and outputs become answers, for a model of
        `fastbp train`.
    """

    recipe = None

    def __new__(cls, net, feature_mean, feature_scale, feature_names, classes, target_name,
                recipe=None):
        self = super().__new__(cls, net, feature_mean, feature_scale, feature_names, classes,
                               target_name)
        if recipe is not None:
            self.recipe = recipe
        return self

    def _replace(self, /, **changes):
        found = super()._replace(**changes)
        if self.recipe is not None:
            found.recipe = self.recipe
        return found

    @property
    def columns(self):
        """The names of the columns that `predict` takes; may be empty."""
        return self.feature_names if self.recipe is None else self.recipe.preparation.names

    @property
    def target(self):
        """What the outputs mean; labels that are numbers are texts in it, as in a table."""
        if self.recipe is not None:
            return self.recipe.target
        return _plain_target(self.net, texts_of(self.classes), self.target_name)

    @property
    def labels(self):
        """What `predict` answers with: (n_classes,) labels, (n_labels, 2) of several, or None."""
        target = self.target
        if target.task not in ("classes", "labels"):
            return None
        if self.recipe is None and target.task == "labels":
            return np.array([[0, 1]] * target.n_outputs)
        if self.recipe is None and not self.classes:
            return np.arange(len(target.classes[0]))
        if self.recipe is None and not isinstance(self.classes[0], str):
            return np.array(self.classes)
        return np.array(target.classes[0] if target.task == "classes" else target.classes, object)

    @_arguments.public
    def forward(self, X):
        """Prepare X and return the network's outputs, of an ensemble their mean.

        Parameters
        ----------
        X : array-like or table of shape (n, n_columns)
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, n_outputs)
            Probabilities; expected counts; numbers, which under a `recipe` are standardised.

        Warns
        -----
        UserWarning
            Once a call, with the columns and how many cells of each: levels that the
            training did not have, and missing cells where it had none.

        Raises
        ------
        TypeError
            X is not what the model was trained on: numbers, or texts where those were texts.
        ValueError
            X lacks a column, has two of its name, or has another shape; it lacks a value, and the
            model has no `recipe`.
        """
        return self.outputs(self._prepared(X, CALLER))

    @_arguments.public
    def predict(self, X):
        """Predict labels, numbers or counts.

        Parameters
        ----------
        X : array-like or table of shape (n, n_columns)
            A table (pandas, polars, Arrow, a structured array, whatever has `columns`) whose
            columns have names is read by `columns`, if the model has them, in whatever order they
            are; others are left out. A plain array goes by position. Under a `recipe` cells may be
            missing (None, NaN, an empty text, a mark of missing cells that the training had), and
            are text where the training had text; numbers and dates may be texts in the form that
            they had there.

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets)
            For classes the label with the largest probability: a str, as an object, or a number in
            the dtype of the labels that were saved; a class index where the model has no
            `classes`. For several labels one of two for each, 0 and 1 without a `recipe`. Else the
            numbers or the expected counts, in the units of the table of the training.

        Warns
        -----
        UserWarning
            As in `forward`.

        Raises
        ------
        TypeError, ValueError
            As in `forward`; or an output is NaN, of which there is no label.
        """
        labels, target, outputs = self.labels, self.target, self.outputs(self._prepared(X, CALLER))
        if target.classes and np.isnan(outputs).any():
            row = int(np.isnan(outputs).any(axis=1).argmax())
            raise ValueError(f"X gives NaN in row {row}, of which there is no label; its values, "
                             "or the parameters of the network, are NaN or too large")
        if labels is None:
            return target.values(outputs)
        chosen = target.chosen(outputs)
        return labels[chosen] if labels.ndim == 1 else labels[np.arange(len(labels)), chosen]

    @_arguments.public
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like or table of shape (n, n_columns)
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, n_classes)
            In the order of `classes`; for several labels (n, n_labels), that of the second label of
            each.

        Warns
        -----
        UserWarning
            As in `forward`.

        Raises
        ------
        TypeError, ValueError
            As in `forward`; or the outputs are not probabilities.
        """
        if self.target.task not in ("classes", "labels"):
            raise ValueError(f"the model predicts {self.target.task}, which have no probabilities; "
                             "it should be asked for predict")
        return self.target.values(self.outputs(self._prepared(X, CALLER)))

    def prepared(self, X):
        """The features of X (n, n_features), standardised, in the dtype of the network; it warns as
        `forward` does."""
        return self._prepared(X, 3)

    def _prepared(self, X, caller):
        """Those features; `caller` is the level of the stack that a warning is of."""
        if self.recipe is not None:
            recipe, preparation = self.recipe, self.recipe.preparation
            columns = frame_columns(X, preparation.columns, frozenset(recipe.marks),
                                    recipe.decimal, recipe.thousands)
            X, told = preparation.encode(columns, self.net.dtype)
            words = _unlike_the_training(preparation.columns, told)
            if words:
                warnings.warn(f"X has {words}", stacklevel=caller)
            return X
        X = tables.by_name("X", X, self.feature_names)
        X = _arguments.real_array("X", X, np.float64, shape=("n_samples", self.net.layer_sizes[0]))
        return (X - self.feature_mean) / self.feature_scale

    def outputs(self, X):
        """The outputs (n, n_outputs) of features X, of an ensemble their mean."""
        outputs = self.net.forward(X)
        if outputs.ndim == 2:
            return outputs
        return outputs.mean(axis=0, dtype=np.float64).astype(outputs.dtype)

    def __repr__(self):
        columns = f", columns={reprlib.repr(self.columns)}" * bool(self.columns)
        return f"SavedModel({self.net!r}, target_name={self.target_name!r}{columns})"


SavedModel.__module__ = "fastbp.io"


def _unlike_the_training(columns, told):
    """Which cells the training did not have, in words that may be empty."""
    had_missing = {column.name for column in columns
                   if (column.missing if isinstance(column, Levels) else column.flag)}
    new = {name: n for name, n in told.filled.items() if name not in had_missing}
    return "; ".join(
        f"{what}: " + ", ".join(f"{n} in {name!r}" for name, n in counts.items())
        for counts, what in ((told.unknown, "cells of levels that the training did not have"),
                             (new, "missing cells, where the training had none")) if counts)


def _plain_target(net, classes, name):
    """The target of a network that was saved without a recipe."""
    n_outputs = net.layer_sizes[-1]
    loss = _arguments.LOSSES[net.loss]
    n_classes = loss.n_classes(n_outputs)
    if n_classes is not None:
        task = "classes"
    else:
        task = "labels" if loss.labels else "regression" if loss.targets is REAL else "counts"
    if task == "classes":
        classes = (tuple(classes) or tuple(map(str, range(n_classes))),)
    elif task == "labels":
        classes = (("0", "1"),) * n_outputs
    names = (name,) if n_outputs == 1 or task == "classes" else tuple(
        f"{name or 'output'} {j}" for j in range(1, n_outputs + 1))
    return Target(names, task, tuple(classes) if task in ("classes", "labels") else (),
                  np.zeros(n_outputs), np.ones(n_outputs))
