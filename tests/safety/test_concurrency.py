"""Threads, Ctrl-C and fork: what may run at once gives the same bits, what may not is refused, and
nothing is left half done."""

import contextlib
import os
import pickle
import signal
import sys
import threading
import time

import calling
import numpy as np
import pytest
from calling import LIMIT, ends_in_time, in_threads, interrupted, keyboard_interrupt, takes_signals

from fastbp import MLP, SGD, Adam, Layers, get_num_threads

SIZES = (20, 64, 64, 1)


def samples(n, sizes=SIZES, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, sizes[0])).astype(dtype), rng.random(n).astype(dtype)


@contextlib.contextmanager
def busy(call):
    """``call`` runs over and over in another thread meanwhile."""
    going, running = True, threading.Event()

    def run():
        while going:
            running.set()
            with contextlib.suppress(RuntimeError):
                call()

    thread = threading.Thread(target=run)
    thread.start()
    running.wait()
    try:
        yield
    finally:
        going = False
        thread.join()


WIDE, BATCH = (4, 256, 256, 1), 64


def long_epoch(net, optimizer, batch_size=BATCH):
    """Ten seconds and more; the samples come again after every thousand."""
    X, y = samples(1000, WIDE)
    net.train_epoch(np.tile(X, (1000, 1)), np.tile(y, 1000), optimizer, batch_size=batch_size,
                    shuffle=False)


def steps(net, optimizer, count, batch_size=BATCH):
    """The first ``count`` steps of `long_epoch`, one by one."""
    X, y = samples(1000, WIDE)
    for step in range(count):
        rows = np.arange(step * batch_size, (step + 1) * batch_size) % 1000
        net.backprop(X[rows], y[rows], reduction="mean")
        optimizer.step(net.params, net.grad)


def during_an_epoch(net, optimizer, work):
    """``work()`` in another thread, after the first step of a long epoch, which ends with it."""
    results, start = [], net.params.copy()

    def run():
        try:
            while np.array_equal(net.params, start):
                time.sleep(0.001)
            results.append(work())
        except BaseException as error:
            results.append(error)
        finally:
            calling.press_ctrl_c()

    thread = threading.Thread(target=run)
    with keyboard_interrupt():
        thread.start()
        long_epoch(net, optimizer)
    thread.join()
    if results[0] is not None:
        raise results[0]


# ---- one network in many threads


@pytest.mark.parametrize("method", ["forward", "logits", "loss_value"])
def test_outputs_from_many_threads(method, dtype):
    X, y = samples(700, dtype=dtype)
    net = MLP(SIZES, dtype=dtype, seed=0)
    arguments = (X, y) if method == "loss_value" else (X,)
    expected = np.asarray(getattr(net, method)(*arguments)).tobytes()
    with busy(lambda: net.backprop(X[:9], y[:9])):
        for results in in_threads(8, lambda i: [getattr(net, method)(*arguments)
                                                for _ in range(20)]):
            assert all(np.asarray(result).tobytes() == expected for result in results)


@pytest.mark.parametrize("method", [
    "forward", pytest.param("logits", marks=pytest.mark.exhaustive), "loss_value",
    "another network"])
def test_nobody_waits_for_a_long_call(method):
    """Within one call of one thread another makes many: they scale as the processors allow.

    A lock would let the second thread through before that call, which is where its first calls
    may be, and then not before its end.
    """
    X, y = samples(1)
    X, y = np.repeat(X, 10**6, axis=0), np.repeat(y, 10**6)
    net, other = MLP(SIZES, seed=0, n_threads=1), MLP(SIZES, seed=1, n_threads=1)
    calls = {"forward": (net.forward, net.forward), "logits": (net.logits, net.logits),
             "loss_value": (net.loss_value, net.loss_value),
             "another network": (net.backprop, other.backprop)}[method]
    given = (X,) if method in ("forward", "logits") else (X, y)
    long, short = (lambda: calls[0](*given)), (lambda: calls[1](*(a[:5] for a in given)))
    expected = [np.asarray(call()).tobytes() for call in (long, short)]
    started, results = threading.Event(), []

    def run():
        started.set()
        results.append(long())

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    within = 0
    while not results:
        assert np.asarray(short()).tobytes() == expected[1]
        within += 1
    thread.join()
    assert np.asarray(results[0]).tobytes() == expected[0]
    assert within > 100


def test_gradients_from_many_threads_are_right_or_refused():
    """`value_and_grad` returns an array of its own: whoever gets one, gets the right one."""
    X, y = samples(300)
    net = MLP(SIZES, seed=0)
    points = [MLP(SIZES, seed=seed).params for seed in range(4)]
    expected = [net.value_and_grad(p, X, y) for p in points]

    def work(i):
        right = 0
        while right < 10:
            try:
                loss, grad = net.value_and_grad(points[i], X, y)
            except RuntimeError as error:
                assert "MLP is in use by a call" in str(error)
            else:
                assert loss == expected[i][0]
                np.testing.assert_array_equal(grad, expected[i][1])
                right += 1
            time.sleep(0)
        return right

    assert in_threads(4, work) == [10] * 4


