"""`MLP.linearize` has the bits of `backprop`, `hvp` and `gnvp`, whatever it keeps, and so has
`objective(...).hessp` whatever was asked of it before.

The products themselves are held to complex steps in test_second_order.py; here once more, at a
point where h and delta come from the gradient's pass.
"""

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import EVERY_KIND, name_of, network_of
from second_order import joined, layers_of, network_like, product_bound, true_product

import fastbp
from fastbp import reference

SHAPES = [  # no sample and one, no hidden layer, few rows, whole blocks and parts of one
    ((4, 3, 1), 0), ((2, 8, 8, 1), 1), ((7, 2), 20), ((1, 1, 1, 1, 1), 5), ((130, 200, 3), 9),
    ((65, 130, 3), 257), ((5, 9, 4, 2), 512), ((30, 64, 64, 1), 700),
]
MEMORY = [2**30, 0]
OPTIONS = [{}, {"reduction": "mean", "l2": 0.125}]


def direction(net, seed=0):
    return np.random.default_rng(seed).standard_normal(net.n_params).astype(net.dtype)


def weights_of(n):
    return np.random.default_rng(n).integers(0, 9, n) / 4


def same(a, b):
    """Bits, and not only values: -0 is not 0."""
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def assert_same(net, X, y, memory, **options):
    """One point, in an order of products that leaves out and repeats each."""
    point = net.linearize(X, y, memory=memory, **options)
    same(point.loss, net.backprop(X, y, **options))
    same(point.grad, net.grad)
    assert point.kept == (memory > 0)
    for seed, names in enumerate([("hvp", "gnvp"), ("gnvp", "gnvp", "hvp"), ("hvp",)]):
        v = direction(net, seed)
        for name in names:
            same(getattr(point, name)(v), getattr(net, name)(X, y, v, **options))


@all_pairs("isa", "dtype", kind=EVERY_KIND, memory=MEMORY, options=OPTIONS)
def test_every_kind(isa, dtype, kind, memory, options):
    net, X, y = network_of(*kind, (7, 19, 11, 5), 300, dtype)
    assert_same(net, X, y, memory, sample_weight=weights_of(300), **options)


@all_pairs("isa", "dtype", shape=SHAPES, memory=MEMORY, n_threads=[1, 2, 3])
def test_shapes(isa, dtype, shape, memory, n_threads):
    sizes, n = shape
    net, X, y = network_of("tanh", "bce", {}, sizes, n, dtype)
    assert_same(network_like(net, n_threads), X, y, memory)


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_products_within_the_bound(isa, dtype, kind):
    net, X, y = network_of(*kind, (7, 9, 5), 60, dtype)
    v, options = direction(net), {"sample_weight": weights_of(60), "reduction": "mean", "l2": 0.5}
    point = net.linearize(X, y, **options)
    for name, gauss_newton in (("hvp", False), ("gnvp", True)):
        true = true_product(net, X, y, v, gauss_newton=gauss_newton, **options)
        bound = product_bound(net, X, y, v, gauss_newton=gauss_newton, **options)
        assert np.all(np.abs(getattr(point, name)(v) - true) <= bound)


@pytest.mark.parametrize("loss, n_outputs", [
    ("bce", 2), ("softmax", 3), ("squared_error", 2), ("poisson", 2)])
def test_one_layer_is_its_gauss_newton_part(dtype, loss, n_outputs):
    net, X, y = network_of("tanh", loss, {}, (6, n_outputs), 300, dtype)
    point, v = net.linearize(X, y), direction(net)
    same(point.hvp(v), point.gnvp(v))


def test_a_number_of_threads_that_changes_between_products(dtype):
    """More than the memory is for are not taken: what is kept lies in it."""
    net, X, y = network_of("tanh", "softmax", {}, (20, 64, 64, 3), 700, dtype)
    v, expected = direction(net), {}
    for name in ("hvp", "gnvp"):
        expected[name] = getattr(net, name)(X, y, v)
    for first in (1, 3):
        net.n_threads = first
        point, f = net.linearize(X, y), net.objective(X, y)
        for n_threads in (3, 1, 2, 5):
            net.n_threads = n_threads
            for name in ("hvp", "gnvp"):
                same(getattr(point, name)(v), expected[name])
            same(f.hessp(net.params, v), expected["hvp"])


