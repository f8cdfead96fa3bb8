"""Nothing crashes, whatever comes in: objects that were not made, memory that goes away or is not
there. Each in a process of its own, which must live to the end."""

import subprocess
import sys
from pathlib import Path

import pytest

import fastbp


def run(code):
    """The output of ``code`` in a process of its own, which must live to the end."""
    root = Path(fastbp.__file__).parents[1]
    prelude = f"import sys; sys.path.insert(0, {str(root)!r}); import fastbp, numpy as np\n"
    ended = subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True,
                           timeout=60)
    assert ended.returncode == 0, f"exit status {ended.returncode}: {ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("code", [
    # a scalar of the network's own dtype
    "net = fastbp.MLP([2, 1]); net.backprop(np.ones((1, 2), 'f'), np.array(1, 'f'))",
    # subclasses that forget super().__init__()
    "type('Net', (fastbp.MLP,), {'__init__': lambda self: None})().forward(np.ones((1, 0)))",
    "type('Net', (fastbp.MLP,), {'__init__': lambda self: None})().backprop("
    "np.ones((1, 0)), np.ones((1, 0)))",
    "type('Net', (fastbp.Layers,), {'__init__': lambda self: None})().forward("
    "[], [], np.ones((1, 0)))",
    # memory that goes away
    "o, p = fastbp.Adam(), np.ones(10**6); o.step(p, p.copy())\n"
    "getattr(o, 'state', {}).clear(); o.step(p, p.copy()); raise ValueError",
])
def test_no_crash(code):
    guarded = "\n".join(f"    {line}" for line in code.splitlines())
    out = run(f"try:\n{guarded}\nexcept Exception as error: print(type(error).__name__)")
    assert out.strip() in ("ValueError", "TypeError", "RuntimeError", "AttributeError")


def test_a_state_that_is_exchanged_during_a_step():
    assert run("""
import threading
optimizer, p = fastbp.Adam(), np.ones(10**5)
optimizer.step(p, p.copy())
saved, going = optimizer.state_dict(), True
def steps():
    while going:
        try: optimizer.step(p, p)
        except RuntimeError: pass
thread = threading.Thread(target=steps)
thread.start()
for _ in range(300):
    try: optimizer.load_state_dict(saved)
    except RuntimeError: pass
going = False
thread.join()
print("alive")
""").strip() == "alive"


def test_no_memory_for_the_workspace():
    """A block of 256 rows and 10^6 units needs gigabytes; the network is as it was."""
    out = run("""
import resource
net = fastbp.MLP([1, 10**6, 1], seed=0)
X, y = np.ones((256, 1), "f"), np.ones(256)
before = net.params.copy()
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**28, resource.RLIM_INFINITY))
for call in (lambda: net.forward(X), lambda: net.loss_value(X, y), lambda: net.backprop(X, y),
             lambda: net.value_and_grad(net.params, X, y),
             lambda: net.train_epoch(X, y, fastbp.SGD(), batch_size=256)):
    try: call()
    except MemoryError: print("MemoryError")
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
assert (net.params == before).all() and not net.grad.any()
net.backprop(X[:1], y[:1])
assert net.grad.any()
""") if sys.platform == "linux" else pytest.skip("needs RLIMIT_AS")
    assert out.split() == ["MemoryError"] * 5
