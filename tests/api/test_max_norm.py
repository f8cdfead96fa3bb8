"""`max_norm` of `train_epoch` and `fit` is `clip_grad_norm` in the loop of either, to the bit."""

import pickle

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import same_bits
from errors import refused

from fastbp import MLP, SGD, Adam, clip_grad_norm

N = 50
RULES = {"sgd": lambda: SGD(0.1, momentum=0.9), "adam": lambda: Adam(0.01)}
NETWORKS = {"small": (3, 5, 1), "several blocks": (3, 60, 40, 2), "one block": (3, 51, 1)}
LIMITS = {"always": 1e-3, "at times": None, "never": 1e9, "infinite": np.inf, "far": 1e-250}
BOTH = ("max_norm and max_grad_norm are both given", "max_norm clips the gradient of a mini-batch",
        "max_grad_norm that of each sample")


def samples(sizes, dtype="float64", n=N):
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((n, sizes[0])).astype(dtype), rng.random(n).astype(dtype)
    return X, (rng.random((n, sizes[-1])) < 0.5).astype(dtype), w


def step_by_step(net, optimizer, X, y, order, batch_size, limit, w=None, l2=0.0):
    """What an epoch stands for; the norms of the gradients."""
    norms = []
    for start in range(0, len(order), batch_size):
        rows = order[start:start + batch_size]
        part = None if w is None else w[rows]
        if w is None or part.any():
            net.backprop(X[rows], y[rows], sample_weight=part, l2=l2, reduction="mean")
            norms.append(clip_grad_norm(net.grad, limit))
            optimizer.step(net.params, net.grad)
    return norms


def two(sizes, dtype, rule):
    return (*(MLP(sizes, dtype=dtype, seed=1) for _ in range(2)), RULES[rule](), RULES[rule]())


@all_pairs("isa", "dtype", rule=RULES, sizes=NETWORKS, limit=LIMITS, weighted=[False, True],
           batch_size=[1, 7, 32, 1000], n_threads=[1, 2, 3], l2=[0.0, 0.25])
def test_the_bits_of_the_loop(isa, dtype, rule, sizes, limit, weighted, batch_size, n_threads, l2):
    """Also of the clipped gradient, which is that of the last step; a mini-batch without weight,
    the second of 7, makes none."""
    sizes, limit = NETWORKS[sizes], LIMITS[limit]
    X, y, w = samples(sizes, dtype)
    w[7:14] = 0
    w = w if weighted else None
    net, twin, optimizer, other = two(sizes, dtype, rule)
    net.n_threads = n_threads
    if limit is None:
        twin.backprop(X, y, reduction="mean", l2=l2)
        limit = float(np.linalg.norm(twin.grad.astype("float64")))
    order = np.random.default_rng(2).permutation(N)
    for _ in range(2):
        step_by_step(twin, other, X, y, order, batch_size, limit, w, l2)
        net.train_epoch(X, y, optimizer, batch_size=batch_size, order=order, sample_weight=w,
                        l2=l2, max_norm=limit)
        assert same_bits(net.params, twin.params) and same_bits(net.grad, twin.grad)
    assert optimizer.t == other.t


@pytest.mark.parametrize("max_norm", [np.inf, None, 1e9])
def test_a_limit_that_is_never_reached(max_norm, isa, dtype):
    X, y, w = samples((3, 5, 1), dtype)
    net, twin, optimizer, other = two((3, 5, 1), dtype, "adam")
    loss = net.train_epoch(X, y, optimizer, rng=1, sample_weight=w, max_norm=max_norm)
    assert loss == twin.train_epoch(X, y, other, rng=1, sample_weight=w)
    assert same_bits(net.params, twin.params)


