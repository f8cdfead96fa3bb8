"""Promise: plans of fastbp.h run without the GIL, in any thread, beside each other and in the child
of a fork; a plan in use is refused by a code, and signals wait until a run ends."""

import ctypes
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from bits import same_bits
from c_api import Plan, problem
from float_mode import MODES, caller_mode, needs_modes

from fastbp import MLP
from fastbp._engine import team

SMALL, LARGE = ((3, 40, 2), 300), ((200, 300, 300, 1), 4096)     # some 0.1 ms and 0.1 s


class Case:
    """A plan and its arrays, and the results that MLP has of them."""

    def __init__(self, sizes, rows, dtype="float32", seed=0, threads=1):
        rng = np.random.default_rng(seed)
        net = MLP(sizes, dtype=dtype, seed=seed, n_threads=1)
        self.X = rng.uniform(-1, 1, (rows, sizes[0])).astype(dtype)
        self.y = rng.integers(0, 2, (rows, sizes[-1])).astype(dtype)
        self.params = [p for pair in zip(net.weights, net.biases, strict=True) for p in pair]
        self.grads = [np.empty_like(param) for param in self.params]
        self.loss, self.net = net.backprop(self.X, self.y), net
        self.plan = Plan(problem(sizes, dtype, rows=rows, threads=threads))

    def run(self):
        return self.plan.gradient(self.grads, self.params, self.X, self.y)

    def is_right(self):
        found = np.concatenate([grad.ravel() for grad in self.grads])
        return self.plan.value.value == self.loss and same_bits(found, self.net.grad)

    def clear(self):
        self.plan.value.value = -1
        for grad in self.grads:
            grad.fill(np.nan)


def in_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("threads", [1, 2])
def test_plans_beside_each_other(threads):
    """Of the same network and of others; one of them has the team's helpers at a time."""
    cases = [Case(*SMALL, dtype=dtype, seed=seed, threads=threads)
             for dtype in ("float32", "float64") for seed in (1, 2)]
    wrong = []

    def work(case):
        for _ in range(100):
            case.clear()
            if case.run() != "OK" or not case.is_right():
                wrong.append(case)

    in_threads(*[lambda case=case: work(case) for case in cases])
    assert not wrong
    assert [case.plan.free() for case in cases] == ["OK"] * 4


def test_a_plan_in_use_is_refused():
    """A run, and the end of the plan; the run that has it goes on."""
    case = Case(*LARGE)

    def work():
        while case.run() == "BUSY":         # with the calls below
            pass

    runner = threading.Thread(target=work)
    case.clear()
    runner.start()
    X, y = case.X[:1], case.y[:1]
    out, found = np.empty_like(y), "OK"
    while runner.is_alive() and found == "OK":
        found = case.plan.outputs("forward", out, case.params, X)
    assert found == "BUSY"
    out.fill(7)
    refused = (case.plan.outputs("logits", out, case.params, X), case.plan.free(),
               case.plan.gradient(case.grads, case.params, X, y))
    runner.join()
    assert refused == ("BUSY",) * 3
    assert (out == 7).all() and case.is_right()
    assert case.plan.free() == "OK"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="has no GIL")
def test_a_run_needs_no_gil(threads):
    """It ends while another thread holds the GIL, also where it has to start a helper first."""
    case, switches = Case(*SMALL, threads=threads), sys.getswitchinterval()
    case.clear()
    team._leave()
    runner = threading.Thread(target=case.run)
    sys.setswitchinterval(1000)
    try:
        runner.start()                      # returns when the runner has had the GIL, and
        end = time.perf_counter() + 20      # has it no more: it is in the run, or about to wait
        while case.plan.value.value == -1 and time.perf_counter() < end:
            pass
        ended = case.plan.value.value != -1
    finally:
        sys.setswitchinterval(switches)
    runner.join()
    assert ended and case.is_right()
    case.plan.free()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_handlers_of_signals_wait():
    case, losses = Case(*LARGE), []
    case.clear()
    before = signal.signal(signal.SIGALRM, lambda *_: losses.append(case.plan.value.value))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        assert case.run() == "OK"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert case.is_right() and losses == [case.loss]
    case.plan.free()


@needs_modes
@pytest.mark.parametrize("mode", MODES)
def test_the_mode_of_the_caller(mode):
    """N5, in the caller's thread and in a helper's."""
    for threads in (1, 2):
        case = Case(*SMALL, threads=threads)
        case.clear()
        with caller_mode(MODES[mode]):
            code = case.run()
        assert code == "OK" and case.is_right()
        case.plan.free()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("of_c", [False, True], ids=["Python's", "C's"])
def test_the_child_of_a_fork(of_c):
    """Of Python's, and of a program in C, of which no handler of Python's hears.

    The helper that the child does not have leaves its parts to the caller.
    """
    case = Case(*SMALL, threads=2)
    assert case.run() == "OK"
    case.clear()
    # PyDLL keeps the GIL, which another thread might hold in the child for ever.
    child = (ctypes.PyDLL(None) if of_c else os).fork()
    if child == 0:
        os._exit(0 if case.run() == "OK" and case.is_right() and case.plan.free() == "OK" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert case.run() == "OK" and case.is_right()
    case.plan.free()
