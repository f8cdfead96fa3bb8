"""Promise: onnxruntime computes an exported network to rounding, whatever its loss, activations and
dtype: within the running bound of E1 for sums in any order, probabilities near 0 included."""

import json
from itertools import pairwise

import numpy as np
import onnx
import pytest
from oracle import assert_within, random_network
from runtime import distance, exact_outputs, run

import fastbp
from fastbp import _arguments
from fastbp.io import load_model, save_model
from fastbp.onnx import export, to_onnx

SIZES = (7, 300, 9, 3)      # of more than one block of a sum (N1)
ANSWERS = {"bce": "probabilities", "softmax": "probabilities", "squared_error": "value",
           "poisson": "value"}
EACH_ACTIVATION = pytest.mark.parametrize("activation", [*_arguments.ACTIVATIONS,
                                                         ("relu", "tanh")], ids=str)
EACH_LOSS = pytest.mark.parametrize("loss", list(_arguments.LOSSES))


def network(sizes=SIZES, dtype="float32", scale=1.0, seed=0, **options):
    net = fastbp.MLP(sizes, dtype=dtype, seed=0, **options)
    weights, biases = random_network(np.random.default_rng(seed), sizes, dtype, scale)
    for views, arrays in ((net.weights, weights), (net.biases, biases)):
        for view, array in zip(views, arrays, strict=True):
            view[...] = array
    return net


def batch(n=33, n_features=SIZES[0], dtype="float32"):
    return np.random.default_rng(1).standard_normal((n, n_features)).astype(dtype)


@EACH_ACTIVATION
@EACH_LOSS
def test_outputs(activation, loss, dtype):
    X = batch(dtype=dtype)
    for scale in (0.5, 1.0) if loss == "poisson" else (1.0, 3.0):   # e^z stays finite
        net = network(dtype=dtype, activation=activation, loss=loss, scale=scale)
        (name, found), = run(to_onnx(net), X=X).items()
        assert name == ANSWERS[loss] and found.dtype == net.dtype
        assert_within(found, *exact_outputs(net, X), name)


@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_probabilities_near_zero(loss, dtype):
    """They keep their relative accuracy: z itself is exact here, and h within 32 u and u |z|."""
    z = np.linspace(-85, 85, 4001).astype(dtype)[:, None]
    net = fastbp.MLP([1, 2], loss=loss, dtype=dtype, seed=0)
    net.weights[0][...], net.biases[0][...] = [[1, 0]], 0
    found = run(to_onnx(net), X=z)["probabilities"][:, 0]
    exact = (1 / (1 + np.exp(-z.astype(np.longdouble))))[:, 0]
    assert found.min() > 0 and found.max() == 1
    assert (np.abs(found - exact) <= (32 + np.abs(z[:, 0])) * np.finfo(dtype).eps / 2 * exact).all()


@EACH_LOSS
def test_values_that_are_not_finite(loss, dtype):
    """NaN where `forward` has it, and infinities."""
    X = batch(dtype=dtype)
    X[3, 2], X[5, 1], X[6, 1] = np.nan, np.inf, -np.inf
    for activation in _arguments.ACTIVATIONS:
        net = network(dtype=dtype, activation=activation, loss=loss)
        found, expected = run(to_onnx(net), X=X)[ANSWERS[loss]], net.forward(X)
        assert np.isnan(found[3]).all() and (np.isnan(found) == np.isnan(expected)).all()
        assert (np.isinf(found) == np.isinf(expected)).all()


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (5, 1, 1, 4)], ids=str)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_small_shapes(sizes, n):
    net, X = network(sizes), batch(n, sizes[0])
    assert_within(run(to_onnx(net), X=X)["probabilities"], *exact_outputs(net, X), "h")


@EACH_LOSS
@pytest.mark.parametrize("n_networks", [1, 5])
def test_a_population_is_its_mean(loss, n_networks, dtype):
    """Summed in float64 and rounded once: N - 1 additions and a quotient there, then u."""
    X, u = batch(dtype=dtype), float(np.finfo(dtype).eps) / 2
    members = [network((7, 11, 3), dtype, seed=k, loss=loss, activation="tanh")
               for k in range(n_networks)]
    found = run(to_onnx(fastbp.Population.from_networks(members)), X=X)[ANSWERS[loss]]
    exact, bounds = zip(*(exact_outputs(net, X) for net in members), strict=True)
    size = np.mean(np.abs(exact), axis=0) + np.mean(bounds, axis=0)
    bound = np.mean(bounds, axis=0) + (u + (n_networks + 1) * 2.0**-53) * size
    assert found.dtype == dtype
    assert_within(found, np.mean(exact, axis=0), bound.astype(float), "mean")


