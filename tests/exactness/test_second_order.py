"""`MLP.hvp` and `MLP.gnvp` are the Hessian and its Gauss-Newton part times v, each element within a
running error bound of E8 and E9; the true products come from complex steps (second_order.py).

Then what any Hessian does: it is symmetric and linear, and the Gauss-Newton part is never negative.
At saturation the products keep their relative accuracy. (Bits: tests/bits; refusals: tests/api.)
"""

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import EVERY_KIND, name_of, network_of
from oracle import mp
from second_order import (
    assert_product,
    joined,
    layers_of,
    product_bound,
    true_product,
)

import fastbp
from fastbp import reference

U = {"float32": 2.0**-24, "float64": 2.0**-53}
SHAPES = [  # no sample and one, no hidden layer, one unit everywhere, several blocks of rows
    ((4, 3, 1), 0), ((2, 8, 8, 1), 1), ((7, 2), 20), ((300, 1), 600), ((1, 1, 1, 1, 1), 5),
    ((65, 130, 3), 257), ((5, 9, 4, 2), 700), ((200, 130, 2), 3),
]
LOSSES = {"bce": 2, "softmax": 3, "squared_error": 2, "poisson": 2}


def direction(net, seed=0):
    return np.random.default_rng(seed).standard_normal(net.n_params).astype(net.dtype)


def weights_of(n, seed=0):
    """Sample weights that every dtype holds, some of them 0."""
    return np.random.default_rng(seed).integers(0, 9, n) / 4


# ---- the value


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_every_kind(isa, dtype, kind):
    net, X, y = network_of(*kind, (7, 19, 11, 5), 300, dtype)
    v = direction(net)
    assert_product(net, X, y, v)
    assert_product(net, X, y, v, sample_weight=weights_of(300), reduction="mean", l2=0.125)


@all_pairs("isa", "dtype", shape=SHAPES, activation=["sigmoid", "relu"])
def test_shapes(isa, dtype, shape, activation):
    sizes, n = shape
    net, X, y = network_of(activation, "bce", {}, sizes, n, dtype)
    assert_product(net, X, y, direction(net))


@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_probabilities_as_targets(dtype, loss):
    n_outputs = LOSSES[loss]
    net, X, _ = network_of("tanh", loss, {"label_smoothing": 0.25}, (5, 8, n_outputs), 40, dtype)
    y = np.random.default_rng(0).integers(1, 9, (40, n_outputs)).astype(dtype)
    y = y / 16 if loss == "bce" else (y / y.sum(axis=1, keepdims=True)).astype(dtype)
    assert_product(net, X, y, direction(net))


@pytest.mark.parametrize("class_weight", [[0.5, 2.0], {0: 3.0, 1: 0.25}])
def test_class_weight_of_one_output(dtype, class_weight):
    net, X, y = network_of("tanh", "bce", {"class_weight": class_weight}, (5, 8, 1), 40, dtype)
    assert_product(net, X, y, direction(net), sample_weight=weights_of(40), reduction="mean")


@pytest.mark.parametrize("kind", EVERY_KIND, ids=name_of)
def test_twins(kind, dtype):
    """Any order of summation, and NumPy's exp, are within 16 times the bound (`rounding`)."""
    net, X, y = network_of(*kind, (7, 19, 11, 5), 60, dtype)
    v, options = direction(net), {"sample_weight": weights_of(60).astype(dtype),
                                  "reduction": "mean"}
    for name, gauss_newton in (("hvp", False), ("gnvp", True)):
        got = joined(*getattr(reference, name)(
            net.weights, net.biases, X, y, *layers_of(net, v), activation=net.activation,
            loss=net.loss, **options, **net.loss_options))
        assert got.dtype == dtype
        off = got - true_product(net, X, y, v, gauss_newton=gauss_newton, **options)
        bound = product_bound(net, X, y, v, gauss_newton=gauss_newton, **options)
        assert np.all(np.abs(off) <= 16 * bound)


@pytest.mark.parametrize("twin", [reference.hvp, reference.gnvp])
def test_twins_refuse_a_direction(twin):
    W, b, X, y = [np.ones((3, 2))], [np.ones(2)], np.ones((5, 3)), np.ones((5, 2))
    before = twin(W, b, X, y, W, b)
    assert [a.shape for part in before for a in part] == [(3, 2), (2,)]
    for V, v, kind, words in (
            ([W[0].T], b, ValueError, r"V\[0\] has shape \(2, 3\)"),
            (W, [np.ones(3)], ValueError, r"v\[0\] has shape \(3,\)"),
            (W * 2, b, ValueError, "V has 2 arrays; it should have 1"),
            (W, [], ValueError, "v has 0 arrays"), (3, b, TypeError, "V"),
            (W, [[1j, 0]], TypeError, r"v\[0\] has dtype complex128")):
        with pytest.raises(kind, match=words):
            twin(W, b, X, y, V, v)


