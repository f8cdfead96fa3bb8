"""Searches and ensembles with `client`: the results of those without, to the bit."""

import copy
import pickle
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from all_pairs import all_pairs
from clients import Inline
from scipy.sparse import csr_array
from searches import (
    GRID,
    QUICK,
    REAL,
    THREE,
    WEIGHT,
    N,
    X,
    assert_same,
    classifier,
    regressor,
    steps,
)
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from fastbp.sklearn import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
    MLPSearchCV,
    _samples,
    _workers,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
MANY = 40       # members: more than one task has


def searched(client, estimator=classifier, grid=GRID, y=THREE, params=(), **options):
    return MLPSearchCV(clone(estimator), grid, client=client, **{"cv": 3, **options}).fit(
        X, y, **dict(params))


LEFT = ("loss_curve_", "n_iter_", "t_", "best_loss_", "validation_scores_", "classes_")


def assert_same_members(found, expected):
    """All that their fits have left."""
    for ours, theirs in zip(found.estimators_, expected.estimators_, strict=True):
        assert ours.get_params() == theirs.get_params()
        assert vars(ours).keys() == vars(theirs).keys()
        for one, other in zip([*ours.coefs_, *ours.intercepts_],
                              [*theirs.coefs_, *theirs.intercepts_], strict=True):
            np.testing.assert_array_equal(one, other)
        for name in LEFT:
            np.testing.assert_array_equal(getattr(ours, name, None), getattr(theirs, name, None))


# ---- searches


@pytest.mark.parametrize("given", [
    {}, {"return_train_score": True, "scoring": ["accuracy", "neg_log_loss"], "refit": "accuracy"},
    {"grid": {"solver": ["adam", "sgd", "lbfgs", "newton-cg"], "early_stopping": [True, False]}},
    {"grid": {"random_state": [1, np.random.RandomState(2)], "batch_size": [8, 1000],
              "dtype": ["float32", None]}},
    {"estimator": regressor, "y": REAL, "grid": {"loss": ["squared_error", "poisson"],
                                                 "alpha": np.geomspace(1e-5, 1, 20)}},
    {"estimator": steps, "grid": {"mlp__alpha": [1e-4, 1.0], "reduce__n_components": [1, 3],
                                  "mlp__solver": ["adam", "lbfgs"]}},
    {"estimator": steps, "grid": {"mlp": [classifier, LogisticRegression()]}},
    {"params": {"sample_weight": WEIGHT}}, {"y": THREE.reshape(-1, 1)},
    {"params": {"X_val": X, "y_val": THREE, "sample_weight_val": WEIGHT}},
    {"grid": {"alpha": [-1.0, 1e-4], "hidden_layer_sizes": [(3,), (0,)]}},
], ids=lambda given: "-".join(given))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning",
                            "ignore::sklearn.exceptions.DataConversionWarning",
                            "ignore:batch_size is 1000", "ignore:.*Scoring failed",
                            "ignore:.*test scores are non-finite")
def test_search_has_the_results_of_scikit_learn(given, monkeypatch):
    """By one worker and by many, with fits that pause after each epoch, too."""
    for number, seconds in ((1, 5.0), (7, 5.0), (3, 0.0)):
        monkeypatch.setattr(_workers, "TASK_SECONDS", seconds)
        found = searched(Inline(number), **given)
        options = {"cv": 3, **given}
        estimator, grid, y, params = (options.pop(name, default) for name, default in (
            ("estimator", classifier), ("grid", GRID), ("y", THREE), ("params", {})))
        assert_same(found, GridSearchCV(estimator, grid, **options).fit(X, y, **params), X)
        assert (found.cv_results_["mean_fit_time"] > 0).any()


def test_search_in_other_processes():
    with ProcessPoolExecutor(2) as executor:
        assert_same(searched(executor), searched(None), X)
        assert executor.submit(int).result() == 0       # it is the caller's to shut down


def test_scores_in_yet_other_processes():
    with ProcessPoolExecutor(2) as executor:
        assert_same(searched(executor, n_jobs=2), searched(None), X)


def test_search_without_a_fit_for_a_worker():
    """Another estimator, and steps that fail."""
    executor = Inline(2)
    with pytest.warns(UserWarning, match="no candidate is trained together"):
        found = searched(executor, LogisticRegression(), {"C": [0.1, 1.0]})
    assert_same(found, GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3).fit(X, THREE), X)
    with pytest.raises(ValueError, match="n_components=9"):
        searched(executor, steps, {"reduce__n_components": [9]}, error_score="raise")
    assert executor.submitted == 0


def test_each_fit_without_random_state_has_draws_of_its_own():
    grid = {"random_state": [None], "alpha": [1e-4] * 4}
    with ProcessPoolExecutor(2) as executor:
        search = searched(executor, grid=grid, scoring="neg_log_loss")
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert search.best_estimator_.random_state is None