@takes_signals
@pytest.mark.parametrize("method", ["backprop", "value_and_grad", "objective", "hessp",
                                    "error_bound", "hvp", "gnvp", "per_sample_grad_norms",
                                    "per_sample_grads", "clipped_backprop", "input_grad",
                                    "jacobian", "linearize", "products at a point",
                                    "train_epoch"])
def test_a_second_gradient_is_refused(method):
    """From first to last step of an epoch; what only reads is not, and disturbs nothing."""
    net, other, optimizer = (*(MLP(WIDE, seed=0) for _ in range(2)), Adam())
    X, y = samples(10, WIDE)
    objective, point = net.objective(X, y), net.linearize(X, y)
    call = {"backprop": lambda: net.backprop(X, y),
            "value_and_grad": lambda: net.value_and_grad(other.params, X, y),
            "objective": lambda: objective(other.params),
            "hessp": lambda: objective.hessp(other.params, other.grad),
            "error_bound": lambda: net.error_bound(X, y),
            "per_sample_grad_norms": lambda: net.per_sample_grad_norms(X, y),
            "per_sample_grads": lambda: net.per_sample_grads(X, y),
            "clipped_backprop": lambda: net.clipped_backprop(X, y, 1.0),
            "hvp": lambda: net.hvp(X, y, other.params),
            "gnvp": lambda: net.gnvp(X, y, other.params),
            "input_grad": lambda: net.input_grad(X, y),
            "jacobian": lambda: net.jacobian(X),
            "linearize": lambda: net.linearize(X, y),
            "products at a point": lambda: point.hvp(other.params),
            "train_epoch": lambda: net.train_epoch(X, y, SGD())}[method]

    def work():
        for _ in range(50):
            with pytest.raises(RuntimeError, match="MLP is in use by a call"):
                call()
            assert net.forward(X).shape == (10, 1) and np.isfinite(net.loss_value(X, y))

    during_an_epoch(net, optimizer, work)
    steps(other, Adam(), optimizer.state_dict()["t"])
    np.testing.assert_array_equal(net.params, other.params)
    call()


@pytest.mark.parametrize("method", ["clipped_backprop", "train_epoch"])
def test_a_call_within_a_call_is_refused(method):
    """Of the same thread: what the outer call asks for draws calls the network again."""
    net, (X, y), refused = MLP(SIZES, seed=0), samples(20), []

    class Nested(np.random.PCG64):
        def random_raw(self, size=None):
            with pytest.raises(RuntimeError, match="MLP is in use by a call .* around this one"):
                net.backprop(X, y)
            refused.append(size)
            return np.random.PCG64(1).random_raw(size)

    if method == "clipped_backprop":
        net.clipped_backprop(X, y, 1.0, noise_multiplier=1.0, rng=Nested())
    else:
        net.train_epoch(X, y, SGD(), rng=Nested())
    assert refused and np.isfinite(net.backprop(X, y))


@takes_signals
def test_one_optimizer_in_two_networks():
    """It belongs to the epoch that is running; whoever else wants it is refused, and stays."""
    net, other, optimizer = (*(MLP(WIDE, seed=0) for _ in range(2)), Adam())
    X, y = samples(10, WIDE)
    before = other.params.copy()

    def work():
        for call in (lambda: other.train_epoch(X, y, optimizer),
                     lambda: optimizer.step(other.params, other.grad),
                     lambda: optimizer.load_state_dict(Adam().state_dict()),
                     optimizer.state_dict, lambda: pickle.dumps(optimizer)):
            with pytest.raises(RuntimeError, match="optimizer is in use by a call"):
                call()

    during_an_epoch(net, optimizer, work)
    np.testing.assert_array_equal(other.params, before)
    steps(other, Adam(), optimizer.state_dict()["t"])
    np.testing.assert_array_equal(net.params, other.params)


def test_layers_in_use():
    X, _ = samples(5000, (64, 64))
    layers = Layers((64, 64), ["sigmoid"])
    arrays = [np.ones((64, 64), "f")], [np.ones(64, "f")], X
    expected = layers.forward(*arrays)
    refused, end = threading.Event(), time.monotonic() + 30

    def work(i):
        while not refused.is_set() and time.monotonic() < end:
            try:
                np.testing.assert_array_equal(layers.forward(*arrays), expected)
            except RuntimeError as error:
                assert "Layers is in use by a call" in str(error)
                refused.set()

    in_threads(2, work)
    assert refused.is_set()


def test_networks_in_threads_of_their_own(dtype):
    X, y = samples(500, dtype=dtype)

    def train(seed):
        net, optimizer = MLP(SIZES, dtype=dtype, seed=seed, n_threads=1), Adam()
        losses = [net.train_epoch(X, y, optimizer, batch_size=16, rng=seed) for _ in range(3)]
        return losses, net.params.tobytes()

    assert in_threads(4, train) == [train(seed) for seed in range(4)]


