"""Promise: any number of threads gives the bits of one, and threads come and go unnoticed.

Asked for by number, threads are used even where the work is too small or the CPUs are too few
for them, which mixes their order as nothing else does. Left to fastbp, their number follows the
work, the CPUs and the environment.
"""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from all_pairs import all_pairs
from calling import ends_in_time, in_process, interrupted, takes_signals

import fastbp
from fastbp import MLP, SGD, Adam, Layers

THREADS = (2, 3, 5, 16)
NETWORKS = [  # sizes, batch: no, one, fewer and more samples than threads; one block and several
    ((3, 1), 0), ((2, 8, 8, 1), 1), ((5, 7, 3), 2), ((30, 64, 1), 37), ((9, 1, 4, 1), 300),
    ((17, 33, 129, 5), 700), ((100, 65, 1), 1300), ((16, 4096, 3), 300),
    ((8, 1500, 1), 512), ((3, 196, 117), 1361),     # chunks of E6 in a block of two parts alone
]


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def samples(sizes, n, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.uniform(-1, 1, (n, sizes[0])).astype(dtype),
            rng.integers(0, 2, (n, sizes[-1])).astype(dtype), rng.random(n).astype(dtype))


# ---- the bits of one thread


@all_pairs("isa", "dtype", network=NETWORKS)
def test_gradient(isa, dtype, network):
    sizes, n = network
    X, y, w = samples(sizes, n, dtype)

    def results(threads):
        net = MLP(sizes, dtype=dtype, seed=0, n_threads=threads)
        loss = net.backprop(X, y, sample_weight=w, l2=0.5)
        return (loss, net.grad.copy(), net.forward(X), net.logits(X), net.loss_value(X, y),
                *net.value_and_grad(net.params, X, y))

    expected = results(1)
    for threads in THREADS:
        assert all(map(same_bits, results(threads), expected)), threads


@all_pairs("isa", "dtype", network=NETWORKS, layout=["io", "oi"])
def test_layers(isa, dtype, network, layout):
    sizes, n = network
    X, y, _ = samples(sizes, n, dtype)
    net = MLP(sizes, dtype=dtype, seed=0)
    weights = [W if layout == "io" else np.ascontiguousarray(W.T) for W in net.weights]

    def results(threads):
        layers = Layers(sizes, ["sigmoid"] * (len(sizes) - 1), dtype=dtype, layout=layout,
                        n_threads=threads)
        h = layers.forward(weights, net.biases, X)
        grads = [np.full_like(a, np.nan) for a in (*weights, *net.biases, X)]
        count = len(weights)
        layers.backward(y - h, grads[:count], grads[count:-1], grads[-1])
        return h, *grads

    expected = results(1)
    for threads in THREADS:
        assert all(map(same_bits, results(threads), expected)), threads


def test_layers_whose_threads_change_between_forward_and_backward(dtype):
    """delta has room for the blocks of the most threads and the most rows seen together."""
    sizes = (64, 100, 3)
    net = MLP(sizes, dtype=dtype, seed=0)

    def results(layers, n_threads):
        X, y, _ = samples(sizes, 3000, dtype)
        h = layers.forward(net.weights, net.biases, X)
        layers.n_threads = n_threads
        grads = [np.empty_like(a) for a in (*net.weights, *net.biases)]
        layers.backward(y - h, grads[:2], grads[2:])
        return grads

    expected = results(Layers(sizes, ["sigmoid"] * 2, dtype=dtype, n_threads=1), 1)
    layers = Layers(sizes, ["sigmoid"] * 2, dtype=dtype, n_threads=3)
    layers.forward(net.weights, net.biases, np.ones((10, 64)))
    layers.n_threads = 1
    assert all(map(same_bits, results(layers, 3), expected))
    assert layers.n_threads == 3


EPOCHS = [
    {"shuffle": False, "batch_size": 32},
    {"rng": 3, "batch_size": 7},
    {"rng": 4, "batch_size": 600, "l2": 0.25, "weighted": True},
    {"order": np.arange(1000)[::-1] // 2, "batch_size": 1, "weighted": True},
]


@all_pairs("isa", "dtype", make=[lambda: SGD(0.1, momentum=0.9), lambda: Adam(0.01)],
           options=EPOCHS)
def test_epoch(isa, dtype, make, options):
    sizes, n, options = (6, 19, 2), 1000, dict(options)
    X, y, w = samples(sizes, n, dtype)
    if options.pop("weighted", False):
        w[::3] = 0          # in batches of one, a third makes no step
        options["sample_weight"] = w

    def results(threads):
        net, optimizer = MLP(sizes, dtype=dtype, seed=0, n_threads=threads), make()
        losses = [net.train_epoch(X, y, optimizer, **options) for _ in range(2)]
        return losses, net.params, net.grad, optimizer.t

    expected = results(1)
    for threads in THREADS:
        assert all(map(same_bits, results(threads), expected)), threads


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


FORKS = """
import os, signal, sys
import numpy as np
import fastbp
sizes = (20, 64, 64, 1)
X = np.arange(300 * 20, dtype="f").reshape(300, 20) % 7 / 3 - 1
net = fastbp.MLP(sizes, seed=0, n_threads=3)
def work():
    return net.backprop(X, X[:, 0] > 0), net.grad.tobytes()
"""


def test_a_forked_process_has_a_team_of_its_own():
    print_children = FORKS + """
expected = work()
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if work() == expected and work() == expected else 1)
    print(os.waitpid(child, 0)[1], work() == expected)
"""
    assert in_process(print_children) == ["0", "True"] * 3


def test_a_fork_within_a_call():
    """By a handler of signals: the parent goes on, the child is told, neither hangs."""
    script = FORKS + """
children = []
def handler(*_):
    if not children:
        children.append(os.fork())
        if children[0] == 0:
            signal.alarm(20)
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
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts in /proc")


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