def test_error_of_a_fit_has_its_note():
    """That which fails first in lockstep, wherever it was: the second candidate's."""
    bad = {"alpha": [1e-4, 1e30, 1e-3, 1e30], "solver": ["sgd"], "learning_rate_init": [1e30]}
    raised = []
    for client in (None, Inline(1), Inline(12)):
        with pytest.raises(ValueError, match="non-finite parameter weights") as error:
            searched(client, grid=bad, error_score="raise")
        raised.append((str(error.value), error.value.__notes__))
    assert raised[0] == raised[1] == raised[2]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_progress(capsys, n_jobs):
    searched(Inline(2), verbose=1, n_jobs=n_jobs)
    assert "fit 12/12" in capsys.readouterr().err


@pytest.mark.parametrize(("solver", "least"), [("adam", 7), ("lbfgs", 3)])
def test_tasks_end_when_their_seconds_are_over(solver, least, monkeypatch):
    """Epochs of a fit are divided, the fits of other solvers are not."""
    monkeypatch.setattr(_workers, "TASK_SECONDS", 0.0)
    executor = Inline(1)
    MLPEnsembleRegressor(least, client=executor, solver=solver, max_iter=7, tol=0.0,
                         n_iter_no_change=9).fit(X, REAL)
    assert executor.submitted == least


def test_tasks_are_larger_where_fits_are_quick(monkeypatch):
    """A clock by which each task takes a second."""
    def in_a_second(*arguments):
        sizes.append(len(arguments[0][0]))
        return carry_out(*arguments)._replace(seconds=1.0)

    sizes, carry_out = [], _workers.carry_out_fits
    monkeypatch.setattr(_workers, "carry_out_fits", in_a_second)
    MLPEnsembleRegressor(2000, client=Inline(1), solver="adam", max_iter=1).fit(X[:9], REAL[:9])
    first = 4 * [64]            # of the first tasks nothing is known
    assert sizes[:6] == [*first, 160, 160]      # 64 a second, half of 5 seconds
    assert sum(sizes) == 2000 and sizes[-1] < 160
    del sizes[:]
    monkeypatch.setattr(_workers, "TASK_SECONDS", 0.01)
    MLPEnsembleRegressor(300, client=Inline(1), max_iter=1).fit(X[:9], REAL[:9])
    assert sizes == [*first, 16, 16, 12]        # too few for a task by that, and so 16


def test_large_fits_that_pause_go_one_by_one(monkeypatch):
    """What they have reached is sent to and fro."""
    monkeypatch.setattr(_workers, "TASK_SECONDS", 0.0)
    monkeypatch.setattr(_workers, "PAUSED_BYTES", 4000)         # of which each has 3208
    executor = Inline(1)
    MLPEnsembleRegressor(16, hidden_layer_sizes=(66,), max_iter=3, client=executor).fit(
        X, REAL)
    assert executor.submitted == 1 + 16 * 2


def test_fits_are_scored_while_others_wait():
    """Each candidate as soon as those before it are."""
    def scorer(model, X, y):
        submitted.append(executor.submitted)
        return model.score(X, y)

    submitted, executor = [], Inline(1)
    searched(executor, grid={"alpha": np.geomspace(1e-5, 1, 200)}, scoring=scorer, refit=False)
    assert submitted == sorted(submitted) and submitted[0] < executor.submitted


def test_lost_cluster_while_scores_are_computed():
    """This is no error of a fit."""
    with pytest.raises(RuntimeError, match=r"^the task of the fit of candidate .* was lost 4"):
        searched(Inline(1, lost=range(5, 99)), grid={"alpha": np.geomspace(1e-5, 1, 200)})


@pytest.mark.parametrize("client", [3, "tcp://127.0.0.1:8786"])
def test_another_kind_of_client(client):
    wanted = "^client is of type .*; it should be a distributed.Client or a concurrent"
    with pytest.raises(TypeError, match=wanted):
        searched(client)
    with pytest.raises(TypeError, match=wanted):
        MLPEnsembleRegressor(2, client=client).fit(X, REAL)


def test_callbacks_are_refused_beside_a_client():
    search = MLPSearchCV(clone(classifier).set_callbacks(ProgressBar()), GRID, client=Inline(1))
    with pytest.raises(ValueError, match="^client is given, and callbacks are registered"):
        search.fit(X, THREE)


# ---- ensembles


@all_pairs(kind=[MLPEnsembleClassifier, MLPEnsembleRegressor], read=[np.asarray, csr_array],
           options=[{}, {"bootstrap": True, "max_samples": 0.5}, {"early_stopping": True},
                    {"solver": "lbfgs"},
                    {"solver": "sgd", "learning_rate": "adaptive", "dtype": "float32"}])