def test_steps_of_any_number_and_shuffling(dtype):
    X, y, _ = samples((3, 5, 1), dtype)
    net, twin, optimizer, other = two((3, 5, 1), dtype, "sgd")
    steps = [np.arange(9), np.arange(0), np.arange(50), np.full(3, 7)]
    net.train_epoch(X, y, optimizer, order=steps, max_norm=0.01)
    for rows in steps:
        step_by_step(twin, other, X, y, rows, 100, 0.01)
    assert same_bits(net.params, twin.params)
    optimizer, other = Adam(), Adam()
    net.train_epoch(X, y, optimizer, rng=3, max_norm=0.01)
    twin.train_epoch(X, y, other, rng=np.random.default_rng(3), max_norm=0.01)
    assert same_bits(net.params, twin.params)


def test_losses_are_those_before_the_step(dtype):
    """Clipping changes what a step does, and not what its mini-batch had lost before."""
    X, y, _ = samples((3, 5, 1), dtype)
    net, twin, *optimizers = two((3, 5, 1), dtype, "sgd")
    losses = np.zeros((2, 1, 2))
    for k, (each, limit) in enumerate(((net, 1e-3), (twin, None))):
        each.train_epoch(X, y, optimizers[k], batch_size=N, shuffle=False, l2=0.5, max_norm=limit,
                         batch_losses=losses[k])
    np.testing.assert_array_equal(*losses)
    assert not same_bits(net.params, twin.params)


def test_a_gradient_that_is_not_finite(dtype):
    """As IEEE arithmetic has it: the loop's bits, which are NaN."""
    X, y, _ = samples((3, 5, 1), dtype)
    for bad in (np.nan, np.inf):
        net, twin = (MLP((3, 5, 1), loss="squared_error", dtype=dtype, seed=1) for _ in range(2))
        optimizer, other = SGD(), SGD()
        net.params[-1] = twin.params[-1] = bad
        net.train_epoch(X, y, optimizer, shuffle=False, max_norm=1.0)
        norms = step_by_step(twin, other, X, y, np.arange(N), 32, 1.0)
        np.testing.assert_array_equal(net.params, twin.params)
        assert not np.isfinite(norms).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_fit_is_a_loop_over_epochs(rule, n_threads, dtype):
    X, y, w = samples((3, 60, 40, 2), dtype)
    net, twin, optimizer, other = two((3, 60, 40, 2), dtype, rule)
    net.n_threads, rng, rows = n_threads, np.random.default_rng(5), np.arange(40)
    given = {"batch_size": 16, "l2": 0.01, "max_norm": 0.05}
    history = net.fit(X, y, optimizer, epochs=3, rng=5, rows=rows, sample_weight=w, **given)
    losses = [twin.train_epoch(X[rows], y[rows], other, rng=rng, sample_weight=w[rows], **given)
              for _ in range(3)]
    np.testing.assert_array_equal(history.losses, losses)
    assert same_bits(net.params, twin.params)
    assert pickle.dumps(optimizer) == pickle.dumps(other)


# ---- what is refused


@pytest.mark.parametrize("bad, kind", [(0, ValueError), (-1.0, ValueError), (np.nan, ValueError),
                                       (10**400, ValueError), ("1", TypeError), (True, TypeError),
                                       ([1.0], TypeError)])
def test_limits_that_do_not_fit(bad, kind):
    X, y, _ = samples((3, 5, 1))
    net = MLP((3, 5, 1), seed=1)
    before = net.params.copy()
    for call in (lambda: net.train_epoch(X, y, SGD(), max_norm=bad),
                 lambda: net.fit(X, y, SGD(), epochs=1, max_norm=bad),
                 lambda: clip_grad_norm(net.grad, bad)):
        refused(call, kind, "max_norm", "above 0")
    assert same_bits(net.params, before)


def test_the_norms_of_samples_and_of_a_mini_batch():
    """Two limits that are easily taken for one another; the error says which is which."""
    X, y, _ = samples((3, 5, 1))
    net = MLP((3, 5, 1), seed=1)
    refused(lambda: net.train_epoch(X, y, SGD(), max_norm=1.0, max_grad_norm=1.0), ValueError,
            *BOTH)
    refused(lambda: net.train_epoch(X, y, SGD(), max_norm=1.0, noise_multiplier=1.0), ValueError,
            "max_grad_norm is None")
