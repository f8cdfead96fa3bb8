"""Estimators in files of safetensors: a loaded model answers with the labels of the fit."""

import csv
import json

import numpy as np
import pytest
import safetensors.numpy
from errors import refused
from sklearn.datasets import load_iris, make_multilabel_classification

import fastbp
from fastbp._command.main import main
from fastbp.io import load_model, save_model
from fastbp.onnx import to_onnx
from fastbp.sklearn import MLPClassifier, MLPEnsembleClassifier

X, Y = load_iris(return_X_y=True)
LABELS = {"integers": Y, "small integers": Y.astype("int8"), "unsigned": Y.astype("uint32") + 7,
          "floats": Y.astype(float), "single floats": Y.astype("float32"), "truth": Y == 1,
          "texts": np.array(["setosa", "versicolor", "virginica"])[Y], "two": np.minimum(Y, 1)}
EACH_KIND = pytest.mark.parametrize("y", LABELS.values(), ids=[*LABELS])
PARAMETERS = {"hidden_layer_sizes": (8,), "max_iter": 60, "tol": 1e-2, "learning_rate_init": 0.03,
              "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


@pytest.fixture
def there_and_back(tmp_path):
    def call(model, **options):
        save_model(tmp_path / "m", model, **options)
        return load_model(tmp_path / "m")
    return call


@EACH_KIND
def test_labels_are_those_of_the_fit(y, there_and_back):
    model = MLPClassifier(**PARAMETERS).fit(X, y)
    loaded = there_and_back(model)
    found = loaded.predict(X)
    assert found.dtype == (object if y.dtype.kind == "U" else y.dtype)
    np.testing.assert_array_equal(found, model.predict(X))
    assert np.mean(found == y) > 0.6 and loaded.classes == tuple(model.classes_)
    again = MLPClassifier.from_network(loaded.net, classes=loaded.classes)
    assert again.classes_.dtype == y.dtype
    np.testing.assert_array_equal(again.predict(X), found)
    assert to_onnx(loaded).graph.output[0] == to_onnx(model).graph.output[0]    # name and type
    assert there_and_back(loaded).classes == loaded.classes


def test_labels_of_an_ensemble(there_and_back):
    model = MLPEnsembleClassifier(3, **PARAMETERS).fit(X, Y)
    np.testing.assert_array_equal(there_and_back(model).predict(X), model.predict(X))


def test_several_labels_are_an_indicator_matrix(there_and_back):
    Z, labels = make_multilabel_classification(n_classes=5, random_state=0)
    model = MLPClassifier(**PARAMETERS).fit(Z, labels)
    loaded = there_and_back(model)
    found = loaded.predict(Z)
    assert found.dtype == model.predict(Z).dtype and found.shape == (100, 5)
    np.testing.assert_array_equal(found, model.predict(Z))
    assert to_onnx(loaded).graph.output[0] == to_onnx(model).graph.output[0]


@pytest.mark.parametrize(("loss", "n_outputs"), [("bce", 1), ("softmax", 3)])
def test_a_class_index_without_classes(loss, n_outputs, there_and_back):
    net = fastbp.MLP([4, n_outputs], loss=loss, seed=0)
    found, h = there_and_back(net).predict(X), net.forward(X)
    expected = h.argmax(axis=1) if n_outputs > 1 else (h[:, 0] >= 0.5).astype(int)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("y", [Y, Y == 1, Y + 0.5], ids=["integers", "truth", "floats"])
def test_tables_have_the_texts_of_labels(y, tmp_path, capsys):
    """The command writes a label as it reads one."""
    labels = np.unique(y)
    net = fastbp.MLP([4, 1 if len(labels) == 2 else 3], loss="bce" if len(labels) == 2 else
                     "softmax", seed=0)
    save_model(tmp_path / "m", net, classes=labels, feature_names=list("abcd"))
    np.savetxt(tmp_path / "t.csv", X, delimiter=",", header="a,b,c,d", comments="")
    model, table, out = (str(tmp_path / name) for name in ("m", "t.csv", "o.csv"))
    main(["predict", model, table, "--out", out])
    with open(out) as file:
        rows = [*csv.DictReader(file)]
    texts = [name.partition("_")[2] for name in rows[0] if name.startswith("probability_")]
    assert texts == {"b": ["false", "true"], "i": ["0", "1", "2"],
                     "f": ["0.5", "1.5", "2.5"]}[y.dtype.kind]
    chosen = load_model(tmp_path / "m").predict(X)
    assert [row["predicted_"] for row in rows] == [texts[k] for k in
                                                   np.searchsorted(labels, chosen)]
    main(["explain", model])
    assert ", ".join(map(repr, texts)) in capsys.readouterr().out


@pytest.mark.parametrize(("classes", "kind", "words"), [
    ([0, 1], ValueError, "classes has 2 names; it should have 3"),
    ([0, 1, 1.0], ValueError, "classes has '1' twice"),
    ([0, 1, "2"], TypeError, "it should be a sequence of str"),
    ([0, 1, np.nan], ValueError, "classes is [0, 1, nan]; labels should be texts"),
    ([0, 1, 2**64], ValueError, "numbers of at most 64 bits"),
    (np.eye(3), TypeError, "it should be a sequence of str")])
def test_labels_that_cannot_be_saved(classes, kind, words, there_and_back):
    net = fastbp.MLP([4, 3], loss="softmax", seed=0)
    refused(lambda: there_and_back(net, classes=classes), kind, words)


@pytest.mark.parametrize(("dtype", "classes", "words"), [
    ("object", ["0", "1", "2"], "class_dtype is 'object'; it should be one of bool, float16"),
    ("int8", ["0", "1", "300"], "of int8"), ("bool", ["0", "1", "2"], "of bool"),
    ("int64", ["0", "1", "2.5"], "of int64"), ("float64", ["0", "1", "nan"], "of float64"),
    ("uint8", ["0", "1", "-1"], "of uint8"), ("int64", ["0", "1", "+1"], "of int64")])
def test_labels_of_a_damaged_file(dtype, classes, words, tmp_path):
    path = tmp_path / "m"
    save_model(path, fastbp.MLP([4, 3], loss="softmax", seed=0), classes=[0, 1, 2])
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata() | {"class_dtype": dtype, "classes": json.dumps(classes)}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    refused(lambda: load_model(path), ValueError, words)
