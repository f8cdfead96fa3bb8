"""Promise: a call of a population whose memory is refused leaves all as it was, and no call keeps a
block, as test_allocation.py and test_leaks.py have it for all other calls.
"""

import itertools
import platform
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from allocator import Allocator, in_process
from every_call import Call

from fastbp import MLP, SGD, Adam, Population, train_many

SIZES = (3, 5, 1)
WARM = 60       # calls that fill what the interpreter keeps for itself
needs_malloc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="the allocator calls glibc's; without a GIL Python's objects do not come from it")


def samples(n, dtype):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, SIZES[0])).astype(dtype), rng.random(n).astype(dtype)


def adams(n):
    return [Adam() for _ in range(n)]


def population_calls(dtype, n_threads):
    """As in every_call: of networks that go together and one alone, on some variants.

    Their optimizers are of two kinds, and one has had a step.
    """
    N, (X, y) = 9, samples(24, dtype)
    w, l2 = np.ones((N, 24), dtype), np.arange(N) // 8 * 0.5

    def of(method, *args, **options):
        def prepare(**out):
            population = Population(N, SIZES, seeds=0, dtype=dtype, n_threads=n_threads)
            return (partial(getattr(population, method), *args, **options, **out),
                    (population.params, population.grad))
        return prepare

    def epoch():
        population = Population(N, SIZES, seeds=0, dtype=dtype, n_threads=n_threads)
        optimizers = [*adams(8), SGD(momentum=0.5)]
        optimizers[3].step(population.params[3], population.grad[3])
        return (lambda: population.train_epoch(X, y, optimizers, batch_size=5, rng=0, l2=l2,
                                               sample_weight=w),
                (population.params, population.grad, *optimizers))

    yield Call("population: made", {}, lambda: (
        lambda: Population(2, SIZES, seeds=0, dtype=dtype).params, ()))
    yield Call("population: forward", {"out": (N, 24, 1)}, of("forward", X))
    yield Call("population: loss_value", {}, of("loss_value", X, y, sample_weight=w))
    yield Call("population: backprop", {}, of("backprop", X, y, l2=l2, reduction="mean"))
    yield Call("population: train_epoch", {}, epoch)


def refuse(dtype, n_threads):
    from tests.safety.test_allocation import Attempts
    attempts = Attempts(dtype)
    for call in population_calls(dtype, int(n_threads)):
        print(call.name, attempts.all_of(call), flush=True)


def can_take(lock):
    """In another thread than the one that may have kept it."""
    taken = lock.acquire(blocking=False)
    if taken:
        lock.release()
    return taken


def refuse_many():
    """Refuse every request of `train_many` in turn; no network, no generator may stay in use."""
    allocator, (X, y) = Allocator(), samples(24, "float32")
    nets, refused, after = [MLP(SIZES, seed=k) for k in range(9)], True, 0
    sources = [np.random.PCG64(k) for k in range(9)]
    while refused:
        optimizers = adams(9)
        run = partial(train_many, nets, X, y, optimizers, rng=sources, validation=(X, y))
        if after == 0:
            run()                               # imports and caches
        _, error, refused = allocator.refusing(run, after)
        assert error is None or isinstance(error, MemoryError)
        with ThreadPoolExecutor(1) as other:
            assert all(other.map(can_take, [source.lock for source in sources]))
        run()
        after += 1
    print(after)


def refuse_fit():
    """The same of `MLP.fit`, whose best parameters are restored whatever is refused."""
    allocator, (X, y) = Allocator(), samples(24, "float32")
    net, refused, after = MLP(SIZES, seed=0), True, 0
    while refused:
        run = partial(net.fit, X, y, Adam(), epochs=3, rng=np.random.PCG64(0), validation=(X, y))
        if after == 0:
            run()
        _, error, refused = allocator.refusing(run, after)
        assert error is None or isinstance(error, MemoryError)
        run()
        after += 1
    print(after)


@needs_malloc
@pytest.mark.parametrize("refusing, least", [(refuse_many, 100), (refuse_fit, 30)])
def test_no_network_stays_in_use(refusing, least, tmp_path):
    requests, = in_process(tmp_path, refusing)
    assert int(requests) > least


@needs_malloc
@pytest.mark.parametrize("dtype, n_threads", [
    ("float64", "1"), *(pytest.param(*case, marks=pytest.mark.exhaustive)
                        for case in (("float32", "1"), ("float64", "3")))])
def test_refused_memory(dtype, n_threads, tmp_path):
    """Every request in turn: nothing has changed, no block is kept, and the next call is right."""
    lines = in_process(tmp_path, refuse, dtype, n_threads)
    assert len(lines) == 5 and not any(line.endswith(" 0") for line in lines)


def repeat(dtype):
    """Print the names of calls that keep blocks of memory, and how many."""
    allocator, (X, y) = Allocator(), samples(24, dtype)
    population = Population(20, SIZES, seeds=0, dtype=dtype)
    held, wrong = np.zeros(2, int), Adam()
    wrong.step(np.ones(3), np.ones(3))

    def refused():
        try:
            population.train_epoch(X, y, [*adams(19), wrong])
        except ValueError:
            return
        raise AssertionError("nothing was raised")

    runs = {call.name: call.prepare(**call.arrays(np.zeros, dtype))[0]
            for call in population_calls(dtype, 2)}
    nets = [MLP((3, 2 + k % 2, 1), seed=k, dtype=dtype) for k in range(20)]
    runs["train_many"] = partial(train_many, nets, X, y, adams(20), epochs=2, rng=0,
                                 validation=(X, y), patience=1)
    runs["train"] = partial(population.train, X, y, Adam(), epochs=2, rng=0, validation_rows=[0])
    runs["refused"] = refused
    runs["member"] = lambda: population.member(3).params
    runs["copy"] = lambda: population.__reduce__()
    for name, run in runs.items():
        for _ in range(WARM):
            run()
        held[0] = allocator.settled_blocks()
        for _ in itertools.repeat(None, 50):        # a counter would be kept, too
            run()
        held[1] = allocator.settled_blocks()
        if held[1] > held[0]:
            print(name, held[1] - held[0])


@needs_malloc
def test_nothing_is_kept(dtype, tmp_path):
    assert not in_process(tmp_path, repeat, dtype)
