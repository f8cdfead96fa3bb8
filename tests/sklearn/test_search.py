"""MLPSearchCV has the results of scikit-learn's searches over the same estimators, to the bit."""

import numpy as np
import pytest
import sklearn
from scipy import sparse, stats
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
    compare,
    regressor,
    steps,
)
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from fastbp.sklearn import MLPClassifier, MLPSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---- the results are those of scikit-learn's searches


@pytest.mark.parametrize("grid", [
    GRID,
    {"early_stopping": [True, False], "batch_size": [8, 40], "validation_fraction": [0.2, 0.3]},
    {"solver": ["adam", "sgd", "lbfgs", "newton-cg"], "learning_rate": ["adaptive", "invscaling"]},
    [{"activation": ["tanh", "logistic"]}, {"class_weight": [None, "balanced"]}],
    {"random_state": [1, np.random.RandomState(2)], "dtype": ["float32", None],
     "shuffle": [True, False]},
])
def test_grids_of_a_classifier(grid):
    compare(classifier, grid, return_train_score=True)


@pytest.mark.parametrize("grid", [
    {"loss": ["squared_error", "poisson"], "early_stopping": [True, False]},
    {"solver": ["sgd", "lbfgs"], "learning_rate": ["adaptive"], "n_iter_no_change": [1]}], ids=str)
def test_grids_of_a_regressor(grid):
    compare(regressor, grid, y=REAL, scoring="neg_mean_squared_error")
    compare(regressor, grid, y=np.column_stack([REAL, 1 + REAL]))


@pytest.mark.parametrize(("estimator", "y"), [(classifier, THREE), (regressor, REAL)], ids=repr)
def test_random_search(estimator, y):
    drawn = {"alpha": stats.loguniform(1e-5, 10), "solver": ["adam", "sgd"],
             "hidden_layer_sizes": [(3,), (6,)]}
    options = {"n_iter": 6, "random_state": 3, "cv": 3}
    found = MLPSearchCV(estimator, param_distributions=drawn, **options).fit(X, y)
    assert_same(found, RandomizedSearchCV(estimator, drawn, **options).fit(X, y), X)


@pytest.mark.parametrize("options", [
    {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss", "return_train_score": True},
    {"scoring": ["accuracy"], "refit": False},
    {"scoring": lambda model, X, y: {"mean": model.predict_proba(X).mean(), "n": model.n_iter_},
     "refit": lambda results: 1},
    {"cv": StratifiedKFold(4, shuffle=True, random_state=2)},
    {"refit": lambda results: 2}, {"cv": [(np.arange(50), np.arange(50, N))]},
])
def test_options_of_the_search(options):
    compare(classifier, GRID | {"solver": ["adam", "lbfgs"]}, **options)


@pytest.mark.parametrize("grid", [
    {"mlp__alpha": [1e-4, 1.0], "reduce__n_components": [1, 3]},
    {"mlp": [classifier, clone(classifier).set_params(solver="lbfgs"), LogisticRegression()]},
    {"scale": [StandardScaler(), "passthrough"], "mlp__solver": ["adam", "lbfgs", "newton-cg"]},
], ids=str)
def test_pipelines(grid):
    compare(steps, grid)
    compare(make_pipeline(FunctionTransformer(), steps),
            {f"pipeline__{name}": values for name, values in grid.items()}, n_jobs=2)


def test_data_of_other_kinds():
    """Sparse, lists, tables with names of columns; weights, groups, a validation set."""
    pandas = pytest.importorskip("pandas")
    compare(classifier, GRID, sparse.csr_array(X))
    compare(classifier, GRID, X.tolist(), THREE.tolist())
    found = compare(steps, {"mlp__alpha": [0.1, 1]}, pandas.DataFrame(X, columns=list("abcd")))
    assert found.feature_names_in_.tolist() == list("abcd")
    found = compare(classifier, GRID, pandas.DataFrame(X, columns=list("abcd")))
    assert found.best_estimator_.feature_names_in_.tolist() == list("abcd")
    compare(classifier, GRID, params={"sample_weight": WEIGHT, "groups": np.arange(N) % 7},
            cv=GroupKFold(3))
    compare(classifier, GRID, params={"X_val": X[:9], "y_val": THREE[:9]})
    compare(steps, {"mlp__alpha": [0.1, 1]}, params={"mlp__sample_weight": WEIGHT})


def test_metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        weighted = clone(classifier).set_fit_request(sample_weight=True).set_score_request(
            sample_weight=True)
        compare(weighted, GRID, params={"sample_weight": WEIGHT})
        scale = StandardScaler().set_fit_request(sample_weight=False)
        compare(make_pipeline(scale, weighted), {"mlpclassifier__alpha": [0.1, 1]},
                params={"sample_weight": WEIGHT})


@pytest.mark.filterwarnings("ignore:the estimator is a")
def test_estimators_of_other_kinds():
    """Fit themselves, in scikit-learn's way; test_search_fits.py has the warning."""
    class Own(MLPClassifier):
        def fit(self, X, y):
            return super().fit(X, np.where(y == "low", "low", "high"))

    compare(Own((5,), **QUICK), {"alpha": [0.1, 1]})
    compare(LogisticRegression(), {"C": [0.1, 1]})
    compare(TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp),
            {"regressor__alpha": [0.1, 1]}, y=REAL)