# ---- saved models


def saved(net, path, **options):
    save_model(path, net, **options)
    return load_model(path)


def test_the_standardisation_is_inside(dtype, tmp_path):
    """The same bits reach the network: a difference, a quotient and a cast, each rounded once."""
    rng, X = np.random.default_rng(2), 100 + 30 * batch(dtype="float64")
    mean, scale, net = X.mean(axis=0), rng.uniform(1, 50, 7), network(dtype=dtype, loss="poisson")
    model = saved(net, tmp_path / "m", feature_mean=mean, feature_scale=scale,
                  feature_names=list("abcdefg"))
    proto = to_onnx(model)
    found = run(proto, X=X)["value"]
    standardised = ((X - mean) / scale).astype(dtype)
    assert_within(found, *exact_outputs(net, standardised), "value")
    assert (np.abs(found - model.forward(X)) <= distance(net, standardised)).all()
    assert json.loads(proto.metadata_props[0].value) == list("abcdefg")


@pytest.mark.parametrize(("loss", "n_outputs", "classes"), [
    ("bce", 1, ["no", "yes"]), ("softmax", 3, ["a", "b", "ü"])])
def test_labels_of_a_saved_model(loss, n_outputs, classes, dtype, tmp_path):
    X = batch(200, dtype="float64")
    net = network((7, 5, n_outputs), dtype, seed=1, loss=loss, activation="tanh")
    net.biases[-1][...] = 0     # each class is the most probable of some samples
    found = run(to_onnx(saved(net, tmp_path / "m", classes=classes)), X=X)
    h, off = net.forward(X), distance(net, X) + np.finfo(dtype).eps
    p = np.hstack([1 - h, h]) if n_outputs == 1 else h
    assert (np.abs(found["probabilities"] - p) <= off).all()
    highest = np.sort(p, axis=1)
    certain = highest[:, -1] - highest[:, -2] > 2 * off.max(axis=1)
    labels = np.array(classes, object)[p.argmax(axis=1)]
    assert certain.mean() > 0.9 and set(labels[certain]) == set(classes)
    assert (found["label"] == labels)[certain].all()


def test_labels_of_a_model_without_classes(tmp_path):
    """As `predict` has them: 0, 1, ..., of several "bce" each by itself."""
    X = batch(dtype="float64")
    for loss, n_outputs, shape in (("bce", 1, (33,)), ("softmax", 3, (33,)), ("bce", 3, (33, 3))):
        model = saved(network((7, n_outputs), loss=loss), tmp_path / "m")
        found = run(to_onnx(model), X=X)
        assert found["label"].shape == shape and (found["label"] == model.predict(X)).all()
        off = distance(model.net, X.astype("float32")).max() + 2.0**-23
        assert np.abs(found["probabilities"] - model.predict_proba(X)).max() <= off


def test_a_probability_of_one_half(dtype, tmp_path):
    """It decides as `predict` does: 1/2 is enough for the second class."""
    X = batch(3, dtype="float64")
    for n_outputs in (1, 2):
        net = fastbp.MLP([7, n_outputs], dtype=dtype, seed=0)
        net.params[...] = 0
        model = saved(net, tmp_path / "m")
        found = run(to_onnx(model), X=X)
        assert (found["probabilities"] == 0.5).all() and (found["label"] == 1).all()
        assert (found["label"] == model.predict(X)).all()


# ---- the file


def test_a_file(tmp_path):
    """It is the model, of the same bytes each time, and says who made it."""
    net, path = network(), tmp_path / "net.onnx"
    export(net, path)
    content = path.read_bytes()
    export(net, str(path))
    assert path.read_bytes() == content and [*tmp_path.iterdir()] == [path]
    proto = onnx.load(path)
    assert (proto.producer_name, proto.producer_version) == ("fastbp", fastbp.__version__)
    assert [each.domain for each in proto.opset_import] == [""]
    shapes = [tuple(each.dims) for each in proto.graph.initializer if each.name[0] == "W"]
    assert shapes == list(pairwise(SIZES))
    X = batch()
    assert_within(run(proto, X=X)["probabilities"], *exact_outputs(net, X), "h")
