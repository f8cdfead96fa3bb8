"""Training steps of PyTorch: a module as it is, fused by fastbp.torch, and `loss_and_grad_`.

    python bench/train_torch.py [--json results/torch-training.json] [--seconds 6]

Of each network, from the same parameters, on one core and with one thread for every side:

    gradient    from zero_grad to the end of backward; loss_and_grad_ alone, which overwrites
    step        the same, then torch.optim.Adam(fused=True)

Beside them torch.compile, an autograd.Function of the same inputs that computes nothing, which is
the least that a fused module can take, and MLP.backprop, whose distance from loss_and_grad_ is
what PyTorch's tensors cost. All are verified against the module in float64 first, and timed in
turns.
"""

import argparse
import copy
import json
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

import fastbp
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.networks import name
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.machine import machine
from fastbp.torch import fuse, loss_and_grad_

NETWORKS = [((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32), ((4, 16, 1), 8), ((10, 32, 32, 1), 64),
            ((12, 40, 40, 1), 50), ((30, 64, 64, 1), 32), ((30, 64, 64, 1), 64),
            ((784, 256, 128, 10), 128), ((784, 512, 512, 10), 256), ((1024, 1024, 1024, 1), 512)]


def problem(sizes, batch, dtype):
    """A Sequential of Linear and Sigmoid, its loss, X and y."""
    torch.manual_seed(0)
    layers = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(i, o), nn.Sigmoid()]
    X = torch.rand(batch, sizes[0]) * 2 - 1
    if sizes[-1] == 1:
        criterion, y = nn.BCEWithLogitsLoss(), torch.randint(2, (batch, 1)).to(dtype)
    else:
        criterion, y = nn.CrossEntropyLoss(), torch.randint(sizes[-1], (batch,))
    return nn.Sequential(*layers[:-1]).to(dtype), criterion, X.to(dtype), y


class Nothing(torch.autograd.Function):
    """The graph of a fused module, and new memory for every gradient, with nothing in it."""

    @staticmethod
    def forward(ctx, dtype, n, X, *params):
        ctx.shapes, ctx.dtype = [p.shape for p in params], dtype
        return torch.from_numpy(np.zeros((n, params[-1].shape[0]), dtype))

    @staticmethod
    def backward(ctx, grad):
        grads = [torch.from_numpy(np.empty(shape, ctx.dtype)) for shape in ctx.shapes]
        return (None, None, None, *grads)


class Side:
    """One way to the gradients of a module's copy: `gradient()` and `step()` are timed."""

    def __init__(self, module):
        self.params = list(module.parameters())
        self.optimizer = torch.optim.Adam(self.params, lr=1e-3, fused=True)

    def step(self):
        self.gradient()
        self.optimizer.step()


class Autograd(Side):
    """`loss(X, y)` builds a graph."""

    def __init__(self, module, loss, X, y):
        super().__init__(module)
        self.loss, self.X, self.y = loss, X, y

    def gradient(self):
        self.optimizer.zero_grad()
        self.loss(self.X, self.y).backward()


class AtOnce(Side):
    """`loss_and_grad_` into the .grad of its last call."""

    def __init__(self, module, criterion, X, y):
        super().__init__(module)
        self.call = self.gradient = partial(loss_and_grad_, fuse(module), X, y, criterion)


class AtOnceAnew(AtOnce):
    """.grad is None before each call, as `zero_grad` leaves it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.gradient = self.zero_and_call

    def zero_and_call(self):
        for p in self.params:
            p.grad = None
        self.call()


class AtOnceElsewhere(AtOnce):
    """.grad is a tensor that PyTorch made."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for p in self.params:
            p.grad = torch.zeros_like(p)


def sides(module, criterion, X, y, with_compile=True):
    def graph(prepare=lambda m: m, compiled=lambda f: f):
        twin = copy.deepcopy(module)
        forward = prepare(twin)
        return Autograd(twin, compiled(lambda X, y: criterion(forward(X), y)), X, y)

    found = {"eager": graph(), "fused": graph(fuse),
             "fused, direct": graph(partial(fuse, direct=True))}
    for which, kind in (("loss_and_grad_", AtOnce), (".grad None", AtOnceAnew),
                        (".grad elsewhere", AtOnceElsewhere)):
        found[which] = kind(copy.deepcopy(module), criterion, X, y)
    if with_compile:
        torch.compiler.reset()
        found["torch.compile"] = graph(compiled=partial(torch.compile, dynamic=False))
    return found