def test_float64_by_differences_of_gradients():
    """The third derivative of a loss of these 40 samples is far below 1e3; step² of it is left."""
    net, X, y = network_of("tanh", "softmax", {}, (5, 8, 3), 40, "float64")
    v, step = direction(net), 2.0**-17
    v /= np.linalg.norm(v)
    ends = [net.value_and_grad(net.params + s * v, X, y)[1] for s in (step, -step)]
    difference = (ends[0] - ends[1]) / (2 * step)
    rounding = 2 * net.error_bound(X, y) / step
    assert np.all(np.abs(net.hvp(X, y, v) - difference) <= 1e3 * step**2 + rounding)


def test_a_relu_at_zero_has_no_curvature(isa, dtype):
    """Its derivative is 0 there, as in `backprop`; the biases of the output have theirs."""
    net = fastbp.MLP([2, 3, 1], activation="relu", dtype=dtype, seed=0)
    X = np.zeros((4, 2), dtype)             # z_1 = b_1 = 0
    product = net.hvp(X, np.ones(4), np.ones(net.n_params))
    assert not product[:-1].any() and product[-1] == 1     # 4 samples of q (1 - q) = 1/4


# ---- what any Hessian does


def dot(a, b):
    return (a.astype(np.longdouble) * b.astype(np.longdouble)).sum()


@all_pairs("isa", "dtype", kind=EVERY_KIND, name=["hvp", "gnvp"], ids=name_of)
def test_symmetric_and_linear(isa, dtype, kind, name):
    net, X, y = network_of(*kind, (7, 19, 11, 5), 50, dtype)
    u, v = np.rint(4 * direction(net)), np.rint(4 * direction(net, 1))      # u + v is exact
    product = getattr(net, name)

    def bound(a):
        return product_bound(net, X, y, a, gauss_newton=name == "gnvp")

    Hu, Hv = product(X, y, u), product(X, y, v)
    assert abs(dot(u, Hv) - dot(v, Hu)) <= dot(np.abs(u), bound(v)) + dot(np.abs(v), bound(u))
    sums = product(X, y, u + v).astype(np.longdouble)
    assert np.all(np.abs(sums - Hu - Hv) <= bound(u + v) + bound(u) + bound(v))
    np.testing.assert_array_equal(product(X, y, -2 * v), -2 * Hv)
    assert not product(X, y, 0 * v).any()


@all_pairs("isa", "dtype", loss=LOSSES)
def test_the_gauss_newton_part(isa, dtype, loss):
    """It is never negative, and of one layer all there is, with the same bits."""
    for sizes in ((6, LOSSES[loss]), (6, 9, 7, LOSSES[loss])):
        net, X, y = network_of("sigmoid", loss, {}, sizes, 300, dtype)
        for seed in range(5):
            v = direction(net, seed)
            product = net.gnvp(X, y, v)
            bound = product_bound(net, X, y, v, gauss_newton=True)
            assert dot(v, product) >= -dot(np.abs(v), bound)
            assert (len(sizes) > 2) == (net.hvp(X, y, v).tobytes() != product.tobytes())


def test_directions_of_one_parameter_make_the_hessian(isa):
    """Column after column, it is the symmetric matrix of the whole."""
    net, X, y = network_of("tanh", "poisson", {}, (3, 4, 2), 20, "float64")
    basis = np.eye(net.n_params)
    H = np.stack([net.hvp(X, y, e) for e in basis])
    e = np.stack([product_bound(net, X, y, e) for e in basis])
    assert np.all(np.abs(H - H.T) <= e + e.T)
    v = direction(net)
    bound = np.abs(v) @ e + net.n_params * 2 * U["float64"] * np.abs(v) @ np.abs(H)
    assert np.all(np.abs(v @ H - net.hvp(X, y, v)) <= bound + product_bound(net, X, y, v))


# ---- saturated units


@pytest.mark.parametrize("z", [-80.0, -40.0, 20.0, 40.0, 80.0])
def test_a_saturated_output(isa, dtype, z):
    """q (1 - q) is within 4 u of the true one, and the product by 1 - t + t rounds once more."""
    net = fastbp.MLP([1, 1], dtype=dtype, seed=0)
    net.params[:] = 0, z
    for product in (net.hvp, net.gnvp):
        got = product([[0.0]], [1.0], [0.0, 1.0])
        true = mp.exp(-abs(z)) / (1 + mp.exp(-abs(z)))**2
        assert abs(mp.mpf(float(got[1])) / true - 1) <= 5 * U[dtype] and got[0] == 0


@pytest.mark.parametrize("z", [20.0, 40.0, 80.0])
def test_the_certain_class_of_a_softmax(isa, dtype, z):
    """Where p has rounded to 1: p_j (1 - p_j) of every class j, from what the others have.

    p is within 5 u; (1 - p) is the sum of others' p; the product rounds once.
    """
    net = fastbp.MLP([1, 3], loss="softmax", dtype=dtype, seed=0)
    net.params[:] = 0, 0, 0, z, 0, 0.5
    E = [mp.exp(mp.mpf(x) - z) for x in (z, 0, 0.5)]
    for j in range(3):
        got = net.hvp([[0.0]], [0], np.eye(6)[3 + j])[3 + j]
        true = E[j] * (sum(E) - E[j]) / sum(E)**2
        assert abs(mp.mpf(float(got)) / true - 1) <= 12 * U[dtype]


