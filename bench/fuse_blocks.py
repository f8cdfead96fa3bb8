"""Blocks of PyTorch as they are, over the same fused: by width, batch, and place in a larger graph.

    python bench/fuse_blocks.py [--json results/torch-blocks.json] [--seconds 0.3]

Eager over fused: of a forward and a backward pass from a given dL/dh; of the same where X requires
a gradient, as inside a larger module; and of a forward pass under no_grad. Each figure is a
quotient of medians of calls that take turns on one core, with one thread each. docs/torch.md has
the figures, and `fuse` the rule that they make: which block it leaves alone.
"""

import argparse
import json
import statistics
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import fastbp
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.machine import machine
from fastbp.torch import fuse

# layers, whether the last has an activation, shapes of a batch
BLOCKS = [
    ((16, 16), False, (1, 32, 256)), ((256, 256), False, (1, 32, 256)),
    ((16, 16), True, (1, 32, 256)), ((256, 256), True, (1, 32, 256)),
    ((4, 16, 1), False, (1, 32, 256)), ((64, 64, 64), False, (1, 32, 256)),
    ((32, 64, 32), False, ((4, 10),)),
    ((17, 256, 256, 6), False, (1, 256)),       # the actor of SAC and of TD3, in a locomotion task
    ((11, 400, 300, 1), False, (1, 256)),       # the critic of the first TD3
    ((512, 512, 512), False, (1, 2, 32, 256)), ((1024, 1024, 1024), False, (1, 2, 32, 256))]


def block(sizes, activated):
    children = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        children.append(nn.Linear(fan_in, fan_out))
        if activated or i < len(sizes) - 2:
            children.append(nn.ReLU())
    return nn.Sequential(*children)


def calls(module, X, g):
    """Forward and back, the same to X, and forward alone."""
    params, X_inner = list(module.parameters()), X.clone().requires_grad_()

    def train(X=X):
        for p in params:
            p.grad = None
        module(X).backward(g)

    def inner():
        X_inner.grad = None
        train(X_inner)

    def infer():
        with torch.no_grad():
            module(X)

    return train, inner, infer


def verify(eager, fused, X):
    """h of float32: each layer rounds sums of at most `fan_in` products, here of order 1."""
    fan_in = max(child.in_features for child in eager if isinstance(child, nn.Linear))
    assert (eager(X) - fused(X)).abs().max() <= 2.0**-24 * 4 * fan_in


def measure(seconds):
    for sizes, activated, batches in BLOCKS:
        for n in batches:
            torch.manual_seed(0)
            eager = block(sizes, activated)
            fused, shape = fuse(eager), n if isinstance(n, tuple) else (n,)
            X, g = torch.rand(*shape, sizes[0]), torch.ones(*shape, sizes[-1])
            verify(eager, fused, X)
            row = {"block": "-".join(map(str, sizes)) + " ReLU" * activated, "batch": str(n)}
            for name, pair in zip(("/ fused", "/ fused, inner", "/ fused, no_grad"),
                                  zip(calls(eager, X, g), calls(fused, X, g), strict=True),
                                  strict=True):
                for call in 3 * pair:
                    call()
                ours = [statistics.median(taken)
                        for taken in interleave(pair, seconds, clock=time.thread_time)]
                row[name] = ours[0] / ours[1]
            print(row, flush=True)
            yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each figure")
    options = parser.parse_args()
    fastbp.set_num_threads(1)
    torch.set_num_threads(1)
    with one_core():
        start_again()
        document = {"machine": machine(), "tables": {"blocks": [*measure(options.seconds)]}}
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
