"""Promise: the norms of the samples' gradients and their clipped sum are within a derived bound.

The true gradient g of one sample, to 50 digits, and the running error bound e of its E1 to E6 are
those of oracle.py. With h and delta as computed, h^T delta is within e of g, hence its norm within
||e|| of ||g||. The norm itself then adds what `rounding` says. Where weights and biases are 0,
h = X and delta = -y: any scale of both.
"""

import math

import mpmath
import numpy as np
import oracle
import pytest
from all_pairs import all_pairs
from bits import EVERY_KIND, name_of, network_of, sample_weights
from oracle import mp

import fastbp
from fastbp import reference
from fastbp._twin.error_bound import clipped_sum
from tests.exactness.test_certificate import flat

U = {"float32": 2.0**-24, "float64": 2.0**-53}
SIZES, N = (7, 9, 5), 6


def exact_norm(x):
    return mp.sqrt(mp.fsum((v if isinstance(v, mp.mpf) else mp.mpf(float(v))) ** 2
                           for v in np.ravel(x)))


def rounding(dtype, sizes=SIZES):
    """A float32 norm is rounded once, its float64 sums adding next to nothing.

    In float64 a sum of K squares has at most K/8 + 4 roundings, 1 + ||h||^2 and the product one
    each, L sums follow, and the root halves it all: (2 (K/8 + 4) + 2 + L)/2 + 1, and at most one
    more where it is scaled.
    """
    if dtype == "float32":
        return 1.001 * U[dtype]
    return (max(sizes) / 8 + len(sizes) / 2 + 8) * U[dtype]


def of_samples(net, X, y, w, dtype):
    """(g, e) of each sample as mpf and floats; the class weights are in w."""
    options = {name: value for name, value in net.loss_options.items() if name != "class_weight"}
    for i in range(len(X)):
        exact, bound = oracle.error_bound(
            net.weights, net.biases, X[i:i + 1], y[i:i + 1], sample_weight=w[i:i + 1], u=U[dtype],
            wide=oracle.DIGITS, activation=net.activation, loss=net.loss, **options)
        yield flat(exact), flat(bound)


