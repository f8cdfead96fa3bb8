"""Promise: `MLP.error_bound` is a certificate: |grad − true| ≤ bound for every parameter, always.

True gradients are those of oracle.py: every random network of test_gradient_bound.py, and edges.
Against the oracle's own bound, evaluated in a wider format from exact values, the certificate is
not much looser; it refuses a gradient from σ(z) − y at saturation. What it costs is measured by
bench/error_bound.py.
"""

import numpy as np
import oracle
import pytest
from all_pairs import all_pairs

import fastbp
from tests.exactness.test_bound import numpy_gradient
from tests.exactness.test_gradient_bound import KINDS, SEEDS, U, case, case_of, network

OF_THE_LOSS = "activation", "loss", "pos_weight", "label_smoothing"


def flat(quantities):
    """dW_1.ravel(), db_1, … of the oracle."""
    pairs = zip(quantities.dW, quantities.db, strict=True)
    return np.concatenate([part for dW, db in pairs for part in (dW.ravel(), db)])


def certified(c, dtype):
    """The network of a case, its gradient, and the certificate."""
    options = dict(c.options)
    kind = {name: options.pop(name) for name in OF_THE_LOSS if name in options}
    net = network(c.weights, c.biases, dtype, **kind)
    net.backprop(c.X, c.y, **options)
    before = net.grad.copy()
    bound = net.error_bound(c.X, c.y, **options)
    assert bound.dtype == dtype and bound.shape == (net.n_params,)
    np.testing.assert_array_equal(net.grad, before)
    return net, before, bound


def assert_certificate(c, dtype):
    net, grad, bound = certified(c, dtype)
    assert np.all(bound >= 0)
    worst = oracle.assert_within(grad, flat(c.exact), bound.astype(float), "grad")
    print(f"{net} n={len(c.X)}: {worst.of_bound:.3f} of the certificate")


@pytest.mark.parametrize("seed", SEEDS)
def test_it_holds(isa, dtype, seed):
    assert_certificate(case(seed, dtype), dtype)


@all_pairs("isa", "dtype", kind=KINDS, seed=range(4))
def test_it_holds_for_any_network(isa, dtype, kind, seed):
    assert_certificate(case_of(*kind, seed, dtype), dtype)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(100, 200))
def test_it_holds_for_many_networks(isa, dtype, seed):
    assert_certificate(case(seed, dtype), dtype)
    for kind in KINDS:
        assert_certificate(case_of(*kind, seed, dtype), dtype)


@pytest.mark.parametrize("sizes, n, scale", [
    ((30, 64, 64, 1), 300, 1.0), ((10, 32, 32, 1), 64, 1.0), ((100, 40, 3), 33, 1.0),
    ((9, 1, 5, 1, 1), 40, 1.0), ((300, 40, 1), 1, 1.0)])        # a column; few rows of many terms
def test_it_is_not_much_looser_than_the_oracle(isa, dtype, sizes, n, scale):
    """The same terms from computed values: second-order terms, expm1(e) ≤ e + e² and 1 + 4 γ apart.

    γ ≤ 3 · 10⁻⁵ here, and every layer up and down adds its own; 2 % covers them several times. The
    sum over the batch is split in two, whose γ count once more what is taken for the mean: 6 u of
    γ(m) ≥ 35 u. Constants of δ_L are 5 u for 4 u.
    """
    rng = np.random.default_rng(3)
    weights, biases = oracle.random_network(rng, sizes, dtype, scale)
    X = rng.standard_normal((n, sizes[0])).astype(dtype)
    y = rng.integers(0, 2, (n, sizes[-1])).astype(dtype)
    _, bound = oracle.error_bound(weights, biases, X, y, u=U[dtype])
    ratio = network(weights, biases, dtype).error_bound(X, y) / flat(bound)
    print(f"{sizes} {dtype} {isa}: {ratio.min():.4f} to {ratio.max():.4f} of the oracle's bound")
    assert ratio.max() < 1.02 * (1 + 6 / 35)
    assert ratio.min() > 0.98


@pytest.mark.parametrize("z", [15, 18, 60])
@pytest.mark.parametrize("mistake", ["output", "slope"])
def test_it_refuses_what_cancels_at_saturation(mistake, z):
    """σ(z) − y, and h (1 − h), from a rounded σ."""
    hidden, output = (z, 0) if mistake == "slope" else (0, z)
    weights = [np.ones((1, 1), "f"), np.ones((1, 1), "f")]
    biases = [np.array([hidden], "f"), np.array([output], "f")]
    X, y = np.full((1, 1), 0.25, "f"), np.ones((1, 1), "f")
    net = network(weights, biases, "float32")
    net.backprop(X, y)
    bound = net.error_bound(X, y)
    right, wrong = (numpy_gradient(weights, biases, X, y, m) for m in (None, mistake))
    exact = [np.concatenate([a.ravel() for pair in zip(*grads, strict=True) for a in pair])
             for grads in (right, wrong)]
    assert np.all(np.abs(net.grad - exact[0]) <= bound)
    assert np.any(np.abs(exact[1] - exact[0]) > bound)