@pytest.mark.parametrize("z", [-80.0, -30.0, 30.0, 80.0])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_a_saturated_hidden_unit(isa, dtype, activation, z):
    """The loss is L(z_1) = l(w h(z_1) + b), so that L'' = l'' (w h')² + l' w h''.

    |z_2| is below 2, so that an error of 4 u in it is one of 8 u in l'; h' has 4 u, h'' / h' and
    two products one each, l' 4 u.
    """
    net = fastbp.MLP([1, 1, 1], activation=activation, dtype=dtype, seed=0)
    z = z if activation == "sigmoid" else z / 2
    net.params[:] = 0, z, 1.25, -0.5
    got = net.hvp([[0.0]], [1.0], [0.0, 1.0, 0.0, 0.0])[1]

    def loss(x):
        h = 1 / (1 + mp.exp(-x)) if activation == "sigmoid" else mp.tanh(x)
        return mp.log1p(mp.exp(-(mp.mpf(1.25) * h - 0.5)))

    with mp.workdps(120):       # L itself is near a constant
        true = mp.diff(loss, mp.mpf(z), 2, h=mp.mpf(10)**-25)
    assert np.isfinite(got) and abs(mp.mpf(float(got)) / true - 1) <= 24 * U[dtype]


def test_saturated_networks_are_within_the_bound(isa, dtype):
    net, X, y = network_of("sigmoid", "bce", {}, (7, 19, 11, 2), 100, dtype)
    net.params[:] *= 64
    got, _ = assert_product(net, X, y, direction(net))
    assert got.any()


# ---- derivatives that overflow


def products(net, X, y, v, **options):
    """Each product by the network, then by its twin."""
    for name in ("hvp", "gnvp"):
        yield getattr(net, name)(X, y, v, **options)
        yield joined(*getattr(reference, name)(
            net.weights, net.biases, X, y, *layers_of(net, v), activation=net.activation,
            loss=net.loss, **options))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_a_unit_whose_derivative_is_zero(isa, dtype, activation):
    """z_dot of it may overflow: the limit is that of every finite one."""
    net = fastbp.MLP([1, 2, 1], activation=activation, dtype=dtype, seed=0)
    net.params[:] = -1, -0.5, 0.25, 0.25, 1.5, -2, 0.75
    v = np.array([4, -4, 1, 1, 0.5, 2, -1], dtype)
    largest = np.finfo(dtype).max
    X = np.array([[0.5], [largest], [-0.25]], dtype)
    expected = products(net, np.minimum(X, 2.0**20), [0, 1, 1], v)
    for got, finite in zip(products(net, X, [0, 1, 1], v), expected, strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_array_equal(got, finite)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_that_counts_nothing(isa, dtype, loss):
    """Its z_dot may overflow, too."""
    K = LOSSES[loss]
    net = fastbp.MLP([1, K], loss=loss, dtype=dtype, seed=0)
    net.params[:] = np.arange(2 * K) / 16 - 0.125
    X, w = np.array([[0.5], [np.finfo(dtype).max], [-0.25]], dtype), np.array([1, 0, 2], dtype)
    y = np.ones(3, dtype) if loss == "softmax" else np.ones((3, K), dtype)
    v = np.full(net.n_params, 4, dtype)
    expected = products(net, np.minimum(X, 1), y, v, sample_weight=w)
    for got, finite in zip(products(net, X, y, v, sample_weight=w), expected, strict=True):
        np.testing.assert_array_equal(got, finite)


# ---- batches


def test_no_samples(dtype):
    net, X, y = network_of("tanh", "squared_error", {}, (3, 4, 2), 0, dtype)
    v = direction(net)
    expected = joined(layers_of(net, v)[0], [0 * b for b in layers_of(net, v)[1]]) / 2
    for product in (net.hvp, net.gnvp):
        assert not product(X, y, v).any()
        np.testing.assert_array_equal(product(X, y, v, l2=0.5), expected)
        with pytest.raises(ValueError, match="at least one"):
            product(X, y, v, reduction="mean")


def test_weights_count_samples(isa, dtype):
    """A weight of 2 doubles the product, to the bit; a weight of 0 makes it 0."""
    net, X, y = network_of("tanh", "softmax", {}, (5, 8, 3), 60, dtype)
    v, half = direction(net), np.arange(60) < 30
    for product in (net.hvp, net.gnvp):
        twice = product(X, y, v, sample_weight=np.full(60, 2.0))
        np.testing.assert_array_equal(twice, 2 * product(X, y, v))
        some = product(X, y, v, sample_weight=half.astype(dtype))
        true = true_product(net, X[:30], y[:30], v, gauss_newton=product == net.gnvp)
        assert np.all(np.abs(some - true) <= product_bound(
            net, X, y, v, gauss_newton=product == net.gnvp, sample_weight=half.astype(dtype)))
