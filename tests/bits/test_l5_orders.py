"""Promise L5: the orders of many networks, which threads draw, are those of each network alone."""

import signal
import threading
from functools import cache

import numpy as np
import pytest
from fastbp._engine.orders import permuted

from fastbp import MLP, SGD, Population, _random, train_many

SIZES = (1, 1)
GENERATORS = (np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64)
# More rows than are drawn between two looks for signals; one row needs no draw.
LENGTHS = (1, 2, 70, 1000, _random.DRAWS_BETWEEN_SIGNALS + 1, _random.DRAWS_BETWEEN_SIGNALS + 5, 70)


def samples(n):
    X = np.random.default_rng(0).normal(size=(n, 1))
    return X, (X[:, 0] > 0).astype(float)


def orders(lengths, sources, n_threads, epochs=2):
    """Row i has the target i, and rates are so low that every output is 0: a loss tells its row."""
    X, y = np.zeros((max(lengths), 1)), np.arange(max(lengths), dtype=float)
    nets = [MLP(SIZES, loss="squared_error", dtype="float64", seed=k) for k in range(len(lengths))]
    found = [np.empty((n, 2)) for n in lengths]
    optimizers = [SGD(1e-300) for _ in nets]
    for _ in range(epochs):
        train_many(nets, X, y, optimizers, batch_size=1, rng=sources, batch_losses=found,
                   rows=[np.arange(n) for n in lengths], n_threads=n_threads)
    return [np.sqrt(2 * losses[:, 0]) for losses in found]


@cache
def second_permutation(kind, seed, n):
    """By the twin, with what the generator draws next."""
    source = kind(seed)
    for _ in range(2):
        order = _random.permutation(n, _random.raw_bits(source, n - 1))
    return order, source.random_raw()


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("kinds", [*((kind,) for kind in GENERATORS), GENERATORS,
                                   (np.random.MT19937, np.random.PCG64)],
                         ids=lambda kinds: "-".join(kind.__name__ for kind in kinds))
def test_each_is_its_permutation(kinds, n_threads):
    sources = [kinds[k % len(kinds)](k) for k in range(len(LENGTHS))]
    found = orders(LENGTHS, sources, n_threads)
    for k, n in enumerate(LENGTHS):
        expected, drawn_next = second_permutation(kinds[k % len(kinds)], k, n)
        np.testing.assert_array_equal(found[k], expected)
        assert sources[k].random_raw() == drawn_next


@pytest.mark.parametrize("n", [1, 2, 3, 70, 10_001])
def test_an_order_of_given_draws_is_its_permutation(n):
    raw = _random.raw_bits(n, n - 1)
    np.testing.assert_array_equal(permuted(raw), _random.permutation(n, raw))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_networks_with_one_source_take_turns(n_threads):
    source, alone = np.random.PCG64(3), np.random.PCG64(3)
    found = orders((50, 60, 50), [source, np.random.PCG64(4), source], n_threads, epochs=1)
    np.testing.assert_array_equal(found[0], _random.permutation(50, _random.raw_bits(alone, 49)))
    np.testing.assert_array_equal(found[2], _random.permutation(50, _random.raw_bits(alone, 49)))


def test_calls_with_the_same_sources_do_not_wait_for_each_other():
    X, y = samples(2000)
    sources = [np.random.PCG64(k) for k in range(8)]
    populations = [Population(8, SIZES, seeds=k) for k in range(2)]

    def train(population, sources):
        for _ in range(100):
            population.train_epoch(X, y, SGD(0.1), rng=sources)

    threads = [threading.Thread(target=train, args=arguments, daemon=True) for arguments in
               zip(populations, (sources, sources[::-1]), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer of signals here")
def test_a_handler_of_signals_may_draw_from_a_source():
    X, y = samples(3000)
    sources = [np.random.default_rng(k) for k in range(8)]
    drawn = []
    before = signal.signal(signal.SIGALRM, lambda *_: drawn.append(sources[0].random()))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        population = Population(8, SIZES, seeds=0, n_threads=2)
        while len(drawn) < 20:
            population.train_epoch(X, y, SGD(0.1), rng=sources)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
