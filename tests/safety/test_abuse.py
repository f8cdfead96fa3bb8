"""What a caller does to arrays and sizes while fastbp holds them changes nothing of its own."""

import copy
import itertools
import math
import pickle
import threading

import numpy as np
import pytest

import fastbp
from fastbp import MLP, SGD, Adam, Layers, reference
from fastbp._optimizer import Optimizer


def samples(n, features=2):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, features)), rng.random(n)


def test_an_optimizer_without_a_rule():
    class Mine(Optimizer):
        pass

    net, optimizer = MLP((2, 3, 1), seed=0), Mine()
    with pytest.raises(TypeError, match="optimizer is of type Mine"):
        net.train_epoch(np.ones((4, 2)), np.ones(4), optimizer)
    with pytest.raises(TypeError, match="optimizer is of type Mine"):
        optimizer.step(net.params, net.grad)


def test_an_order_that_changes_during_the_epoch():
    net, (X, y) = MLP([2, 8, 1], dtype="float64", seed=0), samples(200_000)
    order, going = np.arange(len(X)), True

    def scribble():
        while going:
            order[:] = 2**45

    writer = threading.Thread(target=scribble)
    expected = MLP([2, 8, 1], dtype="float64", seed=0)
    expected.train_epoch(X, y, SGD(), order=order)
    kept = order.copy()
    net.train_epoch(X, y, SGD(), order=kept)
    writer.start()
    try:
        for _ in range(5):  # refused, or trained on the indices that were checked
            try:
                net.train_epoch(X, y, SGD(), order=order)
            except ValueError as error:
                assert "order" in str(error)
    finally:
        going = False
        writer.join()
    again = MLP([2, 8, 1], dtype="float64", seed=0)
    again.train_epoch(X, y, SGD(), order=kept)
    np.testing.assert_array_equal(again.params, expected.params)


def test_a_workspace_whose_size_overflows(tmp_path):
    """h of 2^27 rows of 2^34 units is 2^63 bytes; the weights lie in a file without blocks."""
    width, n = 2**34, 2**27 - 256
    file = tmp_path / "zeros"
    with open(file, "wb") as f:
        f.truncate(4 * width)
    wide = np.memmap(file, "float32", "r", shape=(1, width))
    layers = Layers([1, width, 1], ["sigmoid"] * 2)
    with pytest.raises(MemoryError, match="workspace"):
        layers.forward([wide, wide.reshape(width, 1)], [wide[0], wide[0, :1]],
                       wide[0, :n].reshape(n, 1))
    assert layers.workspace_bytes == 0


def test_what_users_do_to_the_view_of_params():
    net, (X, y) = MLP([2, 8, 1], dtype="float64", seed=0), samples(50)
    twin = MLP([2, 8, 1], dtype="float64", seed=0)
    net.params.setflags(write=False)
    view = net.params[:]
    view.dtype = "float32"
    for network in (net, twin):
        network.train_epoch(X, y, SGD(momentum=0.5), rng=1)
    np.testing.assert_array_equal(net.weights[0], twin.weights[0])


@pytest.mark.parametrize("weights", [[3e38] * 5, [0.1] * 5, [1.0] * 5])
def test_a_mean_is_rounded_once(weights, isa):
    """One float64 quotient of a float32 numerator, rounded: half an ulp of float32."""
    X, y = (a.astype("float32") for a in samples(5))
    w = np.array(weights, "float32")
    net = MLP([2, 1], seed=0)
    net.backprop(X, y, sample_weight=w)
    summed = net.grad.astype("float64")
    net.backprop(X, y, sample_weight=w, reduction="mean")
    divisor = math.fsum(map(float, w))
    expected = (summed / divisor).astype("float32")
    np.testing.assert_array_equal(net.grad, expected)


@pytest.mark.parametrize("module", [fastbp, reference])
def test_an_eps_that_vanishes_in_the_dtype(module):
    optimizer = fastbp.Adam(eps=1e-50)
    with pytest.raises(ValueError, match=r"eps is 1e-50; it should be above 0 as float32"):
        optimizer.step(np.ones(3, "float32"), np.zeros(3, "float32"))
    params = np.ones(3)
    module.Adam(eps=1e-50).step(params, np.zeros(3))
    np.testing.assert_array_equal(params, 1.0)


def test_a_generator_is_checked_though_unused():
    net, (X, y) = MLP([2, 1], seed=0), samples(4)
    with pytest.raises(TypeError, match="rng"):
        net.train_epoch(X, y, Adam(), shuffle=False, rng="x")


class Named(MLP):
    """A subclass with an attribute of its own."""


def test_a_subclass_survives_pickle():
    net = Named([2, 3, 1], seed=0)
    net.label = "a"
    again = pickle.loads(pickle.dumps(net))
    assert type(again) is Named and again.label == "a"
    np.testing.assert_array_equal(again.params, net.params)


def test_inputs_that_lie_in_params_or_grad():
    net = MLP([2, 2, 2], dtype="float64", seed=0)
    X, y = net.params[:4].reshape(2, 2), np.full((2, 2), 0.5)
    expected = MLP([2, 2, 2], dtype="float64", seed=0)
    loss = expected.backprop(X.copy(), y)
    net.grad[:] = net.params
    assert net.backprop(net.grad[:4].reshape(2, 2), y) == loss
    np.testing.assert_array_equal(net.grad, expected.grad)


class Reshapes:
    """What becomes an array, and gives another array of the same call another shape first."""

    def __init__(self, array, other, shape):
        self.array, self.other, self.shape = array, other, shape

    def __array__(self, dtype=None, copy=None):
        self.other.shape = self.shape
        return np.asarray(self.array, dtype)


