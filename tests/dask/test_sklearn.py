"""`MLPSearchCV` and the ensembles on a cluster of Dask: the same results, whoever dies."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from calling import keyboard_interrupt, press_ctrl_c, takes_signals
from clusters import client_of_own_cluster
from searches import GRID, QUICK, REAL, THREE, X, assert_same, classifier, steps
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import fastbp
from fastbp import SGD, Population
from fastbp.dask import DaskMLPClassifier, DaskMLPRegressor
from fastbp.sklearn import (
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
    MLPSearchCV,
    _workers,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ENDLESS = {"max_iter": 10**6, "tol": 0.0, "n_iter_no_change": 10**6}


@pytest.mark.parametrize(("estimator", "grid"), [
    (classifier, GRID | {"solver": ["adam", "lbfgs"]}),
    (steps, {"mlp__alpha": [1e-4, 1.0], "reduce__n_components": [1, 3]})], ids=["mlp", "steps"])
def test_search(client, estimator, grid):
    found = MLPSearchCV(estimator, grid, cv=3, client=client).fit(X, THREE)
    assert_same(found, GridSearchCV(estimator, grid, cv=3).fit(X, THREE), X)


def test_halving(client):
    options = {"cv": 3, "random_state": 0, "halving": {"factor": 2, "resource": "max_iter"}}
    found, expected = (MLPSearchCV(classifier, GRID, client=each, **options).fit(X, THREE)
                       for each in (client, None))
    assert_same(found, expected, X)
    assert found.n_resources_ == [2, 4, 8]


@pytest.mark.parametrize("bootstrap", [False, True])
def test_ensemble(client, bootstrap):
    found, expected = (MLPEnsembleClassifier(40, hidden_layer_sizes=(5,), bootstrap=bootstrap,
                                             client=each, **QUICK).fit(X, THREE)
                       for each in (client, None))
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize("seconds", [5.0, 0.1])
def test_killed_worker(seconds, monkeypatch):
    """While it is sent the data, or in the middle of its fits, which take a second or more, and
    pause meanwhile or do not.
    """
    monkeypatch.setattr(_workers, "TASK_SECONDS", seconds)
    options = {"hidden_layer_sizes": (30,), "max_iter": 400, "tol": 0.0, "random_state": 0,
               "n_iter_no_change": 1000}
    with client_of_own_cluster() as client:
        pids, ended = list(client.run(os.getpid).values()), []

        def kill():
            os.kill(pids[0], signal.SIGKILL)
            ended.append(time.monotonic())

        timer = threading.Timer(0.4, kill)
        timer.start()
        found = MLPEnsembleRegressor(40, client=client, **options).fit(X, REAL)
        assert ended and time.monotonic() - ended[0] > 0.1
    expected = MLPEnsembleRegressor(40, **options).fit(X, REAL)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


@takes_signals
@pytest.mark.parametrize("make", [
    lambda client: MLPEnsembleRegressor(40, client=client, **ENDLESS),
    lambda client: MLPEnsembleRegressor(10**4, solver="lbfgs", max_iter=50, client=client),
    lambda client: MLPSearchCV(MLPRegressor(**ENDLESS), {"max_iter": [1] * 20 + [10**6] * 20},
                               client=client)], ids=["adam", "lbfgs", "search"])
def test_ctrl_c(client, make, monkeypatch):
    """Workers are free when their task has ended, whose fits would take many minutes."""
    monkeypatch.setattr(_workers, "TASK_SECONDS", 0.5)
    model, start = make(client), time.monotonic()
    threading.Timer(1.0, press_ctrl_c).start()
    with keyboard_interrupt():
        model.fit(X, REAL)
    for worker in client.scheduler_info(n_workers=-1)["workers"]:
        assert client.submit(int, workers=[worker], pure=False).result() == 0
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("kind", [DaskMLPClassifier, DaskMLPRegressor])
def test_estimators_of_dask_are_refused_in_a_search(kind):
    wanted = f"^the estimator is a {kind.__name__}, .* MLPRegressor of fastbp.sklearn, whose fits"
    for estimator, grid in ((kind(), {"alpha": [1e-4]}), (make_pipeline(kind()), {}),
                            (steps, {"mlp": [classifier, kind()]})):
        with pytest.raises(TypeError, match=wanted):
            MLPSearchCV(estimator, grid, cv=3).fit(X, THREE)


def test_workers_without_fastbp():
    def forget():
        sys.modules["fastbp"] = None

    wanted = f"^a worker of client cannot import fastbp; fastbp {fastbp.__version__}, as in this"
    with client_of_own_cluster(1) as client:
        client.run(forget)
        for train in (lambda: MLPEnsembleRegressor(2, client=client).fit(X, REAL),
                      lambda: MLPSearchCV(classifier, GRID, client=client).fit(X, THREE),
                      lambda: Population(2, (4, 1), loss="squared_error").train(
                          X, REAL, SGD(), epochs=1, client=client)):
            with pytest.raises(ImportError, match=wanted):
                train()


def test_error_of_a_fit(client):
    bad = {"alpha": [1e-4, 1e30], "solver": ["sgd"], "learning_rate_init": [1e30]}
    raised = []
    for each in (None, client):
        with pytest.raises(ValueError) as error:
            MLPSearchCV(classifier, bad, cv=3, client=each, error_score="raise").fit(X, THREE)
        raised.append((str(error.value), error.value.__notes__))
    assert raised[0] == raised[1]
