"""`train_epoch` with max_grad_norm is the loop it replaces: clipped sums, noise, the expected size.

An order may list the samples of each step, of any number; so it may without clipping.
"""

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import same_bits
from errors import refused
from shuffles import fisher_yates

import fastbp
from fastbp import MLP, SGD, Adam, _random

N, SIZES = 60, (3, 7, 1)
RULES = {"sgd": lambda: SGD(0.2, momentum=0.9), "adam": lambda: Adam(0.01)}


def samples(dtype="float64", n=N):
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((n, 3)), rng.random(n) < 0.5, rng.random(n) * 3
    return X.astype(dtype), y.astype(dtype), w.astype(dtype)


def in_steps(net, rule, X, y, order, divisor, limit, noise=0.0, rng=None, w=None, l2=0.0):
    """What one call stands for; loss and penalty of each step, and the weight of each."""
    losses = []
    for rows in order:
        given = X[rows], y[rows]
        part = None if w is None else w[rows]
        loss, _ = net.clipped_backprop(*given, limit, sample_weight=part, noise_multiplier=noise,
                                       rng=rng)
        if l2:      # as the kernel fuses it
            clean = net.grad.copy()
            net.backprop(X[:0], y[:0])
            assert not net.grad.any()
            for W, dW in zip(net.weights, net.weight_grads, strict=True):
                dW += net.dtype.type(l2) * W
            net.grad[:] = clean + net.grad
        net.grad /= net.dtype.type(divisor)
        rule.step(net.params, net.grad)
        losses.append((loss, len(rows) if w is None else part.sum(dtype="float64")))
    return np.array(losses)


def two(dtype, **options):
    return [MLP(SIZES, dtype=dtype, seed=1, **options) for _ in range(2)]


def batches(order, size):
    return [order[i:i + size] for i in range(0, len(order), size)]


@all_pairs("isa", "dtype", rule=RULES, weighted=[False, True], noise=[0.0, 1.25],
           batch_size=[1, 7, 30, 59, 60, 61, 2**70], n_threads=[1, 3])
def test_the_bits_of_the_loop(isa, dtype, rule, weighted, noise, batch_size, n_threads):
    """Shuffled by the generator, which then draws the noise of every step; the last one is short
    and has the divisor of the others."""
    X, y, w = samples(dtype)
    w = w if weighted else None
    net, twin = two(dtype, n_threads=n_threads)
    one, other = RULES[rule](), RULES[rule]()
    rng, source = np.random.default_rng(3), np.random.default_rng(3)
    size = min(batch_size, N)
    for _ in range(2):
        order = fisher_yates(N, _random.raw_bits(source, N - 1).tolist())
        losses = in_steps(twin, other, X, y, batches(order, size), size, 0.25, noise, source, w)
        loss = net.train_epoch(X, y, one, batch_size=batch_size, rng=rng, sample_weight=w,
                               max_grad_norm=0.25, noise_multiplier=noise)
        assert same_bits(net.params, twin.params)
        total = losses.sum(axis=0)      # fewer than 5 N roundings, of positive terms
        assert loss == pytest.approx(total[0] / total[1], rel=10 * N * 2.0**-53)


STEPS = [[], [3], [], [0, 59, 3, 3], list(range(60)), [5] * 70, []]


@all_pairs("isa", "dtype", rule=RULES, noise=[0.0, 1.25], n_threads=[1, 4], kind=[list, tuple])
def test_steps_of_any_number_of_samples(isa, dtype, rule, noise, n_threads, kind):
    """None of them: noise alone, over the expected size, and a step of the optimizer."""
    X, y, _ = samples(dtype)
    net, twin = two(dtype, n_threads=n_threads)
    one, other = RULES[rule](), RULES[rule]()
    order = kind(np.array(step, "i2") for step in STEPS[1:])
    order = kind([range(0), *order])
    losses = np.full((len(STEPS), 2), 7.0)
    net.train_epoch(X, y, one, batch_size=12, order=order, rng=np.random.default_rng(3),
                    max_grad_norm=0.25, noise_multiplier=noise, batch_losses=losses)
    expected = in_steps(twin, other, X, y, [np.array(step, int) for step in STEPS], 12, 0.25, noise,
                        np.random.default_rng(3))
    assert same_bits(net.params, twin.params) and one.t == other.t == len(STEPS)
    with np.errstate(invalid="ignore"):
        means = expected[:, 0] / expected[:, 1]
    np.testing.assert_array_equal(losses[:, 0], np.where(expected[:, 1] > 0, means, 7))


