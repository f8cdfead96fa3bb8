"""Promise: `backprop` on arrays of the caller has the bits of `MLP.backprop`, whatever came before.

It remembers the layers of its last calls, and losses without weights: the shapes, dtypes, options
and failures of one call are never those of another.
"""

from itertools import cycle, islice

import numpy as np
import pytest
from calling import in_threads

import fastbp
from fastbp import MLP


def numbers(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(dtype)


def bits(arrays):
    return [np.asarray(a).tobytes() for a in arrays]


def problem(sizes, dtype, seed=0):
    """A network, its W and b as lists of copies, X and y."""
    net = MLP(sizes, dtype=dtype, seed=seed)
    X, y = numbers(9, sizes[0], dtype=dtype, seed=seed), numbers(9, sizes[-1], dtype=dtype)
    return net, [W.copy() for W in net.weights], [b.copy() for b in net.biases], X, y


def gradient(net, X, y, **options):
    """What `fastbp.backprop` should return for the network's arrays."""
    loss = net.backprop(X, y, **options)
    return bits([loss, *net.weight_grads, *net.bias_grads])


def flat(result):
    loss, dW, db = result
    assert type(loss) is float and type(dW) is type(db) is list
    return bits([loss, *dW, *db])


SHAPES = [(2, 1), (3, 2, 1), (3, 5, 4), (3, 5, 1), (3, 4, 5, 2), (5, 3, 4), (1, 1), (1, 2), (2, 2),
          (1, 1, 1), (6, 5, 4, 3, 2, 1)]


def mixed(sizes):
    return tuple(islice(cycle(["tanh", "relu", "sigmoid"]), len(sizes) - 2))


def test_backprop_of_many_shapes_in_turn():
    """More than are remembered, in both dtypes, with every activation; twice each, then all again.
    """
    problems = [(activation, *problem(sizes, dtype)) for sizes in SHAPES
                for dtype in ("float32", "float64")
                for activation in ("sigmoid", "tanh", "relu", mixed(sizes), mixed(sizes)[::-1])]
    for activation, net, W, b, X, y in [p for p in problems for _ in range(2)] + problems:
        twin = MLP(net.layer_sizes, activation=activation, dtype=net.dtype)
        twin.params = net.params
        found = fastbp.backprop(W, b, X, y, activation=activation)
        assert flat(found) == gradient(twin, X, y)
        assert all(g.dtype == net.dtype and g.flags.owndata for g in (*found[1], *found[2]))


@pytest.mark.parametrize("form", ["tuples", "strided", "Fortran", "other dtype", "nested lists"])
def test_backprop_of_arrays_in_any_form(form):
    """What is converted gives what fits as it is, before and after that was seen."""
    net, W, b, X, y = problem((3, 5, 4), "float64")
    form = {
        "tuples": lambda a: a,
        "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        "Fortran": np.asfortranarray,
        "other dtype": lambda a: a.astype(">f8"),
        "nested lists": np.ndarray.tolist,
    }[form]
    other = tuple(map(form, W)), tuple(map(form, b)), form(X), form(y)
    expected = gradient(net, X, y)
    for arguments in (other, (W, b, X, y), other):
        assert flat(fastbp.backprop(*arguments)) == expected


FORMS = {
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": lambda a: np.frombuffer(b"." + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(
        a.shape),
}


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("form", FORMS)
def test_one_array_of_another_form(form, at, dtype, monkeypatch):
    """It alone is copied, and nothing else is looked at one by one."""
    net, W, b, X, y = problem((3, 5, 4), dtype)
    expected = gradient(net, X, y)
    fastbp.backprop(W, b, X, y)
    for name in ("real_array", "layer_arrays"):
        monkeypatch.setattr(f"fastbp._arguments.{name}", None)
    arrays = [*W, *b, X]
    arrays[at] = FORMS[form](arrays[at])
    assert flat(fastbp.backprop(arrays[:2], arrays[2:4], arrays[4], y)) == expected


@pytest.mark.parametrize("at", range(5))
def test_one_array_of_float64(at):
    """The whole call is in float64 then."""
    net, W, b, X, y = problem((3, 5, 4), "float32")
    twin = MLP((3, 5, 4), dtype="float64")
    twin.params = net.params
    expected = gradient(twin, X, y)
    arrays = [*W, *b, X]
    arrays[at] = arrays[at].astype("float64")
    for _ in range(2):
        assert flat(fastbp.backprop(arrays[:2], arrays[2:4], arrays[4], y)) == expected


