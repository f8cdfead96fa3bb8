"""A graph under construction: nodes and constants in the order in which they are added."""

from itertools import count
from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

# What the operators are defined by, and the first file format with it, as old runtimes read it; and
# the first where texts can be compared.
OPSET, IR_VERSION = 17, 8
TEXT_OPSET, TEXT_IR_VERSION = 19, 9


def element_type(dtype):
    """The number of a NumPy dtype in ONNX; text is of any length."""
    dtype = np.dtype(dtype)
    return TensorProto.STRING if dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(dtype)


class Node(NamedTuple):
    op: str
    inputs: tuple
    output: str
    attributes: dict


class Graph:
    """Inputs, nodes, constants and outputs, each under a name of its own.

    Parameters
    ----------
    unique : callable, optional
        An unused name that is like a given one; by default among the names of this graph.
    """

    def __init__(self, unique=None):
        self.nodes, self.constants = [], {}
        self._inputs, self._outputs = [], []
        self._used, self._scalars = set(), {}
        self._unique = unique or self._numbered

    def _numbered(self, name):
        numbered = (name if n == 1 else f"{name}.{n}" for n in count(1))
        name = next(each for each in numbered if each not in self._used)
        self._used.add(name)
        return name

    def input(self, name, dtype, shape, said=""):
        """Add an input, before anything else, and return its name."""
        name = self._unique(name)
        self._inputs.append(helper.make_tensor_value_info(name, element_type(dtype), shape, said))
        return name

    def output(self, name, value, dtype, shape):
        """Make a value an output."""
        name = self._unique(name)
        self.nodes.append(Node("Identity", (value,), name, {}))
        self._outputs.append(helper.make_tensor_value_info(name, element_type(dtype), shape))

    def node(self, op, *inputs, **attributes):
        """Add a node and return the name of its output."""
        output = self._unique(op.lower())
        self.nodes.append(Node(op, inputs, output, attributes))
        return output

    def constant(self, name, array):
        """Add an array and return its name."""
        name = self._unique(name)
        self.constants[name] = np.asarray(array)
        return name

    def scalar(self, value, dtype):
        """The name of a number, which is there once."""
        key = value, np.dtype(dtype).name
        if key not in self._scalars:
            self._scalars[key] = self.constant(f"constant_{value:g}", np.asarray(value, dtype))
        return self._scalars[key]

    def cast(self, value, dtype):
        return self.node("Cast", value, to=element_type(dtype))

    def tensors(self):
        """The constants as the format has them."""
        for name, array in self.constants.items():
            yield numpy_helper.from_array(
                array.astype(object) if array.dtype.kind == "U" else array, name)

    def proto(self, name):
        """The graph as the format has it."""
        nodes = [helper.make_node(each.op, each.inputs, [each.output], **each.attributes)
                 for each in self.nodes]
        return helper.make_graph(nodes, name, self._inputs, self._outputs, list(self.tensors()))