@pytest.mark.parametrize("sizes, n", [((5, 300, 250, 2), 3), ((9, 4, 1), 700)])
def test_large_networks_and_large_lots(sizes, n, dtype):
    """More draws in a step than at once, and lots of several blocks of rows."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, sizes[0])).astype(dtype), rng.random((n, sizes[-1]))
    order = [rng.integers(0, n, size) for size in (n, 0, 1, 2 * n)]
    net, twin = (MLP(sizes, dtype=dtype, seed=1) for _ in range(2))
    net.train_epoch(X, y, SGD(0.1), batch_size=n, order=order, max_grad_norm=0.5,
                    noise_multiplier=0.5, rng=np.random.default_rng(1))
    in_steps(twin, SGD(0.1), X, y, order, n, 0.5, 0.5, np.random.default_rng(1))
    assert same_bits(net.params, twin.params)


def test_more_steps_than_have_their_draws_at_once(dtype):
    """The noise of 1820 steps of 36 parameters is drawn at once; 4000 steps take three draws."""
    X, y, _ = samples(dtype)
    steps = fastbp.poisson_order(N, 0.05, 4000, 1)
    net, twin = two(dtype)
    assert 36 * len(steps) > 2 * _random.DRAWS_BETWEEN_SIGNALS
    net.train_epoch(X, y, SGD(0.1), batch_size=3, order=steps, max_grad_norm=0.5,
                    noise_multiplier=0.5, rng=np.random.default_rng(1))
    in_steps(twin, SGD(0.1), X, y, steps, 3, 0.5, 0.5, np.random.default_rng(1))
    assert same_bits(net.params, twin.params)


def test_without_a_limit_or_noise_it_is_the_plain_epoch(dtype):
    """Every mini-batch is full, so that both divide by the number of its samples."""
    X, y, _ = samples(dtype)
    net, twin = two(dtype)
    for each, given in ((net, {"max_grad_norm": np.inf}), (twin, {})):
        loss = each.train_epoch(X, y, Adam(), batch_size=12, rng=2, l2=0.5, **given)
    assert same_bits(net.params, twin.params) and loss > 0


def test_the_penalty_is_neither_clipped_nor_noise(dtype):
    """l2 W is added to the sum: of X and y no step depends on it."""
    X, y, _ = samples(dtype)
    net, twin = two(dtype)
    order = [np.arange(20), np.arange(0), np.arange(40)]
    net.train_epoch(X, y, SGD(0.1), batch_size=20, order=order, max_grad_norm=0.25, l2=0.5,
                    noise_multiplier=0.5, rng=np.random.default_rng(1))
    in_steps(twin, SGD(0.1), X, y, order, 20, 0.25, 0.5, np.random.default_rng(1), l2=0.5)
    # l2 W + grad has one rounding in the kernel and two here, in each of three steps.
    np.testing.assert_allclose(net.params, twin.params, rtol=0,
                               atol=3 * np.finfo(dtype).eps * np.abs(twin.params).max())


def test_steps_of_any_number_without_clipping(isa, dtype):
    """Means over their own samples; one without samples makes no step."""
    X, y, w = samples(dtype)
    net, twin = two(dtype)
    one, other = Adam(0.01), Adam(0.01)
    net.train_epoch(X, y, one, order=STEPS[1:] and [np.array(s, int) for s in STEPS],
                    sample_weight=w)
    for rows in filter(None, STEPS):
        twin.backprop(X[rows], y[rows], sample_weight=w[rows], reduction="mean")
        other.step(twin.params, twin.grad)
    assert same_bits(net.params, twin.params) and one.t == 4


@all_pairs("isa", "dtype", noise=[0.0, 1.25], zero=["all", "a mini-batch", "infinite sum"],
           ordered=[False, True])
def test_weights_of_any_sum(isa, dtype, noise, zero, ordered):
    """The divisor is stated: a mini-batch without weight makes a step of noise, and of momentum."""
    X, y, w = samples(dtype)
    w[slice(0, 15 if zero == "a mini-batch" else N)] = 0
    if zero == "infinite sum":
        w[:] = np.finfo(dtype).max / 4
    net, twin = two(dtype)
    one, other = RULES["sgd"](), RULES["sgd"]()
    order = [np.arange(i, i + 15) for i in range(0, N, 15)]
    given = {"order": order} if ordered else {"shuffle": False}
    loss = net.train_epoch(X, y, one, batch_size=15, max_grad_norm=0.25, sample_weight=w,
                           noise_multiplier=noise, rng=np.random.default_rng(3), **given)
    with np.errstate(over="ignore"):
        in_steps(twin, other, X, y, order, 15, 0.25, noise, np.random.default_rng(3), w)
    assert same_bits(net.params, twin.params) and one.t == other.t == 4
    if noise:
        assert (net.params != two(dtype)[0].params).all()
    assert np.isnan(loss) == (zero == "all" or zero == "infinite sum" and dtype == "float64")


def test_class_weights_of_any_sum():
    net = MLP((3, 7, 2), loss="softmax", class_weight=[0.0, 1.0], seed=0)
    before = net.params.copy()
    rng = np.random.default_rng(1)
    net.train_epoch(samples()[0], np.zeros(N), SGD(), max_grad_norm=1.0, noise_multiplier=1.0,
                    rng=rng)
    assert (net.params != before).all()
    refused(lambda: net.train_epoch(samples()[0], np.zeros(N), SGD()), ValueError,
            "sample_weight times class_weight sums to 0.0")


# ---- what is refused


def test_the_expected_size_of_clipped_steps():
    """The divisor of steps of any number of samples is given, be it the default's 32."""
    X, y, _ = samples()
    net, order = MLP(SIZES, seed=0), fastbp.poisson_order(N, 0.5, 3, 0)
    before = net.params.copy()
    for noise in (0.0, 1.0):
        given = {"order": order, "max_grad_norm": 1.0, "noise_multiplier": noise}
        refused(lambda given=given: net.train_epoch(X, y, SGD(), **given), ValueError,
                "batch_size is not given", "32", "expected size", "n * rate")
        assert same_bits(net.params, before)
        net.train_epoch(X, y, SGD(), batch_size=32, **given)
        net.params[:] = before
    # the divisor of any other epoch is the number of samples that a mini-batch takes
    net.train_epoch(X, y, SGD(), order=order)
    net.train_epoch(X, y, SGD(), order=np.arange(N), max_grad_norm=1.0)
    net.train_epoch(X, y, SGD(), max_grad_norm=1.0)


