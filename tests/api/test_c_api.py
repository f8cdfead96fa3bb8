"""Promise: what a plan of fastbp.h computes are the results of MLP, to the bit, for every dtype,
activation, loss and option, any number of rows and threads, parameters that lie anywhere; and what
does not fit is a code."""

import ctypes

import numpy as np
import pytest
from c_api import API, CODES, NUMBERS, Plan, address, addresses, altered, problem

from fastbp import MLP
from fastbp._arguments import ACTIVATIONS, LOSSES


def samples(loss, n, sizes, dtype, seed=0):
    """X, y and weights that the loss takes."""
    rng = np.random.default_rng(seed)
    y = rng.random((n, sizes[-1]))
    if LOSSES[loss].is_distribution:
        y /= y.sum(axis=1, keepdims=True)
    return (rng.standard_normal((n, sizes[0])).astype(dtype), y.astype(dtype),
            rng.uniform(0.5, 2, n).astype(dtype))


def arrays(net):
    """W_1, b_1, W_2, ... of a network, each copied to a place of its own."""
    return [array.copy() for pair in zip(net.weights, net.biases, strict=True) for array in pair]


def flat(parts):
    return np.concatenate([part.ravel() for part in parts])


def check(net, made, X, y, w=None, **options):
    """Every function of a plan against the method of the network."""
    plan, params = Plan(made), arrays(net)
    assert plan.code == "OK"
    grads = [np.full_like(param, np.nan) for param in params]
    assert plan.gradient(grads, params, X, y, w) == "OK"
    assert plan.value.value == net.backprop(X, y, sample_weight=w, **options)
    np.testing.assert_array_equal(flat(grads), net.grad)
    assert plan.loss(params, X, y, w) == "OK"
    l2 = options.pop("l2", 0)
    if not l2:
        assert plan.value.value == net.loss_value(X, y, sample_weight=w, **options)
    out = np.empty((len(X), net.layer_sizes[-1]), net.dtype)
    for name in ("forward", "logits"):
        assert plan.outputs(name, out, params, X) == "OK"
        np.testing.assert_array_equal(out, getattr(net, name)(X))
    np.testing.assert_array_equal(flat(params), net.params)
    assert plan.free() == "OK"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bits_of_every_activation_and_loss(activation, loss, dtype):
    sizes = (5, 17, 9, 3)
    net = MLP(sizes, activation=activation, loss=loss, dtype=dtype, seed=1)
    check(net, problem(sizes, dtype, activation, loss, rows=40), *samples(loss, 40, sizes, dtype))


def test_bits_of_every_variant(isa, dtype):
    """A plan keeps the kernels that were in use when it was made."""
    net = MLP((3, 70, 2), dtype=dtype, seed=1)
    check(net, problem((3, 70, 2), dtype, rows=9), *samples("bce", 9, (3, 2), dtype))


