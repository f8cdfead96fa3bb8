"""Loss and gradients of `Layers` at once: those of a network, whatever layout the weights have; and
its passes by address.
"""


import numpy as np
import pytest
from all_pairs import all_pairs
from recursions import LAYOUTS, SIZES, build, gradients, laid_out, problem, same

from fastbp import MLP, Layers, _unchecked

LOSSES = [
    ("bce", {}), ("bce", {"pos_weight": [2.0, 0.5]}), ("bce", {"label_smoothing": 0.25}),
    ("softmax", {}), ("softmax", {"class_weight": [0.5, 3.0]}),
    ("squared_error", {}), ("poisson", {})]


def with_loss(layers, weights, biases, X, y, **options):
    """The loss and gradients of `loss_and_grad`, weights as (fan_in, fan_out)."""
    weights = laid_out(weights, layers.layout)
    dW = [np.full_like(W, np.nan) for W in weights]
    db = [np.full_like(b, np.nan) for b in biases]
    loss = layers.loss_and_grad(weights, biases, X, y, dW, db, **options)
    return loss, [W.T if layers.layout == "oi" else W for W in dW], db


def logits(dtype, layout="io"):
    return Layers(SIZES, ["sigmoid", "sigmoid", "identity"], dtype=dtype, layout=layout)


@all_pairs("isa", "dtype", layout=["io", "oi"], kind=LOSSES, n=[1, 64, 300],
           reduction=["sum", "mean"])
def test_loss_and_grad_is_that_of_a_network(kind, n, reduction, layout, dtype, isa):
    loss, options = kind
    weights, biases, X, _ = problem(n, dtype)
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n if loss == "softmax" else (n, 2))
    sample_weight = rng.random(n) + 0.5
    net = MLP(SIZES, dtype=dtype, loss=loss, **options)
    for view, a in zip(net.weights + net.biases, weights + biases, strict=True):
        view[:] = a
    given = {"sample_weight": sample_weight, "reduction": reduction}
    expected = net.backprop(X, y, **given)
    value, dW, db = with_loss(logits(dtype, layout), weights, biases, X, y, loss=loss,
                              **given, **options)
    assert value == expected
    same(dW + db, net.weight_grads + net.bias_grads)


@LAYOUTS
@pytest.mark.parametrize("at", range(2 * len(SIZES) - 1))
def test_one_array_of_another_form(at, layout, dtype, monkeypatch):
    """Is copied, it alone, whether its memory order, strides or dtype differ."""
    weights, biases, X, _ = problem(9, dtype)
    y = np.zeros((9, 2), dtype)
    layers = logits(dtype, layout)
    arrays = [*laid_out(weights, layout), *biases, X]
    other = "float32" if dtype == "float64" else "float64"
    arrays[at] = arrays[at].astype("float32").astype(dtype)
    W, b = arrays[:len(weights)], arrays[len(weights):-1]
    dW, db = [np.empty_like(a) for a in W], [np.empty_like(a) for a in b]
    loss = layers.loss_and_grad(W, b, arrays[-1], y, dW, db)
    expected = [a.copy() for a in dW + db]
    monkeypatch.setattr("fastbp._arguments.real_array", None)
    for form in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
                 lambda a: a[::-1].copy()[::-1], lambda a: a.astype(other)):
        given = list(arrays)
        given[at] = form(arrays[at])
        W, b = given[:len(weights)], given[len(weights):-1]
        assert layers.loss_and_grad(W, b, given[-1], y, dW, db) == loss
        same(dW + db, expected)


def test_outputs_beside_a_strided_input(dtype):
    """Within its first and last byte, and on none of its elements; or on some."""
    weights, biases, X, _ = problem(9, dtype)
    y, layers = np.zeros((9, 2), dtype), logits(dtype)
    dW, db = [np.empty_like(a) for a in weights], [np.empty_like(a) for a in biases]
    loss = layers.loss_and_grad(weights, biases, X, y, dW, db)
    n_features, width = X.shape[1], biases[0].size
    wide = np.zeros((9, n_features + width), dtype)
    wide[:, :n_features] = X
    between, dbs = wide[4, n_features:], db[0].copy()
    assert layers.loss_and_grad(weights, biases, wide[:, :n_features], y, dW,
                                [between, *db[1:]]) == loss
    assert (between == dbs).all() and (wide[:, :n_features] == X).all()
    for given in (wide[::-1, -n_features:], wide[:, -n_features:]):
        with pytest.raises(ValueError, match=r"^bias_grads\[0\] overlaps X; it should"):
            layers.loss_and_grad(weights, biases, given, y, dW, [between, *db[1:]])


@LAYOUTS
def test_a_number_divides_the_sum(layout, dtype, isa):
    weights, biases, X, _ = problem(300, dtype)
    y = np.random.default_rng(1).integers(0, 2, (300, 2))
    total, dW, db = with_loss(logits(dtype, layout), weights, biases, X, y)
    value, dV, dc = with_loss(logits(dtype, layout), weights, biases, X, y, reduction=600)
    assert value == total / 600
    same(dV + dc, [a / a.dtype.type(600) for a in dW + db])


