"""What `MLP.error_bound` costs, and how loose it is, for each network of the benchmarks.

    python bench/error_bound.py [--json results/error-bound.json]

Cost: the median time of a certificate over that of a gradient, in turns on one core, both having
their memory; the script fails if one costs more than 3. Looseness: the median over all parameters
of bound / |error|, the error taken against wider arithmetic (float64, or a long double that is
wider); and of bound / |gradient|, the relative accuracy that the certificate vouches for. Every
certificate is verified first.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import numpy as np

from fastbp._command.bench.networks import NETWORKS, name
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.machine import machine
from fastbp._command.problems import problem
from fastbp._twin.error_bound import error_bound
from fastbp._twin.rounding import FASTBP, own_error, wider

SECONDS = 1.0               # to time each network
MAX_COST = 3.0              # gradients that a certificate may cost
OF_LONG_DOUBLE = 10**8      # multiply-adds above which float64 is not compared: a minute and more


# Beside the networks of the benchmarks, which have sigmoids and "bce"
OTHERS = [((30, 64, 64, 5), 256, activation, loss) for activation, loss in (
    ("tanh", "softmax"), ("relu", "softmax"), ("relu", "squared_error"), ("identity", "poisson"))]


def looseness(net, X, y):
    """Medians of bound / |error| and of bound / |gradient|; None where nothing wider is at hand."""
    wide = wider(net.dtype)
    work = len(X) * sum(W.size for W in net.weights)
    if wide is not np.float64 and (work > OF_LONG_DOUBLE or np.finfo(wide).nmant < 63):
        return None
    exact, _ = error_bound(net.weights, net.biases, X, y, FASTBP, wide, activation=net.activation,
                           loss=net.loss)
    net.backprop(X, y)
    bound = net.error_bound(X, y).astype(wide)
    error = np.abs(net.grad.astype(wide) - exact)
    assert np.all(error <= bound * (1 + own_error(net.dtype, wide)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.median(bound / error)), float(np.median(bound / np.abs(exact)))


def cost(net, X, y):
    """The time of a certificate in gradients."""
    out = np.empty(net.n_params, net.dtype) if net.n_params > 10**5 else None
    gradient, certificate = interleave(
        [lambda: net.backprop(X, y), lambda: net.error_bound(X, y, out=out)], SECONDS)
    return statistics.median(certificate) / statistics.median(gradient)


def summary(rows):
    """The least, the median and the largest cost of each dtype."""
    for dtype in ("float32", "float64"):
        costs = [row["cost in gradients"] for row in rows if row["dtype"] == dtype]
        yield {"dtype": dtype, "networks": len(costs), "least": min(costs),
               "median": statistics.median(costs), "most": max(costs)}


def measure():
    for dtype in ("float32", "float64"):
        for sizes, batch, *kind in [*NETWORKS, *OTHERS]:
            net, X, y = problem(sizes, batch, dtype, 0, *kind)
            found = looseness(net, X, y)
            row = {"network": " ".join([name(sizes), *kind]), "batch": batch, "dtype": dtype,
                   "cost in gradients": cost(net, X, y)}
            row["bound / error"] = "not measured" if found is None else f"{found[0]:.0f}"
            row["bound / gradient"] = "" if found is None else f"{found[1]:.1e}"
            print(row, flush=True)
            yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    with one_core():
        rows = list(measure())
    if path:
        document = {"machine": machine(),
                    "tables": {"certificates": rows, "costs": list(summary(rows))}}
        path.write_text(json.dumps(document, indent=1) + "\n")
    dear = [row for row in rows if row["cost in gradients"] > MAX_COST]
    if dear:
        sys.exit(f"more than {MAX_COST} gradients: {dear}")


if __name__ == "__main__":
    main()
