"""`fit` of fastbp.sklearn beside that of scikit-learn: the same network, epochs and batches.

The scores on a quarter of the rows are taken over seeds, of the split, the weights and the
shuffling; a case is refused if fastbp's are lower by more than their noise. Then the fits of both
take turns. X has the dtype of the row, in which both compute.
"""

import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from fastbp._arguments import LOSSES
from fastbp._command.bench import networks
from fastbp._command.bench.bound import step_bound
from fastbp._command.bench.limits import Loops, limits
from fastbp._command.bench.timing import summaries, undisturbed
from fastbp._command.bench.verify import Deviation
from fastbp._command.machine import machine
from fastbp.datasets import load_breast_cancer

SIDES = ("fastbp", "scikit-learn")
NOISE = 3               # standard errors of the mean difference of scores
LEAST_DIFFERENCE = 1e-3     # of scores, where all seeds agree


class Case(NamedTuple):
    data: str
    hidden: tuple
    batch: int
    epochs: int
    seeds: int = 10
    rounds: int = 7
    activation: str = "relu"


FITS = (Case("digits", (100,), 200, 20, seeds=5), Case("digits", (64,), 32, 20, seeds=5),
        Case("breast cancer", (64, 64), 32, 20, seeds=5))


def measure_fits(dtypes, seconds, cases=FITS):
    """Yield the machine, then one dict for each case and dtype. Raises `Deviation`."""
    yield machine()
    for dtype in dtypes:
        for case in cases:
            yield time_fit(case, dtype, seconds)


def data(name):
    """X, standardised or in [0, 1], and y; targets of regression with variance 1."""
    from sklearn.datasets import load_diabetes, load_digits

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


def layer_sizes(case, X, y):
    """The layer sizes of the network that both sides train."""
    classes = len(np.unique(y))
    return (X.shape[1], *case.hidden, classes if classes in range(3, 20) else 1)


def estimator(side, case, seed, dtype=None):
    """An estimator of one side; only fastbp's takes a `dtype`."""
    if side == "fastbp":
        import fastbp.sklearn as module
    else:
        import sklearn.neural_network as module

    name = "MLPRegressor" if case.data == "diabetes" else "MLPClassifier"
    params = {"dtype": dtype} if side == "fastbp" else {}
    return getattr(module, name)(
        hidden_layer_sizes=case.hidden, activation=case.activation, batch_size=case.batch,
        max_iter=case.epochs, n_iter_no_change=np.inf, random_state=seed, **params)


def loss_of(model):
    """The name of the loss of a fitted estimator, which goes with its output."""
    (loss,) = (loss for loss in LOSSES.values() if loss.sklearn == model.out_activation_)
    return loss.name


def scores(side, case, X, y, dtype=None):
    """The scores of one side on held-out rows, one for each seed."""
    from sklearn.model_selection import train_test_split

    found = []
    for seed in range(case.seeds):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        found.append(estimator(side, case, seed, dtype).fit(X_train, y_train).score(X_test, y_test))
    return np.array(found)


def verify_scores(found):
    """Refuse scores of fastbp that are lower, seed for seed, than noise explains."""
    difference = found["scikit-learn"] - found["fastbp"]
    noise = NOISE * difference.std(ddof=1) / np.sqrt(len(difference))
    if difference.mean() > noise + LEAST_DIFFERENCE:
        raise Deviation(f"fastbp's scores are lower by {difference.mean()}; noise is {noise}")


@contextmanager
def quiet():
    """Silence scikit-learn's warnings that it stopped at the last epoch."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def time_fit(case, dtype, seconds):
    """Verify and time the fits of one case; microseconds per step, a dict for JSON."""
    X, y = data(case.data)
    X, sizes = X.astype(dtype), layer_sizes(case, X, y)
    steps = case.epochs * -(-len(X) // case.batch)
    loops = Loops(dtype, networks.n_params(sizes) * X.itemsize)
    with quiet():
        found = {side: scores(side, case, X, y) for side in SIDES}
        verify_scores(found)
        loss = loss_of(estimator("fastbp", case, 0).fit(X, y))
        calls = [lambda side=side: estimator(side, case, 0).fit(X, y) for side in SIDES]
        samples, attempts = undisturbed([*calls, *loops.calls], seconds, len(SIDES))
    times = summaries(SIDES, samples[:len(SIDES)], steps)
    own, theirs = (times[side]["median_us"] for side in SIDES)
    machine_can = loops.found(samples[len(SIDES):])
    bound = step_bound(sizes, case.batch, len(X), dtype,
                       limits(machine_can, dtype, case.activation, loss, sizes[-1]))
    return {"kind": "fit", "data": case.data, "network": networks.name(sizes),
            "batch": case.batch, "dtype": dtype, "epochs": case.epochs, "steps": steps,
            "times": times, "ratios": {"scikit-learn": theirs / own}, "attempts": attempts,
            "scores": {side: list(each) for side, each in found.items()},
            **machine_can, "bound": bound, "fraction_of_bound": bound["us"] / own}
