"""A search of parameters, and an ensemble, in lockstep beside one fit after another.

    python bench/search.py [--quick] [--json results/search.json]

50 candidates on 3 folds: `MLPSearchCV`, scikit-learn's `GridSearchCV` over fastbp's estimator, and
over its own. 20 members of different seeds: `MLPEnsembleClassifier`, and `BaggingClassifier` over
fastbp's estimator and over scikit-learn's. Every fit has the same number of epochs. A row is
refused unless the results of the search and of `GridSearchCV` over the same estimator are equal to
the bit, scikit-learn's best score differs by no more than those of its folds among themselves, and
the ensemble is as accurate. All sides take turns on one core, with one thread for every library; a
figure is a median, but scikit-learn's, which takes minutes, is of one run. --quick: 6 candidates
and 4 members, once.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV

from fastbp._command.bench import networks
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.fits import SIDES, Case, data, estimator, layer_sizes, quiet
from fastbp._command.bench.timing import one_core
from fastbp._command.bench.verify import Deviation
from fastbp._command.machine import machine
from fastbp.sklearn import MLPEnsembleClassifier, MLPSearchCV

CASES = (Case("breast cancer", (16, 16), 32, 60), Case("breast cancer", (8,), 32, 60),
         Case("digits", (32,), 32, 30), Case("digits", (64,), 32, 30))
RATES = np.logspace(-3.5, -1.5, 5)
PENALTIES = np.logspace(-5, 1, 10)
FOLDS, MEMBERS, ROUNDS = 3, 20, 5


def searches(case, quick):
    """The three sides, not fitted."""
    grid = {"learning_rate_init": RATES[:2] if quick else RATES,
            "alpha": PENALTIES[:3] if quick else PENALTIES}
    ours, theirs = (estimator(side, case, 0) for side in SIDES)
    options = {"cv": FOLDS, "refit": False}
    return [MLPSearchCV(ours, grid, **options), GridSearchCV(ours, grid, **options),
            GridSearchCV(theirs, grid, **options)]


def ensembles(case, quick):
    """The three sides, not fitted; all members are fitted to all rows.

    On bootstrap samples, which it counts in weights, `BaggingClassifier` over scikit-learn's fails
    where the weights of a mini-batch are all 0.
    """
    n = 4 if quick else MEMBERS
    ours, theirs = (estimator(side, case, 0) for side in SIDES)
    params = {name: value for name, value in ours.get_params().items() if name != "warm_start"}
    return [MLPEnsembleClassifier(n, **params),
            *(BaggingClassifier(each, n, bootstrap=False, random_state=0)
              for each in (ours, theirs))]


def verify_searches(ours, same, theirs):
    """Refuse other scores than `GridSearchCV` has, and a best one that is not scikit-learn's."""
    found, expected = ours.cv_results_, same.cv_results_
    for name in expected:
        if "time" not in name and not np.array_equal(found[name], expected[name]):
            raise Deviation(f"{name} of MLPSearchCV differs from that of GridSearchCV")
    spread = theirs.cv_results_["std_test_score"][theirs.best_index_]
    if abs(ours.best_score_ - theirs.best_score_) > max(spread, 1e-3):
        raise Deviation(f"the best score is {ours.best_score_}, scikit-learn's "
                        f"{theirs.best_score_}, and {spread} the deviation among folds")


def verify_ensembles(X, y, ours, same, theirs):
    """Refuse an ensemble whose accuracy on what it was trained on is lower by two percent."""
    scores = [model.score(X, y) for model in (ours, same, theirs)]
    if scores[0] < min(scores[1:]) - 0.02:
        raise Deviation(f"the accuracies are {scores}")


def seconds(models, X, y, rounds):
    """Medians of fits that take turns; of scikit-learn's own, the last, one time."""
    taken = [[] for _ in models]
    for i in range(rounds):
        for model, times in zip(models, taken, strict=True):
            if i == 0 or model is not models[-1]:
                start = time.perf_counter()
                model.fit(X, y)
                times.append(time.perf_counter() - start)
    return list(map(statistics.median, taken))


def measure(dtype, quick):
    """A row for each case: of the search, then of the ensemble."""
    rounds = 1 if quick else ROUNDS
    for case in CASES:
        X, y = data(case.data)
        X = X.astype(dtype)
        sides = searches(case, quick), ensembles(case, quick)
        times = [seconds(models, X, y, rounds) for models in sides]
        verify_searches(*sides[0])
        verify_ensembles(X, y, *sides[1])
        row = {"data": case.data, "network": networks.name(layer_sizes(case, X, y)),
               "batch": case.batch, "dtype": dtype}
        for name, (ours, alone, theirs) in zip(("search", "ensemble"), times, strict=True):
            row |= {f"{name} s": ours, f"{name} / one by one": alone / ours,
                    f"{name} / scikit-learn": theirs / ours}
        print(row, flush=True)
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with one_core(), quiet():
        start_again()
        rows = [row for dtype in ("float64", "float32") for row in measure(dtype, given.quick)]
        document = {"machine": machine(), "tables": {"search": rows}}
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
