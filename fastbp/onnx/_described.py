"""What each kind of model is to a graph: its networks, what goes in, and what the outputs mean."""

import sys
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _arguments, io
from fastbp.onnx._networks import Networks, of_members


class Model(NamedTuple):
    """What a graph is made of.

    Attributes
    ----------
    groups : list of Networks
    labels : ndarray or None
        (n_classes,) the classes, in the order of the columns of the answer; (n_labels, 2) the two
        of each column; None: there is no label.
    half : str
        The operator by which a probability beside 1/2 decides for the second of two classes.
    features : (feature_mean, feature_scale) of float64 ndarrays, or None
        The standardisation of what goes in.
    answers : (target_mean, target_scale) of float64 ndarrays, or None
        That of what comes out.
    columns : tuple of `Number` and `Levels` of `_preparation`, or None
        What goes in column by column; None: X.
    marks : tuple of str
        Texts of missing cells.
    names : dict
        Lists of names for the metadata of the file.
    """

    groups: list
    labels: object = None
    half: str = "Greater"
    features: object = None
    answers: object = None
    columns: object = None
    marks: tuple = ()
    names: dict = {}

    @property
    def dtype(self):
        """That of the networks."""
        return self.groups[0].dtype

    @property
    def n_features(self):
        return self.groups[0].shapes[0][0]

    @property
    def n_columns(self):
        """How many columns of probabilities or values the answer has."""
        if self.labels is not None and self.labels.ndim == 1 and len(self.labels) > 1:
            return len(self.labels)
        return 2 if self.groups[0].is_pair else self.groups[0].shapes[-1][1]

    @property
    def answer(self):
        """The name of the answer; y in [0, 1] is answered with probabilities."""
        described = _arguments.LOSSES[self.groups[0].loss]
        return "probabilities" if described.targets.most == 1 else "value"


def described(model):
    """The `Model` of a network, a population, a saved model or an estimator."""
    if isinstance(model, (fastbp.MLP, fastbp.Population)):
        return Model([_networks(model)])
    if isinstance(model, io.SavedModel):
        return _of_saved(model)
    estimators = sys.modules.get("fastbp.sklearn")  # where one is, its module is loaded
    if estimators is not None:
        if isinstance(model, estimators.MLPSearchCV):
            return described(_best(model))
        if isinstance(model, (estimators.MLPClassifier, estimators.MLPRegressor)):
            return _of_estimators(model, [model])
        if isinstance(model, (estimators.MLPEnsembleClassifier, estimators.MLPEnsembleRegressor)):
            return _of_estimators(model, _fitted(model).estimators_)
    hint = ("; skl2onnx.to_onnx converts a pipeline, after fastbp.onnx.register_skl2onnx()"
            if type(model).__name__ == "Pipeline" else _arguments.way_to_a_model(model))
    raise TypeError(
        f"model is of type {type(model).__name__}; it should be a fastbp.MLP, a fastbp.Population, "
        f"a model of fastbp.io, or an estimator of fastbp.sklearn{hint}")


def _networks(net, **options):
    if isinstance(net, fastbp.MLP):
        return of_members([net], **options)
    return Networks(list(net.weights), list(net.biases), net.activation, net.loss, **options)


# ---- saved models


def _of_saved(model):
    """Its answers are those of `predict` and `predict_proba`."""
    target, recipe = model.target, model.recipe
    is_pair = target.task == "classes" and target.n_outputs == 1
    labels = model.labels
    if labels is not None and labels.ndim == 1:
        labels = label_array(labels)
    found = Model([_networks(model.net, is_pair=is_pair)], labels, "GreaterOrEqual",
                  (model.feature_mean, model.feature_scale))
    if recipe is None:
        names = {"feature_names": [*model.feature_names]} if model.feature_names else {}
        return found._replace(names=names)
    answers = (target.mean, target.scale) if target.task == "regression" else None
    return found._replace(columns=recipe.preparation.columns, marks=recipe.marks, answers=answers,
                          names={"target_names": [*target.names]})


# ---- estimators


def _fitted(model):
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    return model


def _best(search):
    if not hasattr(_fitted(search), "best_estimator_"):
        raise ValueError("model has no best_estimator_; it should be fitted with refit=True")
    return search.best_estimator_


def _of_estimators(model, members):
    """The networks of those members that have one shape, and the same classes, are one group."""
    alike = {}
    for member in members:
        net, own = member.to_network(), getattr(member, "classes_", np.empty(0))
        alike.setdefault((net.layer_sizes, tuple(own.tolist())), []).append((net, own))
    classes = getattr(model, "classes_", None)
    groups = []
    for pairs in alike.values():
        nets, own = [net for net, _ in pairs], pairs[0][1]
        is_pair = classes is not None and nets[0].layer_sizes[-1] == 1
        columns = None
        if classes is not None and len(own) < len(classes):
            columns = np.searchsorted(classes, np.resize(own, 2) if is_pair else own)
        groups.append(of_members(nets, is_pair=is_pair, columns=columns))
    names = {"feature_names": [*map(str, model.feature_names_in_)]} if hasattr(
        model, "feature_names_in_") else {}
    return Model(groups, _labels(model, classes), names=names)


def _labels(model, classes):
    if classes is None:
        return None
    if model._label_binarizer.y_type_.startswith("multilabel"):
        return np.array([[0, 1]] * len(classes))
    return label_array(classes)


def label_array(classes):
    """Classes as a tensor can have them: int64, bool, float64 or text."""
    kind = classes.dtype.kind
    if kind in "iu" and (len(classes) == 0 or classes.max() < 2**63):
        return classes.astype(np.int64)
    if kind == "f":
        return classes.astype(np.float64)
    if kind in "bU" or kind == "O" and all(isinstance(each, str) for each in classes):
        return classes
    raise ValueError(f"classes_ is {classes!r}; labels of ONNX should be text, truth values, "
                     "numbers, or integers below 2^63")
