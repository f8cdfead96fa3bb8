"""Promise: every fast function of an activation or a loss computes what its NumPy twin does.

The twin's mathematics runs in a wider format on the same numbers, where its own rounding is next to
nothing, so that what is left is the error of the fast one: within 4 ulp elementwise (the promise),
and a loss within 4 ulp of the sum of its terms' magnitudes. Options go through the same checks and
are refused with the same words.
"""

import copy
import pickle

import numpy as np
import pytest

import fastbp
from fastbp import _arguments, reference
from fastbp._twin import mathematics
from fastbp.io import load_model, save_model

WIDE = {"float32": np.float64, "float64": np.longdouble}
LOSSES = {
    "bce": [{}, {"pos_weight": 2.5}, {"pos_weight": [0.5, 3, 1.25, 2]}, {"label_smoothing": 0.25},
            {"pos_weight": 4, "label_smoothing": 0.125}],
    "softmax": [{}, {"label_smoothing": 0.25}, {"class_weight": {0: 0.5, 3: 2.0}},
                {"class_weight": [1, 2, 0, 0.25], "label_smoothing": 0.5}],
    "squared_error": [{}],
    "poisson": [{}],
}
CASES = [(loss, options) for loss, each in LOSSES.items() for options in each]
FUNCTIONS = {"bce": "bce_with_logits", "softmax": "softmax_with_logits",
             "squared_error": "squared_error", "poisson": "poisson_with_logits"}


def problem(loss, dtype, n=257, n_outputs=4):
    rng = np.random.default_rng(7)
    z = (rng.standard_normal((n, n_outputs)) * rng.choice([0.1, 1, 8], (n, 1))).astype(dtype)
    y = {"bce": rng.integers(0, 2, z.shape), "softmax": rng.integers(0, n_outputs, n),
         "squared_error": rng.standard_normal(z.shape).astype("float32"),
         "poisson": rng.poisson(2, z.shape)}[loss].astype(dtype)
    return z, y, (rng.integers(0, 9, n) / 4).astype(dtype)


def within(fast, exact, size, dtype):
    """|fast − exact| within 4 ulp of `size`; 1 ulp is at most 2 u."""
    u = np.finfo(dtype).eps / 2
    error = np.abs(np.asarray(fast, exact.dtype) - exact)
    assert np.all(error <= 8 * u * size + np.finfo(dtype).smallest_subnormal), error.max()


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("activation", _arguments.ACTIVATIONS)
def test_activation(isa, activation, dtype):
    z = problem("bce", dtype)[0]
    h, slope = mathematics.ACTIVATIONS[activation](z.astype(WIDE[dtype]))
    for fast, exact in zip(fastbp.activate(z, activation), (h, slope), strict=True):
        assert fast.dtype == dtype and fast.shape == z.shape
        within(fast, exact, np.abs(exact), dtype)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize(("loss", "options"), CASES)
def test_loss(isa, loss, options, dtype):
    z, y, w = problem(loss, dtype)
    value, delta = getattr(fastbp, FUNCTIONS[loss])(z, y, w, **options)
    wide = WIDE[dtype]
    checked = _arguments.loss_options(loss, z.shape[1], **options)
    counts = _arguments.weights_with_classes(w, checked, y, len(z), "sum", dtype)
    counts = counts.astype(wide)[:, None]
    exact, exact_delta = mathematics.weighted_loss(
        checked, z.astype(wide), y.astype(wide), counts)
    # delta = f - t, times c or 1 (bce), neither of whose two sides is larger than what is
    # summed here: a target is rounded when it is smoothed, and so is c.
    t = y if loss != "softmax" else np.eye(z.shape[1])[y.astype(int)]
    size = np.abs(exact_delta)
    if options or loss in ("squared_error", "poisson"):
        f = mathematics.OUTPUTS[checked.loss.output](z.astype(wide))
        size = counts * max(1, *np.ravel(checked.pos_weight or 1)) * (np.abs(f) + np.abs(t) + (
            1 if loss in ("bce", "softmax") else 0))
    within(delta, exact_delta, size, dtype)
    terms = np.abs(z.astype(wide)) * (1 + np.abs(t)) + np.abs(t) + np.log(z.shape[1]) + (
        np.exp(z.astype(wide)) if loss == "poisson" else (np.abs(z) + np.abs(t)) ** 2)
    scale = float(np.sum(counts * terms)) * max(1, *np.ravel(checked.pos_weight or 1))
    within(value, np.asarray(exact), scale, dtype)


