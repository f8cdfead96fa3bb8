"""Data and estimators to search over, and the comparison of a search with scikit-learn's;
no test is here."""

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fastbp.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV

N = 90
rng = np.random.default_rng(1)
X = rng.standard_normal((N, 4))
THREE = np.array(["low", "middle", "high"])[np.digitize(X[:, 0] + 0.3 * X[:, 1], [-0.4, 0.4])]
REAL = np.exp(0.5 * X[:, 0]) + np.abs(X[:, 1])
WEIGHT = rng.random(N) + 0.1
QUICK = {"max_iter": 8, "n_iter_no_change": 2, "tol": 1e-2, "random_state": 0}
classifier = MLPClassifier((5,), **QUICK)
regressor = MLPRegressor(hidden_layer_sizes=(5,), **QUICK)
steps = Pipeline([("scale", StandardScaler()), ("reduce", PCA(random_state=0)),
                  ("mlp", classifier)])
GRID = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(3,), (6, 4)]}


def assert_same(found, expected, X):
    """Results and fitted attributes; of times only that they are there."""
    assert found.cv_results_.keys() == expected.cv_results_.keys()
    for name, values in expected.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(found.cv_results_[name], values, name)
            assert getattr(values, "dtype", None) == getattr(found.cv_results_[name], "dtype", None)
    arguments = set(found.get_params(deep=False)) | set(expected.get_params(deep=False))
    assert vars(found).keys() - arguments == vars(expected).keys() - arguments
    for name in ("best_index_", "best_params_", "best_score_", "n_splits_", "multimetric_"):
        assert getattr(found, name, None) == getattr(expected, name, None)
    if found.refit:
        np.testing.assert_array_equal(found.predict(X), expected.predict(X))


def compare(estimator, grid, X=X, y=THREE, params=(), **options):
    """The search that was compared with GridSearchCV."""
    options = {"cv": 3, **options}
    found = MLPSearchCV(clone(estimator), grid, **options).fit(X, y, **dict(params))
    assert_same(found, GridSearchCV(estimator, grid, **options).fit(X, y, **dict(params)), X)
    return found
