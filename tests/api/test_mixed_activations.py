"""`activation=` of a network: one name, or a sequence with one for each hidden layer; and what is
refused, in whatever call."""

import pickle

import numpy as np
import pytest
from errors import half, refused

import fastbp
from fastbp import MLP, reference

SAME = [(["tanh", "tanh"], "tanh"), (("relu",) * 2, "relu"), (np.array(["relu"] * 2), "relu"),
        (np.str_("tanh"), "tanh"), (("tanh", "relu"), ("tanh", "relu")),
        (np.array(["tanh", "relu"]), ("tanh", "relu")), (dict(a="tanh", b="relu").values(),
                                                         ("tanh", "relu"))]


@pytest.mark.parametrize(("given", "kept"), SAME)
def test_activation_is_a_name_or_a_tuple_of_names(given, kept):
    """One name where all hidden layers have it: such networks are the same, however it was said."""
    net, twin = (MLP([3, 4, 5, 1], activation=activation, seed=0) for activation in (given, kept))
    assert net.activation == kept and type(net.activation) is type(kept)
    assert {type(name) for name in np.atleast_1d(net.activation).tolist()} == {str}
    assert repr(net) == repr(twin) and f"activation={kept!r}" in repr(net)
    assert pickle.dumps(net) == pickle.dumps(twin)
    again = MLP(net.layer_sizes, activation=net.activation, seed=0)
    X, y = np.ones((5, 3)), np.ones(5)
    assert again.backprop(X, y) == net.backprop(X, y) == twin.backprop(X, y)


def test_activation_of_no_hidden_layer():
    assert repr(MLP([3, 1], activation=[])) == repr(MLP([3, 1]))


def test_hidden_layers_have_their_own_activations():
    """Against `Layers`, which has always taken one for each; and not in the other order."""
    X, y = np.random.default_rng(0).standard_normal((9, 3)), np.ones(9)
    net = MLP([3, 4, 5, 1], activation=["tanh", "relu"], dtype="float64", seed=0)
    loss = net.backprop(X, y)
    layers = fastbp.Layers([3, 4, 5, 1], ["tanh", "relu", "identity"], dtype="float64")
    dW, db = ([np.empty_like(a) for a in arrays] for arrays in (net.weights, net.biases))
    assert layers.loss_and_grad(net.weights, net.biases, X, y, dW, db) == loss
    for found, expected in zip((*dW, *db), (*net.weight_grads, *net.bias_grads), strict=True):
        np.testing.assert_array_equal(found, expected)
    turned = MLP([3, 4, 5, 1], activation=["relu", "tanh"], dtype="float64", seed=0)
    assert turned.backprop(X, y) != loss


# ---- errors


EACH = ["'sigmoid', 'tanh', 'relu', 'identity'", "a sequence of them, one for each hidden layer"]
WRONG = [
    ("gelu", ["activation is 'gelu'", "one of 'sigmoid', 'tanh', 'relu', 'identity'"]),
    (["tanh"], ["activation has 1 name; it should have 2, one for each hidden layer"]),
    (["tanh"] * 3, ["activation has 3 names; it should have 2"]),
    ([], ["activation has 0 names; it should have 2"]),
    (("tanh", "gelu"), ["activation[1] is 'gelu'", "one of 'sigmoid'"]),
    ([None, "tanh"], ["activation[0] is None", "one of 'sigmoid'"]),
    (b"no", ["activation[0] is 110", "one of 'sigmoid'"]),
    (3, ["activation is 3", *EACH]),
    (None, ["activation is None", *EACH]),
    ({"tanh", "relu"}, ["activation is {", *EACH]),                 # of no order
    (frozenset(["tanh", "relu"]), ["activation is frozenset(", *EACH]),
    ({"tanh": 1, "relu": 2}, ["activation is {", *EACH]),
    (iter(["tanh", "relu"]), ["activation is <", *EACH]),
    (np.array("tanh"), ["activation is array('tanh'", *EACH]),
]


@pytest.mark.parametrize(("activation", "words"), WRONG)
def test_activations_of_hidden_layers(activation, words):
    """By whatever call they are given."""
    net = MLP([3, 4, 5, 1], seed=0)
    X, y = half(2, 3), half(2, 1)
    for call in (lambda: MLP([3, 4, 5, 1], activation=activation),
                 lambda: fastbp.backprop(net.weights, net.biases, X, y, activation=activation),
                 lambda: reference.backprop(net.weights, net.biases, X, y, activation=activation),
                 lambda: reference.forward(net.weights, net.biases, X, activation=activation)):
        refused(call, ValueError, *words)


def test_activations_of_no_hidden_layer():
    words = "activation has 1 name; it should have 0, one for each hidden layer"
    refused(lambda: MLP([3, 1], activation=["tanh"]), ValueError, words)
    for twin in (fastbp, reference):        # without a layer the weights are what is wrong
        refused(lambda twin=twin: twin.backprop([], [], half(2, 3), half(2, 1),
                                                activation=["tanh"]), ValueError, "weights has 0")
