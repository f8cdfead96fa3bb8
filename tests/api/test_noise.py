"""The noise of `clipped_backprop`, and `poisson_order`: what they take and refuse.

Which noise comes of which draws: bits/test_n6_noise.py.
"""

import numpy as np
import pytest
from errors import half, refused

import fastbp
from fastbp import MLP, SGD, reference

X, Y = half(5, 3), half(5, 1)
INF = float("inf")


def network(dtype="float64"):
    return MLP((3, 4, 1), dtype=dtype, seed=0)


def calls(net, max_norm=0.5, **given):
    """The three that take noise."""
    x, y = X.astype(net.dtype), Y.astype(net.dtype)
    yield lambda: net.clipped_backprop(x, y, max_norm, **given)
    yield lambda: reference.clipped_backprop(net.weights, net.biases, x, y, max_norm, **given)
    yield lambda: net.train_epoch(x, y, SGD(1e-300), shuffle=False, max_grad_norm=max_norm, **given)


@pytest.mark.parametrize("bad, kind", [
    (-1e-300, ValueError), (np.nan, ValueError), (INF, ValueError), (10**400, ValueError),
    ("1", TypeError), (None, TypeError), (True, TypeError)])
def test_noise_multiplier(bad, kind):
    net = network()
    before = net.params.copy()
    for call in calls(net, noise_multiplier=bad):
        refused(call, kind, "noise_multiplier", "at least 0")
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("rng, given", [
    (0, "0"), (-1, "-1"), (np.int64(3), "3"), ("a", "of type str"), (True, "of type bool"),
    (1.5, "of type float"), ([1], "of type list"), (np.random, "of type module"),
    (np.random.RandomState(0), "of type numpy.random.mtrand.RandomState")])
def test_rng(rng, given):
    """An int would give the same noise at every call: no message says that one would fit."""
    for call in calls(network(), noise_multiplier=1.0, rng=rng):
        refused(call, TypeError, f"rng is {given}; for noise it should be a numpy.random.Generator "
                "or a numpy.random.BitGenerator, or None")


def test_an_rng_without_noise():
    """It is checked, and not used; in an epoch it may be an int, which shuffles."""
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    for call in calls(network(), rng=rng):
        call()
    assert rng.bit_generator.state == state
    for call in calls(network(), rng="a"):
        refused(call, TypeError, "rng")
    net = network()
    net.train_epoch(X, Y, SGD(), rng=3, max_grad_norm=1.0)
    refused(lambda: net.train_epoch(X, Y, SGD(), rng=3, max_grad_norm=1.0, noise_multiplier=0.5),
            TypeError, "rng is 3", "at each call")


@pytest.mark.parametrize("max_norm, noise_multiplier", [
    (INF, 1.0), (1e300, 1e300), (1e-300, 1e-300)])
def test_a_deviation_that_is_none(max_norm, noise_multiplier):
    for call in calls(network(), max_norm, noise_multiplier=noise_multiplier):
        refused(call, ValueError, "noise_multiplier", "max_", "finite")


def test_a_deviation_that_the_dtype_does_not_hold(dtype):
    """Noise of it would be infinite, or rounded to nothing; the twin says the same."""
    net, info = network(dtype), np.finfo(dtype)
    least, most = float(info.tiny), float(info.max) / 16
    for deviation in (least, most):
        for multiplier in (1.0, 0.5):
            for call in calls(net, deviation / multiplier, noise_multiplier=multiplier):
                call()
    texts = set()
    for deviation in (np.nextafter(least, 0), np.nextafter(most, INF)):
        for call in calls(net, float(deviation), noise_multiplier=1.0):
            refused(call, ValueError, "noise_multiplier is 1.0", f"{deviation}", dtype)
            with pytest.raises(ValueError, match="deviation") as caught:
                call()
            texts.add(str(caught.value).replace("max_grad_norm", "max_norm"))
    assert len(texts) == 2


@pytest.mark.parametrize("call", [
    lambda v: network().clipped_backprop(X, Y, v),
    lambda v: network().train_epoch(X, Y, SGD(), max_grad_norm=v),
    lambda v: reference.clipped_backprop(network().weights, network().biases, X, Y, v)])
def test_numbers_beyond_float64_are_no_infinity(call):
    """An infinite limit clips nothing; a finite one beyond float64 is refused."""
    call(INF)
    call(np.float32("inf"))
    for large in (10**400, -10**400, np.longdouble("1e400")):
        if large != INF:        # where a longdouble is a float64, 1e400 is read as infinity
            refused(lambda large=large: call(large), ValueError, "max_", "float64")


