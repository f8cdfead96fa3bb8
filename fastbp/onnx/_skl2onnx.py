"""Converters of skl2onnx for the estimators of `fastbp.sklearn`, within pipelines too."""

import numpy as np
from onnx import TensorProto

from fastbp.onnx._described import described
from fastbp.onnx._graph import Graph
from fastbp.onnx._models import add_model

NAMES = ("MLPClassifier", "MLPRegressor", "MLPEnsembleClassifier", "MLPEnsembleRegressor")
OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True],
           "nocl": [True, False]}
LEAST_OPSET = 13        # Softmax along one axis, the axes of ReduceSum as an input


def register_skl2onnx():
    """Let skl2onnx convert the estimators of fastbp.sklearn.

    Afterwards `skl2onnx.to_onnx(pipeline, X)` converts a pipeline that ends in one. A network keeps
    its dtype; what goes in is cast to it, and what comes out to the type that skl2onnx has for the
    input. Truth values, and whole numbers in floating point, are labels of int64 there.

    Raises
    ------
    ImportError
        skl2onnx or scikit-learn is not installed.
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError("fastbp.onnx.register_skl2onnx needs skl2onnx: pip install skl2onnx"
                          ) from error
    from fastbp import sklearn as estimators

    for name in NAMES:
        update_registered_converter(
            getattr(estimators, name), f"Fastbp{name}", _declare, _convert,
            options=OPTIONS if name.endswith("Classifier") else None)


def _model(estimator, scope):
    """The `Model` of an estimator; its classes are their places under the option `nocl`."""
    model = described(estimator)
    one_label = model.labels is not None and model.labels.ndim == 1
    if one_label and scope.get_options(estimator).get("nocl"):
        return model._replace(labels=np.arange(len(model.labels)))
    return model


def _declare(operator):
    """The types and shapes of the outputs."""
    from skl2onnx.common import data_types

    model = _model(operator.raw_operator, operator.scope_inst)
    n = operator.inputs[0].get_first_dimension()
    *labels, answer = operator.outputs
    answer.set_type(type(data_types.guess_tensor_type(operator.inputs[0].type))(
        [n, model.n_columns]))
    for label in labels:
        text = model.labels.dtype.kind in "OU"
        kind = data_types.StringTensorType if text else data_types.Int64TensorType
        label.set_type(kind([n, model.n_columns][:model.labels.ndim]))


def _convert(scope, operator, container):
    """Add the nodes of an estimator."""
    if container.target_opset < LEAST_OPSET:
        raise ValueError(f"target_opset is {container.target_opset}; it should be at least "
                         f"{LEAST_OPSET} for an estimator of fastbp")
    model = _model(operator.raw_operator, scope)
    graph = Graph(scope.get_unique_variable_name)
    X = graph.cast(operator.inputs[0].full_name, model.dtype)
    answer, label = add_model(graph, X, model)
    values = [answer] if label is None else [label, answer]
    container.initializers.extend(graph.tensors())

    def add(op, inputs, output, attributes):
        container.add_node(op, inputs, output, op_version=LEAST_OPSET,
                           name=scope.get_unique_operator_name(op), **attributes)

    for node in graph.nodes:
        add(node.op, list(node.inputs), node.output, node.attributes)
    for value, variable in zip(values, operator.outputs, strict=True):
        to = variable.type.to_onnx_type().tensor_type.elem_type
        if to == TensorProto.STRING:
            add("Identity", [value], variable.full_name, {})
        else:
            add("Cast", [value], variable.full_name, {"to": to})
