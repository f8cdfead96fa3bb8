"""Promise: δ_L and the loss of a sample are what squared errors and counts make of the exact z
given, but for the roundings named (E2, E3).

test_sweeps.py counts the ulps of binary cross-entropy and softmax. Then what follows from the
definitions of all losses: δ is the derivative of the loss; and to the bit, smoothed labels are soft
labels, weights of classes are weights of samples, powers of two shift, and a row knows nothing of
the others.
"""

import functools

import numpy as np
import oracle
import pytest
from ulps import LARGEST, adversarial, logits, sample_losses, stratified

import fastbp
from fastbp._kernels import dispatch

U = {"float32": 2.0**-24, "float64": 2.0**-53}
TINY = {"float32": 2.0**-149, "float64": 2.0**-1074}
mp = oracle.mp


# ---- positives that count p times


def test_positive_weights_of_outputs(isa, dtype):
    """One for each column, wherever a vector begins."""
    rng = np.random.default_rng(45)
    for n, n_outputs in ((1, 1), (5, 3), (33, 17), (7, 40)):
        z = (rng.standard_normal((n, n_outputs)) * 5).astype(dtype)
        y, p = rng.random(z.shape).astype(dtype), rng.uniform(0.1, 10, n_outputs)
        _, delta = fastbp.bce_with_logits(z, y, pos_weight=p)
        for j in range(n_outputs):
            _, column = fastbp.bce_with_logits(
                np.ascontiguousarray(z[:, j]), np.ascontiguousarray(y[:, j]), pos_weight=p[j])
            assert np.array_equal(delta[:, j], column)


# ---- squared errors and counts


def test_squared_error_of_integers_is_exact(isa, dtype):
    rng = np.random.default_rng(46)
    for n, n_outputs in ((1, 1), (3, 5), (64, 17), (300, 2)):
        z, y = rng.integers(-99, 100, (2, n, n_outputs))
        w = rng.integers(0, 9, n)
        loss, delta = fastbp.squared_error(z.astype(dtype), y.astype(dtype), w)
        assert np.array_equal(delta, w[:, None] * (z - y))
        assert loss == np.sum(w[:, None] * (z - y)**2) / 2


def test_squared_error_rounds_three_times(isa, dtype):
    """The difference, and two products."""
    rng = np.random.default_rng(47)
    z, y = stratified(dtype, 3000, rng), stratified(dtype, 3000, rng)
    _, delta = fastbp.squared_error(z, y)
    assert np.array_equal(delta, z - y)
    for found, *pair in zip(sample_losses(fastbp.squared_error, z, y), z, y, strict=True):
        a, b = (mp.mpf(float(x)) for x in pair)
        exact = (a - b)**2 / 2
        assert abs(mp.mpf(float(found)) - exact) <= 3.01 * U[dtype] * exact + 2 * TINY[dtype], pair


@functools.cache
def counts(dtype):
    """z, y, e^z to 50 digits; many y near e^z, where δ cancels."""
    rng = np.random.default_rng(48)
    z = np.concatenate([adversarial(dtype)[::11], stratified(dtype, 1000, rng)])
    z = z[(np.abs(z) < LARGEST[dtype])]
    near = np.exp(np.minimum(z, 30)).round()
    y = np.where(rng.random(z.size) < 0.5, near, rng.integers(0, 50, z.size)).astype(dtype)
    return z, y, oracle.exact_exp(z)


def test_poisson_beside_its_two_sides(isa, dtype):
    """e^z is within 1 ulp, at most 2 u; e^z − y and e^z − y z round once, without FMA y z too."""
    z, y, f = counts(dtype)
    _, delta = fastbp.poisson_with_logits(z, y)
    losses = sample_losses(fastbp.poisson_with_logits, z, y)
    t, x = (np.vectorize(mp.mpf, otypes=[object])(a.astype(float)) for a in (y, z))
    product = np.abs(t * x) if isa == "generic" else 0
    for found, exact, other in ((delta, f - t, 0), (losses, f - t * x, product)):
        error = np.abs(np.vectorize(mp.mpf, otypes=[object])(found.astype(float)) - exact)
        size = 2 * f + 1.01 * (np.abs(exact) + other)
        assert np.all(error <= U[dtype] * size + TINY[dtype])


def test_counts_and_errors_of_special_values(isa, dtype):
    info = np.finfo(dtype)
    z = np.array([0, -0.0, -np.inf, np.inf, info.max, -info.max], dtype)
    loss, delta = fastbp.poisson_with_logits(z[:2], np.array([0, 1], dtype))
    assert loss == 2 and delta.tolist() == [1, 0]
    assert fastbp.poisson_with_logits(z[2:], np.zeros(4, dtype))[1].tolist() == [
        0, np.inf, np.inf, 0]
    assert fastbp.squared_error(z[3:4], z[:1])[0] == np.inf
    assert fastbp.squared_error(z[4:5], z[5:])[1].tolist() == [np.inf]  # overflows
    assert fastbp.squared_error(z[4:5], z[4:5]) == (0, [0])
    for function in (fastbp.poisson_with_logits, fastbp.squared_error, fastbp.bce_with_logits):
        loss, delta = function(np.array([np.nan], dtype), np.array([1], dtype))
        assert np.isnan(loss) and np.isnan(delta[0])


