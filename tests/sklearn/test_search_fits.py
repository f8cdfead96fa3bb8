"""What MLPSearchCV fits and how often, how it fails and is interrupted, what it keeps."""
import pickle
import time
import warnings

import numpy as np
import pytest
from calling import press_ctrl_c
from errors import refused
from scipy import stats
from searches import GRID, THREE, WEIGHT, X, assert_same, classifier, compare, regressor, steps
from sklearn import neural_network
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from fastbp.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV, _together

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def calls(monkeypatch):
    """The number of epochs in each call of `train_epochs`."""
    calls, carry_out = [], _together.train_epochs

    def counted(epochs):
        calls.append(len(epochs))
        return carry_out(epochs)

    monkeypatch.setattr(_together, "train_epochs", counted)
    return calls


# ---- what is fitted, and how often


def test_all_candidates_and_splits_are_trained_in_lockstep(calls):
    grid = {"max_iter": [2, 5], "alpha": [0.1, 1], "tol": [0.0]}
    MLPSearchCV(classifier, grid, cv=3, refit=False).fit(X, THREE)
    assert calls == [12] * 2 + [6] * 3


@pytest.mark.parametrize("estimator", [classifier, steps], ids=["alone", "in a Pipeline"])
def test_the_rows_of_a_split_are_there_once(monkeypatch, estimator):
    """And its targets: the same arrays for all candidates, also where X is converted."""
    seen, carry_out = [], _together.train_epochs

    def watch(epochs):
        seen.append([(id(epoch.setting.X), id(epoch.setting.y)) for epoch in epochs.values()])
        return carry_out(epochs)

    monkeypatch.setattr(_together, "train_epochs", watch)
    prefix = "mlp__" if estimator is steps else ""
    grid = {f"{prefix}{name}": values for name, values in GRID.items()}
    MLPSearchCV(estimator, grid, cv=3, refit=False).fit(X.tolist(), THREE)
    assert len(seen[0]) == 12 and len(set(seen[0])) == 3


class Counted(TransformerMixin, BaseEstimator):
    """Counts its fits; fails with `scale` 0."""

    n_fits = 0

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None):
        type(self).n_fits += 1
        if not self.scale:
            raise ZeroDivisionError("scale is 0")
        return self

    def transform(self, X):
        return X / self.scale


@pytest.mark.parametrize("solvers", [["adam", "sgd"], ["adam", "lbfgs"], ["lbfgs", "newton-cg"]])
def test_steps_are_fitted_once_for_each_split_and_setting_of_theirs(monkeypatch, solvers):
    monkeypatch.setattr(Counted, "n_fits", 0)
    grid = {"counted__scale": [1.0, 2.0], "mlpclassifier__alpha": [0.1, 0.2, 0.3],
            "mlpclassifier__solver": solvers}
    search = MLPSearchCV(make_pipeline(Counted(), classifier), grid, cv=3, refit=False)
    search.fit(X, THREE)
    assert Counted.n_fits == 2 * 3
    theirs = GridSearchCV(search.estimator, grid, cv=3, refit=False).fit(X, THREE)
    assert Counted.n_fits == 2 * 3 + 2 * 3 * 2 * 3
    assert_same(search, theirs, X)


def test_times_are_parts_of_the_whole():
    start = time.perf_counter()
    search = MLPSearchCV(make_pipeline(StandardScaler(), classifier),
                         {"mlpclassifier__max_iter": [1, 400], "mlpclassifier__tol": [0]}, cv=3,
                         refit=False).fit(X, THREE)
    whole = time.perf_counter() - start
    mean = search.cv_results_["mean_fit_time"]
    assert 0 < 3 * mean.sum() < whole and mean[1] > 2 * mean[0]
    assert (search.cv_results_["std_fit_time"] >= 0).all()


# ---- errors and interruption


def fails(search, X, y):
    with pytest.warns(FitFailedWarning) as caught:
        search.fit(X, y)
    return search, str(caught[0].message)


@pytest.mark.parametrize(("estimator", "grid", "n"), [
    (classifier, {"alpha": [-1.0, 0.1]}, 3),                        # before the fit
    (regressor, {"loss": ["poisson", "squared_error"]}, 3),         # in its first epoch
    (classifier, {"early_stopping": [True, False], "validation_fraction": [0.01]}, 3),
    (make_pipeline(Counted(), classifier), {"counted__scale": [0.0, 1.0],
                                            "mlpclassifier__alpha": [0.1, 1.0]}, 6),
    (make_pipeline(Counted(), classifier), {"mlpclassifier__alpha": [-1.0, 1.0]}, 3),
], ids=str)
def test_fits_that_fail(estimator, grid, n):
    """Get `error_score`, the others their scores; and with "raise" are named."""
    y = THREE if isinstance(estimator, Pipeline) or estimator is classifier else X[:, 0]
    options = {"cv": 3, "error_score": -7.0, "return_train_score": True}
    found, message = fails(MLPSearchCV(estimator, grid, **options), X, y)
    expected, theirs = fails(GridSearchCV(estimator, grid, **options), X, y)
    assert_same(found, expected, X)
    n_fits = 3 * len(found.cv_results_["params"])
    assert message.startswith(f"\n{n} fits failed out of a total of {n_fits}.")
    assert message.strip().splitlines()[-1] == theirs.strip().splitlines()[-1]
    with pytest.raises(Exception) as ours:
        MLPSearchCV(estimator, grid, cv=3, error_score="raise").fit(X, y)
    with pytest.raises(type(ours.value)) as expected:
        GridSearchCV(estimator, grid, cv=3, error_score="raise").fit(X, y)
    assert str(ours.value) == str(expected.value)
    assert "candidate 0, {" in ours.value.__notes__[0] and "split 0" in ours.value.__notes__[0]


