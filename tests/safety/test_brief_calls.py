"""Promise: a call of microseconds may keep the GIL, a longer one never does, whatever its shape.

A call that keeps the GIL looks for no signals: the handlers would need what it holds. So what looks
brief and is not would block other threads, or end the process as it takes what it has.
"""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastbp


@pytest.mark.parametrize("call", [
    lambda ones: fastbp.weight_grad(ones, ones),
    lambda ones: fastbp.delta_step(ones, np.ones((1, 1), "f"), ones),
    lambda ones: fastbp.delta_step(ones[:, :0], np.ones((1, 0), "f"), ones)])
def test_others_run_beside_a_long_call_of_narrow_arrays(call):
    """The longest time between two looks of another thread at the clock."""
    ones, gaps, done = np.ones((12_000_000, 1), "f"), [0.0], threading.Event()

    def watch():
        last = time.perf_counter()
        while not done.is_set():
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    def longest():
        del gaps[1:]
        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        call(ones)
        taken = time.perf_counter() - start
        done.set()
        watcher.join()
        done.clear()
        return max(gaps) / taken

    assert min(longest() for _ in range(3)) < 0.7


def test_sums_of_many_samples():
    """There are so many that signals are looked for; up to 2^24 ones are counted exactly."""
    n = 12_000_000
    dW, db = fastbp.weight_grad(np.ones((n, 1), "f"), np.ones((n, 1), "f"))
    assert dW == n and db == n


STOPPED = """
import numpy as np, fastbp
X, y = np.ones((198, 14), "f"), np.ones(198)
net, optimizer = fastbp.MLP([14, 12, 1], seed=0, n_threads=1), fastbp.SGD()
print(flush=True)
for _ in range(4000):
    net.train_epoch(X, y, optimizer, batch_size=1, l2=0.1, shuffle=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signal stops a process on Windows")
def test_a_process_that_stands_still(tmp_path):
    """More than 20 ms pass between two looks at the clock, however short the epoch."""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(fastbp.__file__))}
    process = subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, cwd=tmp_path, env=environment)
    process.stdout.readline()
    for _ in range(20):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.03)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.007)
    assert process.communicate()[1] == b"" and process.returncode == 0
