"""Models of ONNX run by onnxruntime, and how far from a network its outputs may be; no test is
here."""

import numpy as np
import onnx
import onnxruntime
from oracle import error_bound

from fastbp._twin.rounding import ANY_ORDER, FASTBP


def run(proto, **inputs):
    """The outputs by their names, in the order of the model, which has nothing that is not used."""
    onnx.checker.check_model(proto, full_check=True)
    made = {name for node in proto.graph.node for name in node.output}
    made |= {each.name for each in proto.graph.initializer}
    used = {name for node in proto.graph.node for name in node.input}
    assert made - used <= {each.name for each in proto.graph.output}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3      # errors
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def exact_outputs(net, X, rounding=ANY_ORDER):
    """h_L in a wider format, and the bound of its error under `rounding`.

    A runtime may take a number that is less than the least normal one for 0 or for that, and
    e^-z for infinite where 1 / (1 + e^-z) is less.
    """
    dtype = np.dtype(net.dtype)
    y = np.zeros((len(X), net.layer_sizes[-1]))
    exact, bound = error_bound(net.weights, net.biases, X, y, u=float(np.finfo(dtype).eps) / 2,
                               rounding=rounding, activation=net.activation, loss=net.loss)
    least = 0 if rounding is FASTBP else float(np.finfo(dtype).smallest_normal)
    return exact.h[-1], bound.h[-1] + least


def distance(net, X):
    """How far `forward` and the outputs of a runtime may be from each other."""
    return exact_outputs(net, X)[1] + exact_outputs(net, X, FASTBP)[1]