@pytest.mark.parametrize(("loss", "options"), CASES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("activation", [*_arguments.ACTIVATIONS, ["tanh", "relu"]], ids=str)
def test_backprop(loss, options, activation, reduction):
    """In float64, within a thousand roundings of sums of at most 300 terms."""
    net = fastbp.MLP([5, 7, 6, 4], activation=activation, loss=loss, dtype="float64", seed=2,
                     **options)
    rng = np.random.default_rng(3)
    X, (_, y, w) = rng.standard_normal((257, 5)), problem(loss, "float64")
    value = net.backprop(X, y, sample_weight=w, reduction=reduction)
    arguments = dict(activation=activation, loss=loss, sample_weight=w, reduction=reduction,
                     **options)
    own, *grads = fastbp.backprop(net.weights, net.biases, X, y, **arguments)
    expected, *exact = reference.backprop(net.weights, net.biases, X, y, **arguments)
    assert own == value
    assert abs(value - expected) <= 1000 * 2.0**-53 * abs(expected)
    for mine, bound, theirs in zip(grads, (net.weight_grads, net.bias_grads), exact, strict=True):
        for a, view, b in zip(mine, bound, theirs, strict=True):
            np.testing.assert_array_equal(a, view)
            np.testing.assert_allclose(a, b, rtol=0, atol=1000 * 2.0**-53 * np.abs(b).max())
    z, h = reference.forward(net.weights, net.biases, X, activation=activation, loss=loss)
    off = 1000 * 2.0**-53 * np.abs(z).max()
    np.testing.assert_allclose(net.logits(X), z, rtol=0, atol=off)
    # |d ln h / dz| <= 1 of each logit, of which a softmax has two that matter; z itself is off
    np.testing.assert_allclose(net.forward(X), h, rtol=2 * off + 8 * 2.0**-53, atol=off)


REFUSED = [
    ("bce", {"class_weight": [1, 2]}, "class_weight"),          # of four outputs
    ("bce", {"pos_weight": [1, 2]}, "pos_weight"),
    ("bce", {"pos_weight": -1}, "pos_weight"),
    ("bce", {"label_smoothing": 1}, "label_smoothing"),
    ("softmax", {"pos_weight": 2}, "pos_weight"),
    ("softmax", {"class_weight": [1, 2, 3]}, "class_weight"),
    ("softmax", {"class_weight": [1, 2, -3, 4]}, "class_weight"),
    ("softmax", {"class_weight": {4: 1}}, "class_weight"),
    ("softmax", {"label_smoothing": -0.1}, "label_smoothing"),
    ("squared_error", {"label_smoothing": 0.1}, "label_smoothing"),
    ("squared_error", {"pos_weight": 2}, "pos_weight"),
    ("poisson", {"class_weight": [1, 2, 3, 4]}, "class_weight"),
]


@pytest.mark.parametrize(("loss", "options", "word"), REFUSED)
def test_options_are_refused(loss, options, word):
    z, y, _ = problem(loss, "float64")
    net = fastbp.MLP([5, 4], dtype="float64", loss=loss)
    X = np.zeros((len(z), 5))
    for call in (lambda: fastbp.MLP([5, 4], loss=loss, **options),
                 lambda: fastbp.backprop(net.weights, net.biases, X, y, loss=loss, **options),
                 lambda: reference.backprop(net.weights, net.biases, X, y, loss=loss, **options)):
        with pytest.raises(ValueError, match=word):
            call()


BAD_TARGETS = [
    ("softmax", lambda y: y + 1, "class, an integer in \\[0, 4\\)"),
    ("softmax", lambda y: y - 0.5, "class, an integer"),
    ("softmax", lambda y: y * np.nan, "row 0"),
    ("softmax", lambda y: np.full((len(y), 4), 0.3), "sum of 1.2.* in row 0"),
    ("softmax", lambda y: np.full((len(y), 4), [-1, 1, 1, 0]), "in \\[0, 1\\]"),
    ("softmax", lambda y: y[:-1], "shape \\(256,\\)"),
    ("softmax", lambda y: np.zeros((len(y), 1)), "shape \\(257, 1\\)"),
    ("bce", lambda y: y[:, 0], "shape \\(257,\\)"),
    ("bce", lambda y: y + 0.5, "in \\[0, 1\\]"),
    ("poisson", lambda y: y - 3, "at least 0"),
    ("poisson", lambda y: y + np.inf, "finite"),
]


@pytest.mark.parametrize(("loss", "change", "words"), BAD_TARGETS)
@pytest.mark.parametrize("dtype", WIDE)
def test_targets_are_refused(loss, change, words, dtype):
    _, y, _ = problem(loss, dtype)
    y, X = change(y).astype(dtype), np.zeros((len(y), 5), dtype)
    net = fastbp.MLP([5, 4], dtype=dtype, loss=loss)
    for call in (lambda: net.backprop(X, y), lambda: net.loss_value(X, y),
                 lambda: net.train_epoch(X, y, fastbp.SGD()), lambda: net.objective(X, y),
                 lambda: reference.backprop(net.weights, net.biases, X, y, loss=loss)):
        with pytest.raises(ValueError, match=words):
            call()


def test_softmax_needs_two_outputs():
    with pytest.raises(ValueError, match="at least 2"):
        fastbp.MLP([3, 1], loss="softmax")


@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "float64", "float32", "bool"])
def test_classes_of_any_dtype(kind):
    """And lists, and one-hot rows: the same bits."""
    net = fastbp.MLP([3, 4, 2], loss="softmax", seed=0)
    X = np.random.default_rng(0).standard_normal((9, 3)).astype("float32")
    y = np.arange(9) % 2
    expected = net.backprop(X, y), net.grad.copy()
    for other in (y.astype(kind), y.astype(kind).tolist(), np.eye(2, dtype=kind)[y]):
        assert net.backprop(X, other) == expected[0]
        np.testing.assert_array_equal(net.grad, expected[1])