# ---- δ is the derivative of the loss as it is defined


def literal_loss(loss, z, t, p):
    """E2 read literally, of one sample in 50 digits."""
    if loss == "bce":
        f = [1 / (1 + mp.exp(-x)) for x in z]
        return -sum(p * t_j * mp.log(f_j) + (1 - t_j) * mp.log(1 - f_j)
                    for t_j, f_j in zip(t, f, strict=True))
    if loss == "softmax":
        total = sum(map(mp.exp, z))
        return -sum(t_j * mp.log(mp.exp(x) / total) for t_j, x in zip(t, z, strict=True))
    if loss == "squared_error":
        return sum((x - t_j)**2 for t_j, x in zip(t, z, strict=True)) / 2
    return sum(mp.exp(x) - t_j * x for t_j, x in zip(t, z, strict=True))


LITERAL = [("bce", {}), ("bce", {"pos_weight": 2.5}), ("bce", {"label_smoothing": 0.125}),
           ("softmax", {}), ("softmax", {"label_smoothing": 0.125}), ("squared_error", {}),
           ("poisson", {})]
FUNCTIONS = {"bce": fastbp.bce_with_logits, "softmax": fastbp.softmax_with_logits,
             "squared_error": fastbp.squared_error, "poisson": fastbp.poisson_with_logits}


@pytest.mark.parametrize("loss, options", LITERAL)
def test_delta_is_the_derivative_of_the_loss(isa, dtype, loss, options):
    """To 4 ulp ≤ 8 u of each side of f − t, p times, and of every term of the loss."""
    rng = np.random.default_rng(49)
    z = (rng.standard_normal((12, 4)) * 3).astype(dtype)
    y = rng.random(z.shape).astype(dtype)
    y = (y / y.sum(axis=1, keepdims=True) if loss == "softmax" else y).astype(dtype)
    found, delta = FUNCTIONS[loss](z, y, **options)
    smoothing, total = options.get("label_smoothing", 0), mp.mpf(0)
    for row, labels, gradient in zip(z.astype(float), y.astype(float), delta, strict=True):
        x = list(map(mp.mpf, row))
        t = [(1 - smoothing) * mp.mpf(l) + smoothing / (2 if loss == "bce" else 4) for l in labels]
        p = options.get("pos_weight", 1)
        total += literal_loss(loss, x, t, p)
        for j in range(4):
            def along(step, j=j, x=x, t=t, p=p):
                return literal_loss(loss, [*x[:j], x[j] + step, *x[j + 1:]], t, p)

            exact = mp.diff(along, 0)
            size = max(p, 1) * (abs(exact) + 2 * t[j] + abs(x[j]))
            assert abs(mp.mpf(float(gradient[j])) - exact) <= 8 * U[dtype] * size
    terms = 3 * (1 + np.abs(z.astype(float)) + np.exp(z.astype(float)) + y)**2
    assert abs(found - total) <= 8 * U[dtype] * float(terms.sum())


# ---- the same loss, said differently


def batch(loss, dtype, n, n_outputs, rng):
    """Targets of the loss, and logits whose δ has all its digits."""
    z, y = logits(dtype, n, n_outputs, rng)
    if loss == "softmax":
        return z / 4, y
    return z / 4, {"bce": rng.random(z.shape), "squared_error": z[::-1],
                   "poisson": rng.poisson(3, z.shape)}[loss].astype(dtype)


OPTIONS = [("bce", {}), ("bce", {"pos_weight": 3.7}), ("bce", {"label_smoothing": 0.1}),
           ("softmax", {}), ("softmax", {"label_smoothing": 0.1}), ("squared_error", {}),
           ("poisson", {})]


def test_smoothed_labels_are_soft_labels(isa, dtype):
    """By 1/8, so that (1 − ε) y + ε/2 and + ε/4 are exact."""
    z, y = logits(dtype, 100, 4, np.random.default_rng(52))
    rows = np.eye(4, dtype=dtype)[y]
    for smoothed, soft in (
            (fastbp.softmax_with_logits(z, y, label_smoothing=0.125),
             fastbp.softmax_with_logits(z, rows * 0.875 + 0.03125)),
            (fastbp.bce_with_logits(z, rows, label_smoothing=0.125),
             fastbp.bce_with_logits(z, rows * 0.875 + 0.0625)),
            (fastbp.bce_with_logits(z, rows, label_smoothing=0.125, pos_weight=3),
             fastbp.bce_with_logits(z, rows * 0.875 + 0.0625, pos_weight=3))):
        assert smoothed[0] == soft[0] and np.array_equal(smoothed[1], soft[1])


