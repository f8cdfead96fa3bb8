"""Any arguments of the scikit-learn estimators: the fit of the same numbers in plain arrays, or a
TypeError or ValueError, after which the estimator predicts what it did."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Argument, arrays, memory_of, same

pytest.importorskip("sklearn")

from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

N, FEATURES = 12, 3
FEWER = settings(settings(), max_examples=max(10, settings().max_examples // 8))
ABSENT = Argument(None, None)


def labels(rng, shape):
    return np.arange(np.prod(shape)).reshape(shape) % 3


def batches():
    X = arrays("X", [(N, FEATURES)])
    y = arrays("y", [(N,)], labels) | arrays("y", [(N, 2)])
    w = st.just(ABSENT) | arrays("sample_weight", [(N,)], "count")
    return st.tuples(X, y, w)


def fitted(kind, arguments, solver, dtype):
    """An estimator after a fit, or the error."""
    model = kind((4,), solver=solver, max_iter=2, random_state=0, dtype=dtype)
    with np.errstate(all="ignore"):
        return model.fit(*arguments)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@FEWER
@given(batch=batches(), solver=st.sampled_from(["adam", "sgd", "lbfgs", "newton-cg"]),
       dtype=st.sampled_from(["float32", "float64"]))
def test_any_fit(kind, batch, solver, dtype):
    passed = [a.value for a in batch]
    before = memory_of(*passed)
    try:
        model = fitted(kind, passed, solver, dtype)
    except (TypeError, ValueError) as error:
        assert str(error)
        assert memory_of(*passed) == before
        return
    assert memory_of(*passed) == before
    assert all(np.isfinite(W).all() for W in (*model.coefs_, *model.intercepts_))
    if any(a.plain is None and a.value is not None for a in batch):
        return      # scikit-learn reads labels of any kind, masked arrays, one weight for all
    plain = fitted(kind, [a.plain for a in batch], solver, dtype)
    same(model.coefs_, plain.coefs_)
    same(model.intercepts_, plain.intercepts_)


@pytest.mark.filterwarnings("ignore")
@FEWER
@given(X=arrays("X", [("n_samples", FEATURES)]))
def test_any_prediction(X):
    y = np.arange(N) % 2
    model = MLPClassifier((4,), max_iter=2, random_state=0).fit(np.eye(N, FEATURES), y)
    before = memory_of(*model.coefs_)
    try:
        with np.errstate(all="ignore"):
            p = model.predict_proba(X.value)
    except (TypeError, ValueError) as error:
        assert str(error)
    else:
        with np.errstate(all="ignore"):
            same(p, model.predict_proba(np.asarray(X.value) if X.plain is None else X.plain))
    assert memory_of(*model.coefs_) == before
