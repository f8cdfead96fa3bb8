"""Model files of networks: what is kept, and what is refused."""

import numpy as np
import pytest
import safetensors.numpy

import fastbp
from fastbp.io import load_model, save_model


def test_model_without_metadata_of_a_table(tmp_path):
    net = fastbp.MLP((3, 4, 1), activation="sigmoid", dtype="float64", seed=1)
    save_model(tmp_path / "m", net)
    model = load_model(tmp_path / "m")
    assert model.net.params.tobytes() == net.params.tobytes()
    assert model.feature_names == () and model.classes == ()
    X = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_array_equal(model.forward(X), net.forward(X))
    with pytest.raises(ValueError, match=r"feature_mean has shape \(2,\); it should .* \(3,\)"):
        save_model(tmp_path / "m", net, feature_mean=[0.0, 0.0])


def test_refused_models(tmp_path):
    save = safetensors.numpy.save
    path = tmp_path / "m"
    save_model(path, fastbp.MLP((3, 4, 1), seed=1))
    content = path.read_bytes()
    one = {"weights.0": np.zeros((3, 4), np.float32)}
    for wrong, words in (
        (content[:-1], "not a safetensors file"),
        (b"", "not a safetensors file"),
        (save(one), "not one of a fastbp network"),
        (content.replace(b'_version":"1"', b'_version":"4"'), "version 4; known .* 1, 2 and 3"),
        (content.replace(b'_version":"1"', b'_version":"2"'), "Expecting value"),
        (content.replace(b"[3, 4, 1]", b"[3, 4, 2]"), r"weights.1 is float32\(4, 1\), expected"),
        (content.replace(b"[3, 4, 1]", b"[9999999]"), "at least|two"),
        (content.replace(b'"biases.1"', b'"biases.7"'), "no tensor 'biases.1'"),
        (content.replace(b'"classes"', b'"klasses"'), "KeyError"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=words):
            load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing")


@pytest.mark.parametrize(("entry", "text", "words"), [
    ("layer_sizes", "[" * 100_000, "damaged: RecursionError"), ("layer_sizes", "[3, 4.0]", "two"),
    ("dtype", "f4,,", "dtype is 'f4,,'"), ("feature_names", '"abc"', "feature_names"),
    ("classes", "[1, 2]", "classes"), ("loss_options", "3", "damaged")])
def test_metadata_that_are_damaged(tmp_path, entry, text, words):
    tensors = {"weights.0": np.zeros((3, 4), "f"), "biases.0": np.zeros(4, "f")}
    metadata = {"format": "fastbp-mlp", "format_version": "1", "layer_sizes": "[3, 4]",
                "activation": "relu", "loss": "bce", "dtype": "float32", "feature_names": "[]",
                "classes": "[]", "target_name": ""}
    path = tmp_path / "m"
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    assert load_model(path).net.layer_sizes == (3, 4)
    path.write_bytes(safetensors.numpy.save(tensors, {**metadata, entry: text}))
    with pytest.raises(ValueError, match=words):
        load_model(path)


@pytest.mark.parametrize(("changes", "kind", "words"), [
    ({"net": None}, TypeError, "net is of type NoneType"),
    ({"feature_mean": np.zeros(3, complex)}, TypeError, "feature_mean has dtype complex128"),
    ({"feature_scale": ["a"] * 3}, TypeError, "feature_scale has dtype"),
    ({"feature_names": "abc"}, TypeError, "feature_names is 'abc'"),
    ({"feature_names": [1]}, TypeError, "feature_names is"),
    ({"classes": 3}, TypeError, "classes is of type int"),
    ({"target_name": None}, TypeError, "target_name is None")])
def test_what_cannot_be_saved(tmp_path, changes, kind, words):
    arguments = {"net": fastbp.MLP((3, 4, 1), seed=1), **changes}
    with pytest.raises(kind, match=words):
        save_model(tmp_path / "m", **arguments)
    assert not list(tmp_path.iterdir())


def test_threads_of_a_loaded_network(tmp_path):
    save_model(tmp_path / "m", fastbp.MLP((3, 4, 1), seed=1))
    assert load_model(tmp_path / "m", n_threads=2).net.n_threads == 2
    with pytest.raises(TypeError, match="^n_threads is '2'"):
        load_model(tmp_path / "m", n_threads="2")
