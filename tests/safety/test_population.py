"""Promise: a call of a population that is refused or interrupted leaves whole
steps and nothing locked; no array that it reads is written under it, and nothing crashes.

Memory that cannot be had is in test_population_memory.py.
"""

import os
import threading
import time

import numpy as np
import pytest
from calling import (
    ends_in_time,
    in_process,
    in_threads,
    keyboard_interrupt,
    press_ctrl_c,
    takes_signals,
)

from fastbp import MLP, SGD, Adam, Population

SIZES, WIDE = (3, 5, 1), (4, 64, 64, 1)


def samples(n, features=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, features)).astype("f"), rng.random(n).astype("f")


def adams(n):
    return [Adam() for _ in range(n)]


# ---- not made


PUBLIC = [name for name in dir(Population) if not name.startswith("_") and name != "from_networks"]


@pytest.mark.parametrize("name", [*PUBLIC, "__len__", "__repr__", "__reduce__", "__getstate__"])
def test_a_population_that_was_not_made(name):
    X, y = samples(5)
    arguments = {"forward": (X,), "logits": (X,), "loss_value": (X, y), "backprop": (X, y),
                 "train_epoch": (X, y, adams(4)), "train": (X, y, adams(4)),
                 "member": (0,)}.get(name, ())
    options = {"epochs": 1} if name == "train" else {}
    with pytest.raises(RuntimeError, match=r"Population\.__init__ was not called"):
        getattr(Population.__new__(Population), name)(*arguments, **options)


@pytest.mark.parametrize("name", ["params", "grad", "n_threads"])
def test_nothing_is_set_before(name):
    with pytest.raises(RuntimeError, match=r"Population\.__init__ was not called"):
        setattr(Population.__new__(Population), name, 1)


@pytest.mark.parametrize("n_networks", [2**40, 2**50, 2**62, 2**63, 2**70, 10**30])
@pytest.mark.parametrize("seeds", [0, None])
def test_more_networks_than_memory(n_networks, seeds):
    """Refused before there is a seed for each; 2**40 of them have 2.2 PB of parameters."""
    before = time.process_time()
    with pytest.raises((MemoryError, ValueError)):
        Population(n_networks, (20, 20, 20), seeds=seeds)
    assert time.process_time() - before < 1


# ---- Ctrl-C


def whole_steps(population, optimizers, epochs_of, l2):
    """Each network is where its own number of steps leads to."""
    for k, optimizer in enumerate(optimizers):
        net, theirs, steps = MLP(WIDE, seed=k), Adam(), optimizer.t
        for X, y in epochs_of(steps):
            net.train_epoch(X, y, theirs, batch_size=16, shuffle=False, l2=l2[k])
        assert theirs.t == steps
        np.testing.assert_array_equal(population.params[k], net.params)
        state = optimizer.state_dict()
        for name, value in theirs.state_dict().items():
            np.testing.assert_array_equal(state[name], value)


