"""Promise: a process that used threads can fork, spawn others, and end at any moment.

Forks by hand, and within a call, are in test_threads.py.
"""

import multiprocessing
import sys

import pytest
from calling import in_process, needs_fork, process

COMMON = """
import atexit, os, signal, sys, threading, time
import numpy as np
def exits():                            # registered before fastbp's, called after it
    if "at exit" in sys.argv:
        print(gradient(3) == expected)
atexit.register(exits)
import fastbp
X = np.arange(300 * 20, dtype="f").reshape(300, 20) % 7 / 3 - 1
y = X[:, 0] > 0
net = fastbp.MLP((20, 64, 64, 1), seed=0, n_threads=3)
def gradient(n_threads):
    net.n_threads = n_threads
    return net.backprop(X, y), net.grad.tobytes()
expected = gradient(3)
"""
POOL = """
import multiprocessing, sys
import numpy as np
import fastbp
X = np.arange(900 * 20, dtype="f").reshape(900, 20) % 7 / 3 - 1
y = X[:, 0] > 0
def gradient(net):
    return net.backprop(X, y), net.grad.tobytes(), net.params.tobytes()
def trained(net):
    net.train_epoch(X, y, fastbp.Adam(), rng=0)
    return gradient(net)
if __name__ == "__main__":
    nets = [fastbp.MLP((20, 64, 64, 1), seed=i, n_threads=1 + i % 3) for i in range(6)]
    expected = [gradient(net) for net in nets]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(gradient, nets, chunksize=1) == expected)
        print(pool.map(trained, nets, chunksize=1) == [trained(net) for net in nets])
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_pools(method, tmp_path):
    """Gradients and training in processes that are made while the parent has a team."""
    script = tmp_path / "pool.py"       # from which those that are spawned import
    script.write_text(POOL)
    assert in_process(script, method) == ["True", "True"]


def test_the_main_thread_is_not_the_one_that_imports_threading():
    """Before Python 3.13 `threading` takes that one for it; the call takes seconds."""
    script = """
import _thread, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)     # a parent may have it ignored
sys.modules.pop("threading", None)
imported, sent = _thread.allocate_lock(), []
def first():
    import threading
    imported.release()
def send():
    time.sleep(0.2)
    sent.append(time.process_time())
    signal.raise_signal(signal.SIGINT)
imported.acquire()
_thread.start_new_thread(first, ())
imported.acquire()
import numpy as np
import fastbp
net = fastbp.MLP((1000, 1000, 1), seed=0, n_threads=1)
X = np.ones((60_000, 1000), "f")
_thread.start_new_thread(send, ())
try:
    while True:
        net.loss_value(X, X[:, 0])
except KeyboardInterrupt:
    print(time.process_time() - sent[0] < 0.1)
"""
    assert in_process(script) == ["True"]


@needs_fork
def test_a_thread_that_forks_is_the_main_one_of_the_child():
    """Handlers of signals run within its calls, of which this one is half a minute long."""
    script = COMMON + """
class Enough(Exception):
    pass
def handler(*_):
    raise Enough
def fork():
    global ended
    child = os.fork()
    if child == 0:
        wide = fastbp.MLP((20, 1024, 1024, 1), seed=0, n_threads=1)
        big, targets = np.tile(X, (1000, 1)), np.tile(y, 1000).astype("f")
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            wide.backprop(big, targets)
        except Enough:
            os._exit(0 if time.process_time() < 10 else 2)
        os._exit(1)
    ended = os.waitpid(child, 0)[1]
signal.signal(signal.SIGALRM, handler)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(ended)
"""
    assert in_process(script) == ["0"]


# ---- the end


ENDS = {
    "daemon threads compute": """
def forever(n_threads):
    twin = fastbp.MLP((20, 64, 64, 1), seed=0, n_threads=n_threads)
    big, targets = np.tile(X, (100, 1)), np.tile(y, 100)
    optimizer = fastbp.Adam()
    while True:
        twin.backprop(big, targets)
        twin.train_epoch(big, targets, optimizer)
        fastbp.sigmoid(big)
for n_threads in (1, 2, 3):
    threading.Thread(target=forever, args=(n_threads,), daemon=True).start()
time.sleep(0.2)
""",
    "a thread computes to its end": """
def work():
    for _ in range(50):
        assert gradient(2) == expected
    print("worked")
threading.Thread(target=work).start()
""",
    "sys.exit in a thread": """
def leave():
    gradient(3)
    sys.exit(5)                         # ends the thread alone
threading.Thread(target=leave).start()
""",
    "os._exit": "os._exit(0)",
    "os._exit beside a call": """
threading.Timer(0.2, os._exit, (0,)).start()
while True:
    gradient(3)
""",
    "sys.exit in a handler of signals, within a call": """
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,)).start()
big, targets = np.tile(X, (1000, 1)), np.tile(y, 1000)
while True:
    net.backprop(big, targets)
""",
    "nothing more": "",
}


@pytest.mark.parametrize("end, at_exit", [
    *((end, "at exit") for end in ENDS), ("daemon threads compute", ""), ("nothing more", ""),
    *(pytest.param(end, "", marks=pytest.mark.exhaustive) for end in list(ENDS)[1:-1])])
def test_the_end_of_the_interpreter(end, at_exit):
    """Exit status 0, no message; a handler of `atexit` that comes after fastbp's can compute."""
    printed = in_process(COMMON + ENDS[end], at_exit)
    left = end.startswith("os._exit")
    assert printed == ["worked"] * ("its end" in end) + ["True"] * (at_exit != "" and not left)


@pytest.mark.skipif(sys.platform != "linux", reason="on_exit is of the GNU C library")
def test_threads_that_outlive_the_interpreter():
    """Daemon threads are in their computations when it goes, and look for signals afterwards."""
    script = COMMON + """
import ctypes
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})     # theirs too: the main thread is faster
def work(n_threads):
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    twin = fastbp.MLP((20, 64, 64, 1), seed=0, n_threads=n_threads)
    twin.train_epoch(np.tile(X, (1000, 1)), np.tile(y, 1000), fastbp.Adam())
for n_threads in (1, 2, 3) * 2:
    threading.Thread(target=work, args=(n_threads,), daemon=True).start()
time.sleep(0.2)
libc = ctypes.CDLL(None)
libc.on_exit(libc.sleep, None)      # is called with the exit status
sys.exit(1)
"""
    ended = process(script)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_an_exit_status_is_kept():
    script = COMMON + """
def handler(*_):
    sys.exit(3)
signal.signal(signal.SIGINT, handler)
threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()
while True:
    net.train_epoch(np.tile(X, (1000, 1)), np.tile(y, 1000), fastbp.SGD())
"""
    ended = process(script)
    assert (ended.returncode, ended.stderr) == (3, "")