def test_options_of_one_call_are_not_those_of_the_next(dtype):
    """Nor is an array of weights that its owner changed what it was."""
    weights, biases, X, _ = problem(9, dtype)
    layers, y = logits(dtype), np.random.default_rng(1).integers(0, 2, (9, 2))
    plain = with_loss(layers, weights, biases, X, y)[0]
    pos_weight = np.array([2.0, 1.0])
    first = with_loss(layers, weights, biases, X, y, pos_weight=pos_weight)[0]
    pos_weight[:] = 3
    second = with_loss(layers, weights, biases, X, y, pos_weight=pos_weight)[0]
    assert second == with_loss(logits(dtype), weights, biases, X, y, pos_weight=3)[0] != first
    assert with_loss(layers, weights, biases, X, y, label_smoothing=0.5)[0] != plain
    assert with_loss(layers, weights, biases, X, y)[0] == plain


def test_refusals_of_loss_and_grad(dtype):
    weights, biases, X, _ = problem(9, dtype)
    layers, y = logits(dtype), np.zeros((9, 2))
    with pytest.raises(ValueError, match="last of activations is 'sigmoid'"):
        with_loss(build(SIZES, dtype), weights, biases, X, y)
    for reduction, kind in ((0, ValueError), (True, TypeError), ("none", ValueError),
                            (None, ValueError), (np.inf, ValueError)):
        with pytest.raises(kind, match="reduction"):
            with_loss(layers, weights, biases, X, y, reduction=reduction)
    for bad in (np.full((9, 2), 2.0), np.zeros((8, 2))):
        with pytest.raises(ValueError, match="y has"):
            with_loss(layers, weights, biases, X, bad)
    dW, db = [np.empty_like(W) for W in weights], [np.empty_like(b) for b in biases]
    y = y.astype(dtype)
    for read, name in ((weights[2], "weights"), (X.reshape(-1)[:8].reshape(4, 2), "X"),
                       (y[:4], "y")):
        with pytest.raises(ValueError, match=rf"weight_grads\[2\] overlaps {name}"):
            layers.loss_and_grad(weights, biases, X, y, [*dW[:2], read], db)
    for targets in (y, 2 * y + 2):      # what a forward pass kept is lost in any case
        layers.forward(weights, biases, X)
        if targets is y:
            with_loss(layers, weights, biases, X, y)
        else:
            with pytest.raises(ValueError, match="y has"):
                with_loss(layers, weights, biases, X, targets)
        with pytest.raises(RuntimeError, match="forward"):
            layers.backward(np.zeros((9, 2)), dW, db)


@LAYOUTS
def test_the_way_back_to_the_input_alone(layout, dtype, isa):
    weights, biases, X, g = problem(300, dtype)
    layers = build(SIZES, dtype, layout)
    expected = gradients(layers, weights, biases, X, g)[3]
    dX = np.full_like(X, np.nan)
    layers.backward(g, None, None, dX)
    np.testing.assert_array_equal(dX, expected)
    with pytest.raises(TypeError, match="bias_grads"):
        layers.backward(g, [np.empty_like(W) for W in weights], None)


# ---- memory by its address


@LAYOUTS
@pytest.mark.parametrize("n", [0, 1, 300])
def test_passes_by_address(n, layout, dtype, isa):
    weights, biases, X, g = problem(n, dtype)
    activations = ["tanh", "relu", "identity"]
    checked, unchecked = (kind(SIZES, activations, dtype=dtype, layout=layout)
                          for kind in (Layers, _unchecked.UncheckedLayers))
    laid = laid_out(weights, layout)
    params = [a.ctypes.data for pair in zip(laid, biases, strict=True) for a in pair]
    h, dW, db, dX = gradients(checked, weights, biases, X, g)
    for keep in (True, False):
        np.testing.assert_array_equal(unchecked.forward_at(params, X.ctypes.data, n, keep), h)
    for wants in ((True, True), (True, False), (False, True)):
        got, grads = unchecked.backward_at(params, X.ctypes.data, g.ctypes.data, n, *wants)
        assert [got is not None, grads is not None] == list(wants)
        same(([got] if wants[0] else []) + (grads if wants[1] else []),
             ([dX] if wants[0] else []) + ([a for pair in zip(laid_out(dW, layout), db, strict=True)
                                            for a in pair] if wants[1] else []))


@LAYOUTS
def test_loss_by_address(layout, dtype, isa):
    weights, biases, X, _ = problem(300, dtype)
    y = np.random.default_rng(1).integers(0, 2, (300, 2))
    expected, dW, db = with_loss(logits(dtype, layout), weights, biases, X, y, reduction="mean")
    layers = _unchecked.UncheckedLayers(SIZES, logits(dtype).activations, dtype=dtype,
                                        layout=layout)
    grads, laid = layers.new_grads(), laid_out(weights, layout)
    params = [a.ctypes.data for pair in zip(laid, biases, strict=True) for a in pair]
    addresses = [a.ctypes.data for a in grads]
    assert layers.loss_and_grad_at(params, X.ctypes.data, 300, y, addresses, loss="bce",
                                   divisor=0) == expected
    same(grads, [a for pair in zip(laid_out(dW, layout), db, strict=True) for a in pair])
