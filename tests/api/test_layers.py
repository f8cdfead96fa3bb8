"""Layers: the recursion of MLP, to the bit, over arrays of any owner, from any ∂L/∂h_L."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from all_pairs import all_pairs
from oracle import arithmetic, assert_within, mp
from recursions import BATCHES, LAYOUTS, SAMPLES, SIZES, build, gradients, laid_out, problem, same

from fastbp import MLP, Layers
from fastbp._twin.bounds import ACTIVATIONS

# ---- values


def bounded(weights, biases, X, g, dtype, activations=("sigmoid",) * 3):
    """h_L, [dW_1 …], [db_1 …], dX with their running error bounds: those of `oracle`, but begun
    with δ_L = ∂L/∂h_L ⊙ h′(z_L)."""
    do = arithmetic(np.finfo(dtype).eps / 2)
    weights, biases = [do.given(W) for W in weights], [do.given(b) for b in biases]
    inputs, slopes, ones = [do.given(X)], [], do.given(np.ones((1, len(X))))
    for W, b, name in zip(weights, biases, activations, strict=True):
        h, slope = ACTIVATIONS[name](do, do.product(inputs[-1], W, b))
        inputs.append(h)
        slopes.append(slope)
    dW, db, back = [], [], do.given(g)
    for k in reversed(range(len(weights))):
        delta = do.times(back, slopes[k])
        dW.insert(0, do.product(inputs[k].T, delta))
        db.insert(0, do.product(ones, delta))
        back = do.product(delta, weights[k].T)
    own = 1 + 2 * do.wide.u / do.u  # the wide format has the same bound for its own u
    return [(ball.x, own * ball.e) for ball in (inputs[-1], *dW, *db, back)]


@all_pairs("isa", "dtype", layout=["io", "oi"], n=SAMPLES, activations=[
    ("sigmoid", "sigmoid", "sigmoid"), ("tanh", "relu", "identity"), ("relu", "identity", "tanh"),
    ("identity", "sigmoid", "relu")])
def test_any_cotangent_within_the_rounding_bound(n, layout, dtype, isa, activations):
    weights, biases, X, g = problem(n, dtype)
    layers = build(SIZES, dtype, layout, activations)
    h, dW, db, dX = gradients(layers, weights, biases, X, g)
    got = [h, *dW, *(b[np.newaxis] for b in db), dX]
    expected = bounded(weights, biases, X, g, dtype, activations)
    for i, (a, (exact, bound)) in enumerate(zip(got, expected, strict=True)):
        assert_within(a, exact, bound, f"array {i} of h, dW_1, …, db_1, …, dX")


def test_against_a_complex_step(dtype):
    """∂/∂t Σ g ⊙ h_L(t) = Im Σ g ⊙ h_L(t + iε)/ε to 50 digits, from E1 alone, for every entry t of
    every array; the bound is the same."""
    weights, biases, X, g = problem(4, dtype)
    _, dW, db, dX = gradients(build(SIZES, dtype), weights, biases, X, g)
    number = np.frompyfunc(lambda x: mp.mpf(float(x)), 1, 1)
    sigma = np.frompyfunc(lambda z: 1 / (1 + mp.exp(-z)), 1, 1)
    arrays, epsilon = [number(a) for a in (*weights, *biases, X)], mp.mpf(10) ** -25

    def loss():
        *layers, h = arrays
        for W, b in zip(layers[:len(weights)], layers[len(weights):], strict=True):
            h = sigma(h @ W + b)
        return (number(g) * h).sum()

    bounds = [bound for _, bound in bounded(weights, biases, X, g, dtype)[1:]]
    for array, got, bound in zip(arrays, (*dW, *db, dX), bounds, strict=True):
        for index in np.ndindex(got.shape):
            t = array[index]
            array[index] = mp.mpc(t, epsilon)
            exact = loss().imag / epsilon
            array[index] = t
            assert abs(mp.mpf(float(got[index])) - exact) <= bound.reshape(got.shape)[index]


@LAYOUTS
def test_same_bits_as_a_network(layout, dtype, isa):
    """A network of equal rows with z_L = 0 has σ′(z_L) = ¼ exactly: 4 (½ − y) starts its δ."""
    n = 300
    rng = np.random.default_rng(0)
    net = MLP((3, 5, 4, 1), dtype=dtype, seed=0)
    X = np.tile(rng.standard_normal(3).astype(dtype), (n, 1))
    y = (rng.integers(0, 17, (n, 1)) / 16).astype(dtype)
    net.biases[-1][:] = -net.logits(X[:1])[0]
    assert not net.logits(X).any()
    net.backprop(X, y)
    h, dW, db, _ = gradients(build(net.layer_sizes, dtype, layout), net.weights, net.biases,
                             X, 4 * (0.5 - y))
    np.testing.assert_array_equal(h, net.forward(X))
    same(dW, net.weight_grads)
    same(db, net.bias_grads)


@BATCHES
@LAYOUTS
def test_outputs_of_a_network(n, layout, dtype, isa):
    weights, biases, X, _ = problem(n, dtype)
    net = MLP(SIZES, dtype=dtype)
    for view, a in zip(net.weights + net.biases, weights + biases, strict=True):
        view[:] = a
    layers = build(SIZES, dtype, layout)
    np.testing.assert_array_equal(layers.forward(laid_out(weights, layout), biases, X),
                                  net.forward(X))


@BATCHES
def test_layouts_have_the_same_bits(n, dtype, isa):
    weights, biases, X, g = problem(n, dtype)
    (h, dW, db, dX), (k, dV, dc, dY) = (
        gradients(build(SIZES, dtype, layout), weights, biases, X, g) for layout in ("io", "oi"))
    same((h, *dW, *db, dX), (k, *dV, *dc, dY))


@LAYOUTS
def test_rows_do_not_see_each_other(layout, dtype, isa):
    """h and dX of a row are those of the row alone: any batch size, any position."""
    weights, biases, X, g = problem(700, dtype)
    layers = build(SIZES, dtype, layout)
    h, _, _, dX = gradients(layers, weights, biases, X, g)
    for rows in (slice(0, 1), slice(255, 258), slice(100, 500), slice(699, 700)):
        part = gradients(layers, weights, biases, X[rows], g[rows])
        same((part[0], part[3]), (h[rows], dX[rows]))


@LAYOUTS
def test_one_layer(layout, dtype, isa):
    """h is σ of one number, 2^k times one weight of 0: every product is exact."""
    layers = build((1, 1), dtype, layout)
    h, dW, db, dX = gradients(layers, [np.zeros((1, 1), dtype)], [np.zeros(1, dtype)],
                              np.full((3, 1), 2, dtype), np.array([[4], [8], [-2]], dtype))
    same((h, dW[0], db[0], dX), ([[0.5]] * 3, [[5]], [2.5], [[0]] * 3))


# ---- calls


@LAYOUTS
def test_input_grad_is_optional(layout, dtype):
    weights, biases, X, g = problem(300, dtype)
    layers = build(SIZES, dtype, layout)
    with_it = gradients(layers, weights, biases, X, g)
    without = gradients(layers, weights, biases, X, g, input_grad=False)
    same(with_it[1] + with_it[2], without[1] + without[2])


def test_backward_before_forward(dtype):
    weights, biases, _, g = problem(3, dtype)
    outputs = [np.ones_like(W) for W in weights], [np.ones_like(b) for b in biases]
    with pytest.raises(RuntimeError, match="forward"):
        build(SIZES, dtype).backward(g, *outputs)
    assert all((a == 1).all() for arrays in outputs for a in arrays)


def test_the_last_forward_counts(dtype):
    """Several in a row, several `backward` after one, batches that grow and shrink."""
    weights, biases, X, g = problem(600, dtype)
    others, other_biases, Z, _ = problem(400, dtype, seed=1)
    layers = build(SIZES, dtype)
    layers.forward(others, other_biases, Z)
    first = layers.forward(weights, biases, X)
    kept = first.copy()
    for rows in (600, 2, 300):
        twin = gradients(build(SIZES, dtype), weights, biases, X[:rows], g[:rows])
        result = gradients(layers, weights, biases, X[:rows], g[:rows])
        same((result[0], *result[1], *result[2]), (twin[0], *twin[1], *twin[2]))
        again = [np.ones_like(W) for W in weights], [np.ones_like(b) for b in biases]
        layers.backward(g[:rows], *again)
        same(again[0] + again[1], twin[1] + twin[2])
    np.testing.assert_array_equal(first, kept)


@LAYOUTS
@BATCHES
def test_a_pass_that_keeps_nothing(n, layout, dtype, isa):
    """The same bits; what an earlier pass kept is still there, and there is no more memory."""
    weights, biases, X, g = problem(n, dtype)
    layers = build(SIZES, dtype, layout)
    expected = gradients(layers, weights, biases, X, g)
    others, other_biases, Z, _ = problem(1000, dtype, seed=1)
    held = layers.workspace_bytes
    h = layers.forward(laid_out(others, layout), other_biases, Z, keep=False)
    assert layers.workspace_bytes == held
    np.testing.assert_array_equal(
        h, build(SIZES, dtype, layout).forward(laid_out(others, layout), other_biases, Z))
    dW, db = laid_out([np.empty_like(W) for W in weights], layout), list(map(np.empty_like, biases))
    layers.backward(g, dW, db)
    same(laid_out(expected[1], layout) + expected[2], dW + db)
    with pytest.raises(TypeError, match="keep"):
        layers.forward(laid_out(weights, layout), biases, X, keep=1)


@pytest.mark.parametrize("change", [
    lambda a: a.astype("float64"), np.asfortranarray, lambda a: a.astype(">f4"),
    lambda a: np.repeat(a, 2, axis=-1)[..., ::2], lambda a: a.tolist(),
    lambda a: np.broadcast_to(a, a.shape)])
def test_inputs_are_converted(change):
    """To the dtype and layout of the object; they are not written to."""
    weights, biases, X, g = problem(9, "float32")
    layers = build(SIZES, "float32")
    h, dW, db, _ = gradients(layers, weights, biases, X, g)
    got = layers.forward([change(W) for W in weights], [change(b) for b in biases], change(X))
    outputs = [np.empty_like(W) for W in weights], [np.empty_like(b) for b in biases]
    layers.backward(change(g), *outputs)
    same((got, *outputs[0], *outputs[1]), (h, *dW, *db))


@LAYOUTS
def test_no_samples(layout, dtype):
    weights, biases, X, g = problem(0, dtype)
    h, dW, db, dX = gradients(build(SIZES, dtype, layout), weights, biases, X, g)
    assert h.shape == (0, 2) and dX.shape == (0, 3)
    assert not any(a.any() for a in dW + db)


@LAYOUTS
def test_pickle_and_repr(layout, dtype):
    """What makes an object comes along; what it saw does not."""
    weights, biases, X, g = problem(5, dtype)
    layers = build(SIZES, dtype, layout)
    expected = gradients(layers, weights, biases, X, g)
    for twin in (pickle.loads(pickle.dumps(layers)), copy.copy(layers), copy.deepcopy(layers),
                 eval(repr(layers), {"Layers": Layers})):
        assert (repr(twin), twin.layer_sizes, twin.activations, twin.dtype, twin.layout) == (
            repr(layers), SIZES, ("sigmoid",) * 3, dtype, layout)
        with pytest.raises(RuntimeError):
            twin.backward(g, *expected[1:3])
        result = gradients(twin, weights, biases, X, g)
        same((result[0], *result[1]), (expected[0], *expected[1]))


class Named(Layers):
    """With an argument of its own."""

    def __init__(self, name):
        super().__init__(SIZES, ["tanh"] * 3, layout="oi")
        self.name = name


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy,
                                    lambda layers: pickle.loads(pickle.dumps(layers))])
def test_a_subclass_is_copied(copied):
    layers = Named("encoder")
    twin = copied(layers)
    assert type(twin) is Named and twin.name == "encoder" and repr(twin) == repr(layers)


def test_workspace(dtype):
    """It holds h and σ′ of the largest batch so far, and does not grow again for a smaller one."""
    layers = build(SIZES, dtype)
    assert layers.workspace_bytes == 0
    held = 0
    for n, grows in ((10, True), (300, True), (7, False), (1000, True), (1000, False)):
        weights, biases, X, g = problem(n, dtype)
        gradients(layers, weights, biases, X, g)
        assert (layers.workspace_bytes > held) == grows
        held = layers.workspace_bytes
        assert held >= 2 * n * sum(b for _, b in pairwise(SIZES)) * layers.dtype.itemsize
