"""`per_sample_grad_norms`, `per_sample_grads` and `clipped_backprop`: what they take and refuse."""

import numpy as np
import pytest
from errors import OUTPUTS, half, refused

from fastbp import MLP, reference

N, SIZES = 5, (3, 4, 1)
X, Y = half(N, 3), half(N, 1)
NORMS = "per_sample_grad_norms", (N,)
GRADS = "per_sample_grads", (N, MLP(SIZES).n_params)


def network(dtype="float64", **options):
    return MLP(SIZES, dtype=dtype, seed=0, **options)


@pytest.mark.parametrize("max_norm, kind", [
    (0, ValueError), (-1.0, ValueError), (np.nan, ValueError), ("1", TypeError), (None, TypeError),
    (True, TypeError), (np.ones(1), TypeError), (10**400, ValueError)])
def test_max_norm(max_norm, kind):
    net = network()
    net.grad[:] = 7
    for call in (lambda: net.clipped_backprop(X, Y, max_norm),
                 lambda: reference.clipped_backprop(net.weights, net.biases, X, Y, max_norm)):
        refused(call, kind, "max_norm", "a number above 0")
    assert (net.grad == 7).all()


@pytest.mark.parametrize("bad", OUTPUTS)
@pytest.mark.parametrize("method, shape", [NORMS, GRADS])
def test_out(method, shape, bad, dtype):
    make, kind, word = OUTPUTS[bad]
    out = make(shape, dtype)
    before = np.array(out)
    refused(lambda: getattr(network(dtype), method)(X, Y, out=out), kind, "out", word)
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("method, shape", [NORMS, GRADS])
@pytest.mark.parametrize("convert", [lambda a: a, lambda a: a.astype("float32"), list])
def test_out_that_fits(method, shape, convert):
    net = network()
    expected, out = getattr(net, method)(X, Y, sample_weight=half(N)), np.full(shape, np.nan)
    assert getattr(net, method)(convert(X), Y, sample_weight=half(N), out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["X", "y", "sample_weight", "net.params", "net.grad"])
@pytest.mark.parametrize("method, shape", [NORMS, GRADS])
def test_out_that_overlaps(method, shape, name):
    net = MLP((1, 1), dtype="float64", seed=0)
    memory = half(40)
    count = np.prod(shape) if method == NORMS[0] else N * 2
    out = memory[:N] if method == NORMS[0] else memory[:count].reshape(N, 2)
    given = {"X": half(N, 1), "y": half(N), "sample_weight": half(N)}
    if name in given:
        given[name] = memory[N - 1:2 * N - 1].reshape(given[name].shape)
    else:
        net = MLP((1, 40), loss="squared_error", dtype="float64", seed=0)
        given["y"] = half(2, 40)
        given |= {"X": half(2, 1), "sample_weight": half(2)}
        flat = getattr(net, name.partition(".")[2])
        out = flat[:2]
        if method == GRADS[0]:
            return refused(lambda: net.per_sample_grads(given["X"][:1], given["y"][:1],
                                                        out=flat.reshape(1, -1)),
                           ValueError, "out", "overlaps", name)
    return refused(lambda: getattr(net, method)(**given, out=out), ValueError, "out", "overlaps",
                   name)


def test_grad_is_left_alone():
    net = network()
    net.grad[:] = 7
    net.per_sample_grad_norms(X, Y)
    net.per_sample_grads(X, Y)
    assert (net.grad == 7).all()


def test_mean_divides_by_the_samples(dtype):
    """By their number, whatever they weigh; all weights may be 0."""
    net, w = network(dtype), np.array([0, 2, 0.5, 3, 0])
    total, norms = net.clipped_backprop(X, Y, 0.5, sample_weight=w)
    grad = net.grad.copy()
    mean, again = net.clipped_backprop(X, Y, 0.5, sample_weight=w, reduction="mean")
    assert mean == total / N
    np.testing.assert_array_equal(again, norms)
    np.testing.assert_array_equal(net.grad, grad / net.dtype.type(N))
    loss, norms = net.clipped_backprop(X, Y, 0.5, sample_weight=0 * w, reduction="mean")
    assert loss == 0 and not norms.any() and not net.grad.any()


def test_weights_come_before_clipping():
    """No sample counts more than max_norm, whatever its weight."""
    net = network()
    _, norms = net.clipped_backprop(X[:1], Y[:1], 0.25, sample_weight=[1e6])
    assert norms[0] > 0.25 and abs(np.linalg.norm(net.grad) - 0.25) < 1e-14


def test_no_samples(dtype):
    net = network(dtype)
    none = np.zeros((0, 3)), np.zeros(0)
    assert net.per_sample_grad_norms(*none).shape == (0,)
    assert net.per_sample_grads(*none).shape == (0, net.n_params)
    net.grad[:] = 7
    loss, norms = net.clipped_backprop(*none, 1.0)
    assert loss == 0 and norms.shape == (0,) and not net.grad.any()
    refused(lambda: net.clipped_backprop(*none, 1.0, reduction="mean"), ValueError, "mean")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_norms_that_are_not_finite(bad, n_threads, dtype):
    """They are given as they are, each in its row; no factor makes such a gradient a finite one."""
    net, n = network(dtype, activation="relu", n_threads=n_threads), 300
    rows = np.random.default_rng(0).uniform(-1, 1, (n, 3))
    finite = net.per_sample_grad_norms(rows, np.ones(n))
    rows[280] = bad
    norms = net.per_sample_grad_norms(rows, np.ones(n))
    assert not np.isfinite(norms[280])
    np.testing.assert_array_equal(np.delete(norms, 280), np.delete(finite, 280))
    for call in (lambda: net.clipped_backprop(rows, np.ones(n), 1.0),
                 lambda: reference.clipped_backprop(net.weights, net.biases, rows, np.ones(n), 1.0,
                                                    activation="relu")):
        refused(call, ValueError, "sample 280", "finite")


def test_a_norm_beyond_the_largest_number(dtype):
    """Infinite, although every element of the gradient is finite."""
    net = MLP((1, 2), loss="squared_error", dtype=dtype)
    net.params[:] = 0
    large = np.finfo(dtype).max
    given = np.zeros((1, 1)), np.array([[large, large]], dtype)
    assert np.isfinite(net.per_sample_grads(*given)).all()
    assert net.per_sample_grad_norms(*given) == np.inf
    refused(lambda: net.clipped_backprop(*given, 1.0), ValueError, "sample 0", "inf", dtype)


def test_reduction():
    refused(lambda: network().clipped_backprop(X, Y, 1.0, reduction="max"), ValueError, "reduction")
