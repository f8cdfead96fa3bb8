"""A model as a graph: the preparation of what goes in, the networks, what comes out.

| model                         | inputs              | outputs                                    |
|-------------------------------|---------------------|--------------------------------------------|
| `MLP`, `Population`           | X in its dtype      | `probabilities` or `value`: h_L, or means  |
| classifier                    | X in its dtype      | `label` and `probabilities`                |
| regressor                     | X in its dtype      | `value`                                    |
| `SavedModel` without a recipe | X in float64        | as of a classifier or a regressor          |
| `SavedModel` with a recipe    | one for each column | the same; `value` in the table's units     |
"""

import json
import os

import numpy as np
import onnx
from onnx import helper

import fastbp
from fastbp import _arguments, _files
from fastbp.onnx._columns import add_features, add_inputs, has_text
from fastbp.onnx._described import described
from fastbp.onnx._graph import IR_VERSION, OPSET, TEXT_IR_VERSION, TEXT_OPSET, Graph
from fastbp.onnx._networks import mean_outputs

LARGEST = 2**31 - 2**20     # bytes of a message of protobuf, without those of nodes and names


def add_model(graph, X, model):
    """Add the model to a graph that has the features X; the names of the answer and of the label,
    which may be None."""
    if model.features is not None:
        mean, scale = model.features
        X = graph.node("Sub", X, graph.constant("feature_mean", mean))
        X = graph.node("Div", X, graph.constant("feature_scale", scale))
        if model.dtype != np.float64:
            X = graph.cast(X, model.dtype)
    answer = mean_outputs(graph, X, model.groups, model.n_columns)
    if model.labels is not None:
        return answer, _label(graph, answer, model)
    if model.answers is not None:
        mean, scale = model.answers
        answer = graph.node("Mul", graph.cast(answer, np.float64),
                            graph.constant("target_scale", scale))
        answer = graph.node("Add", answer, graph.constant("target_mean", mean))
    return answer, None


def _label(graph, answer, model):
    labels = model.labels
    if labels.ndim == 2:
        first, second = (graph.constant("labels", each) for each in labels.T)
        return graph.node("Where", _is_second(graph, answer, model), second, first)
    if model.groups[0].is_pair and len(labels) <= 2:
        second = graph.node("Gather", answer, graph.constant("second", np.array(1)), axis=1)
        which = graph.cast(_is_second(graph, second, model), np.int64)
        labels = np.resize(labels, 2)       # of a single class too
    else:
        which = graph.node("ArgMax", answer, axis=1, keepdims=0)
    return graph.node("Gather", graph.constant("labels", labels), which, axis=0)


def _is_second(graph, probabilities, model):
    """Where the probability of the second of two classes decides for it."""
    half = graph.constant("half", np.asarray(0.5, model.dtype))
    return graph.node(model.half, probabilities, half)


@_arguments.public
def to_onnx(model):
    """Return a trained model as a model of ONNX.

    Parameters
    ----------
    model : fastbp.MLP, fastbp.Population, fastbp.io.SavedModel, or estimator of fastbp.sklearn
        Of a population, and of an ensemble, the mean of the outputs is the answer.

    Returns
    -------
    onnx.ModelProto
        Its input is "X" of shape (n, n_features), in the dtype of the network, float64 for a
        SavedModel, which standardises. A model of `fastbp train` has one input for each column in
        its place, with the column's name and the shape (n, 1): float64 of numbers, of truth values
        (0 and 1) and of dates (days since 1970-01-01), with NaN for a missing cell; text of levels,
        with "" for one.

        Its outputs are "value" of shape (n, n_outputs), or "label" and "probabilities" of
        classes: (n,), and (n, n_classes) with a column for each class; (n, n_labels) both of
        several labels. A network and a population have "probabilities" alone, as `forward`. An
        output that has the name of a column has ".2" behind it.

        Its metadata have, if there are any, "feature_names" and "target_names", JSON lists.

    Raises
    ------
    TypeError
        For another model.
    ValueError
        The estimator is not fitted, its labels are of another kind, a column has no name, or the
        model is as large as 2 GiB.
    """
    model, graph = described(model), Graph()
    if model.columns is None:
        X = graph.input("X", model.dtype if model.features is None else np.float64,
                        ["n", model.n_features])
    else:
        inputs = add_inputs(graph, model.columns)
        X = add_features(graph, inputs, model.columns, model.marks)
    answer, label = add_model(graph, X, model)
    size = sum(array.nbytes for array in graph.constants.values())
    if size >= LARGEST:
        raise ValueError(f"model has {size} bytes of parameters; a file of ONNX should have less "
                         f"than {LARGEST}")
    columns = ["n", model.n_columns]
    if label is not None:
        graph.output("label", label, model.labels.dtype, columns[:model.labels.ndim])
    graph.output(model.answer, answer, np.float64 if model.answers else model.dtype, columns)
    opset, version = ((TEXT_OPSET, TEXT_IR_VERSION) if has_text(model.columns or ()) else
                      (OPSET, IR_VERSION))
    proto = helper.make_model(graph.proto("fastbp"), producer_name="fastbp",
                              producer_version=fastbp.__version__, ir_version=version,
                              opset_imports=[helper.make_opsetid("", opset)])
    helper.set_model_props(proto, {name: json.dumps(names) for name, names in model.names.items()})
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