@pytest.mark.parametrize("given", [{}, {"max_grad_norm": 1.0, "noise_multiplier": 1.0},
                                   {"max_grad_norm": 1.0, "order": [[], []]},
                                   {"max_grad_norm": 1.0, "order": np.zeros(0, int)}])
def test_no_samples(given):
    X, y, _ = samples()
    refused(lambda: MLP(SIZES).train_epoch(X[:0], y[:0], SGD(), batch_size=2, **given), ValueError,
            "X has no samples", "at least one")


MIXED = "an array of integers, or a list of arrays of integers, one for each step"
OBJECTS = np.empty(2, object)
OBJECTS[:] = np.arange(2), np.arange(3)


@pytest.mark.parametrize("order, kind, words", [
    (OBJECTS, TypeError, ["order has dtype object", MIXED]),
    ([0, [1]], TypeError, ["order[0] is of type int and order[1] of type list", MIXED]),
    ([None, [0]], TypeError, ["order[0] is of type NoneType and order[1] of type list", MIXED]),
    ([{0, 1}], TypeError, ["order[0] is of type set", "an array of integers"]),
    ((i for i in range(N)), TypeError, ["order is of type generator", MIXED]),
    (np.arange(float(N)), TypeError, ["order has dtype float64", MIXED]),
    ([True] * N, TypeError, ["order has dtype bool", MIXED]),
    ([-1] * N, ValueError, ["order has -1 at position 0", f"in [0, {N})"]),
    ([0, 2**70], ValueError, [f"order has {2**70} at position 1", f"in [0, {N})"]),
    ([-1, 2**63], ValueError, ["order has -1 at position 0", f"in [0, {N})"]),
    ([[0], [0, 2**70]], ValueError, [f"order[1] has {2**70} at position 1", f"in [0, {N})"]),
    (range(N + 1), ValueError, [f"order has {N} at position {N}", f"in [0, {N})"]),
    (3, ValueError, ["order has shape ()", "or be a list of arrays"]),
    ([[0], [N]], ValueError, ["order[1]", f"in [0, {N})"]),
    ([[0], [1, -1]], ValueError, ["order[1]", "position 1"]),
    ([[0], [0.5]], TypeError, ["order[1]", "integers"]),
    ([[0], 3], ValueError, ["order[1]", "shape"]),
    ([[0], [[1]]], ValueError, ["order[1]", "shape"]),
    ([np.zeros((1, N), int)], ValueError, ["order[0]", "shape"]),
    ([[0], "a"], TypeError, ["order[1]"]),
    ([], ValueError, ["order is empty", "or be a list of arrays"]),
    (np.zeros((2, 30), int), ValueError, ["order has shape (2, 30)"])])