# ---- the GIL


@pytest.mark.parametrize("call", ["train_epoch", "backprop", "forward", "loss_value", "step"])
def test_the_gil_is_released(call):
    """With a switch interval of a minute this thread moves only when the other lets it: within
    a call, since nothing else in its loop does."""
    X, y = samples(3000)
    net, optimizer, big = MLP(SIZES, seed=0), SGD(), np.ones(10**6)
    work = {"train_epoch": lambda: net.train_epoch(X, y, optimizer, shuffle=False),
            "backprop": lambda: net.backprop(X, y), "forward": lambda: net.forward(X),
            "loss_value": lambda: net.loss_value(X, y),
            "step": lambda: optimizer.step(big, big)}[call]
    started, moved, before = threading.Event(), threading.Event(), sys.getswitchinterval()
    released = []
    work()  # what it imports the first time releases the GIL, too

    def run():
        end = time.monotonic() + 10
        started.set()
        while not moved.is_set() and time.monotonic() < end:
            work()
        released.append(moved.is_set())

    sys.setswitchinterval(60)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        started.wait()
        moved.set()
    finally:
        sys.setswitchinterval(before)
        thread.join()
    assert released == [True]


# ---- Ctrl-C


@takes_signals
@pytest.mark.parametrize("batch_size", [4, 64, 1000])
def test_an_epoch_is_interrupted_between_two_steps(batch_size):
    """The parameters are those after a whole number of steps, and all goes on from there."""
    net, optimizer = MLP(WIDE, seed=0), Adam()
    before = net.params.copy()
    with interrupted(0.1, lambda: not np.array_equal(net.params, before)) as late:
        long_epoch(net, optimizer, batch_size)
    assert late[0] < 0.1 * get_num_threads()
    twin, twin_optimizer, count = MLP(WIDE, seed=0), Adam(), optimizer.state_dict()["t"]
    steps(twin, twin_optimizer, count, batch_size)
    np.testing.assert_array_equal(net.params, twin.params)

    X, y = samples(100, WIDE)
    assert net.backprop(X, y) == twin.backprop(X, y)
    np.testing.assert_array_equal(net.grad, twin.grad)
    assert (net.train_epoch(X, y, optimizer, rng=0)
            == twin.train_epoch(X, y, twin_optimizer, rng=0))
    np.testing.assert_array_equal(net.params, twin.params)


@takes_signals
@pytest.mark.parametrize("method", ["backprop", "value_and_grad", "forward", "loss_value"])
def test_a_long_call_is_interrupted(method):
    X, y = samples(1)
    X, y = np.repeat(X, 500000, axis=0), np.repeat(y, 500000)
    net = MLP(SIZES, seed=0)
    before = net.params.copy()
    arguments = {"forward": (X,), "value_and_grad": (before, X, y)}.get(method, (X, y))
    ends_in_time(lambda: getattr(net, method)(*arguments), n_threads=get_num_threads())
    np.testing.assert_array_equal(net.params, before)
    twin = MLP(SIZES, seed=0)
    assert net.backprop(X[:9], y[:9]) == twin.backprop(X[:9], y[:9])
    np.testing.assert_array_equal(net.grad, twin.grad)


@takes_signals
def test_a_wide_network_is_interrupted():
    """Within a block of 256 rows, too: of this network one takes some tenths of a second."""
    sizes = (*[1024] * 8, 1)
    X, y = samples(1024, sizes, "float64")
    net = MLP(sizes, dtype="float64", seed=0)
    ends_in_time(lambda: net.backprop(X, y), n_threads=get_num_threads())


@takes_signals
def test_layers_are_interrupted():
    """`forward` that did not end leaves nothing to go back over."""
    X, _ = samples(500000, (20, 1))
    layers = Layers((20, 64, 1), ["sigmoid"] * 2)
    arrays = [np.ones((20, 64), "f"), np.ones((64, 1), "f")], [np.ones(64, "f"), np.ones(1, "f")]
    expected = layers.forward(*arrays, X[:9])
    ends_in_time(lambda: layers.forward(*arrays, X), n_threads=get_num_threads())
    np.testing.assert_array_equal(layers.forward(*arrays, X[:9]), expected)


# ---- fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_after_use(dtype):
    """A child process computes the same gradient, and trains."""
    X, y = samples(600, dtype=dtype)
    net, optimizer = MLP(SIZES, dtype=dtype, seed=0), Adam()
    net.train_epoch(X, y, optimizer, rng=0)

    def work():
        loss = net.backprop(X, y)
        epoch = net.train_epoch(X, y, optimizer, rng=0)
        return repr((loss, epoch)).encode() + net.grad.tobytes() + net.params.tobytes()

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(LIMIT)
            with open(write, "wb") as pipe:
                pipe.write(work())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        from_child = pipe.read()
    os.waitpid(child, 0)
    assert from_child == work()
