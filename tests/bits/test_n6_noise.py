"""Promise N6 of noise and of Poisson orders: how each raw 64-bit draw is used is specified.

`_random.normals` is the specification in NumPy; native noise has its bits on every variant, the one
without FMA among them, for any number of threads. Its accuracy: exactness/test_noise.py.
"""

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import network, same_bits

import fastbp
from fastbp import MLP, _random, reference

RECORDED = [
    "-0x1.7fd83aef237e8p-1", "-0x1.2a90b006e6d5bp-1",
    "0x1.f68b3407285b3p+0", "-0x1.97ade7034afa4p+0",
    "0x1.35727ab592e0dp-3", "-0x1.3ff87a7fd053fp-1"]

# The least and the largest of every field of a draw: u, its exponent, t, both bits of a quadrant.
WORDS = [0, 2**64 - 1, 2**12 - 1, 2**12, 2**63, 2**63 - 1, 2**62, 2**61, 2**61 - 1, 2**10, 1,
         0xb504f333f9de6484, 0xb504f333f9de5000, 0xb504f333f9de7000, 2**64 - 2**12, 2**62 + 2**61]
EXTREMES = np.array([(a, b) for a in WORDS for b in WORDS], np.uint64).ravel()


def expected(clean, deviation, raw):
    noise = deviation * _random.normals(raw)[:clean.size]
    return (clean.astype("float64") + noise).astype(clean.dtype)


def test_recorded_numbers():
    """Draws of PCG64(0), as in test_n6_random.py, and one for each sign and for the exchange."""
    found = _random.normals(np.random.PCG64(0).random_raw(6))
    assert [z.hex() for z in found.tolist()] == RECORDED
    raw = np.array([2**40, 3 << 40] * 4, np.uint64)
    raw[3::2] |= np.array([1, 2, 3], np.uint64) << np.uint64(62)
    (c, s), *others = _random.normals(raw).reshape(4, 2).tolist()
    assert c > 0 > s and [tuple(pair) for pair in others] == [(-c, s), (s, c), (s, -c)]


@all_pairs("isa", "dtype", n_threads=[1, 3], generator=[
    lambda: np.random.default_rng(3), lambda: np.random.MT19937(3), lambda: np.random.Philox(3)],
    sizes=[(1, 1), (2, 1), (3, 5, 1), (3, 4, 4, 2), (200, 129, 65, 3)])
def test_noise_is_the_specified_one(isa, dtype, n_threads, generator, sizes):
    """Odd and even numbers of parameters; layers that begin in the middle of a pair."""
    net, X, y = network(sizes, 20, dtype)
    net.n_threads = n_threads
    _, norms = net.clipped_backprop(X, y, 0.75)
    clean, source, rng = net.grad.copy(), generator(), generator()
    for _ in range(2):
        raw = _random.raw_bits(source, net.n_params + net.n_params % 2)
        _, again = net.clipped_backprop(X, y, 0.75, noise_multiplier=2.0, rng=rng)
        assert same_bits(net.grad, expected(clean, 1.5, raw)) and same_bits(again, norms)


@pytest.mark.parametrize("first", range(9))
def test_every_draw_at_every_place(isa, dtype, first, monkeypatch):
    net, X, y = network((1, 256, 1), 3, dtype)
    net.clipped_backprop(X, y, 1.0)
    raw = np.resize(np.roll(EXTREMES, 2 * first), net.n_params + net.n_params % 2)
    monkeypatch.setattr(_random, "many_raw_bits", lambda source, n: raw)
    clean = net.grad.copy()
    net.clipped_backprop(X, y, 1.0, noise_multiplier=3.0)
    assert same_bits(net.grad, expected(clean, 3.0, raw))


def test_the_mean_divides_the_noise_too(isa, dtype):
    net, X, y = network((3, 4, 1), 7, dtype)
    net.clipped_backprop(X, y, 0.5, noise_multiplier=1.0, rng=np.random.default_rng(1))
    total = net.grad.copy()
    net.clipped_backprop(X, y, 0.5, noise_multiplier=1.0, rng=np.random.default_rng(1),
                         reduction="mean")
    assert same_bits(net.grad, total / net.dtype.type(7))


def test_more_draws_than_at_once(dtype):
    net, X, y = network((400, 300, 1), 2, dtype)
    assert net.n_params > _random.DRAWS_BETWEEN_SIGNALS
    net.clipped_backprop(X, y, 1.0)
    clean = net.grad.copy()
    net.clipped_backprop(X, y, 1.0, noise_multiplier=1.0, rng=np.random.default_rng(5))
    raw = np.random.PCG64(5).random_raw(net.n_params + net.n_params % 2)
    assert same_bits(net.grad, expected(clean, 1.0, raw))


def test_the_twin_has_the_bits_of_the_noise(dtype):
    """On a gradient that is 0: of no samples."""
    net = MLP((3, 5, 2), dtype=dtype, seed=0)
    none = np.zeros((0, 3), dtype), np.zeros((0, 2), dtype)
    given = {"noise_multiplier": 0.7, "loss": "bce"}
    _, dW, db, _ = reference.clipped_backprop(net.weights, net.biases, *none, 1.5,
                                              rng=np.random.default_rng(2), **given)
    net.clipped_backprop(*none, 1.5, noise_multiplier=0.7, rng=np.random.default_rng(2))
    grad = np.concatenate([g.ravel() for pair in zip(dW, db, strict=True) for g in pair])
    assert same_bits(net.grad, grad) and grad.all()


# ---- Poisson orders


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.1, 2.0**-10, 1e-3, 2.0**-63, 5e-324, np.float32(0.3)])
@pytest.mark.parametrize("generator", [np.random.PCG64, np.random.MT19937])
def test_poisson_order_is_the_specified_one(rate, generator):
    n, steps = 300, 7
    order = fastbp.poisson_order(n, rate, steps, generator(4))
    raw = _random.raw_bits(generator(4), n * steps).tolist()
    numerator, denominator = float(rate).as_integer_ratio()
    for step, found in enumerate(order):
        draws = raw[n * step:n * (step + 1)]
        assert found.tolist() == [i for i, draw in enumerate(draws)
                                  if (draw >> 1) * denominator < numerator * 2**63]
        assert found.dtype == np.intp
    assert len(order) == steps


def test_poisson_orders_of_an_int_and_of_a_generator():
    first, again = (fastbp.poisson_order(50, 0.5, 3, 1) for _ in range(2))
    rng = np.random.default_rng(1)
    going_on = [fastbp.poisson_order(50, 0.5, 3, rng) for _ in range(2)]
    assert all(map(np.array_equal, first, again)) and all(map(np.array_equal, first, going_on[0]))
    assert not all(map(np.array_equal, first, going_on[1]))
    fresh = [fastbp.poisson_order(50, 0.5, 3) for _ in range(2)]
    assert not all(map(np.array_equal, *fresh))
