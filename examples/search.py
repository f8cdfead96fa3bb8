"""A search of scikit-learn's, by estimators that take the place of its own.

    pip install '.[sklearn]'
    python examples/search.py

The import is the change. `MLPSearchCV` then trains the networks of all candidates and folds at
once, with the scores that `GridSearchCV` finds one by one; the best goes back to scikit-learn's own
class, for a machine that has no fastbp.
"""

import sys
import time
import warnings

try:
    from sklearn.datasets import load_wine
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, train_test_split
    from sklearn.preprocessing import StandardScaler
except ModuleNotFoundError:
    sys.exit("examples/search.py needs a package: pip install scikit-learn")

from fastbp.sklearn import MLPClassifier, MLPSearchCV  # was: sklearn.neural_network, without search

GRID = {"alpha": [1e-4, 1e-2, 1.0, 10.0], "learning_rate_init": [1e-3, 1e-2],
        "random_state": [0, 1]}
EPOCHS = {"max_iter": 100, "n_iter_no_change": 100}     # so many for each candidate


def main():
    """Search, print what was found, and return the scores, the best of both kinds, and rows."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, X_test, y, y_test = train_test_split(*load_wine(return_X_y=True), random_state=0)
    scaler = StandardScaler().fit(X)
    X, X_test, scores = scaler.transform(X), scaler.transform(X_test), []
    for search in (GridSearchCV(MLPClassifier((8,), **EPOCHS), GRID),
                   MLPSearchCV(MLPClassifier((8,), **EPOCHS), GRID)):
        start = time.perf_counter()
        search.fit(X, y)
        scores.append(search.cv_results_["mean_test_score"])
        print(f"{type(search).__name__:>12}: {time.perf_counter() - start:.2f} s, "
              f"{search.best_score_:.4f} by {search.best_params_}")
    best = search.best_estimator_
    models = [best, best.to_sklearn()]
    for name, model in zip(("fastbp", "scikit-learn"), models, strict=True):
        print(f"{name:>12}: {model.score(X_test, y_test):.4f} of the wines held out")
    return scores, models, X_test


if __name__ == "__main__":
    main()