def test_one_array_of_float64_that_float32_does_not_hold():
    """Nothing is narrowed on the way, nor does NumPy warn of what becomes infinite."""
    _, W, b, X, y = problem((3, 5, 4), "float32")
    W[0] = abs(W[0])
    layers = fastbp.Layers((3, 5, 4), ["tanh", "identity"])
    dW, db = [np.empty_like(w) for w in W], [np.empty_like(v) for v in b]
    with np.errstate(all="raise"):
        large = np.full(X.shape, 1e300)
        assert np.isfinite(fastbp.backprop(W, b, large, y, activation="tanh")[0])
        assert np.isfinite(layers.loss_and_grad(W, b, large, y, dW, db))    # z is infinite, h 1


@pytest.mark.parametrize("loss", ["bce", "softmax", "squared_error", "poisson"])
def test_backprop_of_each_loss_in_turn(loss, dtype):
    """Options of one call are not those of the next."""
    net, W, b, X, y = problem((3, 5, 4), dtype)
    y = y / y.sum(axis=1, keepdims=True)
    w = numbers(9, dtype=dtype)
    given = {"bce": {"pos_weight": 2.0, "label_smoothing": 0.25},
             "softmax": {"class_weight": [1, 2, 3, 4], "label_smoothing": 0.25}}.get(loss, {})
    for options in ({}, given, {}):
        twin = MLP(net.layer_sizes, dtype=dtype, loss=loss, **options)
        twin.params = net.params
        assert flat(fastbp.backprop(W, b, X, y, loss=loss, **options)) == gradient(twin, X, y)
        assert (flat(fastbp.backprop(W, b, X, y, loss=loss, sample_weight=w, reduction="mean",
                                     **options))
                == gradient(twin, X, y, sample_weight=w, reduction="mean"))


def test_backprop_after_one_that_failed(dtype):
    net, W, b, X, y = problem((3, 5, 4), dtype)
    expected = gradient(net, X, y)
    for _ in range(20):                     # more than there are layers remembered
        with pytest.raises(ValueError, match="^y has 2.0 in row 0"):
            fastbp.backprop(W, b, X, 2 + 0 * y)
        with pytest.raises(ValueError, match="^loss is 'mse'"):
            fastbp.backprop(W, b, X, y, loss="mse")
        with pytest.raises(ValueError, match=r"^X has shape \(9, 2\)"):
            fastbp.backprop(W, b, X[:, :2], y)
        assert flat(fastbp.backprop(W, b, X, y)) == expected


def test_backprop_within_backprop(dtype):
    """To read y runs code of its owner, which may want another gradient of the same shape."""
    net, W, b, X, y = problem((3, 5, 4), dtype)
    expected, inner = gradient(net, X, y), []

    class Targets:
        def __init__(self, depth):
            self.depth = depth

        def __array__(self, dtype=None, copy=None):
            if self.depth:
                inner.append(flat(fastbp.backprop(W, b, X, Targets(self.depth - 1))))
            return y

    assert flat(fastbp.backprop(W, b, X, Targets(12))) == expected
    assert inner == [expected] * 12


def test_backprop_in_many_threads(dtype):
    """With one shape and with several, in more threads than there are cached layers."""
    problems = [problem(sizes, dtype, seed) for seed, sizes in enumerate(SHAPES[:3] * 4)]
    expected = [gradient(net, X, y) for net, _, _, X, y in problems]

    def work(i):
        for k in range(100):
            at = (i + k // 10) % len(problems)
            assert flat(fastbp.backprop(*problems[at][1:])) == expected[at]

    in_threads(12, work)


def test_losses_of_many_kinds_in_turn():
    """More than are remembered: by outputs, dtype and smoothing."""
    for _ in range(2):
        for dtype in ("float32", "float64"):
            for outputs in range(1, 20):
                z = numbers(4, outputs, dtype=dtype)
                for smoothing in (0.0, 0.25):
                    loss, delta = fastbp.bce_with_logits(z, 0 * z, label_smoothing=smoothing)
                    expected = fastbp.bce_with_logits(z, 0 * z + smoothing / 2)
                    assert bits([loss, delta]) == bits(expected) and delta.dtype == dtype
