"""Promise: at the ends of the number range a loss and its δ are the limits of E2 and E3, NaN where
there is none, in every function, network and variant, and in the twins of `reference`.

The tables hold the right values; "most" stands for the largest number of the dtype.
"""

from itertools import product

import numpy as np
import oracle
import pytest
from families import WIDTHS

import fastbp
from fastbp import reference
from fastbp._logit_losses import _with_logits
from fastbp._twin.error_bound import error_bound

INF, NAN = np.inf, np.nan
U = {"float32": 2.0**-24, "float64": 2.0**-53}
BOTH = [fastbp, reference]
NAMES = {"bce": "bce_with_logits", "softmax": "softmax_with_logits",
         "squared_error": "squared_error", "poisson": "poisson_with_logits"}

# loss, its options, z, y, right loss, right delta
OUTPUTS_ALONE = [
    ("bce", {}, INF, 1, 0, 0), ("bce", {}, INF, 0, INF, 1), ("bce", {}, INF, 0.5, INF, 0.5),
    ("bce", {}, -INF, 0, 0, 0), ("bce", {}, -INF, 1, INF, -1), ("bce", {}, -INF, 0.5, INF, -0.5),
    ("bce", {"pos_weight": 3}, INF, 1, 0, 0), ("bce", {"pos_weight": 3}, INF, 0, INF, 1),
    ("bce", {"pos_weight": 3}, INF, 0.5, INF, 0.5), ("bce", {"pos_weight": 3}, -INF, 0, 0, 0),
    ("bce", {"pos_weight": 3}, -INF, 1, INF, -3),
    ("bce", {"pos_weight": 3}, -INF, 0.5, INF, -1.5),
    ("bce", {"label_smoothing": 0.25}, INF, 1, INF, 0.125),
    ("bce", {"label_smoothing": 0.25}, INF, 0, INF, 0.875),
    ("bce", {"label_smoothing": 0.25}, -INF, 1, INF, -0.875),
    ("bce", {"label_smoothing": 0.25}, -INF, 0, INF, -0.125),
    ("bce", {"label_smoothing": 0.25, "pos_weight": 2}, INF, 1, INF, 0.125),
    ("bce", {"label_smoothing": 0.25, "pos_weight": 2}, -INF, 0, INF, -0.25),
    ("poisson", {}, -INF, 0, 0, 0), ("poisson", {}, -INF, 2, INF, -2),
    ("poisson", {}, INF, 0, INF, INF), ("poisson", {}, INF, 2, INF, INF),
    ("poisson", {}, INF, "most", INF, INF), ("poisson", {}, "most", "most", INF, INF),
    ("squared_error", {}, INF, 0, INF, INF), ("squared_error", {}, -INF, 0, INF, -INF),
    ("squared_error", {}, INF, -INF, INF, INF), ("squared_error", {}, -INF, INF, INF, -INF),
    ("squared_error", {}, INF, INF, NAN, NAN), ("squared_error", {}, -INF, -INF, NAN, NAN),
    # finite: no part of what is added up overflows before the sum does
    ("bce", {}, "most", 1, 0, 0), ("bce", {}, "most", 0, "most", 1),
    ("bce", {}, "-most", 0, 0, 0), ("bce", {}, "-most", 1, "most", -1),
    ("bce", {"pos_weight": 2}, "-most", 1, INF, -2), ("bce", {"pos_weight": 2}, "most", 1, 0, 0),
    ("poisson", {}, "-most", 0, 0, 0), ("poisson", {}, "-most", 1, "most", -1),
    ("poisson", {}, "-most", 2, INF, -2), ("poisson", {}, 0, 0, 1, 1),
    ("poisson", {}, -0.0, 1, 1, 0),
    ("squared_error", {}, "most", "most", 0, 0), ("squared_error", {}, "most", "-most", INF, INF),
    ("squared_error", {}, "most", 0, INF, "most"),
    ("bce", {}, NAN, 0, NAN, NAN), ("bce", {}, NAN, 1, NAN, NAN),
    ("bce", {"pos_weight": 2}, NAN, 0, NAN, NAN), ("bce", {"pos_weight": 2}, NAN, 1, NAN, NAN),
    ("bce", {"label_smoothing": 0.5}, NAN, 1, NAN, NAN), ("poisson", {}, NAN, 0, NAN, NAN),
    ("poisson", {}, NAN, 1, NAN, NAN), ("squared_error", {}, NAN, 0, NAN, NAN),
]

