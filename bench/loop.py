"""What each call of a training loop costs, for the networks of docs/performance-four.png.

    taskset -c 1 python bench/loop.py [--json results/loop.json] [--seconds 6]

All calls of a network take turns on one core, in float32, with ReLU hidden units and Adam; two more
rows have one of them with tanh units and in float64. A figure is the median of many samples of some
milliseconds, of processor time, to which other programs add less. `train_epoch` and `fit` are timed
over epochs of STEPS mini-batches and divided by the steps, so they contain the gather and the
update of each. "an update in NumPy" is `params -= lr * grad`.
Before they are timed the calls are compared: the same gradient from each, to the bit, and the same
parameters after two epochs in each way.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np

import fastbp
from fastbp._command.bench.networks import flatten, name
from fastbp._command.bench.timing import interleave, one_core, summary
from fastbp._command.machine import machine
from fastbp._command.problems import problem

NETWORKS = [((2, 8, 8, 1), 32), ((10, 32, 32, 1), 64), ((30, 64, 64, 1), 256),
            ((784, 256, 128, 1), 128)]
CASES = [(*network, "relu", "float32") for network in NETWORKS] + [
    (*NETWORKS[1], "tanh", "float32"), (*NETWORKS[1], "relu", "float64")]
STEPS, EPOCHS, LR, L2 = 20, 5, 1e-6, 1e-3


def verify(sizes, batch, activation, dtype):
    """Every call has the same gradient, and every way through an epoch the same parameters."""
    network = partial(problem, dtype=dtype, activation=activation)
    net, X, y = network(sizes, batch)
    loss = net.backprop(X, y)
    own = net.grad.copy()
    given = fastbp.backprop(net.weights, net.biases, X, y, activation=activation)
    others = [(given[0], flatten(*given[1:])), net.objective(X, y)(net.params)]
    layers = fastbp.Layers(sizes, [activation] * (len(sizes) - 2) + ["identity"], dtype=dtype,
                           n_threads=1)
    dW, db = [np.empty_like(W) for W in net.weights], [np.empty_like(b) for b in net.biases]
    others.append((layers.loss_and_grad(net.weights, net.biases, X, y, dW, db), flatten(dW, db)))
    assert net.loss_value(X, y) == loss
    for other, grad in others:
        assert other == loss and (grad == own).all(), name(sizes)
    by_epoch, X, y = network(sizes, STEPS * batch)
    by_fit, by_steps = network(sizes, 1)[0], network(sizes, 1)[0]
    order = np.arange(len(X))
    for _ in range(2):
        by_epoch.train_epoch(X, y, fastbp.SGD(LR), batch_size=batch, l2=L2, order=order)
        for first in range(0, len(X), batch):
            rows = slice(first, first + batch)
            by_steps.backprop(X[rows], y[rows], reduction="mean", l2=L2)
            fastbp.SGD(LR).step(by_steps.params, by_steps.grad)
    by_fit.fit(X, y, fastbp.SGD(LR), epochs=2, batch_size=batch, l2=L2, shuffle=False)
    assert (by_epoch.params == by_steps.params).all(), name(sizes)
    assert (by_epoch.params == by_fit.params).all(), name(sizes)


def calls(sizes, batch, activation, dtype):
    """{a column of the table: (call, steps in it)}."""
    network = partial(problem, dtype=dtype, activation=activation)
    net, X, y = network(sizes, batch)
    trained, many, targets = network(sizes, STEPS * batch)
    adam, step = fastbp.Adam(LR), fastbp.Adam(LR)
    rng, objective = np.random.default_rng(0), net.objective(X, y)
    params = net.params.copy()
    return {
        "forward": (lambda: net.forward(X), 1),
        "loss_value": (lambda: net.loss_value(X, y), 1),
        "backprop": (lambda: net.backprop(X, y, reduction="mean"), 1),
        "Adam.step": (lambda: step.step(params, net.grad), 1),
        "an update in NumPy": (lambda: np.subtract(params, LR * net.grad, out=params), 1),
        "train_epoch, a step": (lambda: trained.train_epoch(
            many, targets, adam, batch_size=batch, rng=rng), STEPS),
        "fit, a step": (lambda: trained.fit(
            many, targets, adam, epochs=EPOCHS, batch_size=batch, rng=rng), EPOCHS * STEPS),
        "backprop of lists": (lambda: fastbp.backprop(
            net.weights, net.biases, X, y, activation=activation), 1),
        "objective": (lambda: objective(net.params), 1),
    }


def label(sizes, batch, activation, dtype):
    """The first cell of a row: the network, its batch, and what is not relu or float32."""
    others = [other for other in (activation, dtype) if other not in ("relu", "float32")]
    return ", ".join([f"{name(sizes)} ({batch})", *others])


def measured(case, seconds):
    """The row of a network: the median in microseconds of each call."""
    named = calls(*case)
    samples = interleave([call for call, _ in named.values()], seconds, clock=time.thread_time)
    return {"network (batch)": label(*case), **{
        column: summary(taken, 1e6 / steps)["median_us"]
        for (column, (_, steps)), taken in zip(named.items(), samples, strict=True)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=6, help="to time each network")
    given = parser.parse_args()
    rows = []
    fastbp.set_num_threads(1)
    with one_core():
        for case in CASES:
            verify(*case)
            rows.append(measured(case, given.seconds))
            print(rows[-1], flush=True)
        document = {"machine": machine(), "tables": {"calls": rows}}
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