@pytest.mark.parametrize("dtype, z, part", [("float32", 40, 1e-4), ("float32", 80, 0.1),
                                            ("float64", 300, 1e-12), ("float64", 700, 0.1)])
def test_it_vouches_for_tiny_gradients(dtype, z, part):
    """A saturated output: underflows, counted as the least normal number, leave it some digits."""
    net, X = fastbp.MLP([2, 3, 1], dtype=dtype, seed=0), np.array([[0.5, -0.25]], dtype)
    net.weights[1][:] = 1
    net.biases[1][:] += z - net.logits(X)[0]
    net.backprop(X, np.ones(1))
    assert np.all(net.error_bound(X, np.ones(1)) < part * np.abs(net.grad))


# ---- what it is the bound of


def test_options_of_backprop(isa, dtype):
    """Four times the weights, four times the bound, to the bit; l2 and a mean have roundings."""
    rng = np.random.default_rng(5)
    net = fastbp.MLP([7, 9, 2], dtype=dtype, seed=0)
    X, y = rng.standard_normal((50, 7)), rng.integers(0, 2, (50, 2))
    w = rng.random(50).astype(dtype)
    total = net.error_bound(X, y, sample_weight=w)
    np.testing.assert_array_equal(net.error_bound(X, y, sample_weight=4 * w), 4 * total)
    # The divisor's inverse, the product with it and the last step round; so do that step of `total`
    # and the quotient here: 5 u and terms of second order.
    mean = net.error_bound(X, y, sample_weight=w, reduction="mean")
    expected = total / w.sum(dtype=np.float64).astype(dtype)
    np.testing.assert_allclose(mean, expected, rtol=6 * U[dtype], atol=0)
    decayed = net.error_bound(X, y, sample_weight=w, l2=100.0)
    more = (decayed - total)[:63].reshape(7, 9)
    assert np.all(more > 100 * U[dtype] * np.abs(net.weights[0]))
    np.testing.assert_array_equal(decayed[63:72], total[63:72])  # db has no penalty


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_penalty_that_rounds(isa, dtype, reduction):
    rng = np.random.default_rng(6)
    weights, biases = oracle.random_network(rng, (5, 4, 2), dtype)
    X = rng.standard_normal((20, 5)).astype(dtype)
    y = rng.integers(0, 2, (20, 2)).astype(dtype)
    net = network(weights, biases, dtype)
    exact, _ = oracle.error_bound(weights, biases, X, y, u=U[dtype])
    l2 = 12345.678
    net.backprop(X, y, l2=l2, reduction=reduction)
    bound = net.error_bound(X, y, l2=l2, reduction=reduction)
    for dW, x, W, e in zip(net.weight_grads, exact.dW, weights, _split(net, bound), strict=True):
        true = x + l2 * W.astype(x.dtype)
        oracle.assert_within(dW, true / 20 if reduction == "mean" else true, e.astype(float), "dW")


def _split(net, flat):
    """The parts of a flat vector that belong to the weights."""
    at, parts = 0, []
    for W, b in zip(net.weights, net.biases, strict=True):
        parts.append(flat[at:at + W.size].reshape(W.shape))
        at += W.size + b.size
    return parts


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_threads_and_blocks(isa, dtype, n_threads):
    net = fastbp.MLP([33, 65, 17, 1], dtype=dtype, seed=0, n_threads=1)
    X = np.arange(700 * 33, dtype=dtype).reshape(700, 33) % 97 / 97
    y = (X[:, 0] > 0.5).astype(dtype)
    alone = net.error_bound(X, y)
    net.n_threads = n_threads
    assert net.error_bound(X, y).tobytes() == alone.tobytes()


def test_out():
    net = fastbp.MLP([3, 4, 1], seed=0)
    X, y = np.ones((5, 3), "f"), np.ones(5, "f")
    out = np.full(net.n_params, np.nan, "f")
    assert net.error_bound(X, y, out=out) is out
    np.testing.assert_array_equal(out, net.error_bound(X, y))
    for wrong, kind, message in (
            (np.empty(3, "f"), ValueError, "out has shape"),
            (np.empty(21), TypeError, "out has dtype"),
            (net.grad, ValueError, "out overlaps net.grad"),
            ([0.0] * 21, TypeError, "out is of type")):
        with pytest.raises(kind, match=message):
            net.error_bound(X, y, out=wrong)


def test_no_samples():
    net = fastbp.MLP([3, 4, 1], dtype="float64", seed=0)
    bound = net.error_bound(np.empty((0, 3)), np.empty(0))
    assert np.all(bound <= 4 * np.finfo(float).tiny)
    with pytest.raises(ValueError, match="mean"):
        net.error_bound(np.empty((0, 3)), np.empty(0), reduction="mean")


