"""A message about something that a network can be made of says how."""

import numpy as np
import pytest
from errors import refused
from sklearn import neural_network
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp
from fastbp._arguments import way_to_a_model, way_to_a_network
from fastbp.io import load_model, save_model
from fastbp.onnx import to_onnx
from fastbp.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV

X = np.random.default_rng(0).normal(size=(40, 3))
y = (X[:, 0] > 0).astype(int)
PARAMETERS = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def ours():
    return MLPClassifier(**PARAMETERS).fit(X, y)


@pytest.fixture(scope="module")
def theirs():
    return neural_network.MLPClassifier(**PARAMETERS).fit(X, y)


def test_an_estimator_of_scikit_learn(theirs, tmp_path):
    way = ": take fastbp.sklearn.MLPClassifier.from_sklearn(it)"
    for call in (lambda: save_model(tmp_path / "m", theirs), lambda: to_onnx(theirs)):
        refused(call, TypeError, f"or an estimator of fastbp.sklearn{way}")
    refused(lambda: MLPClassifier.from_network(theirs), TypeError, f"{way}.to_network()")
    to_onnx(MLPClassifier.from_sklearn(theirs))
    MLPClassifier.from_network(MLPClassifier.from_sklearn(theirs).to_network())
    assert "MLPRegressor.from_sklearn" in way_to_a_model(neural_network.MLPRegressor())


def test_a_network_is_asked_for(ours, tmp_path):
    save_model(tmp_path / "m", ours)
    loaded = load_model(tmp_path / "m")
    refused(lambda: MLPClassifier.from_network(loaded), TypeError, "fastbp.MLP: take its .net")
    refused(lambda: MLPRegressor.from_network(ours), TypeError, "MLP: take its to_network()")
    MLPClassifier.from_network(loaded.net)
    assert way_to_a_network(MLPClassifier) == way_to_a_network(3) == ""


def test_a_pipeline_in_a_file(tmp_path):
    """The recipe of the message is carried out."""
    pipe = make_pipeline(StandardScaler(), MLPClassifier(**PARAMETERS)).fit(X, y)
    path = tmp_path / "m"
    with pytest.raises(TypeError) as caught:
        save_model(path, pipe)
    message = str(caught.value)
    recipe = message[message.index("save_model(path, pipe[-1], "):]
    exec(recipe, {"save_model": save_model, "path": path, "pipe": pipe})
    np.testing.assert_array_equal(load_model(path).predict(X), pipe.predict(X))


def test_a_search(ours, tmp_path):
    grid = {"alpha": [1e-4, 1.0]}
    search = MLPSearchCV(MLPClassifier(**PARAMETERS), grid, cv=2)
    refused(lambda: save_model(tmp_path / "m", search), TypeError, "MLPSearchCV; it should be a f",
            ": fit it with refit=True")
    save_model(tmp_path / "m", search.fit(X, y))
    np.testing.assert_array_equal(load_model(tmp_path / "m").predict(X), search.predict(X))
    other = GridSearchCV(MLPClassifier(**PARAMETERS), grid, cv=2).fit(X, y)
    refused(lambda: to_onnx(other), TypeError, ": take its best_estimator_")
    assert way_to_a_network(other) == ": take its best_estimator_"
    assert isinstance(other.best_estimator_.to_network(), fastbp.MLP)
