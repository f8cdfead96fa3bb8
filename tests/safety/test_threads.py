"""Promise: threads come and go unnoticed; many callers, Ctrl-C, forks and the end of a process meet
them as if there were one.

Left to fastbp, their number follows the work, the CPUs and the environment. That any number gives
the bits of one is L1: bits/test_l1_threads.py.
"""

import sys
import threading
import time

import numpy as np
import pytest
from bits import same_bits, samples
from calling import LIMIT, ends_in_time, in_process, interrupted, needs_fork, takes_signals

import fastbp
from fastbp import MLP, Adam

# ---- callers at once, interruptions, forks, the end


def test_one_team_and_many_callers():
    """Who finds the team busy computes alone; nobody waits, everybody is right."""
    sizes = (20, 64, 64, 1)
    X, y, _ = samples(sizes, 500, "float32")
    nets = [MLP(sizes, seed=seed, n_threads=2 + seed % 3) for seed in range(6)]
    expected = []
    for net in nets:
        loss = net.backprop(X, y)
        expected.append((loss, net.grad.copy()))
    wrong = []

    def work(i):
        for _ in range(50):
            loss = nets[i].backprop(X, y)
            if loss != expected[i][0] or not same_bits(nets[i].grad, expected[i][1]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(nets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@takes_signals
@pytest.mark.parametrize("batch_size, l2", [(4, 0.0), (64, 0.1), (1000, 0.0)])
def test_an_interrupted_epoch_is_a_whole_number_of_steps(batch_size, l2):
    sizes = (4, 256, 256, 1)
    X, y, _ = samples(sizes, 1000, "float32")
    net, optimizer = MLP(sizes, seed=0, n_threads=3), Adam()
    for repetition in range(3):
        before = net.params.copy()
        with interrupted(0.05, lambda: not np.array_equal(net.params, before)) as late:  # noqa: B023
            net.train_epoch(np.tile(X, (1000, 1)), np.tile(y, (1000, 1)), optimizer, l2=l2,
                            batch_size=batch_size, shuffle=False)
        assert late[0] < 3 * 2.0        # there may be fewer CPUs than the 3 threads
        if repetition == 0:
            twin, other, done = MLP(sizes, seed=0, n_threads=1), Adam(), 0
        for step in range(optimizer.t - done):
            rows = np.arange(step * batch_size, (step + 1) * batch_size) % 1000
            twin.backprop(X[rows], y[rows], reduction="mean", l2=l2)
            other.step(twin.params, twin.grad)
        assert optimizer.t > done
        done = optimizer.t
        assert same_bits(net.params, twin.params)


@takes_signals
def test_a_wide_network_is_interrupted():
    sizes = (*[1024] * 6, 1)
    X, y, _ = samples(sizes, 2048, "float32")
    net = MLP(sizes, seed=0, n_threads=2)
    expected = net.backprop(X[:300], y[:300])
    ends_in_time(lambda: net.backprop(X, y), n_threads=2)
    assert net.backprop(X[:300], y[:300]) == expected


FORKS = f"LIMIT = {LIMIT}" + """
import os, signal, sys
import numpy as np
import fastbp
sizes = (20, 64, 64, 1)
X = np.arange(300 * 20, dtype="f").reshape(300, 20) % 7 / 3 - 1
net = fastbp.MLP(sizes, seed=0, n_threads=3)
def work():
    return net.backprop(X, X[:, 0] > 0), net.grad.tobytes()
"""


@needs_fork
def test_a_forked_process_has_a_team_of_its_own():
    print_children = FORKS + """
expected = work()
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)
        os._exit(0 if work() == expected and work() == expected else 1)
    print(os.waitpid(child, 0)[1], work() == expected)
"""
    assert in_process(print_children) == ["0", "True"] * 3


@needs_fork
def test_a_fork_within_a_call():
    """By a handler of signals: the parent goes on, the child is told, neither hangs."""
    script = FORKS + """
children = []
def handler(*_):
    if not children:
        children.append(os.fork())
        if children[0] == 0:
            signal.alarm(LIMIT)
signal.signal(signal.SIGALRM, handler)
big = np.tile(X, (2000, 1))
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    while not children:
        loss = net.backprop(big, big[:, 0] > 0)
    # the handler may have run between two calls
    result = "parent" if children[0] else "between"
except RuntimeError as error:
    result = "told" if "forked" in str(error) else str(error)
if children[0] == 0:
    ok = result in ("told", "between") and np.isfinite(net.backprop(X, X[:, 0] > 0))
    os._exit(0 if ok else 1)
print(result, os.waitpid(children[0], 0)[1])
"""
    assert in_process(script) == ["parent", "0"]


@needs_fork
def test_a_fork_within_a_call_of_one_thread():
    """Parent and child go on: calls of the child's handler leave the memory of this one alone."""
    script = FORKS + """
fastbp.set_num_threads(1)
net = fastbp.MLP(sizes, seed=0)
other = fastbp.MLP((20, 200, 64, 1), seed=1)        # wants more memory
big = np.tile(X, (1500, 1))
calls = {
    "forward": lambda net, X: net.forward(X).tobytes(),
    "loss_value": lambda net, X: net.loss_value(X, X[:, 0] > 0),
    "backprop": lambda net, X: (net.backprop(X, X[:, 0] > 0), net.grad.tobytes()),
    "equations": lambda net, X: [a.tobytes() for arrays in fastbp.backprop(
        net.weights, net.biases, X, X[:, 0] > 0)[1:] for a in arrays],
    "train_epoch": lambda net, X: (net.train_epoch(
        X, X[:, 0] > 0, fastbp.SGD(), rng=0, batch_size=300), net.params.tobytes()),
}
def handler(*_):
    global child
    child, at_fork = os.fork(), net.params.copy()
    if child == 0:
        signal.alarm(LIMIT)
        for each in other, net:
            try:
                calls[name](each, X)
            except RuntimeError as error:           # the outer call still has the network
                assert each is net and "in use" in str(error)
        if (net.params != at_fork).any():
            net.params[:] = start                   # by this call: the outer one has not begun
signal.signal(signal.SIGALRM, handler)
start = net.params.copy()
for name in calls:
    expected, child = calls[name](net, big), None
    while child is None:
        net.params[:] = start
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        found = calls[name](net, big)
    if child == 0:
        os._exit(0 if found == expected else 1)
    print(name, os.waitpid(child, 0)[1], found == expected)
    net.params[:] = start
"""
    assert in_process(script) == ["forward", "0", "True", "loss_value", "0", "True",
                                  "backprop", "0", "True", "equations", "0", "True",
                                  "train_epoch", "0", "True"]


@needs_fork
def test_a_handler_that_forks_and_raises():
    """The child ends by the exception of its handler, not by one about the fork."""
    script = FORKS + """
children = []
def handler(*_):
    if not children:
        children.append(os.fork())
        if children[0] == 0:
            sys.exit(7)
signal.signal(signal.SIGALRM, handler)
big = np.tile(X, (2000, 1))
signal.setitimer(signal.ITIMER_REAL, 0.1)
while not children:
    net.backprop(big, big[:, 0] > 0)
print(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
"""
    assert in_process(script) == ["7"]


COUNT = """
import os, sys
import numpy as np
import fastbp
def tasks():
    return len(os.listdir("/proc/self/task"))
def big(n_threads=None):
    net = fastbp.MLP((64, 256, 256, 1), seed=0, n_threads=n_threads)
    net.backprop(np.ones((512, 64), "f"), np.ones(512, "f"))
"""
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")


@needs_proc
def test_helpers_are_gone_before_the_interpreter():
    script = COUNT.replace("import fastbp\n", """
import atexit, time
def last():                             # registered before fastbp's, called after it
    end = time.monotonic() + 10
    while tasks() > 1 and time.monotonic() < end:
        time.sleep(0.001)
    print(tasks())
atexit.register(last)
import fastbp
""") + "big(4); print(tasks())"
    assert in_process(script, OPENBLAS_NUM_THREADS="1") == ["4", "1"]


@needs_proc
def test_no_threads_to_be_had():
    script = COUNT + FORKS + """
import resource
expected = fastbp.MLP(sizes, seed=0, n_threads=1)
loss = expected.backprop(X, X[:, 0] > 0)
net.backprop(X, X[:, 0] > 0) if sys.argv[1] == "helped" else None
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**22, resource.RLIM_INFINITY))  # half a stack
net.n_threads = 5
print(work() == (loss, expected.grad.tobytes()), tasks())
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
print(work() == (loss, expected.grad.tobytes()), tasks())
"""
    # one arena: a helper's first malloc would reserve 64 MiB for one of its own, at any time
    one = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    assert in_process(script, "alone", **one) == ["True", "1", "True", "5"]
    assert in_process(script, "helped", **one) == ["True", "3", "True", "5"]


# ---- their number


@needs_proc
def test_number_in_automatic_mode():
    """One for little work; for much, what the environment or the process's CPUs allow."""
    little = COUNT + """
net = fastbp.MLP((30, 64, 64, 1), seed=0)
for n in (1, 64):
    net.backprop(np.ones((n, 30), "f"), np.ones(n, "f"))
    net.train_epoch(np.ones((1000, 30), "f"), np.ones(1000, "f"), fastbp.Adam(), batch_size=n)
print(tasks())
"""
    one = {"OPENBLAS_NUM_THREADS": "1"}
    assert in_process(little, FASTBP_NUM_THREADS="4", **one) == ["1"]
    much = COUNT + "big(); print(tasks())"
    assert in_process(much, FASTBP_NUM_THREADS="3", **one) == ["3"]
    assert in_process(much, OMP_NUM_THREADS="1", **one) == ["1"]
    assert in_process(COUNT + "fastbp.set_num_threads(2); big(); print(tasks())", **one) == ["2"]
    pin = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    assert in_process(COUNT + pin + "big(); print(tasks())", **one) == ["1"]
    every = in_process(COUNT + "big(); print(tasks(), fastbp.get_num_threads())", **one)
    assert every[0] == every[1] or int(every[0]) == 8   # the work is worth eight


@needs_proc
def test_a_number_is_used_as_it_is():
    script = COUNT + "fastbp.set_num_threads(1); big(3); print(tasks())"
    assert in_process(script, OPENBLAS_NUM_THREADS="1") == ["3"]


@pytest.mark.thread_unsafe(reason="sets the number of threads of the process")
def test_any_number_is_taken():
    """No more threads than rows, or than a team has, are made of it."""
    X, y, _ = samples((20, 64, 1), 3, "float32")
    before = fastbp.get_num_threads()
    try:
        fastbp.set_num_threads(10**30)
        assert MLP((20, 64, 1), seed=0, n_threads=10**30).backprop(X, y) == MLP(
            (20, 64, 1), seed=0, n_threads=1).backprop(X, y)
        wide = MLP((256, 256, 1), seed=0)
        assert np.isfinite(wide.backprop(np.ones((512, 256), "f"), np.ones(512, "f")))
    finally:
        fastbp.set_num_threads(None)
    assert fastbp.get_num_threads() == before


@pytest.mark.thread_unsafe(reason="takes the time of the process")
def test_helpers_sleep_after_a_call():
    net = MLP((20, 64, 1), seed=0, n_threads=3)
    net.backprop(*samples((20, 64, 1), 100, "float32")[:2])
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05