def test_an_array_that_changes_its_shape_during_a_call():
    """The sizes that were checked are the sizes that are computed with."""
    X, y = np.ones((64, 4), "float32"), np.ones(64)
    net = fastbp.MLP([4, 3, 1], seed=0)
    expected = net.backprop(X, y)
    assert net.backprop(X, Reshapes(y, X, (256, 1))) == expected


def test_arrays_that_change_their_shapes_between_calls():
    """An objective, and what a forward pass of `Layers` kept, go on with what they were given."""
    X, y = np.ones((64, 4), "float32"), (np.arange(64) % 3).astype("float32")
    net = fastbp.MLP([4, 5, 3], loss="softmax", seed=0)
    f = net.objective(X, y)
    expected = f(net.params)[0]
    X.shape, y.shape = (1, 256), (64, 1)
    assert f(net.params)[0] == expected
    X.shape = (64, 4)
    layers = fastbp.Layers([4, 1], ["tanh"])
    layers.forward([np.ones((4, 1), "float32")], [np.ones(1, "float32")], X)
    X.shape = (256, 1)
    dW, db = [np.empty((4, 1), "float32")], [np.empty(1, "float32")]
    with pytest.raises(ValueError, match="grad_output has shape"):
        layers.backward(np.ones((256, 1), "float32"), dW, db)
    layers.backward(np.ones((64, 1), "float32"), dW, db)
    assert np.isfinite(dW[0]).all()


UNMADE = {
    "loss": lambda net: net.loss, "loss_options": lambda net: net.loss_options, "repr": repr,
    "pickle": pickle.dumps, "params": lambda net: setattr(net, "params", []),
    "grad": lambda net: setattr(net, "grad", []), "forward": lambda net: net.forward([[1]]),
    "backprop": lambda net: net.backprop([[1]], [1]),
    "error_bound": lambda net: net.error_bound([[1]], [1]),
    "per_sample_grad_norms": lambda net: net.per_sample_grad_norms([[1]], [1]),
    "per_sample_grads": lambda net: net.per_sample_grads([[1]], [1]),
    "clipped_backprop": lambda net: net.clipped_backprop([[1]], [1], 1.0),
    "hvp": lambda net: net.hvp([[1]], [1], []), "gnvp": lambda net: net.gnvp([[1]], [1], []),
    "input_grad": lambda net: net.input_grad([[1]], [1]),
    "jacobian": lambda net: net.jacobian([[1]]),
    "linearize": lambda net: net.linearize([[1]], [1]),
    "value_and_grad": lambda net: net.value_and_grad([], [[1]], [1]),
    "train_epoch": lambda net: net.train_epoch([[1]], [1], SGD()),
}


@pytest.mark.parametrize("use", UNMADE)
def test_a_network_without_init(use):
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        UNMADE[use](MLP.__new__(MLP))


@pytest.mark.parametrize("use", [repr, pickle.dumps, lambda layers: layers.forward([], [], [[1]])])
def test_layers_without_init(use):
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        use(Layers.__new__(Layers))


def test_an_objective_of_no_network():
    net = MLP([2, 1], seed=0)
    kind = type(net.objective(np.ones((1, 2)), np.ones(1)))
    for use in (lambda f: f(net.params), lambda f: f.hessp(net.params, net.params), copy.copy,
                pickle.dumps, lambda f: f.__getstate__()):
        with pytest.raises(RuntimeError,
                           match=r"has no network; it should be made by MLP\.objective"):
            use(kind())


LINEARIZATION = type(MLP([2, 1], seed=0).linearize(np.ones((1, 2)), np.ones(1)))
CALLS = {"hvp": ([0.0],), "gnvp": ([0.0],), "__getstate__": (), "__reduce__": (),
         "__repr__": ()}


@pytest.mark.parametrize("name", [name for name in dir(LINEARIZATION)
                                  if name in CALLS or not name.startswith("_")])
def test_a_linearization_of_no_network(name):
    """Whatever it has: each attribute and each method, in the same words."""
    with pytest.raises(RuntimeError, match=r"has no network; it should be made by MLP\.linearize"):
        getattr(LINEARIZATION.__new__(LINEARIZATION), name)(*CALLS.get(name, ()))


@pytest.mark.parametrize("use", [pickle.dumps, copy.copy, copy.deepcopy])
def test_no_copy_of_a_linearization_of_no_network(use):
    with pytest.raises(RuntimeError, match=r"has no network; it should be made by MLP\.linearize"):
        use(LINEARIZATION())


def test_layers_that_are_made_twice():
    """The second sizes are refused before they are anybody's."""
    layers = Layers([2, 300], ["tanh"])
    with pytest.raises(RuntimeError, match="initialised already"):
        layers.__init__([2, 1], ["tanh"])
    assert layers.layer_sizes == (2, 300)
    W, b = np.ones((2, 300), "float32"), np.ones(300, "float32")
    layers.forward([W], [b], np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"grad_output has shape \(5, 1\)"):
        layers.backward(np.ones((5, 1)), [W.copy()], [b.copy()])


@pytest.mark.parametrize("sizes", [itertools.repeat(1), itertools.count(1), iter([2, 1]),
                                   range(1, 10**12)])
def test_layer_sizes_without_an_end(sizes):
    with pytest.raises(ValueError, match="layer_sizes is"):
        MLP(sizes)


def test_a_state_dict_whose_eps_vanishes_in_its_dtype():
    optimizer = Adam(eps=1e-50)
    optimizer.step(np.ones(3), np.zeros(3))
    state, before = optimizer.state_dict(), repr(optimizer.state_dict())
    with pytest.raises(ValueError, match="eps is 1e-50; it should be above 0 as float32"):
        optimizer.load_state_dict({**state, "m": np.zeros(3, "f"), "v": np.zeros(3, "f")})
    assert repr(optimizer.state_dict()) == before
