"""A model as a graph: what goes in, the networks, what comes out.

| model                              | X       | outputs                                          |
|------------------------------------|---------|--------------------------------------------------|
| `MLP`, `Population`                | dtype   | `probabilities` or `value`: h_L, or the mean     |
| `SavedModel` without classes       | float64 | the same                                         |
| `SavedModel` with classes          | float64 | `label` (n,) and `probabilities` (n, n_classes)  |
| classifier                         | dtype   | the same                                         |
| regressor                          | dtype   | `value` (n, n_outputs)                           |

The dtype is that of the network.
"""

import json
import os
import sys
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper

import fastbp
from fastbp import _arguments, _files, io
from fastbp.onnx._graph import IR_VERSION, OPSET, Graph
from fastbp.onnx._networks import Networks, mean_outputs, of_members

LARGEST = 2**31 - 2**20     # bytes of a message of protobuf, without those of nodes and names
SEVERAL_LABELS = "several labels"


class Model(NamedTuple):
    """What a graph is made of.

    Attributes
    ----------
    groups : list of Networks
    labels : ndarray, None, or SEVERAL_LABELS
        The classes, in the order of the columns of the answer; None: there is no label.
    standardisation : (feature_mean, feature_scale) of float64 ndarrays, or None
    feature_names : tuple of str
    """

    groups: list
    labels: object = None
    standardisation: object = None
    feature_names: tuple = ()

    @property
    def dtype(self):
        return self.groups[0].dtype

    @property
    def input_dtype(self):
        return self.dtype if self.standardisation is None else np.dtype(np.float64)

    @property
    def n_features(self):
        return self.groups[0].shapes[0][0]

    @property
    def n_columns(self):
        """Of the answer: probabilities or values."""
        if isinstance(self.labels, np.ndarray) and len(self.labels) > 1:
            return len(self.labels)
        return 2 if self.groups[0].is_pair else self.groups[0].shapes[-1][1]

    @property
    def answer(self):
        """The name of the answer; y in [0, 1] is answered with probabilities."""
        described = _arguments.LOSSES[self.groups[0].loss]
        return "probabilities" if described.targets.most == 1 else "value"


# ---- what each kind of model is


def described(model):
    """The `Model` of a network, a population, a saved model or an estimator."""
    if isinstance(model, fastbp.MLP):
        return Model([of_members([model])])
    if isinstance(model, fastbp.Population):
        return Model([Networks(list(model.weights), list(model.biases), model.activation,
                               model.loss)])
    if isinstance(model, io.SavedModel):
        return _of_saved(model)
    estimators = sys.modules.get("fastbp.sklearn")  # where one is, its module is loaded
    if estimators is not None:
        if isinstance(model, estimators.MLPSearchCV):
            return described(_best(model))
        if isinstance(model, (estimators.MLPClassifier, estimators.MLPRegressor)):
            return _of_estimators(model, [_fitted(model)])
        if isinstance(model, (estimators.MLPEnsembleClassifier, estimators.MLPEnsembleRegressor)):
            return _of_estimators(model, _fitted(model).estimators_)
    hint = ("; skl2onnx.to_onnx converts a pipeline, after fastbp.onnx.register_skl2onnx()"
            if type(model).__name__ == "Pipeline" else "")
    raise TypeError(
        f"model is of type {type(model).__name__}; it should be a fastbp.MLP, a fastbp.Population, "
        f"a model of fastbp.io, or an estimator of fastbp.sklearn{hint}")


def _fitted(model):
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    return model


def _best(search):
    if not hasattr(_fitted(search), "best_estimator_"):
        raise ValueError("model has no best_estimator_; it should be fitted with refit=True")
    return search.best_estimator_


def _of_saved(model):
    n_classes = _arguments.LOSSES[model.net.loss].n_classes(model.net.layer_sizes[-1])
    labels = np.array(model.classes) if model.classes and n_classes else None
    is_pair = labels is not None and model.net.layer_sizes[-1] == 1
    return Model([of_members([model.net], is_pair=is_pair)], labels,
                 (model.feature_mean, model.feature_scale), tuple(model.feature_names))