def test_nothing_is_said_of_what_is_not_finite(isa, dtype):
    net = fastbp.MLP([2, 3, 1], dtype=dtype, seed=0)
    for factor, X in ((1.0, [[1.0, np.nan]]), (np.finfo(dtype).max, [[1.0, 1.0]])):
        with np.errstate(over="ignore"):
            net.params[:] *= net.dtype.type(factor)
        net.backprop(X, [1.0])
        bound = net.error_bound(X, [1.0])
        assert not np.isnan(bound).any()
        assert np.all(np.isinf(bound[~np.isfinite(net.grad)]))


def of(sizes, parameters, dtype="float32", **kind):
    """A network with these parameters."""
    net = fastbp.MLP(sizes, dtype=dtype, seed=0, **kind)
    net.params[:] = parameters
    return net


def test_sums_that_overflow_on_their_way(isa):
    """z is −infinity and its unit dead, though the sum is 3e38."""
    net = of([5, 1, 1], [-3e38, -3e38, 3e38, 3e38, 3e38, 0, 1e-38, 0], loss="squared_error",
             activation="relu")
    net.backprop(np.ones((1, 5)), [0.0])
    assert np.isfinite(net.grad).all()
    assert np.isinf(net.error_bound(np.ones((1, 5)), [0.0])).all()


def test_a_softmax_of_what_is_not_known(isa):
    rng = np.random.default_rng(0)
    net = of([2, 40, 3], rng.uniform(-0.1, 0.1, 3 * 40 + 41 * 3), loss="softmax",
             activation="relu")
    net.weights[0][0, 0] = -1e10
    X = np.array([[1e38, 1.1]])
    bound = net.error_bound(X, [1])
    net.backprop(X, [1])
    assert np.all(np.isinf(bound[~np.isfinite(net.grad)])) and np.isinf(bound[-3:]).all()


@pytest.mark.parametrize("n, l2, W, X, y", [
    (1, 0.0, 1.0, 1e30, -1e10), (0, 3.5e38, 1e-3, 1.0, 0.0), (1, 0.0, 1.0, 1e20, 0.0),
    (2, 0.0, 1.0, 3e19, 0.0)])
def test_gradients_that_overflow(isa, n, l2, W, X, y):
    """Their bound does not: u times what was summed is a number still."""
    net = of([1, 1], [W, 0], loss="squared_error")
    net.backprop(np.full((n, 1), X), np.full(n, y), l2=l2)
    bound = net.error_bound(np.full((n, 1), X), np.full(n, y), l2=l2)
    assert np.isinf(net.grad[0]) and np.isinf(bound[0])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_float64_gradients_that_overflow(isa, reduction):
    net = of([1, 1], [1, 0], "float64", loss="squared_error")
    given = np.full((1, 1), 1e160), np.zeros(1)
    net.backprop(*given, reduction=reduction)
    bound = net.error_bound(*given, reduction=reduction)
    assert np.isinf(net.grad[0]) and np.isinf(bound[0]) and np.isfinite(bound[1])


@pytest.mark.parametrize("dtype, l2, W", [("float32", 1e-46, 1e20), ("float64", 1.2e-310, 1.2e10)])
def test_a_penalty_below_the_least_number(isa, dtype, l2, W):
    net = of([1, 1], [W, 0], dtype)
    net.backprop(np.empty((0, 1)), [], l2=l2)
    bound = net.error_bound(np.empty((0, 1)), [], l2=l2)
    true = oracle.mp.mpf(l2) * oracle.mp.mpf(float(net.params[0]))
    assert abs(oracle.mp.mpf(float(net.grad[0])) - true) <= float(bound[0])


@pytest.mark.parametrize("b, weight", [(97.983, 100.0), (103.0, 1e10)])
def test_a_tail_that_underflows_is_multiplied(isa, b, weight):
    """q is rounded to a multiple of 2⁻¹⁴⁹ before pos_weight multiplies it."""
    net = of([1, 1], [0, b], pos_weight=weight)
    net.backprop([[0.0]], [1.0])
    bound = net.error_bound([[0.0]], [1.0])
    true = -oracle.mp.mpf(weight) * oracle.exact_sigmoid(-float(net.params[1]))
    assert abs(oracle.mp.mpf(float(net.grad[1])) - true) <= float(bound[1])


@pytest.mark.parametrize("divisor", [1e-44, 1e38])
def test_divisors_whose_inverse_is_no_normal_number(divisor):
    net = of([1, 1], [0.5, 0.25], loss="squared_error")
    w = np.full(3, divisor, "f")
    bound = net.error_bound(np.ones((3, 1)), np.zeros(3), sample_weight=w, reduction="mean")
    net.backprop(np.ones((3, 1)), np.zeros(3), sample_weight=w, reduction="mean")
    assert np.all(np.abs(net.grad.astype(float) - 0.75) <= bound)


def test_workspace_is_counted():
    net = fastbp.MLP([30, 64, 1], seed=0)
    X, y = np.ones((10, 30), "f"), np.ones(10, "f")
    net.backprop(X, y)
    before = net.workspace_bytes
    net.error_bound(X, y)
    after = net.workspace_bytes
    assert after >= 2 * before
    net.error_bound(X, y)
    assert net.workspace_bytes == after