@pytest.mark.parametrize("sizes", [(4, 1), (1, 1), (30, 65, 1), (3, 300, 200, 10)])
@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_bits_of_any_rows_and_threads(sizes, threads, dtype):
    """A plan runs fewer rows than it was made for, and more than it has memory for at once."""
    net = MLP(sizes, dtype=dtype, seed=2)
    for rows in (1, 20, 700):
        for n in {1, rows // 3 + 1, rows}:
            check(net, problem(sizes, dtype, rows=rows, threads=threads),
                  *samples("bce", n, sizes, dtype))


@pytest.mark.parametrize("options", [
    {"mean": 1}, {"l2": 0.25}, {"mean": 1, "l2": 0.25}, {"label_smoothing": 0.125},
    {"pos_weight": [0.5, 3.0]}, {"label_smoothing": 0.3, "pos_weight": [2.0, 0.7], "mean": 1}],
    ids=str)
def test_bits_of_options(options, dtype):
    sizes = (4, 6, 2)
    of_network = {name: options[name] for name in ("label_smoothing", "pos_weight")
                  if name in options}
    of_call = {"l2": options.get("l2", 0)}
    if options.get("mean"):
        of_call["reduction"] = "mean"
    in_c = {name: np.array(value, dtype) if name == "pos_weight" else value
            for name, value in options.items()}
    X, y, w = samples("bce", 11, sizes, dtype)
    for weights in (None, w):
        check(MLP(sizes, dtype=dtype, seed=3, **of_network),
              problem(sizes, dtype, rows=11, **in_c), X, y, weights, **of_call)


def test_bits_of_classes(dtype):
    X, _, w = samples("softmax", 12, (4, 3), dtype)
    classes = (np.arange(12) % 3).astype(dtype)
    net = MLP((4, 5, 3), loss="softmax", dtype=dtype, label_smoothing=0.1, seed=4)
    check(net, problem((4, 5, 3), dtype, loss="softmax", rows=12, classes=1, label_smoothing=0.1),
          X, classes, w)


def test_mixed_activations(dtype):
    hidden = ["tanh", "relu", "identity"]
    net = MLP((4, 5, 6, 7, 1), activation=hidden, dtype=dtype, seed=4)
    check(net, problem((4, 5, 6, 7, 1), dtype, hidden, rows=5), *samples("bce", 5, (4, 1), dtype))


@pytest.mark.parametrize("l2", [0, 0.3])
@pytest.mark.parametrize("sizes", [(4, 5, 2), (1, 1), (2, 8, 8, 1), (40, 23, 9, 1), (3, 129),
                                   (700, 97), (1100, 1050)], ids=str)
def test_transposed_weights(sizes, l2, dtype):
    """The penalty adds the squares in the order of W (fan_in, fan_out), also in pieces of a W."""
    net = MLP(sizes, dtype=dtype, seed=5)
    X, y, _ = samples("bce", 7, sizes, dtype)
    params = [np.ascontiguousarray(array.T) for array in arrays(net)]
    grads = [np.empty_like(param) for param in params]
    for rows in (7, 1):
        plan = Plan(problem(sizes, dtype, rows=rows, transposed=1, l2=l2))
        loss = net.backprop(X[:rows], y[:rows], l2=l2)
        assert plan.gradient(grads, params, X[:rows], y[:rows]) == "OK"
        assert plan.value.value == loss
        np.testing.assert_array_equal(flat([grad.T for grad in grads]), net.grad)
        assert plan.loss(params, X[:rows], y[:rows]) == "OK" and plan.value.value == loss
        plan.free()


def test_transposed_weights_of_every_variant(isa, dtype):
    test_transposed_weights((40, 23, 9, 1), 0.3, dtype)


def test_no_samples():
    """Their sum is 0, as its gradient is; they have no mean."""
    net = MLP((4, 5, 2), dtype="float64", seed=5)
    params = arrays(net)
    grads = [np.full_like(param, 7) for param in params]
    plan, mean = Plan(problem((4, 5, 2))), Plan(problem((4, 5, 2), mean=1))
    assert plan.gradient(grads, params, None, None, n=0) == "OK"
    assert plan.value.value == 0 and not flat(grads).any()
    assert plan.outputs("forward", None, params, None, n=0) == "OK"
    assert mean.gradient(grads, params, None, None, n=0) == "BAD_ROWS"
    plan.free(), mean.free()


def test_spread():
    """The places of a network's own flat vector."""
    net = MLP((3, 4, 2), dtype="float64", seed=0)
    plan = Plan(problem((3, 4, 2)))
    places = (ctypes.c_void_p * 4)()
    assert API.spread(None, None, plan.at) == net.n_params
    assert API.spread(places, address(net.params), plan.at) == net.n_params
    assert list(places) == list(addresses([net.weights[0], net.biases[0], net.weights[1],
                                           net.biases[1]]))
    plan.free()


# ---- what does not fit

WRONG_PROBLEMS = [
    ("BAD_PROBLEM", {"size": 8}), ("BAD_PROBLEM", {"size": 1 << 20}), ("BAD_DTYPE", {"dtype": 0}),
    ("BAD_DTYPE", {"dtype": 16}), ("BAD_SIZES", {"n_layers": 0}), ("BAD_SIZES", {"n_layers": -1}),
    ("NULL_POINTER", {"sizes": None}), ("NULL_POINTER", {"activations": None}),
    ("BAD_LOSS", {"loss": 0}), ("BAD_LOSS", {"loss": len(LOSSES) + 1}), ("BAD_LOSS", {"loss": -1}),
    ("BAD_ROWS", {"rows": 0}), ("BAD_ROWS", {"rows": -5}), ("BAD_THREADS", {"threads": -1}),
    ("BAD_THREADS", {"threads": 257}), ("BAD_OPTION", {"transposed": 2}),
    ("BAD_OPTION", {"classes": 1}), ("BAD_OPTION", {"classes": -1}), ("BAD_OPTION", {"mean": 2}),
    *(("BAD_OPTION", {"l2": l2}) for l2 in (-1.0, np.nan, np.inf)),
    *(("BAD_OPTION", {"label_smoothing": share}) for share in (-0.1, 1.0, np.nan)),
    *(("BAD_OPTION", {"pos_weight": np.array([1.0, p])}) for p in (0, -1, np.nan, np.inf))]


def refused(code, made):
    plan = Plan(made)
    assert plan.code == code and plan.at.value is None
    size = ctypes.c_size_t(123)
    assert CODES[API.memory(size, ctypes.byref(made))] == code and size.value == 123


@pytest.mark.parametrize(("code", "wrong"), WRONG_PROBLEMS, ids=str)
def test_wrong_problems(code, wrong):
    refused(code, altered(problem((3, 4, 2)), **wrong))
    assert Plan(problem((3, 4, 2))).free() == "OK"


def test_wrong_layers():
    for sizes in ((0, 4, 2), (3, 0, 2), (3, 4, -1), (2**62, 2**62, 1), (2**40, 2**40, 1)):
        refused("BAD_SIZES", problem(sizes))
    for number in (-1, len(ACTIVATIONS), 64, 64 + NUMBERS["TANH"], -2**31, 2**31 - 1):
        made = problem((3, 4, 2))
        made.activations[0] = number
        refused("BAD_ACTIVATION", made)
    refused("BAD_LOSS", problem((3, 4, 1), loss="softmax"))
    refused("BAD_OPTION", problem((3, 4, 2), loss="poisson", label_smoothing=0.1))
    refused("BAD_OPTION", problem((3, 4, 2), loss="softmax", pos_weight=np.ones(2)))
    refused("NO_MEMORY", problem((2**58, 1)))
    assert Plan(altered(problem((3, 1)), activations=None)).free() == "OK"


@pytest.mark.parametrize(("loss", "code", "wrong"), [
    ("bce", "BAD_TARGETS", {"y": 1.5}), ("bce", "BAD_TARGETS", {"y": np.nan}),
    ("poisson", "BAD_TARGETS", {"y": -1}), ("softmax", "BAD_TARGETS", {"y": 0.9}),
    ("bce", "BAD_WEIGHTS", {"w": -1}), ("bce", "BAD_WEIGHTS", {"w": np.nan}),
    ("bce", "BAD_WEIGHTS", {"w": np.inf}), ("bce", "BAD_ROWS", {"n": 6}),
    ("bce", "BAD_ROWS", {"n": -1})], ids=str)
def test_wrong_runs(loss, code, wrong, dtype):
    """No output is written, and the plan goes on."""
    sizes = (3, 2)
    X, y, w = samples(loss, 5, sizes, dtype)
    params = arrays(MLP(sizes, dtype=dtype, seed=0))
    grads = [np.full_like(param, 7) for param in params]
    plan, good = Plan(problem(sizes, dtype, loss=loss, rows=5)), (y.copy(), w.copy())
    y[3, 1], w[3] = wrong.get("y", y[3, 1]), wrong.get("w", w[3])
    assert plan.gradient(grads, params, X, y, w, wrong.get("n")) == code
    assert plan.loss(params, X, y, w, wrong.get("n")) == code
    assert plan.value.value == -1 and (flat(grads) == 7).all()
    assert plan.gradient(grads, params, X, *good) == "OK"
    plan.free()


def test_wrong_classes_and_sums_of_weights(dtype):
    sizes, X = (3, 4), np.ones((2, 3), dtype)
    params = arrays(MLP(sizes, dtype=dtype, seed=0))
    plan = Plan(problem(sizes, dtype, loss="softmax", rows=2, classes=1, mean=1))
    for wrong in (-1, 4, 0.5, np.nan, 1e30):
        assert plan.loss(params, X, np.array([0, wrong], dtype)) == "BAD_TARGETS"
    classes = np.array([0, 3], dtype)
    assert plan.loss(params, X, classes) == "OK"
    assert plan.loss(params, X, classes, np.zeros(2, dtype)) == "BAD_WEIGHTS"
    plan.free()
