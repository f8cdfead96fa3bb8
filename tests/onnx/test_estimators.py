"""Promise: estimators of fastbp.sklearn keep their predictions in a file of ONNX, labels included,
and within a pipeline that skl2onnx converts."""

import warnings

import numpy as np
import pandas as pd
import pytest
import skl2onnx
from runtime import distance, run
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp.onnx import register_skl2onnx, to_onnx
from fastbp.sklearn import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
    MLPSearchCV,
)

register_skl2onnx()

rng = np.random.default_rng(0)
X = rng.standard_normal((90, 4))
SIDE = (X @ [1, -2, 1, 0.5] > 0).astype(int)
THIRD = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
TARGETS = {
    "two integers": 2 * SIDE - 1, "two texts": np.array(["no", "yes"])[SIDE],
    "two objects": np.array(["no", "yes"], object)[SIDE], "truth values": SIDE > 0,
    "three integers": THIRD.astype("uint8"), "three texts": np.array(["a", "ß", "c"])[THIRD],
    "three floats": 2.0 * THIRD, "several labels": np.column_stack([SIDE, THIRD > 0, THIRD > 1]),
    "one class": np.full(90, 7),
}
PARAMETERS = {"hidden_layer_sizes": (6,), "max_iter": 20, "learning_rate_init": 0.05,
              "random_state": 0}
KINDS = {"alone": MLPClassifier(**PARAMETERS),
         "ensemble": MLPEnsembleClassifier(3, **PARAMETERS),
         "of samples": MLPEnsembleClassifier(5, bootstrap=True, max_samples=4, **PARAMETERS)}
REGRESSORS = {"alone": MLPRegressor(**PARAMETERS),
              "ensemble": MLPEnsembleRegressor(3, **PARAMETERS),
              "counts": MLPRegressor("poisson", **PARAMETERS)}
EACH_TARGET = pytest.mark.parametrize("target", TARGETS)
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
EACH_REGRESSOR = pytest.mark.parametrize("kind", REGRESSORS)


