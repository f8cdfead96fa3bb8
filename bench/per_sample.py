"""What norms of single samples, clipped sums and single gradients cost, in gradients.

    python bench/per_sample.py [--json results/per-sample.json]

A figure is the median time of a call over that of `backprop` on the same batch, in turns on one
core, both having their memory. Results are verified first: the norms are those of the rows of
`per_sample_grads`, and the clipped sum is that of its rows.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np

from fastbp._command.bench.networks import name
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.machine import machine
from fastbp._command.problems import problem

SECONDS = 2.0               # to time each network
NETWORKS = [((2, 8, 8, 1), 1), ((10, 32, 32, 1), 64), ((30, 64, 64, 1), 256),
            ((784, 256, 128, 1), 128)]


def verify(net, X, y, limit):
    """A thousand roundings are more than the sums of these networks have, and less than a fault."""
    rows = net.per_sample_grads(X, y).astype("float64")
    exact = np.linalg.norm(rows, axis=1)
    near = 1000 * np.finfo(net.dtype).eps
    np.testing.assert_allclose(net.per_sample_grad_norms(X, y), exact, rtol=near)
    _, norms = net.clipped_backprop(X, y, limit)
    np.testing.assert_allclose(norms, exact, rtol=near)
    total = np.minimum(1, limit / exact) @ rows
    np.testing.assert_allclose(net.grad, total, rtol=0, atol=near * np.abs(rows).sum(axis=0).max())


def costs(net, X, y):
    """{heading: gradients}, and the microseconds of one."""
    norms = np.empty(len(X), net.dtype)
    limit = float(np.median(net.per_sample_grad_norms(X, y)))
    verify(net, X, y, limit)
    grads = np.empty((len(X), net.n_params), net.dtype)
    calls = {"norms": lambda: net.per_sample_grad_norms(X, y, out=norms),
             "gradient with norms": lambda: net.clipped_backprop(X, y, np.inf),
             "clipped sum": lambda: net.clipped_backprop(X, y, limit),
             "each gradient": lambda: net.per_sample_grads(X, y, out=grads)}
    gradient, *times = map(statistics.median, interleave(
        [lambda: net.backprop(X, y), *calls.values()], SECONDS))
    return {"gradient us": 1e6 * gradient,
            **{heading: time / gradient for heading, time in zip(calls, times, strict=True)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    tables = {"float32": [], "float64": []}
    with one_core():
        for dtype, rows in tables.items():
            for sizes, batch in NETWORKS:
                net, X, y = problem(sizes, batch, dtype, 0)
                rows.append({"network": f"{name(sizes)} ({batch})", **costs(net, X, y)})
                print(dtype, rows[-1], flush=True)
    if path:
        path.write_text(json.dumps({"machine": machine(), "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