@pytest.mark.parametrize("kind", EVERY_KIND, ids=name_of)
def test_twins(kind, dtype):
    """Those of `backprop`, `hvp` and `gnvp`, and near them (see `test_second_order.test_twins`)."""
    net, X, y = network_of(*kind, (7, 19, 11, 5), 60, dtype)
    v, weight = direction(net), {"sample_weight": weights_of(60).astype(dtype),
                                 "reduction": "mean"}
    given = net.weights, net.biases, X, y
    options = {"activation": net.activation, "loss": net.loss, **weight, **net.loss_options}
    point = reference.linearize(*given, **options)
    loss, dW, db = reference.backprop(*given, **options)
    same(point.loss, loss)
    same(joined(point.dW, point.db), joined(dW, db))
    for name, gauss_newton in (("hvp", False), ("gnvp", True)):
        got = joined(*getattr(point, name)(*layers_of(net, v)))
        same(got, joined(*getattr(reference, name)(*given, *layers_of(net, v), **options)))
        off = got - getattr(net.linearize(X, y, **weight), name)(v)
        bound = product_bound(net, X, y, v, gauss_newton=gauss_newton, **weight)
        assert np.all(np.abs(off) <= 17 * bound)        # 16 of the twin, and its own


def test_a_twin_refuses_a_direction():
    W, b, X, y = [np.ones((3, 2))], [np.ones(2)], np.ones((5, 3)), np.ones((5, 2))
    point = reference.linearize(W, b, X, y)
    for product in (point.hvp, point.gnvp):
        with pytest.raises(ValueError, match=r"V\[0\] has shape \(2, 3\)"):
            product([W[0].T], b)
        with pytest.raises(TypeError, match="lacks v"):
            product(W)


# ---- an objective that goes from point to point


def test_an_objective_at_any_sequence_of_points(dtype):
    """Losses and products at new points and at old ones, in every order of three kinds of call."""
    net, X, y = network_of("tanh", "softmax", {}, (5, 9, 3), 300, dtype)
    options = {"sample_weight": weights_of(300), "reduction": "mean", "l2": 0.25}
    points = [fastbp.MLP([5, 9, 3], loss="softmax", dtype=dtype, seed=s).params for s in range(3)]
    directions = [direction(net, s) for s in range(3)]
    expected = {}
    for i, params in enumerate(points):
        net.params[:] = params
        loss = net.backprop(X, y, **options), net.grad.copy()
        expected[i] = loss, [net.hvp(X, y, v, **options) for v in directions]
    rng = np.random.default_rng(0)
    for memory in MEMORY:
        f = net.objective(X, y, memory=memory, **options)
        for i, j in rng.integers(0, 3, (60, 2)).tolist():
            if rng.random() < 0.4:
                loss, grad = f(points[i])
                same(loss, expected[i][0][0])
                same(grad, expected[i][0][1])
            else:
                same(f.hessp(points[i], directions[j]), expected[i][1][j])


def test_parameters_that_are_changed_in_place(dtype):
    """Those of a minimiser may be; the objective has a copy of what it knows."""
    net, X, y = network_of("tanh", "bce", {}, (5, 9, 2), 40, dtype)
    f, v, x = net.objective(X, y), direction(net), net.params.copy()
    for step in range(4):
        for _ in range(2):
            same(f.hessp(x, v), net.objective(X, y).hessp(x, v))
        x[step] += 0.25
        if step % 2:
            f(x)
            x[step] -= 0.5


def test_a_point_with_nan(dtype):
    """It is known again by its bits, which -0 and 0 do not share."""
    net, X, y = network_of("tanh", "squared_error", {}, (3, 4, 2), 9, dtype)
    f, v = net.objective(X, y), direction(net)
    x = net.params.copy()
    x[0] = np.nan
    np.testing.assert_array_equal(f.hessp(x, v), f.hessp(x, v))
    x[0] = 0.0
    zero = f.hessp(x, v)
    x[0] = -0.0
    np.testing.assert_array_equal(f.hessp(x, v), zero)