def fitted(estimator, y, dtype=None, X=X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.set_params(dtype=dtype).fit(X, y)


def off(model, X):
    """How far the answers may be apart: 1 - h and the mean add two roundings of at most 1."""
    members = getattr(model, "estimators_", [model])
    return max(distance(each._network(), X).max() for each in members) + 2 * np.finfo(
        members[0].coefs_[0].dtype).eps


def assert_same_labels(found, model, X, p, off):
    """Wherever the probabilities decide by more than they may be off."""
    expected = model.predict(X)
    highest = np.sort(p, axis=1)
    gap = np.abs(p - 0.5).min(axis=1) if expected.ndim == 2 else highest[:, -1] - highest[:, -2]
    certain = gap > 2 * off
    assert certain.mean() > 0.9 and found.shape == expected.shape
    assert (found == expected)[certain].all()


@EACH_TARGET
@EACH_KIND
def test_a_classifier(kind, target, dtype):
    model = fitted(KINDS[kind], TARGETS[target], dtype)
    Z = X.astype(dtype)
    found = run(to_onnx(model), X=Z)
    p = model.predict_proba(Z)
    assert list(found) == ["label", "probabilities"] and found["probabilities"].dtype == dtype
    assert np.abs(found["probabilities"] - p).max() <= off(model, Z)
    assert_same_labels(found["label"], model, Z, p, off(model, Z))
    kinds = {"u": "i", "U": "O"}
    assert found["label"].dtype.kind == kinds.get(*[model.classes_.dtype.kind] * 2)


@pytest.mark.parametrize("target", ["two texts", "several labels"])
def test_a_probability_of_one_half(target):
    """It is not enough for the second class, here as in `predict`."""
    model = fitted(KINDS["alone"], TARGETS[target], "float32")
    for array in (*model.coefs_, *model.intercepts_):
        array[...] = 0
    found = run(to_onnx(model), X=X.astype("float32"))
    assert (found["probabilities"] == 0.5).all() and (found["label"] == model.predict(X)).all()


def test_members_that_lack_a_class():
    """Some bootstrap samples of four rows hold two of the classes, or one."""
    model = fitted(KINDS["of samples"], TARGETS["three integers"], "float64")
    assert {len(each.classes_) for each in model.estimators_} >= {2, 3}


@EACH_REGRESSOR
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_regressor(kind, n_outputs, dtype):
    y = np.abs(X[:, :n_outputs]) if n_outputs > 1 else np.abs(X[:, 0])
    model, Z = fitted(REGRESSORS[kind], y, dtype), X.astype(dtype)
    found = run(to_onnx(model), X=Z)
    expected = model.predict(Z).reshape(len(Z), n_outputs)
    assert list(found) == ["value"] and found["value"].dtype == dtype
    size = np.abs(expected).max()
    assert np.abs(found["value"] - expected).max() <= off(model, Z) * max(1, size)


def test_a_search_has_its_best_estimator():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = MLPSearchCV(MLPClassifier(**PARAMETERS), {"alpha": [1e-4, 1.0]}, cv=2)
        search.fit(X, SIDE)
    found = to_onnx(search)
    assert found.SerializeToString() == to_onnx(search.best_estimator_).SerializeToString()


def test_names_of_features_are_kept():
    model = fitted(MLPRegressor(**PARAMETERS), X[:, 0])
    assert not to_onnx(model).metadata_props
    fitted(model, X[:, 0], X=pd.DataFrame(X, columns=list("abcd")))
    assert to_onnx(model).metadata_props[0].value == '["a", "b", "c", "d"]'


# ---- skl2onnx


def converted(model, dtype, **options):
    """A pipeline that standardises first is converted as a whole."""
    return skl2onnx.to_onnx(model, X[:1].astype(dtype), options={
        type(model[-1]): options} if options else None)


def pipeline_off(pipeline, dtype):
    """The standardisation is off by (|x| + |x - mean|) u / scale, and X by its cast to float32,
    which E1 multiplies by no more than the product of the norms of |W|, and 2 for the mean."""
    u, scaler = np.finfo(dtype).eps / 2, pipeline[0]
    Z = scaler.transform(X)
    moved = 3 * u * ((np.abs(X) + np.abs(scaler.mean_)) / scaler.scale_ + np.abs(Z)).max()
    members = getattr(pipeline[-1], "estimators_", [pipeline[-1]])
    slope = max(np.prod([np.abs(W).sum(axis=0).max() for W in each.coefs_]) for each in members)
    return off(pipeline[-1], Z) + moved * slope + 2 * u


@EACH_TARGET
@EACH_KIND
def test_a_pipeline_with_a_classifier(kind, target, dtype):
    pipeline = make_pipeline(StandardScaler(), KINDS[kind])
    model = pipeline.set_params(**{f"{pipeline.steps[-1][0]}__dtype": None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, TARGETS[target])
    found = run(converted(model, dtype, zipmap=False), X=X.astype(dtype))
    p, most = model.predict_proba(X), pipeline_off(model, dtype)
    assert found["probabilities"].dtype == dtype
    assert np.abs(found["probabilities"] - p).max() <= most
    assert_same_labels(found["label"], model, X, p, most)


@EACH_REGRESSOR
def test_a_pipeline_with_a_regressor(kind, dtype):
    model = make_pipeline(StandardScaler(), REGRESSORS[kind].set_params(dtype=None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, np.abs(X[:, 0]))
    (found,), expected = run(converted(model, dtype), X=X.astype(dtype)).values(), model.predict(X)
    most = pipeline_off(model, dtype) * max(1, np.abs(expected).max())
    assert found.shape == (90, 1) and found.dtype == dtype
    assert np.abs(found[:, 0] - expected).max() <= most


@pytest.mark.parametrize("zipmap", [True, "columns"])
def test_probabilities_by_class(zipmap):
    """skl2onnx's own forms of them, the default a list of dicts."""
    model = make_pipeline(StandardScaler(), fitted(KINDS["alone"], TARGETS["three texts"]))
    model[0].fit(X)
    Z = X.astype("float32")
    labels, *answers = run(converted(model, "float32", zipmap=zipmap), X=Z).values()
    p = np.array([[row[name] for name in "acß"] for row in answers[0]] if zipmap is True
                 else np.transpose(answers))
    assert np.abs(p - model.predict_proba(X)).max() <= pipeline_off(model, "float32")


def test_places_of_classes():
    """The option `nocl` of skl2onnx."""
    model = fitted(KINDS["alone"], TARGETS["three texts"], "float32")
    found = run(skl2onnx.to_onnx(model, X[:1].astype("float32"), options={
        MLPClassifier: {"nocl": True, "zipmap": False}}), X=X.astype("float32"))
    assert (np.array(["a", "c", "ß"])[found["label"]] == model.predict(X)).mean() > 0.9
    with pytest.raises(ValueError, match="target_opset is 12; it should be at least 13"):
        skl2onnx.to_onnx(model, X[:1].astype("float32"), target_opset=12)