# options, row z, y (a class or probabilities), right loss, right delta
SOFTMAX = [
    ({}, [0, INF, 1], 1, 0, [0, 0, 0]),
    ({}, [0, INF, 1], 0, INF, [-1, 1, 0]),
    ({}, [-INF, INF, 1], 1, 0, [0, 0, 0]),
    ({}, [-INF, INF, 1], 0, INF, [-1, 1, 0]),
    ({}, ["-most", INF, "most"], 2, INF, [0, 1, -1]),
    ({}, [0, INF, 1], [0, 1, 0], 0, [0, 0, 0]),
    ({}, [0, INF, 1], [0.25, 0.75, 0], INF, [-0.25, 0.25, 0]),
    ({}, [0, INF, 1], [0.75, 0.25, 0], INF, [-0.75, 0.75, 0]),
    ({}, [0, -INF, 0], [0.5, 0, 0.5], "log 2", [0, 0, 0]),     # 0 times infinity
    ({}, [0, -INF, 0], [0.5, 0.5, 0], INF, [0, -0.5, 0.5]),
    ({}, [-INF, -INF, 0], 2, 0, [0, 0, 0]),
    ({"label_smoothing": 0.75}, [0, INF, 1], 1, INF, [-0.25, 0.5, -0.25]),
    ({"label_smoothing": 0.75}, [-INF, 0, -INF], 1, INF, [-0.25, 0.5, -0.25]),
    ({"class_weight": [1, 2, 4]}, [0, 1, INF], 2, 0, [0, 0, 0]),
    ({"class_weight": [1, 2, 4]}, [0, 1, INF], 1, INF, [0, -2, 2]),
    ({"class_weight": [1, 0, 4]}, [0, 1, INF], 1, 0, [0, 0, 0]),
    ({}, ["most", "-most", 0], 0, 0, [0, 0, 0]),
    ({}, ["most", "-most", 0], 1, INF, [1, -1, 0]),
    ({}, ["most", 0, 0], 1, "most", [1, -1, 0]),
    # the p of two infinities have no limit, nor have those of a row without a finite z
    *(({}, row, y, NAN, [NAN] * 3)
      for row in ([INF, INF, 0], [INF, 0, INF], [INF] * 3, [-INF] * 3, [INF, NAN, 0], [NAN, INF, 0],
                  [0, NAN, -INF], [NAN] * 3) for y in (0, 1, 2, [0.5, 0, 0.5])),
]


def numbers(values, dtype):
    """An array of the dtype, of values as the tables have them."""
    most = np.finfo(dtype).max
    named = {"most": most, "-most": -most, "log 2": np.log(2)}
    values = values if isinstance(values, list) else [values]
    return np.array([named[v] if isinstance(v, str) else v for v in values], dtype)


def assert_is(found, right, dtype):
    """NaN, infinity and 0 exactly; others within 2 ulp, 4 u, as docs/accuracy.md promises."""
    np.testing.assert_allclose(numbers(found, dtype), numbers(right, dtype), atol=0,
                               rtol=4 * U[dtype])


def of_no_weight(right, dtype):
    """A sample of weight 0 has no loss and no δ, however large they are, but NaN stays."""
    return NAN if np.isnan(numbers(right, dtype)[0]) else 0


@pytest.mark.parametrize("module", BOTH, ids=["kernels", "reference"])
@pytest.mark.parametrize("loss", ["bce", "poisson", "squared_error"])
def test_outputs_that_stand_alone(isa, dtype, module, loss):
    function = getattr(module, NAMES[loss])
    for name, options, *case in OUTPUTS_ALONE:
        z, y, right, slope = (numbers(x, dtype) for x in case)
        if name == loss:
            with np.errstate(all="ignore"):
                value, delta = function(z, y, **options)
                uncounted, zero = function(z, y, [0], **options)
            assert_is([value, *delta], [*right, *slope], dtype)
            assert_is([uncounted, *zero], [of_no_weight(right, dtype)] * 2, dtype)


@pytest.mark.parametrize("module", BOTH, ids=["kernels", "reference"])
def test_rows_of_a_softmax(isa, dtype, module):
    for options, row, target, right, slope in SOFTMAX:
        z, y = numbers(row, dtype)[None], np.array([target], dtype)
        with np.errstate(all="ignore"):
            value, delta = module.softmax_with_logits(z, y, **options)
            uncounted, zero = module.softmax_with_logits(z, y, [0], **options)
        assert_is([value, *delta[0]], [right, *slope], dtype)
        assert_is([uncounted, *zero[0]], [of_no_weight(right, dtype)] * 4, dtype)


def test_limits_in_every_lane(isa, dtype):
    """And the bits of all others are theirs."""
    rng = np.random.default_rng(61)
    others, labels = (rng.standard_normal(37) * 4).astype(dtype), np.arange(37).astype(dtype) % 2
    for loss, options, z, y, right, slope in OUTPUTS_ALONE:
        bits = _with_logits(loss, others, labels, None, options)[1:]
        for at in range(37):
            x, t = others.copy(), labels.copy()
            x[at], t[at] = numbers(z, dtype)[0], numbers(y, dtype)[0]
            found = _with_logits(loss, x, t, None, options)[1:]
            assert_is([a[at] for a in found], [slope, right], dtype)
            for a, b in zip(found, bits, strict=True):
                assert np.delete(a, at).tobytes() == np.delete(b, at).tobytes()


