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
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sklearn.neural_network
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import fastbp.sklearn
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.timing import one_core
from fastbp._command.machine import machine
from fastbp.datasets import load_breast_cancer

SIDES = {"fastbp": fastbp.sklearn, "scikit-learn": sklearn.neural_network}
NOISE = 3               # standard errors of the mean difference of scores
LEAST_DIFFERENCE = 1e-3     # between scores, where all seeds agree


class Case(NamedTuple):
    data: str
    hidden: tuple
    batch: int
    epochs: int
    seeds: int = 10
    rounds: int = 7
    activation: str = "relu"


CASES = (Case("breast cancer", (16, 16), 32, 60), Case("breast cancer", (64, 64), 32, 60),
         Case("breast cancer", (32,), 32, 60, activation="logistic"),
         Case("diabetes", (64,), 32, 60), Case("digits", (64,), 32, 30),
         Case("digits", (100,), 200, 60), Case("60 000 × 784", (256, 128), 200, 3, 3, 3))


def data(name):
    """X, standardised or in [0, 1], and y; targets of regression with variance 1."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return X / 16, y
    if name == "60 000 × 784":
        rng = np.random.default_rng(0)
        centres = rng.random((10, 784))
        y = rng.integers(0, 10, 60_000)
        return np.clip(centres[y] + 1.5 * rng.standard_normal((len(y), 784)), 0, 1), y
    if name == "diabetes":
        X, y = load_diabetes(return_X_y=True)
        y = (y - y.mean()) / y.std()
    else:
        table = load_breast_cancer()
        X, y = table.X, table.y
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def estimator(side, case, seed, dtype=None):
    name = "MLPRegressor" if case.data == "diabetes" else "MLPClassifier"
    params = {"dtype": dtype} if side == "fastbp" else {}
    return getattr(SIDES[side], name)(
        hidden_layer_sizes=case.hidden, activation=case.activation, batch_size=case.batch,
        max_iter=case.epochs, n_iter_no_change=np.inf, random_state=seed, **params)


def scores(side, case, X, y, dtype):
    """On held-out rows, one for each seed."""
    found = []
    for seed in range(case.seeds):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        found.append(estimator(side, case, seed, dtype).fit(X_train, y_train).score(X_test, y_test))
    return np.array(found)


def verify(found):
    """Refuse scores of fastbp that are lower, seed for seed, than noise explains."""
    difference = found["scikit-learn"] - found["fastbp"]
    noise = NOISE * difference.std(ddof=1) / np.sqrt(len(difference))
    if difference.mean() > noise + LEAST_DIFFERENCE:
        raise RuntimeError(f"fastbp's scores are lower by {difference.mean()}; noise is {noise}")


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
        outputs = len(np.unique(y)) if len(np.unique(y)) in range(3, 20) else 1
        network = "-".join(map(str, (X.shape[1], *case.hidden, outputs)))
        float64 = None
        for of_X, dtype in (("float64", None), ("float64", "float32"), ("float32", None)):
            X_ = X.astype(of_X)
            theirs = float64 if dtype else scores("scikit-learn", case, X_, y, dtype)
            float64 = theirs if of_X == "float64" else float64
            found = {"fastbp": scores("fastbp", case, X_, y, dtype), "scikit-learn": theirs}
            verify(found)
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
    with one_core():
        start_again()
        warnings.simplefilter("ignore", ConvergenceWarning)
        document = {"machine": machine(), "tables": {"fit": list(measure())}}
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
