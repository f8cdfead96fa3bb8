"""Promise: arrays that fit are used as they are, with the bits and the refusals of those that are
converted; what a call works in is its own, however many calls there are at once.

That such a call allocates nothing is counted in safety/test_allocation.py.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from calling import LIMIT, in_threads, takes_signals

import fastbp
from fastbp import MLP, Layers

SIZES, N = (3, 5, 4), 7


def numbers(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(dtype)


def bits(result):
    return [np.asarray(r).tobytes() for r in
            (result if isinstance(result, (tuple, list)) else (result,))]


# ---- out


def with_out(dtype):
    """name -> (function, its inputs, the shape of out)."""
    net = MLP(SIZES, dtype=dtype, seed=0)
    n_here, n_next = SIZES[1:]
    return {
        "forward": (net.forward, [(N, 3)], (N, 4)),
        "logits": (net.logits, [(N, 3)], (N, 4)),
        "sigmoid": (fastbp.sigmoid, [(N, 3)], (N, 3)),
        "sigmoid_backward": (fastbp.sigmoid_backward, [(N, 3), (N, 3)], (N, 3)),
        "delta_step": (fastbp.delta_step, [(N, n_next), (n_here, n_next), (N, n_here)],
                       (N, n_here)),
        "delta_step of one": (fastbp.delta_step, [(n_next,), (n_here, n_next), (n_here,)],
                              (n_here,)),
    }


@pytest.mark.parametrize("name", with_out("float32"))
def test_out_beside_its_inputs(name, dtype):
    """`out` begins where one input ends and ends where the next begins; one element further in it
    overlaps that, and is refused before anything is written."""
    function, shapes, shape = with_out(dtype)[name]
    for n_before in range(len(shapes) + 1):
        places = [*shapes[:n_before], shape, *shapes[n_before:]]
        ends = np.cumsum([0, *map(np.prod, places)])
        memory = numbers(ends[-1], dtype=dtype)
        arrays = [memory[a:b].reshape(s) for a, b, s in zip(ends, ends[1:], places, strict=False)]
        out = arrays.pop(n_before)
        expected, before = function(*(a.copy() for a in arrays)), memory.copy()
        for at in (ends[n_before] - 1, ends[n_before] + 1):
            if 0 <= at <= memory.size - out.size:
                with pytest.raises(ValueError, match="^out overlaps .*; it should have memory of"):
                    function(*arrays, out=memory[at:at + out.size].reshape(shape))
        np.testing.assert_array_equal(memory, before)
        assert function(*arrays, out=out) is out
        before[ends[n_before]:ends[n_before + 1]] = expected.ravel()
        np.testing.assert_array_equal(memory, before)


@pytest.mark.parametrize("name", with_out("float32"))
def test_results_own_their_memory(name, dtype):
    """They are no views of another array."""
    function, shapes, shape = with_out(dtype)[name]
    result = function(*(numbers(*s, dtype=dtype) for s in shapes))
    assert result.flags.owndata and result.shape == shape and result.dtype == dtype


def test_out_in_a_gradient_that_is_no_input(dtype):
    net = MLP((1, 1), dtype=dtype, seed=0)
    X = numbers(1, 1, dtype=dtype)
    expected = net.forward(X)
    assert net.forward(X, out=net.grad[:1].reshape(1, 1)) == expected
    assert net.forward(net.params[:1].reshape(1, 1)) == net.forward(net.params[:1, None].copy())


# ---- calls at once


def test_outputs_into_arrays_of_many_threads(dtype):
    """Batches of all lengths: the memory of one call is never that of another."""
    net = MLP((20, 64, 64, 3), dtype=dtype, seed=0, n_threads=1)
    layers = Layers(net.layer_sizes, ["sigmoid"] * 2 + ["identity"], dtype=dtype, n_threads=1)
    X = numbers(600, 20, dtype=dtype)
    outputs, z = net.forward(X), net.logits(X)

    def work(i):
        for n in range(1 + i, 600, 37 + i):
            out = np.empty((n, 3), dtype)
            np.testing.assert_array_equal(net.forward(X[:n], out=out), outputs[:n])
            np.testing.assert_array_equal(net.logits(X[:n], out=out), z[:n])
            np.testing.assert_array_equal(
                layers.forward(net.weights, net.biases, X[:n], keep=False), z[:n])

    in_threads(12, work)


@takes_signals
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_a_call_within_a_call(dtype):
    """A handler of signals that runs within a forward pass makes another of the same network."""
    net = MLP((20, 64, 64, 3), dtype=dtype, seed=0, n_threads=1)
    X = np.tile(numbers(1000, 20, dtype=dtype), (400, 1))
    short, long, within = net.forward(X[:300]), net.forward(X), []
    before = signal.signal(signal.SIGALRM, lambda *_: within.append(net.forward(X[:300])))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
        while len(within) < 5:
            found = net.forward(X)
            np.testing.assert_array_equal(found, long)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(np.array_equal(found, short) for found in within)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_within_a_call(dtype):
    """The child has what the calls of the parent's threads had, which are not in it."""
    net = MLP((20, 64, 64, 3), dtype=dtype, seed=0, n_threads=1)
    X = np.tile(numbers(1000, 20, dtype=dtype), (100, 1))
    y = numbers(300, 3, dtype=dtype)

    def work():
        results = [net.forward(X[:300]), net.loss_value(X[:300], y), fastbp.sigmoid(y),
                   *fastbp.backprop(net.weights, net.biases, X[:300], y)]
        return b"".join(bits(results[:4]) + bits(results[4]) + bits(results[5]))

    long, expected, going, started = net.forward(X).tobytes(), work(), True, threading.Semaphore(0)

    def run():
        while going:
            started.release()
            net.forward(X)
            fastbp.backprop(net.weights, net.biases, X, np.tile(y[:250], (400, 1)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
        started.acquire()
    try:
        for _ in range(3):
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    signal.alarm(LIMIT)
                    results = in_threads(3, lambda i: work() if i else net.forward(X).tobytes())
                    os.write(write, bytes([results == [long, expected, expected]]))
                finally:
                    os._exit(0)
            os.close(write)
            with open(read, "rb") as pipe:
                assert pipe.read() == b"\1"
            os.waitpid(child, 0)
    finally:
        going = False
        for thread in threads:
            thread.join()


HELD = """
import numpy as np
import fastbp
def resident():
    status = open("/proc/self/status").read()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
X = np.ones((256, 4))
nets = [fastbp.MLP((4, 1000, 4), dtype="float64", seed=0, n_threads=1) for _ in range(100)]
many = [np.zeros(net.n_params) + 1 for net in nets]     # so that pages of the allocator are there
before = resident()
for net in nets:
    net.forward(X)
    net.loss_value(X, np.ones((256, 4)))
    assert net.workspace_bytes == 0
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what is held in /proc")
def test_many_networks_hold_no_more_than_one():
    """Two layers of 256 rows are 4 MB; with panels and losses less than 6 MB, and not 400."""
    run = subprocess.run([sys.executable, "-c", HELD], text=True, capture_output=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 2 * 6e6