@pytest.mark.parametrize("loss, options", OPTIONS)
def test_a_row_knows_nothing_of_the_others(isa, dtype, loss, options):
    function, rng = FUNCTIONS[loss], np.random.default_rng(53)
    for n_outputs in (2, 5, 16, 33):
        z, y = batch(loss, dtype, 40, n_outputs, rng)
        w = rng.random(40).astype(dtype)
        _, delta = function(z, y, w, **options)
        order = rng.permutation(40)
        assert np.array_equal(function(z[order], y[order], w[order], **options)[1], delta[order])
        for i in (0, 7, 39):
            one = slice(i, i + 1)
            assert np.array_equal(function(z[one], y[one], w[one], **options)[1], delta[one])


@pytest.mark.parametrize("loss, options", OPTIONS)
def test_weights_of_samples(isa, dtype, loss, options):
    """Powers of two shift exponents; a weight of zero leaves zeros and no loss."""
    function, rng = FUNCTIONS[loss], np.random.default_rng(54)
    z, y = batch(loss, dtype, 64, 8, rng)  # 8 outputs: a row's terms go to the 8 partial sums
    w = rng.integers(1, 64, 64).astype(dtype)
    total, delta = function(z, y, w, **options)
    for shift in (-20, -1, 3):
        scaled = function(z, y, np.ldexp(w, shift), **options)
        assert scaled[0] == np.ldexp(total, shift)
        assert np.array_equal(scaled[1], np.ldexp(delta, shift))
    ones = function(z, y, np.ones(64, dtype), **options)
    none = function(z, y, **options)
    assert ones[0] == none[0] and np.array_equal(ones[1], none[1])
    w[::3] = 0
    kept = w > 0
    total, delta = function(z, y, w, **options)
    assert not delta[~kept].any()
    expected = function(z[kept], y[kept], w[kept], **options)
    assert total == expected[0] and np.array_equal(delta[kept], expected[1])


# ---- networks: means, and weights of classes


@pytest.mark.parametrize("loss, options", OPTIONS)
def test_mean_divides_the_sum_once(isa, dtype, loss, options):
    """By 64 samples, or weights of 128 in all: a shift."""
    rng = np.random.default_rng(55)
    net = fastbp.MLP([5, 7, 4], activation="tanh", loss=loss, dtype=dtype, seed=1, **options)
    X, (_, y) = rng.standard_normal((64, 5)).astype(dtype), batch(loss, dtype, 64, 4, rng)
    w = rng.permutation(np.repeat(np.array([1, 3], dtype), 32))
    for weights, shift in ((None, -6), (w, -7)):
        total = net.backprop(X, y, sample_weight=weights)
        grad = net.grad.copy()
        assert net.backprop(X, y, sample_weight=weights, reduction="mean") == total * 2.0**shift
        assert np.array_equal(net.grad, np.ldexp(grad, shift))


@pytest.mark.parametrize("loss, n_outputs", [("softmax", 4), ("bce", 1)])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_weights_of_classes_are_weights_of_samples(isa, dtype, loss, n_outputs, reduction):
    rng = np.random.default_rng(56)
    X = rng.standard_normal((300, 5)).astype(dtype)
    n_classes = max(n_outputs, 2)
    y, of_classes = rng.integers(0, n_classes, 300), rng.uniform(0, 3, n_classes).astype(dtype)
    w = rng.uniform(0, 2, 300).astype(dtype)
    sizes = [5, 9, n_outputs]
    net = fastbp.MLP(sizes, loss=loss, dtype=dtype, seed=2, class_weight=of_classes)
    plain = fastbp.MLP(sizes, loss=loss, dtype=dtype, seed=2)
    for weights, by_hand in ((None, of_classes[y]), (w, of_classes[y] * w)):
        value = net.backprop(X, y, sample_weight=weights, reduction=reduction)
        assert value == plain.backprop(X, y, sample_weight=by_hand, reduction=reduction)
        assert np.array_equal(net.grad, plain.grad)


# ---- one function on every variant


OTHER_FMA_ISAS = [isa for isa in fastbp.available_isas() if isa not in ("generic", "avx2")]


@pytest.mark.skipif("avx2" not in fastbp.available_isas(), reason="one variant with FMA")
@pytest.mark.parametrize("isa", OTHER_FMA_ISAS, indirect=True)
@pytest.mark.parametrize("loss, options", OPTIONS)
def test_variants_agree_to_the_bit(isa, dtype, loss, options):
    rng = np.random.default_rng(57)
    for n_outputs in (2, 5, 16, 33):
        z, y = batch(loss, dtype, 1001, n_outputs, rng)
        w = rng.random(1001).astype(dtype)
        dispatch.set_isa(isa)
        total, delta = FUNCTIONS[loss](z, y, w, **options)
        dispatch.set_isa("avx2")
        other, other_delta = FUNCTIONS[loss](z, y, w, **options)
        assert total == other and delta.tobytes() == other_delta.tobytes()
