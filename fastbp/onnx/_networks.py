"""Networks as nodes: E1 of one, or of several of one shape along a first axis.

    z_l = h_{l-1} W_l + b_l         MatMul and Add
    sigma(z) = 1 / (1 + e^-z)       in place of the operator Sigmoid

The exponential keeps the relative accuracy of probabilities near 0. Runtimes compute Sigmoid within
some units of roundoff of 1, so that such a probability may be 0, negative, or any small number, and
1 may be exceeded. Where e^-z overflows, sigma(z) is below the least normal number, and 0 here.
"""

from typing import NamedTuple

import numpy as np

from fastbp import _arguments


class Networks(NamedTuple):
    """Networks of one shape.

    Attributes
    ----------
    weights, biases : lists of ndarrays (n_networks, fan_in, fan_out) and (n_networks, fan_out)
    activation : str or tuple of str
        As that of `fastbp.MLP`.
    loss : str
    is_pair : bool
        Whether the one output h is made the columns 1 - h and h.
    columns : ndarray of int or None
        The column of the answer that each column is added to; None: they are the same.
    """

    weights: list
    biases: list
    activation: object
    loss: str
    is_pair: bool = False
    columns: object = None

    @property
    def dtype(self):
        return self.weights[0].dtype

    @property
    def shapes(self):
        return [W.shape[1:] for W in self.weights]


def of_members(members, **described):
    """`Networks` of MLPs of one shape, activation and loss."""
    first = members[0]
    lists = [[np.stack(each) for each in zip(*(getattr(net, name) for net in members), strict=True)]
             for name in ("weights", "biases")]
    return Networks(*lists, first.activation, first.loss, **described)


# ---- h of z, for hidden layers and outputs


def sigmoid(graph, z, dtype):
    one = graph.scalar(1, dtype)
    return graph.node("Div", one, graph.node("Add", one, graph.node("Exp", graph.node("Neg", z))))


def tanh(graph, z, dtype):
    return graph.node("Tanh", z)


def relu(graph, z, dtype):
    return graph.node("Relu", z)


def identity(graph, z, dtype):
    return z


def exponential(graph, z, dtype):
    return graph.node("Exp", z)


def softmax(graph, z, dtype):
    return graph.node("Softmax", z, axis=-1)


FUNCTIONS = {name: globals()[name] for name in _arguments.OUTPUTS}


# ---- networks


def outputs(graph, X, networks):
    """h_L of the rows of X: (n, n_outputs), or (n_networks, n, n_outputs) of several."""
    names = _arguments.each_activation(networks.activation, len(networks.weights) - 1)
    h, alone = X, len(networks.weights[0]) == 1
    for l, (W, b, name) in enumerate(zip(
            networks.weights, networks.biases,
            [*names, _arguments.LOSSES[networks.loss].output], strict=True), 1):
        W, b = (W[0], b[0]) if alone else (W, b[:, None])
        z = graph.node("Add", graph.node("MatMul", h, graph.constant(f"W{l}", W)),
                       graph.constant(f"b{l}", b))
        h = FUNCTIONS[name](graph, z, networks.dtype)
    if networks.is_pair:
        h = graph.node("Concat", graph.node("Sub", graph.scalar(1, networks.dtype), h), h, axis=-1)
    return h


def mean_outputs(graph, X, groups, n_columns):
    """The mean of h_L over all networks, (n, n_columns), summed in float64 and rounded once.

    A single network's is its h_L. All groups have one dtype.
    """
    n, dtype = sum(len(each.weights[0]) for each in groups), groups[0].dtype
    if n == 1:
        return outputs(graph, X, groups[0])
    totals = []
    for group in groups:
        h = graph.cast(outputs(graph, X, group), np.float64)
        if group.columns is not None:   # a sum of one column and zeros
            places = np.zeros((len(group.columns), n_columns))
            places[np.arange(len(group.columns)), group.columns] = 1
            h = graph.node("MatMul", h, graph.constant("columns", places))
        totals.append(h if len(group.weights[0]) == 1 else graph.node(
            "ReduceSum", h, graph.constant("networks", np.array([0])), keepdims=0))
    total = graph.node("Sum", *totals) if len(totals) > 1 else totals[0]
    return graph.cast(graph.node("Div", total, graph.scalar(n, np.float64)), dtype)