def test_ensemble_has_the_members_of_one_without(kind, read, options, monkeypatch):
    """With a sparse X an epoch is carried out in several blocks."""
    y = THREE if kind is MLPEnsembleClassifier else REAL

    def fitted(client):
        given = {**QUICK, "hidden_layer_sizes": (5,), "batch_size": 16, **options}
        return kind(MANY, client=client, **given).fit(read(X), y, WEIGHT)

    monkeypatch.setattr(_samples, "BLOCK_BYTES", 1024)
    expected = fitted(None)
    for number, seconds in ((1, 5.0), (5, 5.0), (2, 0.0)):
        monkeypatch.setattr(_workers, "TASK_SECONDS", seconds)
        found = fitted(Inline(number, lost={0, 2}))
        assert_same_members(found, expected)
        np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    for ensemble in (found, expected):      # and of a fit that goes on
        ensemble.estimators_[3].set_params(warm_start=True).fit(X, y)
    assert_same_members(found, expected)


class Pickling(Inline):
    """It pickles what it is given and what it gives back, as processes do."""

    def __init__(self, number):
        super().__init__(number)
        self.most = 0       # bytes of a task

    def submit(self, function, *arguments):
        task = pickle.dumps((function, arguments))
        self.most = max(self.most, len(task))
        function, arguments = pickle.loads(task)
        return super().submit(lambda: pickle.loads(pickle.dumps(function(*arguments))))


def test_models_of_an_earlier_fit_are_not_sent():
    """Nor what the user has set: a lock cannot be pickled."""
    first, second = Pickling(4), Pickling(4)
    ensemble = MLPEnsembleRegressor(20, hidden_layer_sizes=(50,), max_iter=2, client=first,
                                    random_state=0)
    ensemble.lock = threading.Lock()
    expected = ensemble.fit(X, REAL, X_val=X, y_val=REAL).predict(X)
    ensemble.client = second
    np.testing.assert_array_equal(ensemble.fit(X, REAL, X_val=X, y_val=REAL).predict(X), expected)
    assert second.most < 1.1 * first.most       # it has n_features_in_ now, and the same fits
    assert ensemble.client is second and ensemble.lock.acquire(blocking=False)


def test_generator_of_another_kind_pauses_in_silence(monkeypatch):
    monkeypatch.setattr(_workers, "TASK_SECONDS", 0.0)
    found = []
    for client in (None, Pickling(1)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ConvergenceWarning)
            source = np.random.RandomState(np.random.PCG64(1))
            found.append(searched(client, grid={"random_state": [source]}))
    without, paused = found
    np.testing.assert_array_equal(paused.cv_results_["mean_test_score"],
                                  without.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(paused.predict_proba(X), without.predict_proba(X))


def test_error_of_a_worker_has_its_traceback():
    """As in a process: the text is the cause of the error."""
    class Failing(Inline):
        def submit(self, function, *arguments):
            def fail():
                raise OSError("no task") from RuntimeError("where it was")
            return super().submit(fail)

    with pytest.raises(OSError, match="no task") as error:
        searched(Failing(1))
    assert str(error.value.__cause__) == "where it was"


@pytest.mark.parametrize("bad", [{"X_val": X[:, :2], "y_val": THREE},
                                 {"X_val": X, "y_val": np.full(N, "none")}], ids=["X", "y"])
def test_error_of_a_member(bad):
    raised = []
    for client in (None, Inline(3)):
        with pytest.raises(ValueError) as error:
            MLPEnsembleClassifier(MANY, client=client, random_state=0).fit(X, THREE, **bad)
        raised.append((str(error.value), error.value.__notes__))
    assert raised[0] == raised[1]


def test_warnings_name_the_caller_of_fit():
    found = []
    for client in (None, Inline(1)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            MLPEnsembleRegressor(3, max_iter=2, batch_size=1000, client=client).fit(X, REAL)
        found.append([(str(each.message), each.category, each.filename) for each in said])
    assert sorted(found[0], key=str) == sorted(found[1], key=str)
    assert {(kind, name) for _, kind, name in found[1]} == {(ConvergenceWarning, __file__),
                                                           (UserWarning, __file__)}


# ---- the parameter


@pytest.mark.parametrize("make", [
    lambda client: MLPSearchCV(classifier, GRID, client=client),
    lambda client: MLPEnsembleClassifier(3, client=client),
    lambda client: MLPEnsembleRegressor(3, client=client)])
def test_clones_have_the_client_and_pickles_none(make):
    client = ProcessPoolExecutor(1)         # which cannot be copied
    with pytest.raises(TypeError):
        copy.deepcopy(client)
    estimator = make(client)
    assert clone(estimator).client is client
    assert clone(make_pipeline(estimator))[-1].client is client
    assert estimator.get_params()["client"] is client
    for again in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        assert again.client is None
        assert str(again.get_params()) == str({**estimator.get_params(), "client": None})
    client.shutdown()


@pytest.mark.parametrize("model", [MLPClassifier, MLPRegressor])
def test_members_have_no_client(model):
    assert "client" not in model().get_params()
