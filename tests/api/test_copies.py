"""Whatever makes a copy makes it whole: pickle by every protocol, copy, skops, and what calls
`__new__` and `__setstate__`. Pickles that version 0.1.0 wrote are read."""

import base64
import copy
import json
import pickle

import numpy as np
import pytest
import skops.io
from made import MADE, SIZES, Network, data, fitted, known, network
from places import SUPPORT

import fastbp
from fastbp import MLP, SGD, Adam, Layers
from fastbp.sklearn import MLPClassifier, MLPRegressor

RECORDED = json.loads((SUPPORT / "pickles.json").read_text())


def by_state(thing, move=lambda state: state):
    twin = type(thing).__new__(type(thing))
    twin.__setstate__(move(thing.__getstate__()))
    return twin


def by_skops(thing):
    text = skops.io.dumps(thing)
    return skops.io.loads(text, trusted=skops.io.get_untrusted_types(data=text))


WAYS = {f"pickle {i}": lambda thing, i=i: pickle.loads(pickle.dumps(thing, i)) for i in range(6)}
WAYS |= {"copy": copy.copy, "deepcopy": copy.deepcopy, "state": by_state, "skops": by_skops,
         "deep state": lambda thing: by_state(thing, copy.deepcopy)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MADE)
def test_copies_are_whole(name, way):
    thing = MADE[name]()
    twin = WAYS[way](thing)
    assert type(twin) is type(thing) and known(twin) == known(thing)
    assert known(MADE[name]()) == known(thing)      # which is as it was


@pytest.mark.parametrize("protocol", range(4))      # 2 to 5
@pytest.mark.parametrize("name", RECORDED)
def test_pickles_of_version_0_1_0(name, protocol):
    twin, thing = pickle.loads(base64.b64decode(RECORDED[name][protocol])), MADE[name]()
    if not hasattr(thing, "coefs_"):
        assert known(twin) == known(thing)
        return
    # trained where it was written: close to what is trained here, on any variant
    assert twin.get_params() == thing.get_params() and twin.n_iter_ == thing.n_iter_
    for ours, theirs in zip(thing.coefs_, twin.coefs_, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9)     # roundings of 10^-16 in 2 epochs
    assert twin.predict(data()[0]).shape == (12,)
    if hasattr(twin, "partial_fit"):
        assert twin.partial_fit(*data()).t_ == thing.t_ + 12


def test_names_of_functions_in_pickles_of_version_0_1_0():
    """A pickle of a function is its name and its module's, which were these."""
    for name in ("sigmoid", "sigmoid_backward", "delta_step", "weight_grad", "activate",
                 "bce_with_logits", "softmax_with_logits", "squared_error", "poisson_with_logits",
                 "backprop"):
        function = getattr(fastbp, name)
        assert pickle.loads(f"cfastbp._equations\n{name}\n.".encode()) is function
        assert pickle.loads(pickle.dumps(function)) is function
    assert pickle.loads(b"cfastbp._mlp\nMLP\n.") is MLP


def test_everything_that_0_1_0_could_copy_is_recorded():
    assert MADE.keys() - RECORDED.keys() == {"UncheckedLayers", "MLP of mixed layers"}


# ---- what is copied goes on


@pytest.mark.parametrize("way", WAYS)
def test_a_network_computes_and_has_memory_of_its_own(way):
    X, y = np.arange(6).reshape(2, 3), np.ones((2, 2))
    net = network()
    twin = WAYS[way](net)
    before = net.params.copy()
    twin.params += 1
    np.testing.assert_array_equal(net.params, before)
    twin.params = before
    assert twin.backprop(X, y) == net.backprop(X, y)
    np.testing.assert_array_equal(twin.grad, net.grad)
    f, g = (each.objective(X, y) for each in (net, twin))
    for copied in (WAYS[way](f), g):
        assert copied(before)[0] == f(before)[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [lambda: SGD(0.5, 0.25, True), lambda: Adam(0.5)])