@takes_signals
@pytest.mark.parametrize("n_networks, n_threads", [(1, 1), (20, 1), (20, 2), (37, 3)])
def test_an_epoch_is_interrupted_between_two_steps(n_networks, n_threads):
    """Networks together, and one alone; with and without a penalty, which are other plans."""
    few, labels = samples(160, 4)
    X, y = np.tile(few, (10_000, 1)), np.tile(labels, 10_000)
    population = Population(n_networks, WIDE, seeds=0, n_threads=n_threads)
    optimizers, l2 = adams(n_networks), np.arange(n_networks) % 2 * 0.1
    sent = []

    def send():
        while population.workspace_bytes == 0:      # until it has begun
            time.sleep(0.001)
        time.sleep(0.1)
        sent.append(time.process_time())
        press_ctrl_c()

    thread = threading.Thread(target=send)
    with keyboard_interrupt():
        thread.start()
        population.train_epoch(X, y, optimizers, batch_size=16, shuffle=False, l2=l2)
    late = time.process_time() - sent[0]
    thread.join()
    assert late < 0.1 * n_threads
    assert any(optimizer.t for optimizer in optimizers)
    assert all(optimizer.t < 100_000 for optimizer in optimizers)

    def epochs_of(steps):
        yield from [(few, labels)] * (steps // 10)
        if steps % 10:
            yield few[:steps % 10 * 16], labels[:steps % 10 * 16]

    whole_steps(population, optimizers, epochs_of, l2)
    nets = [population.member(k) for k in range(n_networks)]        # and all goes on from there
    twins = [MLP(WIDE, seed=k) for k in range(n_networks)]
    for net, twin in zip(nets, twins, strict=True):
        twin.params = net.params
    found = population.backprop(few, labels)
    np.testing.assert_array_equal(found, [twin.backprop(few, labels) for twin in twins])


@takes_signals
@pytest.mark.parametrize("n, n_networks, sizes, n_threads", [
    (1000, 1000, WIDE, 1), (10**6, 16, (4, 8, 1), 1), (10**6, 32, (4, 8, 1), 2)])
@pytest.mark.parametrize("method", ["forward", "loss_value", "backprop"])
def test_a_long_call_is_interrupted(method, n, n_networks, sizes, n_threads):
    """Between its groups, and within one of many rows; on one thread, and on several."""
    X, y = samples(n, 4)
    population = Population(n_networks, sizes, seeds=0, n_threads=n_threads)
    out = np.empty((n_networks, n, 1), "f")
    call = {"forward": lambda: population.forward(X, out=out)}.get(
        method, lambda: getattr(population, method)(X, y))
    ends_in_time(call, n_threads=n_threads)
    few = population.loss_value(X[:9], y[:9])
    assert few[7] == MLP(sizes, seed=7).loss_value(X[:9], y[:9])


# ---- threads


def during_an_epoch(population, optimizers, work):
    """``work()`` in another thread, in the midst of a long epoch, which ends with it.

    An epoch takes its memory once it has its optimizers.
    """
    X, y = samples(160, 4)
    X, y = np.tile(X, (10_000, 1)), np.tile(y, 10_000)
    assert population.workspace_bytes == 0
    results = []

    def run():
        try:
            while population.workspace_bytes == 0:
                time.sleep(0.001)
            work()
            results.append(None)
        except BaseException as error:
            results.append(error)
        finally:
            press_ctrl_c()

    thread = threading.Thread(target=run)
    with keyboard_interrupt():
        thread.start()
        population.train_epoch(X, y, optimizers, batch_size=16, shuffle=False)
    thread.join()
    if results[0] is not None:
        raise results[0]


@takes_signals
@pytest.mark.parametrize("method", ["forward", "logits", "loss_value", "backprop", "train_epoch"])
def test_a_second_call_is_refused(method):
    population, X, y = Population(40, WIDE, seeds=0), *samples(9, 4)
    arguments = {"forward": (X,), "logits": (X,), "train_epoch": (X, y, adams(40))}.get(
        method, (X, y))

    def work():
        for _ in range(20):
            with pytest.raises(RuntimeError, match="Population is in use by a call"):
                getattr(population, method)(*arguments)
            assert population.workspace_bytes > 0 and len(population) == 40

    during_an_epoch(population, adams(40), work)
    getattr(population, method)(*arguments)
    if method == "train_epoch":
        assert all(optimizer.t == 1 for optimizer in arguments[2])


@takes_signals
def test_an_optimizer_in_use_elsewhere():
    """It is named, the others are free again, and nobody has moved."""
    population, other = Population(40, WIDE, seeds=0), Population(3, WIDE, seeds=0)
    X, y = samples(9, 4)
    optimizers, before = adams(40), other.params.copy()
    mine = [Adam(), optimizers[11], SGD()]

    def work():
        for _ in range(3):
            with pytest.raises(RuntimeError, match=r"optimizer\[1\]: this optimizer is in use"):
                other.train_epoch(X, y, mine)
        assert mine[0].state_dict() == Adam().state_dict()

    during_an_epoch(population, optimizers, work)
    np.testing.assert_array_equal(other.params, before)
    other.train_epoch(X, y, [mine[0], Adam(), mine[2]])
    population.train_epoch(X, y, optimizers)


@pytest.mark.parametrize("method", ["forward", "loss_value", "backprop"])
def test_calls_from_many_threads_are_right_or_refused(method):
    population, X, y = Population(37, SIZES, seeds=0), *samples(200)
    arguments = (X,) if method == "forward" else (X, y)
    expected = getattr(population, method)(*arguments)

    def work(i):
        right, end = 0, time.monotonic() + 20
        while right < 20 and time.monotonic() < end:
            try:
                np.testing.assert_array_equal(getattr(population, method)(*arguments), expected)
                right += 1
            except RuntimeError as error:
                assert "Population is in use by a call" in str(error)
                time.sleep(0)
        return right

    assert in_threads(4, work) == [20] * 4


def test_a_call_within_a_call_is_refused():
    """A source of draws calls the population, and gives its optimizers another state."""
    population, X, y = Population(9, SIZES, seeds=0), *samples(20)
    optimizers, refused = [SGD() for _ in range(9)], []
    momentum = SGD(momentum=0.5)
    momentum.step(np.ones(26, "f"), np.ones(26, "f"))

    class Nested(np.random.PCG64):
        def random_raw(self, size=None):
            for call in (lambda: population.backprop(X, y), lambda: population.forward(X)):
                with pytest.raises(RuntimeError, match="Population is in use"):
                    call()
            optimizers[5].load_state_dict(momentum.state_dict())
            refused.append(size)
            return np.random.PCG64(1).random_raw(size)

    population.train_epoch(X, y, optimizers, rng=Nested())
    net, theirs = MLP(SIZES, seed=5), SGD(momentum=0.5)
    theirs.load_state_dict(momentum.state_dict())
    net.train_epoch(X, y, theirs, rng=1)
    np.testing.assert_array_equal(population.params[5], net.params)
    assert refused and optimizers[5].t == 2


# ---- arrays that are its own, and that move


@pytest.mark.parametrize("method", ["forward", "loss_value", "backprop", "train_epoch"])
def test_samples_within_its_parameters(method):
    """They are those of before the call."""
    for name in ("params", "grad"):
        for each in (False, True):
            population, twin = (Population(8, SIZES, seeds=0) for _ in range(2))
            for one in (population, twin):
                one.grad = one.params[::-1]
            held = getattr(population, name).reshape(-1)
            X = held[:96].reshape(8, 4, 3) if each else held[:96].reshape(32, 3)
            y = np.full(X.shape[:-1], 0.5, "f")
            results = []
            for one, given in ((population, X), (twin, X.copy())):
                more = {"forward": (), "train_epoch": (y, adams(8))}.get(method, (y,))
                options = {"rng": 0} if method == "train_epoch" else {}
                results.append(getattr(one, method)(given, *more, **options))
            np.testing.assert_array_equal(*results)
            np.testing.assert_array_equal(population.params, twin.params)
            np.testing.assert_array_equal(population.grad, twin.grad)


def test_weights_and_targets_within_its_gradient():
    population, X = Population(8, SIZES, seeds=0), samples(9)[0]
    population.grad = np.full((8, 26), 0.5)
    y, w = population.grad.reshape(-1)[:72].reshape(8, 9), population.grad.reshape(-1)[100:109]
    expected = [MLP(SIZES, seed=k).backprop(X, np.full(9, 0.5), sample_weight=np.full(9, 0.5))
                for k in range(8)]
    np.testing.assert_array_equal(population.backprop(X, y, sample_weight=w), expected)


def test_views_cannot_be_resized():
    """The memory of params and grad stays where it is."""
    population = Population(4, SIZES, seeds=0)
    for array in (population.params, population.grad, *population.weights):
        with pytest.raises(ValueError, match="resize"):
            array.resize((1000, 1000), refcheck=False)


@pytest.mark.parametrize("what", ["X", "rows", "list", "w"])
def test_arguments_that_change_within_the_call(what):
    """A source of draws writes to what was given: rows are copies, a list is taken apart."""
    population, (X, y) = Population(5, SIZES, seeds=0), samples(20)
    w, rows, optimizers = np.ones((5, 20), "f"), [np.arange(20) for _ in range(5)], adams(5)

    class Changing(np.random.PCG64):
        def random_raw(self, size=None):
            if what == "X":
                X[:] = np.nan
            elif what == "w":
                w[:] = 0
            elif what == "rows":
                for indices in rows:
                    indices[:] = 10**12
            else:
                optimizers.clear()
                rows.clear()
            return np.random.PCG64(1).random_raw(size)

    losses = population.train_epoch(X, y, optimizers, rng=Changing(), rows=rows, sample_weight=w)
    assert losses.shape == (5,)
    if what in ("rows", "list"):
        assert losses[2] == MLP(SIZES, seed=2).train_epoch(X, y, Adam(), rng=1)


# ---- processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_computes_the_same():
    script = """
import os, numpy as np
from fastbp import Population, Adam
X, y = np.ones((50, 3), "f"), np.zeros(50, "f")
population = Population(40, [3, 5, 1], seeds=0, n_threads=2)
population.train_epoch(X, y, [Adam() for _ in range(40)], rng=0)
def work():
    return population.train_epoch(X, y, [Adam() for _ in range(40)], rng=0).tobytes()
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, work())
    os._exit(0)
assert os.read(read, 1000) == work()
print(os.waitpid(child, 0)[1])
"""
    assert in_process(script) == ["0"]
