"""What cannot be exported is refused with a sentence that says what can, and no file is written."""

import builtins
import importlib
import re
import sys

import numpy as np
import pytest
from errors import refused
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp
from fastbp.onnx import _described, _models, export, register_skl2onnx, to_onnx
from fastbp.sklearn import MLPClassifier, MLPSearchCV

X = np.random.default_rng(0).standard_normal((20, 2))


def test_other_models():
    for model in (None, "net.safetensors", StandardScaler(), fastbp.SGD()):
        refused(lambda model=model: to_onnx(model), TypeError,
                f"model is of type {type(model).__name__}; it should be a fastbp.MLP")
    refused(lambda: to_onnx(make_pipeline(StandardScaler(), MLPClassifier())), TypeError,
            "model is of type Pipeline", "fastbp.onnx.register_skl2onnx()")


def test_estimators_that_are_not_fitted():
    for model in (MLPClassifier(), MLPSearchCV(MLPClassifier(), {"alpha": [1]})):
        with pytest.raises(NotFittedError):
            to_onnx(model)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_search_without_an_estimator():
    search = MLPSearchCV(MLPClassifier(max_iter=1), {"alpha": [1]}, refit=False, cv=2)
    search.fit(X, X[:, 0] > 0)
    refused(lambda: to_onnx(search), ValueError, "no best_estimator_", "refit=True")


@pytest.mark.parametrize("classes", [[0, 2**63], [b"a", b"b"]], ids=str)
def test_labels_that_are_no_tensor(classes):
    dtype = "uint64" if classes[1] == 2**63 else "S1"
    refused(lambda: _described.label_array(np.array(classes, dtype)), ValueError, "classes_ is")


def test_a_model_that_is_too_large(monkeypatch, tmp_path):
    """The limit is that of protobuf; here it is lowered to one byte below what there is."""
    net = fastbp.MLP([3, 2], seed=0, activation="relu", loss="squared_error")
    monkeypatch.setattr(_models, "LARGEST", 4 * net.n_params)
    refused(lambda: export(net, tmp_path / "m"), ValueError, "model has 32 bytes", "less than 32")
    monkeypatch.setattr(_models, "LARGEST", 4 * net.n_params + 1)
    export(net, tmp_path / "m")


def test_calls():
    refused(lambda: export(fastbp.MLP([2, 1])), TypeError, "export lacks path")
    refused(lambda: to_onnx(fastbp.MLP([2, 1]), "x"), TypeError, "to_onnx takes 1 argument")


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "none" / "m"))):
        export(fastbp.MLP([2, 1], seed=0), tmp_path / "none" / "m")


# ---- libraries that are not there


def without(monkeypatch, name):
    """Imports of one package fail, as where it is not installed."""
    real = builtins.__import__

    def missing(module, *args, **kwargs):
        if module.partition(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)


def test_without_onnx(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fastbp.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    without(monkeypatch, "onnx")
    with pytest.raises(ImportError, match=re.escape(
            "fastbp.onnx needs onnx: pip install 'fastbp[onnx]'")):
        importlib.import_module("fastbp.onnx")


def test_without_skl2onnx(monkeypatch):
    without(monkeypatch, "skl2onnx")
    with pytest.raises(ImportError, match="register_skl2onnx needs skl2onnx: pip install"):
        register_skl2onnx()