def test_noise_without_samples(dtype):
    """An empty lot of Poisson sampling: the noise is all there is."""
    net = network(dtype)
    loss, norms = net.clipped_backprop(X[:0], Y[:0], 1.0, noise_multiplier=1.0)
    assert loss == 0 and norms.shape == (0,) and net.grad.all()


def test_no_generator_is_fresh_entropy():
    net = network()
    state = np.random.get_state()[1].copy()
    found = []
    for _ in range(2):
        net.clipped_backprop(X, Y, 1.0, noise_multiplier=1.0)
        found.append(net.grad.copy())
    assert not (found[0] == found[1]).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_a_refused_norm_is_refused_with_noise_too():
    bad = np.where(np.arange(5) == 3, np.nan, 1.0)[:, None] * X
    for call in (lambda: network().clipped_backprop(bad, Y, 1.0, noise_multiplier=1.0),
                 lambda: network().train_epoch(bad, Y, SGD(), max_grad_norm=1.0, shuffle=False)):
        refused(call, ValueError, "sample 3", "nan", "finite")


# ---- Poisson orders


@pytest.mark.parametrize("given, kind, word", [
    ({"n": 0}, ValueError, "n is 0"), ({"n": 2.0}, ValueError, "n is 2.0"),
    ({"steps": 0}, ValueError, "steps is 0"), ({"steps": "a"}, TypeError, "steps"),
    ({"rate": 0}, ValueError, "rate"), ({"rate": 1.5}, ValueError, "rate"),
    ({"n": 2**60}, ValueError, "at most"),
    ({"n": 2**70}, ValueError, "n is 1180591620717411303424"),
    ({"steps": 2**70}, ValueError, "steps is 1180591620717411303424"),
    ({"n": -1}, ValueError, "n is -1"), ({"n": [5]}, TypeError, "n is [5]"),
    ({"rate": [0.5]}, TypeError, "rate"), ({"rate": 2}, ValueError, "rate is 2"),
    ({"rng": np.random.RandomState(0)}, TypeError, "numpy.random.mtrand.RandomState"),
    ({"rate": np.nan}, ValueError, "rate"), ({"rate": None}, TypeError, "rate"),
    ({"rng": "a"}, TypeError, "rng"), ({"rng": -1}, ValueError, "rng")])
def test_refused_poisson_orders(given, kind, word):
    refused(lambda: fastbp.poisson_order(**{"n": 5, "rate": 0.5, "steps": 2, "rng": 0, **given}),
            kind, word)


@pytest.mark.parametrize("given", [{"n": 2**59}, {"steps": 2**59}])
def test_poisson_orders_that_no_memory_holds(given):
    """They fail at once, and draw nothing."""
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    with pytest.raises(MemoryError):
        fastbp.poisson_order(**{"n": 5, "rate": 0.5, "steps": 2, "rng": rng, **given})
    assert rng.bit_generator.state == state


def test_poisson_orders_explain_a_call():
    with pytest.raises(TypeError, match="poisson_order lacks steps; the call should be"):
        fastbp.poisson_order(5, 0.5)


def test_every_sample_joins_at_its_rate():
    """Alone and in pairs: within four standard deviations, of 60 samples and 5000 steps."""
    n, rate, steps = 60, 0.2, 5000
    joined = np.zeros((steps, n))
    for row, samples in zip(joined, fastbp.poisson_order(n, rate, steps, 1), strict=True):
        row[samples] = 1
    for p, count in ((rate, joined.sum(axis=0)), (rate, joined.sum(axis=1)),
                     (rate**2, (joined[:, 1:] * joined[:, :-1]).sum(axis=0))):
        size = steps if count.size < steps else n
        assert (np.abs(count - size * p) <= 4.5 * (size * p * (1 - p)) ** 0.5).all()


# ---- a generator of one's own


class Counting(np.random.BitGenerator):
    """As docs/privacy.md has one of the system's entropy."""

    drawn = 0

    def random_raw(self, size):
        self.drawn += size
        return np.random.PCG64(self.drawn).random_raw(size)


def test_a_bit_generator_in_python():
    net, rng = network(), Counting()
    net.clipped_backprop(X, Y, 1.0, noise_multiplier=1.0, rng=rng)
    assert rng.drawn == net.n_params + net.n_params % 2
    for bad in (lambda size: np.zeros(1, np.uint64), lambda size: np.zeros(size), lambda size: None,
                lambda size: np.zeros(2 * size, np.uint64)[::2]):
        rng.random_raw = bad
        for call in (*calls(net, noise_multiplier=1.0, rng=rng),
                     lambda: net.train_epoch(X, Y, SGD(), rng=rng), lambda: MLP([2, 1], seed=rng),
                     lambda: fastbp.poisson_order(5, 0.5, 2, rng)):
            refused(call, TypeError, "rng is of type Counting", "uint64")