def test_arguments_that_the_estimator_does_not_have():
    for search in (MLPSearchCV, GridSearchCV):
        with pytest.raises(ValueError, match="has no argument 'weights'"):
            search(classifier, {"alpha": [0.1]}, cv=3).fit(X, THREE, weights=WEIGHT)
        with pytest.raises(ValueError, match="Invalid parameter 'alhpa'"):
            search(classifier, {"alhpa": [0.1]}, cv=3).fit(X, THREE)


@pytest.mark.parametrize(("given", "message"), [({}, "neither is given"), (
    {"param_grid": {}, "param_distributions": {}}, "both are given")])
def test_a_grid_or_distributions(given, message):
    with pytest.raises(ValueError, match=f"of param_grid and param_distributions {message}; there"):
        MLPSearchCV(classifier, **given).fit(X, THREE)


@pytest.mark.parametrize(("given", "words"), [
    ({"n_iter": 10}, "n_iter is 10; with param_grid"),
    ({"param_grid": {"alpha": stats.loguniform(1e-5, 1)}}, "has a distribution of alpha"),
    ({"param_grid": [{"solver": ["sgd"]}, {"tol": stats.uniform()}]}, "a distribution of tol")])
def test_what_a_grid_does_not_go_with(given, words):
    """A RandomizedSearchCV that got another name has its distributions in the place of a grid."""
    search = MLPSearchCV(classifier, **{"param_grid": {"alpha": [0.1, 1.0]}, **given})
    refused(lambda: search.fit(X, THREE), ValueError, words, "write param_distributions=")


def test_a_seed_has_no_effect_with_a_grid():
    search = MLPSearchCV(classifier, {"alpha": [0.1, 1.0]}, cv=2, random_state=0)
    with pytest.warns(UserWarning, match="^random_state is 0, .*param_distributions=") as told:
        search.fit(X, THREE)
    assert told[0].filename == __file__


def test_ten_candidates_are_drawn_unless_another_number_is_given():
    drawn = {"alpha": stats.loguniform(1e-5, 1)}
    search = MLPSearchCV(classifier, param_distributions=drawn, cv=2, random_state=0)
    theirs = RandomizedSearchCV(classifier, drawn, cv=2, random_state=0)
    assert_same(search.fit(X, THREE), theirs.fit(X, THREE), X)
    assert len(search.cv_results_["params"]) == 10 and search.n_iter is None


def test_estimators_that_are_not_trained_together_are_told():
    with pytest.warns(UserWarning, match=r"is a sklearn\.\S+\.MLPClassifier, so that no candidate"):
        MLPSearchCV(neural_network.MLPClassifier((3,), max_iter=2), {"alpha": [0.1, 1.0]},
                    cv=2).fit(X, THREE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        compare(steps, {"mlp": [LogisticRegression(), classifier]})


def test_ctrl_c_ends_the_search(monkeypatch):
    def interrupt(epochs):
        press_ctrl_c()
        return {}

    monkeypatch.setattr(_together, "train_epochs", interrupt)
    search = MLPSearchCV(classifier, GRID, cv=3)
    with pytest.raises(KeyboardInterrupt), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, THREE)
    assert not hasattr(search, "cv_results_")


# ---- around it


@pytest.mark.filterwarnings("ignore:random_state is")      # check_estimator sets it
@pytest.mark.parametrize("kind", [MLPClassifier, pytest.param(
    MLPRegressor, marks=pytest.mark.exhaustive)])
def test_scikit_learns_checks(kind):
    """Every check, none expected to fail."""
    search = MLPSearchCV(kind(max_iter=30, random_state=0), {"alpha": [1e-4, 1.0]}, cv=2)
    done = check_estimator(search, on_skip=None, on_fail="raise")
    skipped = {check["check_name"] for check in done if check["status"] == "skipped"}
    assert len(done) > 50 and skipped <= {
        "check_array_api_input",
        "check_classifiers_multilabel_output_format_decision_function"}


def test_callbacks(calls):
    """The fits run one by one, and each of them is seen."""
    monitors = [ScoringMonitor(scoring="accuracy") for _ in range(2)]
    for search, monitor in zip((MLPSearchCV, GridSearchCV), monitors, strict=True):
        estimator = clone(classifier).set_callbacks(monitor)
        search(estimator, {"alpha": [0.1, 1.0]}, cv=2).fit(X, THREE)
    ours, theirs = ([row["accuracy"] for row in monitor.get_logs().data] for monitor in monitors)
    assert ours == theirs and len(ours) > 10 and not calls


def test_what_a_search_keeps():
    search = MLPSearchCV(classifier, GRID, cv=3).fit(X, THREE)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    assert again.classes_.tolist() == search.classes_.tolist()
    assert again.score(X, THREE) == search.best_estimator_.score(X, THREE)
    assert not any(name.startswith("_fit") or name == "_candidates" for name in vars(search))
    assert clone(search).get_params().keys() == search.get_params().keys()
