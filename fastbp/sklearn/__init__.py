"""scikit-learn's MLPClassifier and MLPRegressor, trained by fastbp.

    from fastbp.sklearn import MLPClassifier        # was: from sklearn.neural_network import ...

docs/sklearn.md says what there is beyond scikit-learn, and where the two differ.
"""

try:
    from fastbp.sklearn._classifier import MLPClassifier
    from fastbp.sklearn._ensemble import MLPEnsembleClassifier, MLPEnsembleRegressor
    from fastbp.sklearn._regressor import MLPRegressor
    from fastbp.sklearn._search import MLPSearchCV
except ImportError as error:
    if (error.name or "").partition(".")[0] not in {"sklearn", "scipy"}:
        raise
    import sys

    found = getattr(sys.modules.get("sklearn"), "__version__", None)
    here = f"this is {found} ({error})" if found else f"there is no {error.name} here"
    raise ImportError(f"fastbp.sklearn needs scikit-learn 1.9 or later, and {here}: "
                      "pip install 'fastbp[sklearn]'") from error

__all__ = ["MLPClassifier", "MLPEnsembleClassifier", "MLPEnsembleRegressor", "MLPRegressor",
           "MLPSearchCV"]