def test_an_optimizer_steps_on(make, way):
    grad = np.arange(4.0)
    optimizer, params = make(), np.ones(4)
    optimizer.step(params, grad)
    twin, theirs = WAYS[way](optimizer), params.copy()
    twin.step(theirs, grad)
    optimizer.step(params, grad)
    np.testing.assert_array_equal(theirs, params)
    assert twin.t == optimizer.t == 2


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_an_estimator_that_skops_loaded_trains_on(kind, solver):
    model = fitted(kind, solver=solver)
    twin = by_skops(model)
    np.testing.assert_array_equal(twin.predict(data()[0]), model.predict(data()[0]))
    for each in (twin, model):
        each.partial_fit(*data())
    for ours, theirs in zip(model.coefs_, twin.coefs_, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert twin.loss_curve_ == model.loss_curve_


# ---- states of subclasses, and of others


class Forgetful(MLP):
    """Leaves an attribute out of what is copied."""

    def __getstate__(self):
        state = super().__getstate__()
        del state["cache"]
        return state


@pytest.mark.parametrize("way", WAYS)
def test_a_subclass_may_change_its_state(way):
    net = Forgetful(SIZES, seed=7)
    net.cache, net.name = lambda: None, "mine"
    twin = WAYS[way](net)
    assert twin.name == "mine" and not hasattr(twin, "cache")
    np.testing.assert_array_equal(twin.params, net.params)


class Listed(Layers):
    """With a state of another kind, and what reads it."""

    def __getstate__(self):
        return [self.name]

    def __setstate__(self, state):
        self.name, = state


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy,
                                    lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_subclass_may_have_a_state_of_another_kind(copied):
    layers = Listed(SIZES, ["tanh", "relu"])
    layers.name = "mine"
    twin = copied(layers)
    assert twin.name == "mine" and repr(twin) == repr(layers)


def test_a_state_for_an_object_that_is_made():
    """It takes the values of one of its kind; of another it stays as it is."""
    source, net, other = network(), MLP(SIZES, seed=0), MLP([3, 2], seed=0)
    net.__setstate__(source.__getstate__())
    assert known(net) == known(source)
    before = known(other)
    with pytest.raises(RuntimeError, match="initialised already"):
        other.__setstate__(source.__getstate__())
    assert known(other) == before
    optimizer = Adam(0.5)
    optimizer.__setstate__(MADE["Adam with a state"]().__getstate__())
    assert known(optimizer) == known(MADE["Adam with a state"]())
    layers = Layers([3, 2], ["tanh"])
    with pytest.raises(RuntimeError, match="initialised already"):
        layers.__setstate__(MADE["Layers"]().__getstate__())


def test_attributes_alone_make_no_network():
    net = Network.__new__(Network)
    net.__setstate__({"name": "mine"})
    assert net.name == "mine"
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        net.forward(np.ones((1, 3)))


@pytest.mark.parametrize("kind", [MLP, Layers, SGD, Adam,
                                  type(network().objective(np.ones((1, 3)), np.ones((1, 2))))])
def test_an_object_that_was_not_made_has_no_state(kind):
    with pytest.raises(RuntimeError):
        kind.__new__(kind).__getstate__()
    with pytest.raises(RuntimeError):
        pickle.dumps(kind.__new__(kind))


def equal(a, b):
    """(loss, gradient) and another."""
    return a[0] == b[0] and np.array_equal(a[1], b[1])


def test_an_objective_that_is_restored_before_its_network():
    """As copiers do that meet the objective first; the network is made afterwards."""
    net = network()
    f = net.objective(np.ones((4, net.layer_sizes[0])), np.ones((4, net.layer_sizes[-1])))
    (key, own), = f.__getstate__().items()
    later, twin = MLP.__new__(MLP), type(f).__new__(type(f))
    twin.__setstate__({key: tuple(later if part is net else part for part in own)})
    with pytest.raises(RuntimeError, match="MLP.__init__ was not called"):
        twin(net.params)
    later.__setstate__(net.__getstate__())
    assert equal(twin(net.params), f(net.params))


def test_an_objective_whose_array_got_other_memory():
    net = network()
    X = np.ones((1000, net.layer_sizes[0]), net.dtype)
    f = net.objective(X, np.ones((1000, net.layer_sizes[-1])))
    before = f(net.params)
    X.resize((100_000, X.shape[1]), refcheck=False)     # it grows, and moves
    assert equal(f(net.params), before)