def nothing(module, criterion, X, y):
    dtype, params = X.numpy().dtype, list(module.parameters())
    return Autograd(module, lambda X, y: criterion(Nothing.apply(dtype, len(X), X, *params), y),
                    X, y)


def backprop(sizes, X, y):
    net = fastbp.MLP(sizes, loss="bce" if sizes[-1] == 1 else "softmax", seed=0, n_threads=1)
    return partial(net.backprop, X.numpy(), y.numpy(), reduction="mean")


def verify(sizes, batch, with_compile):
    """Gradients before a first step and after it, of every side, against eager's in float64.

    An entry of a gradient is a sum, in each layer and back, of at most `terms` products, each off
    by the unit of rounding. Inputs of a layer are at most 1, so that the sum of |delta|, to which
    the error of its dW and db is relative, is at least the largest of both. After a step of Adam,
    m / sqrt(v) is 1 but for eps: as exact.
    """
    terms = 2 * len(sizes) * max(batch, *sizes)
    exact = sides(*problem(sizes, batch, torch.float64), with_compile=False)
    narrow = sides(*problem(sizes, batch, torch.float32), with_compile=with_compile)
    for _ in range(2):
        for side in (*exact.values(), *narrow.values()):
            side.step()
        wide = [p.grad for p in exact["eager"].params]
        scales = [max(a.abs().max(), b.abs().max())
                  for a, b in zip(wide[::2], wide[1::2], strict=True) for _ in range(2)]
        for unit, found in ((2.0**-53, exact), (2.0**-24, narrow)):
            for which, side in found.items():
                for p, grad, scale in zip(side.params, wide, scales, strict=True):
                    off = (p.grad - grad).abs().max() / scale
                    assert off <= terms * unit, f"{which}, {p.dtype}: off by {off}"


def times(calls, seconds):
    """Medians in microseconds of the CPU, of which every side has one thread.

    Each call is made before: what compiles at the first one would be given one call a sample.
    """
    for call in 2 * calls:
        call()
    return [1e6 * statistics.median(taken)
            for taken in interleave(calls, seconds, clock=time.thread_time)]


def measure(seconds, with_compile):
    for sizes, batch in NETWORKS:
        verify(sizes, batch, with_compile)
        module, criterion, X, y = problem(sizes, batch, torch.float32)
        found = sides(module, criterion, X, y, with_compile)
        empty = nothing(copy.deepcopy(module), criterion, X, y)
        *us, none, own = times([*(side.gradient for side in found.values()), empty.gradient,
                                backprop(sizes, X, y)], seconds)
        us = dict(zip(found, us, strict=True))
        head = {"network (batch)": f"{name(sizes)} ({batch})", "eager µs": us["eager"]}
        ratios = {f"/ {side}": us["eager"] / t for side, t in us.items() if side != "eager"}
        gradient = {**head, **ratios, "/ nothing": us["eager"] / none}
        overhead = {"network (batch)": head["network (batch)"], "MLP.backprop µs": own,
                    "loss_and_grad_ µs": us["loss_and_grad_"],
                    ".grad None µs": us[".grad None"],
                    ".grad elsewhere µs": us[".grad elsewhere"], "nothing µs": none,
                    "fused, direct µs": us["fused, direct"], "fused µs": us["fused"]}
        us = dict(zip(found, times([side.step for side in found.values()], seconds), strict=True))
        ratios = {f"/ {side}": us["eager"] / t for side, t in us.items() if side != "eager"}
        step = {**head, "eager µs": us["eager"], **ratios}
        print(gradient, overhead, step, sep="\n", flush=True)
        yield gradient, overhead, step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each table and network")
    parser.add_argument("--without-compile", action="store_true")
    options = parser.parse_args()
    fastbp.set_num_threads(1)
    torch.set_num_threads(1)
    with one_core():
        start_again()
        facts = machine()
        tables = zip(*measure(options.seconds, not options.without_compile), strict=True)
        document = {"machine": facts, "tables": dict(zip(("gradient", "overhead", "step"),
                                                         map(list, tables), strict=True))}
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