@pytest.mark.parametrize("n_outputs", WIDTHS)
def test_one_infinite_logit_is_certain(isa, dtype, n_outputs):
    """E1 and E3 wherever it lies among others, among rows."""
    rng = np.random.default_rng(62)
    identity = fastbp.MLP([n_outputs, n_outputs], loss="softmax", dtype=dtype, seed=0)
    for at in range(n_outputs):
        z = (rng.standard_normal((5, n_outputs)) * 4).astype(dtype)
        z[3, at] = INF
        one_hot, other = np.eye(n_outputs), (at + 1) % n_outputs
        for label in (at, other):
            _, delta = fastbp.softmax_with_logits(z, np.array([0, 1, 0, label, 1]))
            assert np.array_equal(delta[3], one_hot[at] - one_hot[label])
        # X and W are finite: their product is not
        identity.params[:] = 0
        identity.weights[0][0, at] = np.finfo(dtype).max
        X = np.zeros((1, n_outputs), dtype)
        X[0, 0] = 2
        assert np.array_equal(identity.forward(X), one_hot[at:at + 1])
        with np.errstate(over="ignore"):
            _, h = reference.forward(identity.weights, identity.biases, X, loss="softmax")
        assert np.array_equal(h, one_hot[at:at + 1])


@pytest.mark.parametrize("loss, z, y", [
    ("bce", INF, 1), ("bce", -INF, 0), ("bce", INF, 0), ("poisson", -INF, 0), ("poisson", INF, 1),
    ("softmax", [[0, INF]], [1]), ("softmax", [[0, -INF]], [[1, 0]])])
def test_a_limit_is_no_invalid_operation(dtype, loss, z, y):
    """The twin makes NumPy warn of nothing where the result is right."""
    z, y = np.array(z, dtype), np.array(y, dtype)
    if loss != "softmax":
        z, y = z[None], y[None]
    with np.errstate(invalid="raise"):
        getattr(reference, NAMES[loss])(z, y, np.zeros(1, dtype))


SPECIAL = {
    dtype: np.array([0, -0.0, *(sign * x for sign in (1, -1) for x in (
        info.smallest_subnormal, info.smallest_normal, info.eps, 1, 700, np.sqrt(info.max),
        np.nextafter(info.max, 0), info.max, INF)), NAN], dtype)
    for dtype, info in ((name, np.finfo(name)) for name in ("float32", "float64"))}


@pytest.mark.parametrize("loss, options", [
    ("bce", {}), ("bce", {"pos_weight": 2.5}), ("bce", {"pos_weight": 1e-30}),
    ("bce", {"label_smoothing": 0.25}), ("poisson", {}), ("squared_error", {})])
def test_twins_agree_on_all_ends(isa, dtype, loss, options):
    """e^z and log1p are within 7 u and 5 u (NumPy's tests) and 2 u each here; at most four more
    roundings are of terms no larger than `size`, and a product may lose units of the least number.
    """
    ends = SPECIAL[dtype]
    targets = {"bce": ends[(ends >= 0) & (ends <= 1)], "squared_error": ends,
               "poisson": ends[(ends >= 0) & (ends < INF)]}[loss]
    for z, t in product(ends, targets):
        with np.errstate(all="ignore"):
            (value, (delta,)), (other, (other_delta,)) = (
                getattr(m, NAMES[loss])(np.array([z]), np.array([t]), **options) for m in BOTH)
        linear = abs(float(t) * float(z)) if np.isfinite(z) else 0
        tiny = float(np.finfo(dtype).smallest_subnormal)
        for found, twin, size in ((value, other, 1 + 2 * linear),
                                  (delta, other_delta, 8 + 2 * abs(float(t)))):
            off = 16 * U[dtype] * (abs(float(twin)) + size) + 4 * tiny
            close = abs(float(found) - float(twin)) <= off if np.isfinite(twin) else found == twin
            assert close or np.isnan(found) and np.isnan(twin), (z, t)


# ---- networks: from finite arrays

NETWORKS = [  # loss, sign of z, y, right loss
    ("bce", 1, 1, 0), ("bce", -1, 0, 0), ("bce", 1, 0, INF), ("bce", -1, 1, INF),
    ("poisson", -1, 0, 0), ("poisson", -1, 2, INF), ("poisson", 1, 0, INF),
    ("squared_error", 1, 1, INF), ("squared_error", -1, 0, INF),
    ("softmax", 1, 1, 0), ("softmax", 1, 0, INF)]


