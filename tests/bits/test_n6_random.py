"""Promise N6: initial weights and shuffles are specified over the raw 64-bit output of the bit
generator: W uniform in ±√(6/(fan_in + fan_out)), b = 0; Fisher–Yates, where entry i goes to entry
⌊raw · (i + 1)/2⁶⁴⌋. Which draws the generators that a caller hands over give: api/test_epoch.py.
"""

import math

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import network, same_bits
from shuffles import fisher_yates

import fastbp
from fastbp import MLP, _random

SIZES = (3, 5, 4, 2)


@pytest.mark.parametrize("seed", [0, 1, 2**70, np.int64(3)])
def test_a_seed_specifies_the_parameters(seed, dtype):
    """W from the upper 53 bits of PCG64's raw draws, uniform in ±√(6/(fan_in + fan_out)); b = 0."""
    raw = np.random.PCG64(int(seed)).random_raw(3 * 5 + 5 * 4 + 4 * 2).tolist()
    expected, at = [], 0
    for fan_in, fan_out in ((3, 5), (5, 4), (4, 2)):
        draws = raw[at:at + fan_in * fan_out]
        at += fan_in * fan_out
        limit = math.sqrt(6 / (fan_in + fan_out))
        expected += [(2 * ((draw >> 11) / 2**53) - 1) * limit for draw in draws] + [0] * fan_out
    np.testing.assert_array_equal(MLP(SIZES, dtype=dtype, seed=seed).params,
                                  np.array(expected).astype(dtype))


def test_recorded_parameters():
    """What PCG64(0) puts out is known; what becomes of it must not change either."""
    assert np.random.PCG64(0).random_raw(2).tolist() == [11749869230777074271, 4976686463289251617]
    limit = math.sqrt(6 / 4)
    assert MLP([2, 2], dtype="float64", seed=0).params[:2].tolist() == [
        (2 * (5737240835340368 / 2**53) - 1) * limit, (2 * (2430022687152954 / 2**53) - 1) * limit]


def test_generators_go_on_and_none_is_fresh():
    generator = np.random.default_rng(5)
    first, second = (MLP(SIZES, seed=generator).params for _ in range(2))
    np.testing.assert_array_equal(first, MLP(SIZES, seed=5).params)
    assert not np.array_equal(first, second)
    bits = np.random.PCG64(5)
    np.testing.assert_array_equal(MLP(SIZES, seed=bits).params, first)
    np.testing.assert_array_equal(MLP(SIZES, seed=bits).params, second)
    state = np.random.get_state()[1].copy()
    assert not np.array_equal(MLP(SIZES).params, MLP(SIZES).params)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@all_pairs("dtype", generator=[
    lambda: 7, lambda: np.random.PCG64(7), lambda: np.random.Generator(np.random.PCG64(7)),
    lambda: np.random.Generator(np.random.MT19937(7)), lambda: np.random.Philox(7)],
    n=[1, 2, 3, 255, 1000, _random.DRAWS_BETWEEN_SIGNALS + 1, 70_000])
def test_shuffle_is_the_specified_one(dtype, generator, n):
    net, X, y = network((3, 4, 1), n, dtype)
    start = net.params.copy()
    net.train_epoch(X, y, fastbp.SGD(0.5), batch_size=2, rng=generator())
    shuffled = net.params.copy()
    net.params[:] = start
    order = fisher_yates(n, _random.raw_bits(generator(), n - 1).tolist())
    net.train_epoch(X, y, fastbp.SGD(0.5), batch_size=2, order=order)
    assert same_bits(net.params, shuffled)


def test_initial_weights_are_the_specified_ones(dtype):
    """As of one draw of all bits; 300 · 300 weights take two."""
    net = fastbp.MLP([300, 300, 2], seed=7, dtype=dtype)
    bits = _random.raw_bits(7, 300 * 302)
    u = 2.0 * ((bits >> np.uint64(11)) * 2.0**-53) - 1.0
    W_1, W_2 = np.split(u, [300 * 300])
    expected = [W_1 * np.sqrt(6.0 / 600), np.zeros(300), W_2 * np.sqrt(6.0 / 302), np.zeros(2)]
    assert same_bits(net.params, np.concatenate(expected).astype(dtype))


def test_generator_moves_on_between_epochs(dtype):
    """Two epochs of one generator are two permutations, of 2 (n − 1) raw draws in all."""
    net, X, y = network((3, 4, 1), 50, dtype)
    start, rng = net.params.copy(), np.random.default_rng(8)
    opt = fastbp.SGD(0.5)
    for _ in range(2):
        net.train_epoch(X, y, opt, batch_size=2, rng=rng)
    shuffled, net.params[:] = net.params.copy(), start
    for raw in np.split(np.random.PCG64(8).random_raw(98), 2):
        net.train_epoch(X, y, opt, batch_size=2, order=_random.permutation(50, raw))
    assert same_bits(net.params, shuffled)