def _of_estimators(model, members):
    """The networks of those members that have one shape, and the same classes, are one group."""
    alike = {}
    for member in members:
        net, classes = member._network(), getattr(member, "classes_", np.empty(0))
        alike.setdefault((net.layer_sizes, tuple(classes.tolist())), []).append((net, classes))
    classes = getattr(model, "classes_", None)
    groups = []
    for pairs in alike.values():
        nets, own = [net for net, _ in pairs], pairs[0][1]
        is_pair = classes is not None and nets[0].layer_sizes[-1] == 1
        columns = None
        if classes is not None and len(own) < len(classes):
            columns = np.searchsorted(classes, np.resize(own, 2) if is_pair else own)
        groups.append(of_members(nets, is_pair=is_pair, columns=columns))
    if classes is None:
        labels = None
    elif model._label_binarizer.y_type_.startswith("multilabel"):
        labels = SEVERAL_LABELS
    else:
        labels = label_array(classes)
    return Model(groups, labels, feature_names=tuple(getattr(model, "feature_names_in_", ())))


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


# ---- the graph


def add_model(graph, X, model):
    """Add the model to a graph that has X; the names of the answer and of the labels, or None."""
    if model.standardisation is not None:
        mean, scale = model.standardisation
        X = graph.node("Sub", X, graph.constant("feature_mean", mean))
        X = graph.node("Div", X, graph.constant("feature_scale", scale))
        if model.dtype != np.float64:
            X = graph.cast(X, model.dtype)
    answer = mean_outputs(graph, X, model.groups, model.n_columns)
    if model.labels is None:
        return answer, None
    if isinstance(model.labels, str):
        return answer, _more_than_half(graph, answer, model.dtype)
    labels = model.labels
    if model.groups[0].is_pair and len(labels) <= 2:    # the second is more probable than 1/2
        second = graph.node("Gather", answer, graph.constant("second", np.array(1)), axis=1)
        which = _more_than_half(graph, second, model.dtype)
        labels = np.resize(labels, 2)       # of a single class too
    else:
        which = graph.node("ArgMax", answer, axis=1, keepdims=0)
    return answer, graph.node("Gather", graph.constant("labels", labels), which, axis=0)


def _more_than_half(graph, probabilities, dtype):
    """1 where a probability is above 1/2, else 0."""
    return graph.cast(graph.node("Greater", probabilities, graph.scalar(0.5, dtype)), np.int64)


@_arguments.public
def to_onnx(model):
    """Return a trained model as a model of ONNX.

    Parameters
    ----------
    model : fastbp.MLP, fastbp.Population, fastbp.io.SavedModel, or estimator of fastbp.sklearn
        Of a population, and of an ensemble, the mean of the outputs is the answer. A SavedModel
        standardises its features.

    Returns
    -------
    onnx.ModelProto
        Its input is "X" of shape (n, n_features), in the dtype of the network, float64 for a
        SavedModel. Its outputs are "value" of shape (n, n_outputs), or "probabilities" of shape
        (n, n_outputs) as of `forward`. Where there are classes, "probabilities" has a column for
        each, and "label" of shape (n,) the more probable; of several labels at once (n, n_classes)
        zeros and ones. Its metadata have the names of the features as a JSON list, if there are
        any.

    Raises
    ------
    TypeError
        For another model.
    ValueError
        The estimator is not fitted, its labels are of another kind, or the model is as large as
        2 GiB.
    """
    model, graph = described(model), Graph()
    X = graph.input("X", model.input_dtype, ["n", model.n_features])
    answer, label = add_model(graph, X, model)
    size = sum(array.nbytes for array in graph.constants.values())
    if size >= LARGEST:
        raise ValueError(f"model has {size} bytes of parameters; a file of ONNX should have less "
                         f"than {LARGEST}")
    columns = ["n", model.n_columns]
    if label is not None:
        if isinstance(model.labels, str):
            graph.output("label", label, np.int64, columns)
        else:
            graph.output("label", label, model.labels.dtype, ["n"])
    graph.output(model.answer, answer, model.dtype, columns)
    proto = helper.make_model(graph.proto("fastbp"), producer_name="fastbp",
                              producer_version=fastbp.__version__, ir_version=IR_VERSION,
                              opset_imports=[helper.make_opsetid("", OPSET)])
    if model.feature_names:
        helper.set_model_props(proto, {"feature_names": json.dumps(model.feature_names)})
    onnx.checker.check_model(proto, full_check=True)
    return proto


@_arguments.public
def export(model, path):
    """Write a trained model to a file of ONNX.

    Parameters
    ----------
    model : fastbp.MLP, fastbp.Population, fastbp.io.SavedModel, or estimator of fastbp.sklearn
        As in `to_onnx`.
    path : str or path-like
        The file, usually with the suffix `.onnx`; replaced as a whole, as `fastbp.io.save_model`
        does.

    Raises
    ------
    TypeError, ValueError
        As `to_onnx`.
    OSError
        The file cannot be written.
    """
    path = os.fspath(path)
    _files.write_file(path, to_onnx(model).SerializeToString(deterministic=True))