def case(kind, dtype):
    net, X, y = network_of(*kind, SIZES, N, dtype)
    w = sample_weights(np.random.PCG64(N), N, dtype)
    counted = w
    if "class_weight" in kind[2]:
        counted = w * np.asarray(kind[2]["class_weight"], dtype)[y]
    return net, X, y, w, list(of_samples(net, X, y, counted, dtype))


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_norms_and_the_clipped_sum(isa, dtype, kind):
    net, X, y, w, samples = case(kind, dtype)
    norms = net.per_sample_grad_norms(X, y, sample_weight=w)
    true = [exact_norm(g) for g, _ in samples]
    assert norms.dtype == dtype and norms.shape == (N,)
    limit = float(sorted(true)[N // 2])
    exact = clipped_sum(samples, N, limit, rounding(dtype), U[dtype], exact_norm)
    for found, norm, off in zip(norms, true, exact.off_norms, strict=True):
        assert abs(mp.mpf(float(found)) - norm) <= off

    loss, again = net.clipped_backprop(X, y, limit, sample_weight=w)
    np.testing.assert_array_equal(again, norms)
    assert loss == net.loss_value(X, y, sample_weight=w)
    oracle.assert_within(net.grad, exact.total, exact.off_total * (1 + 100 * U[dtype]), "clipped")
    for norm, g in zip(true, (row for row, _ in samples), strict=True):
        assert norm <= limit or exact_norm(g * (limit / norm)) <= limit * (1 + 1e-15)


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_twins(isa, dtype, kind):
    """In NumPy: the same within a hundred roundings of sums of at most nine terms."""
    net, X, y = network_of(*kind, SIZES, 40, dtype)
    w = sample_weights(np.random.PCG64(1), 40, dtype)
    options = {"activation": net.activation, "loss": net.loss, "sample_weight": w, **kind[2]}
    given = net.weights, net.biases, X, y
    near = {"rtol": 100 * U[dtype], "atol": 100 * U[dtype]}
    norms = net.per_sample_grad_norms(X, y, sample_weight=w)
    limit = float(np.median(norms))
    twin = reference.per_sample_grad_norms(*given, **options)
    np.testing.assert_allclose(norms, twin, **near)
    assert twin.dtype == dtype
    twin = reference.per_sample_grads(*given, **options)
    np.testing.assert_allclose(net.per_sample_grads(X, y, sample_weight=w), twin,
                               rtol=near["rtol"], atol=near["atol"] * np.abs(twin).max())
    for reduction in ("sum", "mean"):
        loss, found = net.clipped_backprop(X, y, limit, sample_weight=w, reduction=reduction)
        own, dW, db, others = reference.clipped_backprop(*given, limit, reduction=reduction,
                                                         **options)
        grad = np.concatenate([g.ravel() for pair in zip(dW, db, strict=True) for g in pair])
        np.testing.assert_allclose(loss, own, **near)
        np.testing.assert_allclose(found, others, **near)
        # A sum over 40 samples, each within the hundred roundings of its own gradient.
        np.testing.assert_allclose(net.grad, grad, rtol=near["rtol"],
                                   atol=40 * near["atol"] * np.abs(grad).max())


# ---- scales


def plain_network(sizes, dtype):
    """h_0 = X and delta_L = -y; further layers pass delta on through their weights."""
    net = fastbp.MLP(sizes, activation="identity", loss="squared_error", dtype=dtype, seed=0)
    net.params[:] = 0
    return net


SCALES = {"float32": [0, 1e-45, 1e-30, 1e-3, 1, 1e19, 3e38],
          "float64": [0, 5e-324, 1e-310, 1e-200, 1e-150, 1e-3, 1, 1e140, 1e170, 1e308]}


def test_any_scale(isa, dtype):
    """X and y are scaled, alone and side by side in one batch: a norm depends on its row alone."""
    K = 21
    scales = SCALES[dtype]
    rows = [(a, b) for a in scales for b in scales]
    rng = np.random.default_rng(0)
    X, y = (rng.uniform(0.1, 1, (len(rows), width)) * np.array(scale)[:, None]
            for width, scale in zip((K, 9), zip(*rows, strict=True), strict=True))
    X, y = X.astype(dtype), y.astype(dtype)
    net = plain_network((K, 9), dtype)
    largest, least = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    for norms in (net.per_sample_grad_norms(X, y),
                  reference.per_sample_grad_norms(net.weights, net.biases, X, y,
                                                  loss="squared_error")):
        for x, t, norm in zip(X, y, norms, strict=True):
            true = exact_norm(t) * mp.sqrt(1 + exact_norm(x) ** 2)
            if true > largest:
                assert norm == np.inf
            else:
                assert abs(mp.mpf(float(norm)) - true) <= (
                    2 * rounding(dtype, (K, 9)) * true + least)
            assert norm > 0 or not t.any()


def test_scales_of_two_layers(isa):
    """delta_1 = delta_2 W_2^T: layers whose squares overflow, underflow or do neither are added."""
    net = plain_network((3, 2, 2), "float64")
    for size, weight, x in ((1e-200, 1e100, 1e180), (1e-300, 1e250, 1e-5), (1e200, 1e-200, 1e199),
                            (1e-170, 1e-100, 1e300), (1.0, 1e-160, 1e160), (1e-310, 1, 1e300)):
        net.weights[1][:] = weight
        X, y = np.full((5, 3), x), np.full((5, 2), size)
        delta = mp.mpf(2) * weight * size
        below = exact_norm([delta, delta]) * mp.sqrt(1 + 3 * mp.mpf(x) ** 2)
        true = exact_norm([exact_norm(y[0]), below])
        for norm in net.per_sample_grad_norms(X, y):
            assert abs(mp.mpf(float(norm)) - true) <= 40 * U["float64"] * true


def test_saturated_units(isa, dtype):
    """A delta of e^-60 is the whole gradient, and its norm has the accuracy of the tails: 8 u."""
    net = fastbp.MLP([1, 1], dtype=dtype)
    net.params[:] = 1, 0
    X = np.array([[60], [-60], [88]], dtype)
    y = np.array([1, 0, 1], dtype)
    for z, norm in zip(X[:, 0], net.per_sample_grad_norms(X, y), strict=True):
        q = mp.exp(-abs(mp.mpf(float(z))))
        true = q / (1 + q) * mp.sqrt(1 + mp.mpf(float(z)) ** 2)
        assert abs(mp.mpf(float(norm)) / true - 1) <= 8 * U[dtype]


def test_clipping_at_any_scale(isa, dtype):
    """max_norm / ||g|| may be far below the dtype's numbers, what it leaves of g is not.

    The norm, the factor, delta, and their product round once each, y once as it is given and
    max_norm once: six times, which 8 u covers.
    """
    net = plain_network((1, 2), dtype)
    large, limits = {"float32": (1e38, (1e-30, 1e-5, 1)),
                     "float64": (1e300, (1e-300, 1e-9, 1))}[dtype]
    X, y = np.zeros((1, 1), dtype), np.array([[large, large / 2]], dtype)
    for limit in limits:
        net.clipped_backprop(X, y, limit)
        expected = -limit * np.array([2, 1]) / mpmath.sqrt(5)
        np.testing.assert_allclose(net.bias_grads[0].astype(float), expected.astype(float),
                                   rtol=8 * U[dtype])


LARGE = {"float32": (1, 1e20, 1e31, 1e36, 1e38, 3e38),
         "float64": (1, 1e200, 1e295, 1e300, 1e308, 1.7e308)}


def within_the_limit(grad, limit, sizes, dtype):
    """||grad|| <= limit, but for roundings, where it is that of one sample, which was clipped.

    The norm is off by what `rounding` says. Then the factor is rounded twice, delta times it, and
    the product with h: 4 u; and 2 u more for delta / ||g||, if that comes first. A layer whose
    products of delta are below the least normal number, and kept, adds u/2. What is below that
    number in the gradient itself is off by half of the least one. The squares here, each rounded,
    count half a unit of float64.
    """
    of = np.finfo(dtype)
    excess = rounding(dtype, sizes) + (7 + len(sizes) / 2) * U[dtype]
    scale = 2.0 ** np.frexp(np.abs(grad).max(initial=0).astype(float))[1]
    norm = scale * mp.sqrt(math.fsum((grad / scale) ** 2))
    lost = mp.mpf(float(of.smallest_subnormal)) / 2 * mp.sqrt(grad.size)
    assert norm <= mp.mpf(limit) * (1 + excess) + lost


def clipped_samples(sizes, dtype):
    """(X, y, limit) of one sample, h = X: limits down to where nothing is left of its gradient."""
    net, rng = plain_network(sizes, dtype), np.random.default_rng(1)
    for large in LARGE[dtype]:
        for size in 1 / large, large ** -0.5, 1e-8:
            X = (rng.uniform(0.1, 1, (1, sizes[0])) * large).astype(dtype)
            y = (rng.uniform(0.1, 1, (1, sizes[1])) * size).astype(dtype)
            for limit in limits_below(net.per_sample_grad_norms(X, y)[0], dtype):
                yield X, y, limit


def limits_below(norm, dtype):
    limits = float(norm) * 2.0 ** -np.arange(1, 400 if dtype == "float32" else 2200, 43)
    return limits[limits > 0]


@pytest.mark.parametrize("sizes", [(1, 1), (3, 40), (40, 17)], ids=str)
def test_no_sample_exceeds_its_limit(isa, dtype, sizes):
    """Where h is large, delta times its factor is below the least normal number, and rounds off."""
    net = plain_network(sizes, dtype)
    for X, y, limit in clipped_samples(sizes, dtype):
        net.clipped_backprop(X, y, limit)
        within_the_limit(net.grad, limit, sizes, dtype)


def test_no_sample_of_the_twin_exceeds_its_limit(dtype):
    net = plain_network((5, 3), dtype)
    for X, y, limit in clipped_samples((5, 3), dtype):
        _, dW, db, _ = reference.clipped_backprop(net.weights, net.biases, X, y, limit,
                                                  loss="squared_error")
        within_the_limit(np.append(dW[0], db[0]), limit, (5, 3), dtype)


def test_no_sample_of_two_layers_exceeds_its_limit(isa, dtype):
    """By either layer; and in an epoch, whose steps take the same gradient."""
    sizes, large = (3, 4, 2), LARGE[dtype][3]
    for weights, x in (((0.25, 1 / large), large), ((large / 10, 1 / large), 1)):
        net = plain_network(sizes, dtype)
        X, y = np.full((1, 3), x, dtype), np.full((1, 2), 1e-7, dtype)
        for W, weight in zip(net.weights, weights, strict=True):
            W[:] = weight
        start = net.params.copy()
        for limit in limits_below(net.per_sample_grad_norms(X, y)[0], dtype):
            net.params[:] = start
            net.clipped_backprop(X, y, limit)
            within_the_limit(net.grad, limit, sizes, dtype)
            expected = net.grad.copy()
            net.train_epoch(X, y, fastbp.SGD(1.0), batch_size=1, max_grad_norm=limit)
            np.testing.assert_array_equal(net.grad, expected)


def test_products_that_may_round_up_do(isa, dtype):
    """Where h is not large, delta times its factor is rounded to the nearest number."""
    net, of = plain_network((1, 2), dtype), np.finfo(dtype)
    X = np.zeros((1, 1), dtype)
    y = np.array([[1, 3 * of.smallest_subnormal]], dtype)
    net.clipped_backprop(X, y, 0.5)
    assert net.bias_grads[0].tolist() == [-0.5, -2 * of.smallest_subnormal]


def test_gradients_of_norm_zero(isa, dtype):
    """They count as they are: nothing is divided by 0."""
    net, X, y = network_of("relu", "squared_error", {}, (3, 4, 2), 5, dtype)
    w = np.array([0, 1, 0, 1, 0], dtype)
    limit = 1e-3
    _, norms = net.clipped_backprop(X, y, limit, sample_weight=w)
    assert (norms[[0, 2, 4]] == 0).all() and (norms[[1, 3]] > limit).all()
    grad = net.grad.copy()
    assert np.isfinite(grad).all()
    net.clipped_backprop(X[[1, 3]], y[[1, 3]], limit)
    np.testing.assert_array_equal(net.grad, grad)