@pytest.mark.parametrize("limit", [None, 1.0])
def test_orders_that_do_not_fit(order, kind, words, limit):
    net = MLP(SIZES, seed=0)
    before = net.params.copy()
    refused(lambda: net.train_epoch(*samples()[:2], SGD(), order=order, max_grad_norm=limit), kind,
            *words)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("bad, kind", [(0, ValueError), (-1, ValueError), (np.nan, ValueError),
                                       ("1", TypeError), (True, TypeError)])
def test_max_grad_norm(bad, kind):
    refused(lambda: MLP(SIZES).train_epoch(*samples()[:2], SGD(), max_grad_norm=bad), kind,
            "max_grad_norm", "above 0")


def test_noise_without_a_limit():
    refused(lambda: MLP(SIZES).train_epoch(*samples()[:2], SGD(), noise_multiplier=1.0), ValueError,
            "noise_multiplier is 1.0", "max_grad_norm is None")


def test_batch_losses_have_a_row_for_each_step():
    for rows in (5, 1):
        refused(lambda rows=rows: MLP(SIZES).train_epoch(
            *samples()[:2], SGD(), order=STEPS[1:3] + STEPS[3:5], batch_losses=np.zeros((rows, 2))),
            ValueError, "batch_losses", "(4, 2)")


@all_pairs("dtype", noise=[0.0, 1.0], n_threads=[1, 3], ordered=[False, True],
           bad=[np.nan, np.inf], step=[0, 1, 3])
def test_a_norm_that_is_not_finite_ends_the_epoch(dtype, noise, n_threads, ordered, bad, step):
    """After the steps before it; the sample is named by its row in X."""
    X, y, _ = samples(dtype)
    order = np.arange(N)[::-1].copy()
    row = 15 * step + 4
    sample = order[row] if ordered else row
    X[sample] = bad
    net, twin = (MLP((3, 7, 1), activation="relu", dtype=dtype, seed=1, n_threads=n_threads)
                 for _ in range(2))
    one, other = Adam(), Adam()
    given = {"order": order} if ordered else {"shuffle": False}
    refused(lambda: net.train_epoch(X, y, one, batch_size=15, max_grad_norm=1.0,
                                    noise_multiplier=noise, rng=np.random.default_rng(1), **given),
            ValueError, f"sample {sample} ", "finite")
    rows = batches(order if ordered else np.arange(N), 15)[:step]
    in_steps(twin, other, X, y, rows, 15, 1.0, noise, np.random.default_rng(1))
    assert same_bits(net.params, twin.params) and one.t == other.t == step
