"""`Population.train(client=)`: the same bits as without, for any division into parts and tasks."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from calling import keyboard_interrupt, press_ctrl_c, takes_signals
from clients import EACH_WEIGHT, EACH_X, OPTIONS, Delayed, EACH_y, Inline, N, Trained, X, sources, y
from populations import RULES

import fastbp
import fastbp._parts
from fastbp import SGD, Adam, Population


@pytest.fixture
def one_epoch(monkeypatch):
    """A task is an epoch."""
    monkeypatch.setattr(fastbp._parts, "TASK_SECONDS", 0.0)


# ---- bits


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_same_bits_as_without(options, one_epoch):
    """By parts of 16 networks, of 2, and of 1; each epoch a task; and once more, from there on."""
    expected = Trained(None, options)
    found = [Trained(Inline(number), options) for number in (1, 20, 100)]
    for each in found:
        each.same_as(expected)
    options = expected.options
    if "schedule" not in options or np.ndim(options["schedule"]) == 0:
        expected.history = expected.train(None)
        for each in found:
            each.history = each.train(Inline(5))
            each.same_as(expected)


@pytest.mark.parametrize("rule", RULES)
def test_optimizers_of_each(rule):
    expected = Trained(None, OPTIONS["generators"], rule)
    Trained(Inline(4), OPTIONS["generators"], rule).same_as(expected)


@pytest.mark.parametrize("given", [
    {"X": EACH_X, "y": EACH_y}, {"X": EACH_X, "y": y[:20]}, {"X": X[:20], "y": EACH_y},
    {"X": EACH_X, "y": EACH_y, "class_weight": [0.5, 2.0]}], ids=["Xy", "X", "y", "classes"])
@pytest.mark.parametrize("weight", [None, EACH_WEIGHT, EACH_WEIGHT[0]], ids=["", "each", "all"])
def test_samples_of_each(given, weight):
    def options():
        return {"rng": range(N), "sample_weight": weight,
                "validation": (given["X"], given["y"], weight), "patience": 1}

    Trained(Inline(12), options, **given).same_as(Trained(None, options, **given))


def test_targets_of_some_that_could_be_those_of_all():
    """Three samples and three classes: (3, 3) would be the probabilities of all networks."""
    given = {"X": X[:3], "y": np.arange(3 * N).reshape(N, 3) % 3, "sizes": (4, 3),
             "loss": "softmax"}
    options = OPTIONS["in order"]
    Trained(Inline(N // 3), options, **given).same_as(Trained(None, options, **given))


@pytest.mark.parametrize("make", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_executors(make, one_epoch):
    with make(2) as executor:
        Trained(executor, OPTIONS["generators"]).same_as(Trained(None, OPTIONS["generators"]))


def test_any_order_of_answers(one_epoch):
    expected = Trained(None, OPTIONS["one generator"])
    Trained(Delayed(40), OPTIONS["one generator"]).same_as(expected)


def test_lost_tasks_are_started_again(one_epoch):
    expected = Trained(None, OPTIONS["generators"])
    executor = Inline(4, lost={0, 1, 5, 17, 18, 30})
    Trained(executor, OPTIONS["generators"]).same_as(expected)
    assert executor.submitted > 30


def test_large_networks_go_one_by_one():
    sizes = (4, 600, 600, 1)                # more than PART_BYTES
    executor = Inline(1)
    given = {"sizes": sizes, "n": 3, "epochs": 2}
    expected = Trained(None, OPTIONS["in order"], **given)
    Trained(executor, OPTIONS["in order"], **given).same_as(expected)
    assert executor.submitted == 3


# ---- what a caller sees while it runs


def test_callback_sees_all_networks_after_each_epoch():
    def trained(client):
        seen = []

        def callback(epoch, losses, held_out):
            seen.append((epoch, losses, held_out, population.params.copy()))
            return epoch == 3

        population = Population(N, (4, 6, 1), seeds=0)
        history = population.train(X, y, SGD(), epochs=9, rng=range(N), callback=callback,
                                   schedule=lambda epoch: 0.1 / (epoch + len(seen) + 1),
                                   validation=(X[:20], y[:20]), client=client)
        return seen, history

    (seen, history), (expected, without) = trained(Inline(4)), trained(None)
    assert [epoch for epoch, *_ in seen] == [0, 1, 2, 3]
    for ours, theirs in zip(seen, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(history.losses, without.losses)
    assert (history.n_epochs == 4).all()


def half_rate(population, optimizer, rng, state):
    for one in optimizer if isinstance(optimizer, list) else [optimizer]:
        one.lr = np.multiply(one.lr, 0.5)


def clip(population, optimizer, rng, state):
    np.clip(population.params, -0.3, 0.3, out=population.params)


def draw(population, optimizer, rng, state):
    rng.random(3)


def note(population, optimizer, rng, state):
    """What a checkpoint would have."""
    state.append((repr(optimizer.state_dict()), np.copy(optimizer.lr), rng.bit_generator.state))


def go_back(population, optimizer, rng, state):
    """To an earlier state, once."""
    state.append((optimizer.state_dict(), population.params.copy()))
    if len(state) == 3:
        optimizer.load_state_dict(state[0][0])
        population.params[:] = state[0][1]


@pytest.mark.parametrize(("change", "way"), [
    *((change, way) for change in (half_rate, clip, draw, note, go_back)
      for way in ("one", "one, schedule")),
    *((change, "each") for change in (half_rate, clip, draw))])
def test_callback_changes_what_it_would_without_a_client(change, way):
    """Parameters, learning rates, optimizers, the generator; with a schedule that reads a rate."""
    def trained(client):
        rng, state = np.random.default_rng(3), []
        population = Population(N, (4, 6, 1), seeds=0)
        optimizer = Adam(lr=0.01)
        schedule = (lambda epoch: optimizer.lr * 0.9) if "schedule" in way else None
        if way == "each":
            optimizer = [SGD(0.01 * (k + 1)) for k in range(N)]
        history = population.train(
            X, y, optimizer, epochs=6, rng=rng, client=client, schedule=schedule,
            callback=lambda *_: change(population, optimizer, rng, state))
        each = optimizer if isinstance(optimizer, list) else [optimizer]
        return (population.params.tobytes(), history.losses.tobytes(), repr(state),
                repr([one.state_dict() for one in each]), repr(rng.bit_generator.state))

    assert trained(None) == trained(Inline(1)) == trained(Inline(20))


def test_progress(capsys, one_epoch):
    Trained(Inline(4), lambda: {"rng": range(N), "progress": True}, epochs=20)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and f"{N} of {N} networks done" in lines[-1]


def test_schedule_is_called_ahead_in_order():
    called = []

    def schedule(epoch):
        called.append(epoch)
        return 0.01

    Trained(Inline(4), lambda: {"rng": range(N), "schedule": schedule}, epochs=250)
    assert called == list(range(250))


def test_threads_of_a_part():
    """One unless the population has a number."""
    for asked, used in ((None, 1), (3, 3)):
        assert Population(4, (2, 1), n_threads=asked)._copy_of([1, 2]).n_threads == used


# ---- errors


def test_another_kind_of_client():
    with pytest.raises(TypeError, match="^client is of type int; it should be a distributed.Client "
                                        "or a concurrent.futures.Executor$"):
        Trained(3, OPTIONS["plain"])


def test_arguments_are_refused_before_a_worker_has_them():
    executor = Inline(2)
    with pytest.raises(ValueError, match=r"^X has shape \(60, 4\)"):
        Population(2, (5, 1)).train(X, y, SGD(), epochs=1, client=executor)
    assert executor.submitted == 0


def test_error_in_a_worker_has_the_networks(monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(fastbp._parts, "make_epochs", fail)
    with pytest.raises(MemoryError, match="no room") as raised:
        Trained(Inline(2), OPTIONS["plain"], n=N)
    assert raised.value.__notes__[0].startswith("in a worker, in the task of network")


def test_task_that_is_lost_again_and_again():
    with pytest.raises(RuntimeError, match=r"^the task of networks 0 to 36 was lost 4 times"):
        Trained(Inline(1, lost=range(9)), lambda: {"rng": [sources(1)[0]] * N})


def test_executor_that_has_lost_a_process():
    with ProcessPoolExecutor(1) as executor:
        pid = executor.submit(os.getpid).result()

        def schedule(epoch):
            if epoch == 100:        # when the first task is done
                os.kill(pid, signal.SIGKILL)
            return 0.01

        with pytest.raises(BrokenProcessPool) as raised:
            Trained(executor, lambda: {"rng": range(N), "schedule": schedule}, epochs=300)
    assert "a distributed.Client goes on" in raised.value.__notes__[0]


def test_ctrl_c_cancels_and_keeps_whole_epochs(one_epoch):
    """The parts that had come back are as they were after some epoch, the others as at first."""
    class Interrupted(Inline):
        def submit(self, function, *arguments):
            if self.submitted == 9:
                raise KeyboardInterrupt
            if self.submitted == 7:
                self.submitted, self.left = 8, Future()
                return self.left
            return super().submit(function, *arguments)

    population, executor = Population(64, (4, 6, 1), seeds=0), Interrupted(4)
    with pytest.raises(KeyboardInterrupt):
        population.train(X, y, SGD(lr=0.1), epochs=50, rng=range(64), client=executor)
    assert executor.left.cancelled()
    after = [Population(64, (4, 6, 1), seeds=0).params.copy()]
    other, generators = Population(64, (4, 6, 1), seeds=0), sources(64)
    optimizer = SGD(lr=0.1)
    for _ in range(9):
        other.train_epoch(X, y, optimizer, rng=generators)
        after.append(other.params.copy())
    made = [next(e for e, params in enumerate(after) if (params[k] == row).all())
            for k, row in enumerate(population.params)]
    assert max(made) > 0


@takes_signals
def test_ctrl_c_while_workers_train(monkeypatch):
    """No hang: a worker ends what it has, within the seconds of a task, and the pool goes on."""
    monkeypatch.setattr(fastbp._parts, "TASK_SECONDS", 0.5)
    population, optimizer = Population(N, (4, 6, 1), seeds=0), SGD()
    start = time.monotonic()
    with ProcessPoolExecutor(2) as executor:
        executor.submit(int).result()
        timer = threading.Timer(0.3, press_ctrl_c)
        timer.start()
        with keyboard_interrupt():
            population.train(X, y, optimizer, epochs=10**8, rng=range(N), client=executor)
        assert executor.submit(int).result() == 0
    assert time.monotonic() - start < 60


def test_workers_that_would_compute_other_bits(monkeypatch):
    """Without fused multiply-add, where this process has it, or the other way round."""
    here = fastbp.get_isa() == "generic"
    other = next(isa for isa in fastbp.available_isas() if (isa == "generic") != here)
    monkeypatch.setenv("FASTBP_ISA", other)
    context = multiprocessing.get_context("spawn")
    with (ProcessPoolExecutor(1, mp_context=context) as executor,
          pytest.raises(RuntimeError, match="^a worker has version 1 of the numerics contract")):
        Trained(executor, OPTIONS["plain"])
