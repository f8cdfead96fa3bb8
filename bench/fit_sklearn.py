"""`fit` of fastbp.sklearn beside that of scikit-learn: held-out scores first, then time.

    python bench/fit_sklearn.py [--json results/sklearn.json]

Both sides train the same network for the same number of epochs. The scores on a quarter of the
rows are taken over seeds, of the split, the weights and the shuffling; a row is refused if fastbp's
are lower by more than their noise. Then the fits of both take turns, on one core, with one thread
for every library, and medians are compared. Three rows for each network: X in float64, X in
float32, and X in float64 with `dtype="float32"`, beside scikit-learn's float64.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from fastbp._command.bench import networks
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.fits import (
    SIDES,
    Case,
    data,
    estimator,
    layer_sizes,
    quiet,
    scores,
    verify_scores,
)
from fastbp._command.bench.timing import one_core
from fastbp._command.machine import machine

CASES = (Case("breast cancer", (16, 16), 32, 60), Case("breast cancer", (64, 64), 32, 60),
         Case("breast cancer", (32,), 32, 60, activation="logistic"),
         Case("diabetes", (64,), 32, 60), Case("digits", (64,), 32, 30),
         Case("digits", (100,), 200, 60), Case("60 000 × 784", (256, 128), 200, 3, 3, 3))


def seconds(case, X, y, dtype):
    """Medians of fits that take turns, after one that is not counted."""
    taken = {side: [] for side in SIDES}
    for _ in range(case.rounds + 1):
        for side in SIDES:
            model = estimator(side, case, 0, dtype)
            start = time.perf_counter()
            model.fit(X, y)
            taken[side].append(time.perf_counter() - start)
    return {side: statistics.median(each[1:]) for side, each in taken.items()}


def measure():
    """Three rows for each case; scikit-learn's scores of float64 are taken once."""
    for case in CASES:
        X, y = data(case.data)
        network = networks.name(layer_sizes(case, X, y))
        float64 = None
        for of_X, dtype in (("float64", None), ("float64", "float32"), ("float32", None)):
            X_ = X.astype(of_X)
            theirs = float64 if dtype else scores("scikit-learn", case, X_, y)
            float64 = theirs if of_X == "float64" else float64
            found = {"fastbp": scores("fastbp", case, X_, y, dtype), "scikit-learn": theirs}
            verify_scores(found)
            medians = seconds(case, X_, y, dtype)
            row = {"data": case.data, "network": network, "batch": case.batch,
                   "X": of_X, "network dtype": dtype or of_X,
                   "fastbp ms per epoch": 1e3 * medians["fastbp"] / case.epochs,
                   "/ scikit-learn": medians["scikit-learn"] / medians["fastbp"],
                   **{f"score of {side}": spread(found[side]) for side in SIDES}}
            print(row, flush=True)
            yield row


def spread(values):
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    with one_core(), quiet():
        start_again()
        document = {"machine": machine(), "tables": {"fit": list(measure())}}
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
