"""Calls from many threads, in processes of their own, and under Ctrl-C; no test is here."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import fastbp

# Seconds, after which a child that was forked hangs: with a sanitizer on a loaded machine it may
# need a hundred times its own, and one that ends in time waits for nothing.
LIMIT = 120
# of another process; there is one for all processes of a console on Windows
needs_own_ctrl_c = pytest.mark.skipif(os.name == "nt", reason="needs a Ctrl-C for one process")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
takes_signals = pytest.mark.thread_unsafe(reason="signals come to the main thread")


def in_threads(count, work):
    """``work(i)`` in ``count`` threads that start together; their results."""
    barrier, results = threading.Barrier(count), [None] * count

    def run(i):
        barrier.wait()
        try:
            results[i] = work(i)
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def press_ctrl_c():
    """SIGINT to this process, from any thread. On Windows os.kill would end the process."""
    if os.name == "nt":
        signal.raise_signal(signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


@contextlib.contextmanager
def keyboard_interrupt():
    """The block ends in the KeyboardInterrupt of a SIGINT."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def interrupted(after, once=lambda: True):
    """SIGINT after so many seconds and once something is so, which ends the block.

    Gives a list, then the seconds that it took: of processor time, since others may have the CPUs.
    """
    sent, late = [], []

    def send():
        while not once():
            time.sleep(0.001)
        sent.append(time.process_time())
        press_ctrl_c()

    timer = threading.Timer(after, send)
    try:
        with keyboard_interrupt():
            timer.start()
            yield late
        late.append(time.process_time() - sent[0])
    finally:
        timer.cancel()
        timer.join()


def ends_in_time(call, after=0.1, n_threads=1, within=0.1):
    """SIGINT ends calls without end within 0.1 s, of processor time of each thread that computes.

    The first call is let alone: the system takes its time to hand out memory. A machine that stalls
    may make one end late, but not two of three, as a phase of a call that is too long does.
    """
    call()
    late = []
    while not late or max(late) > within * n_threads and len(late) < 3:
        with interrupted(after) as seconds:
            while True:
                call()
        late += seconds
    assert sorted(late)[len(late) // 2] < within * n_threads, late


def in_process(script, *arguments, **variables):
    """What a Python script prints in a process of its own, which ends well and without a message.
    """
    ended = process(script, *arguments, **variables)
    assert ended.returncode == 0 and not ended.stderr, (ended.returncode, ended.stderr)
    return ended.stdout.split()


def process(script, *arguments, **variables):
    """The end of a process that runs a Python script: its text, or where it is."""
    script = ["-c", script] if isinstance(script, str) else [script]
    package = str(Path(fastbp.__file__).parents[1])
    names = ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS")
    env = {name: value for name, value in os.environ.items() if name not in names}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (package, env.get("PYTHONPATH"))))
    # from 3.12 on Python says so of every fork beside threads, which is what is tested here
    env["PYTHONWARNINGS"] = "ignore:This process:DeprecationWarning"
    return subprocess.run([sys.executable, *script, *arguments], env=env | variables,
                          capture_output=True, text=True, timeout=3 * LIMIT)
