"""Promise: no call keeps a block of memory or a reference, whether it returns or raises.

Blocks are counted by the allocator, which has the objects of the interpreter, too.
"""

import itertools
import platform
import sys

import numpy as np
import pytest
from allocator import Allocator, in_process
from every_call import arguments, calls, one_of_each

import fastbp

SIZES, N_SAMPLES = (3, 5, 2), 7
WARM = 10  # calls that fill what the interpreter keeps for itself


def refusals(a, dtype):
    """name -> a call that raises ValueError or TypeError, late or early in it."""
    net = fastbp.MLP(SIZES, dtype=dtype, seed=0)
    classifier = fastbp.MLP(SIZES, loss="softmax", dtype=dtype, seed=0)
    layers = fastbp.Layers(SIZES, ["tanh", "identity"], dtype=dtype)
    optimizer, X, y = fastbp.Adam(), a["X"], a["y"]
    optimizer.step(a["params"].copy(), a["grad"])
    weights, biases = [a["W1"], a["W2"]], [a["b1"], a["b2"]]
    grads = [np.empty_like(W) for W in weights], [np.empty_like(b) for b in biases]
    read_only, nan = np.zeros_like(a["z"]), np.full_like(y, np.nan)
    read_only.flags.writeable = False
    return {
        "sizes": lambda: fastbp.MLP([3, 0]),
        "option": lambda: fastbp.MLP(SIZES, pos_weight=[1.0, -1.0]),
        "dtype": lambda: fastbp.MLP(SIZES, dtype="int8"),
        "rng": lambda: fastbp.MLP(SIZES, seed="x"),
        "X": lambda: net.forward(X[:, :2]),
        "X of strings": lambda: net.logits(X.astype(str)),
        "masked X": lambda: net.backprop(np.ma.masked_less(X, 0), y),
        "out": lambda: net.forward(X, out=read_only),
        "overlap": lambda: fastbp.sigmoid(a["grad"][1:], out=a["grad"][:-1]),
        "y": lambda: net.backprop(X, nan),
        "classes": lambda: classifier.backprop(X, a["classes"] + 9),
        "probabilities": lambda: classifier.loss_value(X, y),
        "weights": lambda: net.loss_value(X, y, sample_weight=-a["w"]),
        "no weight": lambda: net.backprop(X, y, sample_weight=0 * a["w"], reduction="mean"),
        "reduction": lambda: net.backprop(X, y, reduction="max"),
        "l2": lambda: net.objective(X, y, l2=-1),
        "params": lambda: net.value_and_grad(a["params"][1:], X, y),
        "objective": lambda: net.objective(X, y)(a["params"][1:]),
        "error_bound": lambda: net.error_bound(X, y, out=a["params"][1:]),
        "max_norm": lambda: net.clipped_backprop(X, y, 0),
        "norm": lambda: net.clipped_backprop(np.full_like(X, np.nan), y, 1.0),
        "noise": lambda: net.clipped_backprop(X, y, 1.0, noise_multiplier=1.0, rng=1),
        "norm in an epoch": lambda: net.train_epoch(
            np.full_like(X, np.nan), y, fastbp.SGD(), max_grad_norm=1.0, noise_multiplier=1.0),
        "order of steps": lambda: net.train_epoch(X, y, fastbp.SGD(), order=[a["order"], [-1]]),
        "out of norms": lambda: net.per_sample_grad_norms(X, y, out=a["params"]),
        "out of gradients": lambda: net.per_sample_grads(X, y, out=a["params"]),
        "input_grad": lambda: net.input_grad(X, y, out=a["params"]),
        "jacobian": lambda: net.jacobian(X, of="loss"),
        "memory": lambda: net.linearize(X, y, memory=-1),
        "direction": lambda: net.linearize(X, y).hvp(a["params"][1:]),
        "out of a product": lambda: net.linearize(X, y).gnvp(a["params"], a["params"]),
        "order": lambda: net.train_epoch(X, y, fastbp.SGD(), order=a["order"] - 9),
        "batch_losses": lambda: net.train_epoch(X, y, fastbp.SGD(), batch_losses=X),
        "other optimizer": lambda: net.train_epoch(X[:, :2], y, optimizer),
        "optimizer": lambda: optimizer.step(X[0], X[0]),
        "state": lambda: optimizer.load_state_dict({**optimizer.state_dict(), "m": X}),
        "lr": lambda: fastbp.SGD(lr=-1),
        "activations": lambda: fastbp.Layers(SIZES, ["tanh", "gelu"]),
        "W": lambda: layers.forward(weights[::-1], biases, X),
        "dW": lambda: layers.loss_and_grad(weights, biases, X, y, weights, grads[1]),
        "y of layers": lambda: layers.loss_and_grad(weights, biases, X, nan, *grads),
        "grad_output": lambda: (layers.forward(weights, biases, X),
                                layers.backward(X, *grads)),
        "delta_step": lambda: fastbp.delta_step(a["delta"], a["W1"], a["h"]),
        "weight_grad": lambda: fastbp.weight_grad(a["h"], a["delta"][1:]),
        "bce_with_logits": lambda: fastbp.bce_with_logits(a["z"], nan, a["w"]),
        "backprop": lambda: fastbp.backprop(weights, biases[::-1], X, y),
        "activate": lambda: fastbp.activate(X, "gelu"),
    }


def raising(call):
    def run():
        try:
            call()
        except (TypeError, ValueError):
            return
        raise AssertionError("nothing was raised")
    return run


def repeat(dtype, which, repetitions):
    """Print the names of calls that keep blocks of memory, or references to an argument."""
    allocator, a = Allocator(), arguments(N_SAMPLES, SIZES, dtype)
    found = list(calls(a, SIZES, dtype))
    runs = {call.name: call.prepare(**call.arrays(np.zeros, dtype))[0]
            for call in (found if which == "all" else one_of_each(found))}
    runs |= {f"refused {name}": raising(call) for name, call in refusals(a, dtype).items()}
    kept = np.zeros((2, 1 + len(a)), int)

    def count(row):
        row[1:] = [sys.getrefcount(x) for x in a.values()]
        row[0] = allocator.settled_blocks()

    for name, run in runs.items():
        for _ in range(WARM):
            run()
        count(kept[0])
        for _ in itertools.repeat(None, int(repetitions)):      # a counter would be kept, too
            run()
        count(kept[1])
        if (kept[1] > kept[0]).any():
            print(name, kept[1] - kept[0])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator calls glibc's")
@pytest.mark.parametrize("which, repetitions", [
    ("all", 100), pytest.param("one of each", 10**5, marks=pytest.mark.exhaustive)])
def test_nothing_is_kept(dtype, which, repetitions, tmp_path):
    assert not in_process(tmp_path, repeat, dtype, which, str(repetitions))