def test_options_stay_with_the_network(tmp_path):
    net = fastbp.MLP([3, 5, 4], activation="tanh", loss="softmax", class_weight={1: 2.5},
                     label_smoothing=0.125, seed=1)
    assert net.loss_options == {"class_weight": (1.0, 2.5, 1.0, 1.0), "label_smoothing": 0.125}
    X, y = np.random.default_rng(0).standard_normal((6, 3)), np.arange(6) % 4
    save_model(tmp_path / "net.safetensors", net)
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net),
                  load_model(tmp_path / "net.safetensors").net):
        assert repr(other) == repr(net)
        assert other.backprop(X, y) == net.backprop(X, y)
        np.testing.assert_array_equal(other.grad, net.grad)


def test_objective_counts_class_weights_once():
    net = fastbp.MLP([3, 4, 1], dtype="float64", class_weight=[1, 3], seed=0)
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((20, 3)), rng.integers(0, 2, 20), rng.random(20)
    expected = net.value_and_grad(net.params, X, y, sample_weight=w, reduction="mean", l2=0.5)
    value, grad = net.objective(X, y, sample_weight=w, reduction="mean", l2=0.5)(net.params)
    assert value == expected[0]
    np.testing.assert_array_equal(grad, expected[1])
    plain = fastbp.MLP([3, 4, 1], dtype="float64", seed=0)
    weighted = plain.backprop(X, y, sample_weight=w * (1 + 2 * y), reduction="mean", l2=0.5)
    assert value == weighted
