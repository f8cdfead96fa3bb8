"""A model that was saved: tables are read by the names of its columns, and a file or an argument
that contradicts itself is refused with the name of the field."""

import json
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import safetensors.numpy
from errors import refused

import fastbp
from fastbp.io import load_model, save_model

NAMES = ["a", "b", "c"]
X = np.random.default_rng(0).standard_normal((5, 3))
FRAME = pd.DataFrame(X, columns=NAMES)


class Table:
    """The least that has columns with names."""

    def __init__(self, columns):
        self.columns, self.held = [*columns], columns

    def __getitem__(self, name):
        return self.held[name]


def structured(columns):
    array = np.empty(5, [(name, np.asarray(c).dtype) for name, c in columns.items()])
    for name, column in columns.items():
        array[name] = column
    return array


TABLES = {
    "pandas": pd.DataFrame, "nullable": lambda c: pd.DataFrame(c).convert_dtypes(),
    "pandas on Arrow": lambda c: pd.DataFrame(c).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame, "Arrow": pa.table, "a batch of Arrow": pa.record_batch,
    "structured": structured, "records": lambda c: structured(c).view(np.recarray), "other": Table,
}
EACH_TABLE = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def columns(order, **others):
    return {name: FRAME[name].to_numpy() for name in order} | others


@pytest.fixture(params=["float32", "float64"])
def model(tmp_path, request):
    net = fastbp.MLP([3, 4, 1], seed=0, dtype=request.param)
    save_model(tmp_path / "m", net, feature_names=NAMES, feature_mean=[0.5, -1, 2],
               feature_scale=[1, 2, 0.5])
    return load_model(tmp_path / "m")


@EACH_TABLE
@pytest.mark.parametrize("order", ["abc", "cab", "cba"])
def test_columns_are_found_by_name(model, table, order):
    expected = model.forward(X)
    assert model.forward(table(columns(order))).tobytes() == expected.tobytes()
    others = {"id": np.arange(5), "text": np.array(["x"] * 5)}
    assert model.forward(table({**others, **columns(order)})).tobytes() == expected.tobytes()


@EACH_TABLE
def test_a_column_that_is_missing(model, table):
    for given in (columns("ac"), columns("ac", x=X[:, 1]), columns("", x=X[:, 1]),
                  columns("ac", B=X[:, 1])):
        name = "b" if "a" in given else "a"
        refused(lambda given=given: model.forward(table(given)),
                ValueError, f"X has no column '{name}'", "['a', 'b', 'c']")


def test_columns_of_one_name(model):
    for names, words in (["a", "b", "b"], "2 columns 'b'"), (["a", "a", "c"], "2 columns 'a'"):
        twice = FRAME.set_axis(names, axis=1)
        refused(lambda twice=twice: model.forward(twice), ValueError, f"X has {words}", "once")
    twice = pd.concat([FRAME, FRAME[["b"]]], axis=1)
    refused(lambda: model.forward(twice), ValueError, "X has 2 columns 'b'", "once")
    others = pd.concat([FRAME, pd.DataFrame(np.ones((5, 2)), columns=["x", "x"])], axis=1)
    assert model.forward(others).tobytes() == model.forward(X).tobytes()


def test_what_is_in_the_columns(model):
    """They are read as elsewhere, and only those that are used."""
    lacking = FRAME.convert_dtypes()[::-1]
    lacking.iloc[1, 1] = pd.NA
    refused(lambda: model.forward(lacking[["c", "b", "a"]]),
            ValueError, "X['b'] has no value in row 1")
    refused(lambda: model.forward(FRAME.astype({"a": str})[["c", "b", "a"]]),
            TypeError, "X['a'] has dtype")
    wide = np.zeros(5, [("a", "f8", 2), ("b", "f8"), ("c", "f8")])
    refused(lambda: model.forward(wide), ValueError, "X['a'] has shape (5, 2)")
    hidden = np.ma.array(structured(columns("cba")), mask=False)
    refused(lambda: model.forward(hidden), TypeError, "X is a masked array")


def test_names_that_are_no_strings(model):
    """They are names, and not these: columns in another order would go by their position."""
    for names in (pd.MultiIndex.from_tuples([("x", name) for name in "cab"]), [b"c", b"a", b"b"],
                  [0.5, 1.5, 2.5], pd.date_range("2020", periods=3)):
        other = FRAME[["c", "a", "b"]].set_axis(names, axis=1)
        refused(lambda other=other: model.forward(other), ValueError, "X has no column 'a'")


def test_columns_without_names(model, tmp_path):
    """By position: columns that are numbered, and a model without names."""
    expected = model.forward(X)
    for given in (X, X.tolist(), pd.DataFrame(X), pd.DataFrame(X).convert_dtypes()):
        assert model.forward(given).tobytes() == expected.tobytes()
    refused(lambda: model.forward(FRAME.set_axis(["b", 1, 2], axis=1)), ValueError, "no column 'a'")
    save_model(tmp_path / "n", model.net)
    unnamed = load_model(tmp_path / "n")
    assert unnamed.forward(FRAME[["c", "a", "b"]]).tobytes() == unnamed.forward(
        X[:, [2, 0, 1]]).tobytes()


def test_what_is_printed_of_a_model(model, tmp_path):
    assert repr(model).endswith("target_name='', columns=('a', 'b', 'c'))")
    save_model(tmp_path / "n", model.net)
    assert repr(load_model(tmp_path / "n")).endswith("target_name='')")


# ---- fields that contradict