def overflowing(loss, sign, dtype):
    """W = ±8, and an X that makes the logit infinite; that of another class is 0."""
    net = fastbp.MLP([1, 2 if loss == "softmax" else 1], loss=loss, dtype=dtype)
    net.params[:] = 0
    net.weights[0][0, -1] = 8 * sign
    return net, np.array([[np.finfo(dtype).max / 4]], dtype)


@pytest.mark.parametrize("loss, sign, y, right", NETWORKS)
def test_networks_whose_logits_overflow(isa, dtype, loss, sign, y, right):
    net, X = overflowing(loss, sign, dtype)
    y, out = np.array([y], dtype), ([np.empty_like(a) for a in net.weights],
                                    [np.empty_like(a) for a in net.biases])
    layers = fastbp.Layers(net.layer_sizes, ["identity"], dtype=dtype)
    with np.errstate(all="ignore"):
        found = [
            net.loss_value(X, y), net.backprop(X, y), net.backprop(X, y, reduction="mean"),
            net.value_and_grad(net.params, X, y)[0], net.objective(X, y)(net.params)[0],
            layers.loss_and_grad(net.weights, net.biases, X, y, *out, loss=loss),
            fastbp.backprop(net.weights, net.biases, X, y, loss=loss)[0],
            reference.backprop(net.weights, net.biases, X, y, loss=loss)[0]]
    assert found == [right] * len(found)
    assert not np.isnan(net.grad).any() and net.grad.any() == (right != 0)


@pytest.mark.parametrize("loss, sign, y, right", NETWORKS)
def test_epochs_of_infinite_losses(isa, dtype, loss, sign, y, right):
    """The penalty is ½ l2 W², whatever the loss; a step at infinite loss may lead anywhere."""
    net, X = overflowing(loss, sign, dtype)
    losses = np.full((1, 2), NAN)
    total = net.train_epoch(X, np.array([y]), fastbp.SGD(lr=1e-3), l2=2**-5, batch_losses=losses)
    assert total == right + 1 and losses.tolist() == [[right, 1]]
    net, _ = overflowing(loss, sign, dtype)
    total = net.train_epoch(X, np.array([y]), fastbp.SGD(lr=1e-3), batch_losses=losses)
    assert total == right and losses.tolist() == [[right, 0]]


@pytest.mark.parametrize("loss, sign, y, right", NETWORKS)
def test_bounds_beside_infinite_logits(isa, dtype, loss, sign, y, right):
    """Nothing is claimed where the gradient of the true, finite z may be another."""
    net, X = overflowing(loss, sign, dtype)
    y = np.array([y], dtype)
    net.backprop(X, y)
    wide = np.longdouble if dtype == "float64" else np.float64
    true, twin = error_bound(net.weights, net.biases, X, y if loss == "softmax" else y[:, None],
                             wide=wide, loss=loss)
    for bound in (net.error_bound(X, y), twin):
        assert not np.isnan(bound).any()
        with np.errstate(all="ignore"):
            assert np.all((bound == INF) | (np.abs(net.grad - true) <= bound))
    if right == 0:
        exact, bound = oracle.error_bound(net.weights, net.biases, X, y, loss=loss, u=U[dtype])
        oracle.assert_within(net.loss_value(X, y), exact.loss, bound.loss, "loss")


def test_samples_without_weight_that_overflow(isa, dtype):
    """They are as if left out, with their row of the bound."""
    for loss in NAMES:
        net, X = overflowing(loss, 1, dtype)
        more = np.array([[0.5], X[0], [0.25]], dtype)
        y = np.array([1, 0, 1], dtype)
        w = np.array([1, 0, 1], dtype)
        value, grad = net.backprop(more, y, sample_weight=w), net.grad.copy()
        bound = net.error_bound(more, y, sample_weight=w)
        assert value == net.backprop(more[::2], y[::2]) and np.array_equal(grad, net.grad)
        assert np.isfinite(value) and np.isfinite(bound).all()
        with np.errstate(all="ignore"):
            twin, dW, db = reference.backprop(net.weights, net.biases, more, y, loss=loss,
                                              sample_weight=w)
        # z is 4 and 2 without rounding. The kernel's loss is within 2 ulp, 4 u. The twin rounds e^z
        # and log1p by 2 u each, and four products and sums; of e^z - t z a tenth cancels.
        np.testing.assert_allclose(twin, value, rtol=16 * U[dtype])
        assert np.isfinite(dW[0]).all() and np.isfinite(db[0]).all()


def test_a_product_of_finite_numbers_that_overflows():
    net = fastbp.MLP([1, 1])
    net.params[:] = 1e30, 0
    X, y = np.array([[4e8]], "f"), np.array([1])
    assert net.forward(X) == 1 and net.loss_value(X, y) == 0
    assert net.backprop(X, y) == 0 and not net.grad.any()
