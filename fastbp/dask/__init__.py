"""Training on a Dask cluster, with the same bits for any number of workers.

    from fastbp.dask import DaskMLPClassifier

    model = DaskMLPClassifier((64, 64), dtype="float32", random_state=0).fit(X, y)

docs/dask.md says what the estimators and `objective` do, and when one machine is enough.
"""

try:
    from fastbp.dask._classifier import DaskMLPClassifier
    from fastbp.dask._objective import objective
    from fastbp.dask._places import SchedulerLost
    from fastbp.dask._regressor import DaskMLPRegressor
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"dask", "distributed"}:
        raise
    raise ImportError(f"fastbp.dask needs dask and distributed, and there is no {error.name} here: "
                      "pip install 'fastbp[dask]'") from error

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor", "SchedulerLost", "objective"]