ARGUMENTS = [
    ({"feature_scale": [1, 0, 1]}, "feature_scale has 0.0 at position 1"),
    ({"feature_scale": [1, 1, -2]}, "feature_scale has -2.0 at position 2"),
    ({"feature_scale": [np.nan, 1, 1]}, "feature_scale has nan at position 0"),
    ({"feature_scale": [1, np.inf, 1]}, "feature_scale has inf at position 1"),
    ({"feature_mean": [0, np.nan, 1]}, "feature_mean has nan at position 1"),
    ({"feature_mean": [0, 0, -np.inf]}, "feature_mean has -inf at position 2"),
    ({"feature_names": ["a", "b"]}, "feature_names has 2 names; it should have 3"),
    ({"feature_names": ["a", "b", "a"]}, "feature_names has 'a' twice"),
    ({"classes": ["yes"]}, "classes has 1 name; it should have 2"),
    ({"classes": ["x", "y", "z"]}, "classes has 3 names; it should have 2"),
    ({"classes": ["no", "no"]}, "classes has 'no' twice"),
]


@pytest.mark.parametrize(("field", "words"), ARGUMENTS)
def test_fields_that_contradict(tmp_path, field, words):
    """They are neither saved nor loaded."""
    net, path = fastbp.MLP([3, 1], seed=0), tmp_path / "m"
    refused(lambda: save_model(path, net, **field), ValueError, words)
    assert not path.exists()
    tensors = {"weights.0": net.weights[0], "biases.0": net.biases[0]}
    metadata = {"format": "fastbp-mlp", "format_version": "1", "layer_sizes": "[3, 1]",
                "activation": "sigmoid", "loss": "bce", "dtype": "float32", "feature_names": "[]",
                "classes": "[]", "target_name": ""}
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    assert load_model(path).net.params.tobytes() == net.params.tobytes()
    (name, value), = field.items()
    if isinstance(value[0], str):
        metadata[name] = json.dumps(value)
    else:
        tensors[name] = np.array(value, "f8")
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    refused(lambda: load_model(path), ValueError, f"{path}: {words}")


@pytest.mark.parametrize(("options", "fits", "words"), [
    ({"layer_sizes": [3, 4], "loss": "softmax"}, "abcd", "classes has 3 names; it should have 4"),
    ({"layer_sizes": [3, 4], "loss": "bce"}, "abcd", None),
    ({"layer_sizes": [3, 1], "loss": "squared_error"}, "", None)])
def test_classes_of_other_losses(tmp_path, options, fits, words):
    net = fastbp.MLP(options.pop("layer_sizes"), seed=0, **options)
    save_model(tmp_path / "m", net, classes=[*fits])
    assert load_model(tmp_path / "m").classes == tuple(fits)
    if words:
        refused(lambda: save_model(tmp_path / "m", net, classes=["a", "b", "c"]), ValueError, words)


def test_layers_that_the_sizes_leave_out(tmp_path):
    path = tmp_path / "m"
    save_model(path, fastbp.MLP([3, 4, 1], seed=0))
    path.write_bytes(path.read_bytes().replace(b"[3, 4, 1]", b"[3, 4]   "))
    with pytest.raises(ValueError, match=r"sizes \[3, 4\] has no tensor 'biases.1'"):
        load_model(path)


# ---- activations of hidden layers


def header(path):
    content = path.read_bytes()
    return json.loads(content[8:8 + int.from_bytes(content[:8], "little")])["__metadata__"]


def test_one_activation_is_saved_as_before(tmp_path):
    """Version 0.1.0 reads it, and a list that names it twice makes the same file."""
    for name, activation in (("a", "tanh"), ("b", ["tanh", "tanh"])):
        save_model(tmp_path / name, fastbp.MLP([3, 4, 5, 1], activation=activation, seed=0))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = header(tmp_path / "a")
    assert (found["format_version"], found["activation"]) == ("1", "tanh")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_activation_of_each_layer(tmp_path, dtype):
    """Format version 2, which 0.1.0 refuses, as it refuses a list in the place of a name."""
    net = fastbp.MLP([3, 4, 5, 2], activation=["tanh", "relu"], loss="softmax", dtype=dtype, seed=0,
                     class_weight=[1, 3])
    save_model(tmp_path / "m", net, feature_names=NAMES)
    found = header(tmp_path / "m")
    assert (found["format_version"], found["activation"]) == ("2", '["tanh", "relu"]')
    again = load_model(tmp_path / "m").net
    assert again.activation == ("tanh", "relu") and repr(again) == repr(net)
    assert again.forward(X).tobytes() == net.forward(X).tobytes()
    save_model(tmp_path / "again", again, feature_names=NAMES)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()


@pytest.mark.parametrize(("version", "activation", "words"), [
    ("1", '["tanh", "relu"]', "activation is '[\"tanh\", \"relu\"]'; it should be one of"),
    ("2", '["tanh"]', "activation has 1 name; it should have 2"),
    ("2", '["tanh", "gelu"]', "activation[1] is 'gelu'"),
    ("2", '["tanh", 3]', "activation[1] is 3"),
    ("2", "3", "activation is 3; it should be"),
    ("2", "tanh", "Expecting value"),
    ("4", '["tanh", "relu"]', "format version 4; known here are 1, 2 and 3")])
def test_activations_that_are_damaged(tmp_path, version, activation, words):
    path = tmp_path / "m"
    save_model(path, fastbp.MLP([3, 4, 5, 1], activation=["tanh", "relu"], seed=0))
    changes = {"format_version": version, "activation": activation}
    tensors = safetensors.numpy.load_file(path)
    path.write_bytes(safetensors.numpy.save(tensors, header(path) | changes))
    with pytest.raises(ValueError, match=re.escape(f"{path}: ") + ".*" + re.escape(words)):
        load_model(path)
