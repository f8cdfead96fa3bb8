"""Promise N5 with threads, exceptions and signals: the mode is the caller's again after every end
of a call, and within its handlers; helpers compute alike whoever made them."""

import functools
import signal
import threading

import numpy as np
import pytest
from bits import same_bits
from calling import in_process, in_threads
from float_mode import MODES, SETTINGS, caller_mode, current_mode, needs_modes
from places import IMPORTED

import fastbp
from fastbp import MLP, Adam, Layers

pytestmark = needs_modes
SIZES = (30, 64, 1)


def tiny_samples(dtype, n=300):
    """Activations saturate, so that products with sigma' are subnormal."""
    X = np.random.default_rng(0).uniform(-1, 1, (n, SIZES[0])).astype(dtype)
    net = MLP(SIZES, dtype=dtype, seed=0, n_threads=3)
    net.biases[0][::2] = -95 if dtype == "float32" else -725
    return net, X, (X[:, 0] > 0).astype(dtype)


@functools.cache
def made_in(mode):
    """What helpers compute in a process whose thread made them in this mode, or in its own."""
    script = """
import sys
sys.path[:0] = sys.argv[2:]
from float_mode import MODES, caller_mode
from tests.bits.test_n5_threads import tiny_samples
for dtype in "float32", "float64":      # on the same helpers
    net, X, y = tiny_samples(dtype)
    with caller_mode(MODES.get(sys.argv[1], 0)):
        loss = net.backprop(X, y)
    for _ in range(20):                 # called by a thread in another mode
        assert net.backprop(X, y) == loss
    print(loss.hex(), net.grad.tobytes().hex())
"""
    return in_process(script, mode, *IMPORTED)


@pytest.mark.parametrize("mode", MODES)
def test_helpers_that_a_thread_in_this_mode_made(mode):
    """A thread starts in the mode of the one that starts it."""
    assert made_in(mode) == made_in("")


def test_threads_in_modes_of_their_own(dtype):
    """At once, and each keeps its own."""
    modes = [0, *MODES.values()]
    nets = [tiny_samples(dtype) for _ in modes]

    def work(i):
        net, X, y = nets[i]
        with caller_mode(modes[i]):
            losses = [net.backprop(X, y) for _ in range(30)]
        return [*losses, net.grad]

    first, *others = in_threads(len(modes), work)
    assert all(all(map(same_bits, first, other)) for other in others)


def refused():
    """Calls that raise: before, in, and while others keep them from native code."""
    net, X, y = tiny_samples("float32")
    layers = Layers(SIZES, ["sigmoid"] * 2)
    return {
        "shape": lambda: net.backprop(X[:, 1:], y),
        "target": lambda: net.backprop(X, y + 2),
        "optimizer": lambda: Adam().step(net.params, net.grad[1:]),
        "backward": lambda: layers.backward(y, None, None),
        "out": lambda: fastbp.sigmoid(X, out=X[:, ::-1]),
        "memory": lambda: MLP((2**20, 2**20, 2**20)),
    }


@pytest.mark.parametrize("name", refused())
def test_after_an_error(name):
    call = refused()[name]
    for mode in MODES.values():
        with caller_mode(mode):
            before = current_mode()
            with pytest.raises((ValueError, TypeError, RuntimeError, MemoryError)):
                call()
            assert current_mode() == before


@pytest.mark.thread_unsafe(reason="signals come to the main thread")
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("call", ["backprop", "train_epoch", "sigmoid"])
def test_ctrl_c(call, n_threads):
    """The handler of a signal runs in the caller's mode, which is there after its exception too."""
    mode, seen = MODES["flush to zero"], []
    net, X, y = tiny_samples("float32", 100_000)
    net.n_threads = n_threads
    z = np.zeros(10**7, "f")
    work = {"backprop": lambda: net.backprop(X, y), "sigmoid": lambda: fastbp.sigmoid(z, out=z),
            "train_epoch": lambda: net.train_epoch(X, y, Adam(), shuffle=False)}[call]

    def handler(*_):
        seen.append(current_mode())
        raise KeyboardInterrupt

    work()
    if hasattr(signal, "pthread_kill"):
        number, send = signal.SIGUSR1, functools.partial(signal.pthread_kill, threading.get_ident())
    else:                               # on Windows
        number, send = signal.SIGINT, signal.raise_signal
    before = signal.signal(number, handler)
    timer = threading.Timer(0.1, send, (number,))
    try:
        with caller_mode(mode), pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                work()
    finally:
        timer.join()
        signal.signal(number, before)
    assert len(seen) == 1 and seen[0] & SETTINGS & mode == mode


def test_pytorch_flushes_denormals(dtype):
    torch = pytest.importorskip("torch")
    net, X, y = tiny_samples(dtype)
    expected = net.backprop(X, y), net.grad.copy()
    if not torch.set_flush_denormal(True):
        pytest.skip("this build of PyTorch cannot")
    try:
        assert (torch.tensor([1e-310], dtype=torch.double) * 1).item() == 0
        assert all(map(same_bits, (net.backprop(X, y), net.grad), expected))
        assert (torch.tensor([1e-310], dtype=torch.double) * 1).item() == 0
    finally:
        torch.set_flush_denormal(False)
