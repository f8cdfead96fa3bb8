"""`MLPSearchCV(halving=)` has the results of scikit-learn's halving searches, to the bit."""

import numpy as np
import pytest
from clients import Inline
from scipy import stats
from searches import THREE, X, assert_same, classifier, steps
from sklearn.callback import ProgressBar
from sklearn.model_selection._search_successive_halving import (
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
)

from fastbp.sklearn import MLPSearchCV
from fastbp.sklearn._candidates import Candidates

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
GRID = {"alpha": np.geomspace(1e-4, 1, 5), "hidden_layer_sizes": [(3,), (6, 4)]}
DRAWN = {"alpha": stats.loguniform(1e-5, 10), "activation": ["tanh", "relu"]}


def compare(found, expected):
    found.fit(X, THREE)
    expected.fit(X, THREE)
    del expected._n_samples_orig            # an attribute of scikit-learn's own use
    assert_same(found, expected, X)
    return found


@pytest.mark.parametrize("options", [
    {}, {"factor": 2}, {"factor": 2.5, "min_resources": 20},
    {"factor": 3, "resource": "max_iter", "max_resources": 8},
    {"factor": 2, "resource": "max_iter", "max_resources": 6, "min_resources": 3,
     "aggressive_elimination": True}], ids=str)
@pytest.mark.parametrize("client", [None, Inline(4)], ids=["", "client"])
def test_grids(options, client):
    given = {"cv": 3, "random_state": 0, "return_train_score": True}
    found = compare(MLPSearchCV(classifier, GRID, halving=options, client=client, **given),
                    HalvingGridSearchCV(classifier, GRID, **given, **options))
    last = found.cv_results_["iter"] == found.cv_results_["iter"].max()
    assert last[found.best_index_] and last.sum() == found.n_candidates_[-1] < 10


@pytest.mark.parametrize("n_iter", [None, 9])
def test_random_searches(n_iter):
    given = {"cv": 3, "random_state": 0, "return_train_score": True}
    n_candidates = "exhaust" if n_iter is None else n_iter
    found = MLPSearchCV(classifier, param_distributions=DRAWN, n_iter=n_iter, halving=2, **given)
    compare(found, HalvingRandomSearchCV(classifier, DRAWN, n_candidates=n_candidates, factor=2,
                                         **given))


def test_epochs_are_those_of_the_estimator_at_most():
    found = MLPSearchCV(steps, {"mlp__alpha": np.geomspace(1e-4, 1, 4)}, cv=3,
                        halving={"factor": 2, "resource": "mlp__max_iter"}).fit(X, THREE)
    assert found.n_resources_ == [2, 4, 8] and found.max_resources_ == 8
    assert found.best_params_["mlp__max_iter"] == 8


def test_times_of_each_round_are_added_once(monkeypatch):
    """By a clock that says an hour for each fit."""
    monkeypatch.setattr(Candidates, "seconds", lambda self: [3600.0] * len(self.fitted))
    found = MLPSearchCV(classifier, GRID, cv=3, halving=2).fit(X, THREE)
    assert found.n_iterations_ > 2
    assert (np.floor(found.cv_results_["mean_fit_time"] / 3600) == 1).all()


def test_callbacks_go_through_all_rounds():
    search = MLPSearchCV(classifier, GRID, cv=3, halving=3, random_state=0)
    found = search.set_callbacks(ProgressBar()).fit(X, THREE)
    assert found.n_iterations_ == len(set(found.cv_results_["iter"])) > 1


@pytest.mark.parametrize(("halving", "message"), [
    (1, "The 'halving' parameter of MLPSearchCV must be"),
    ({"factor": 1}, "^halving has the factor 1; it should be above 1$"),
    ({"factors": 3}, "^halving has 'factors'; it should have some of factor, resource"),
    ({"factor": "3"}, "The 'factor' parameter of HalvingGridSearchCV must be"),
    ({"resource": "epochs"}, "Cannot use resource=epochs"),
    ({"resource": "alpha"}, "resource can only be 'n_samples' when max_resources='auto'")])
def test_bad_options(halving, message):
    with pytest.raises(ValueError, match=message):
        MLPSearchCV(classifier, GRID, halving=halving).fit(X, THREE)


def test_several_scores_are_refused():
    with pytest.raises(ValueError, match="The 'scoring' parameter of HalvingGridSearchCV"):
        MLPSearchCV(classifier, GRID, halving=2, scoring=["accuracy"], refit=False).fit(X, THREE)
