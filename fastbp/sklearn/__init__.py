"""scikit-learn's MLPClassifier and MLPRegressor, trained by fastbp.

    from fastbp.sklearn import MLPClassifier        # was: from sklearn.neural_network import ...

docs/sklearn.md says what there is beyond scikit-learn, and where the two differ.
"""

try:
    from fastbp.sklearn._classifier import MLPClassifier
    from fastbp.sklearn._regressor import MLPRegressor
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"sklearn", "scipy"}:
        raise
    raise ImportError(
        f"fastbp.sklearn needs scikit-learn 1.9 or later, and there is no {error.name} here: "
        "pip install 'fastbp[sklearn]'") from error

__all__ = ["MLPClassifier", "MLPRegressor"]
