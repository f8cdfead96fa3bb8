"""Promise: a model of `fastbp train` is one file of ONNX with its preparation inside. onnxruntime
takes the columns, missing cells and unknown levels among them, and answers as `predict` does."""

import json

import numpy as np
import pandas as pd
import pytest
from errors import refused
from runtime import distance, run

import fastbp
from fastbp._command.main import main
from fastbp.io import SavedModel, load_model
from fastbp.onnx import to_onnx

pytestmark = pytest.mark.filterwarnings("ignore:X has ")     # rare levels, with a feature of theirs

EPOCH = pd.Timestamp("1970-01-01")
KINDS = {"amount": "number", "whole": "number", "when": "date", "flag": "truth", "city": "levels",
         "code": "levels", "street": "levels"}


def table(n, seed=0):
    """Columns of every kind; of "street" more levels than have a feature of their own."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "amount": rng.normal(1000, 300, n), "whole": rng.integers(0, 10**6, n),
        "when": EPOCH + pd.to_timedelta(rng.integers(8000, 20000, n), "D"),
        "flag": np.array([True, False])[rng.integers(2, size=n)],
        "city": np.array(["Köln", "Bonn", "Ulm", "Jena"])[rng.integers(4, size=n)],
        "code": rng.integers(1, 5, n),
        "street": [f"street {k}" for k in rng.integers(70, size=n)]})
    frame = frame.astype({"flag": object, "code": object})
    size = frame["amount"] / 300 + (frame["city"] == "Bonn") + frame["flag"].astype(float)
    frame["y"] = size + rng.normal(0, 0.1, n)
    for j, name in enumerate(("amount", "when", "flag", "code", "street")):
        frame.loc[j::11, name] = None
    return frame


FRAME = table(400)
SIZE = pd.qcut(FRAME["y"], 3, labels=["small", "mid", "large"]).astype(object)
TARGETS = {
    "two classes": {"is": np.where(FRAME["y"] < FRAME["y"].median(), "less", "more")},
    "three classes": {"size": SIZE},
    "labels": {"low": np.where(FRAME["y"] < 4, "yes", "no"), "known": FRAME["whole"] % 2},
    "regression": {"y": FRAME["y"]},
    "two numbers": {"y": FRAME["y"], "z": FRAME["amount"].fillna(0) * 1e4},
    "counts": {"n": np.floor(FRAME["y"].abs())},
}
TASKS = {"counts": ["--task", "counts"], "labels": ["--task", "labels"]}
EACH_TARGET = pytest.mark.parametrize("target", TARGETS)


@pytest.fixture
def trained(tmp_path, capsys):
    """A function that trains on FRAME and targets, and returns the loaded model."""
    def train(targets, *options, columns=tuple(KINDS)):
        data, path = tmp_path / "data.csv", tmp_path / "m.safetensors"
        FRAME[[*columns]].assign(**targets).to_csv(data, index=False)
        chosen = [word for name in targets for word in ("--target", name)]
        if "code" in columns:
            chosen += ["--categorical", "code"]
        assert main(["train", str(data), *chosen, "--epochs", "3", "--hidden", "8",
                     "--out", str(path), *options]) == 0, capsys.readouterr()
        return load_model(path)
    return train


def inputs_of(model, frame):
    """The columns as docs/models.md says they go in."""
    kinds = {column.name: getattr(column, "kind", "levels")
             for column in model.recipe.preparation.columns}
    found = {}
    for name, kind in kinds.items():
        cells = frame[name]
        if kind == "date":
            cells = (pd.to_datetime(cells) - EPOCH) / pd.Timedelta(days=1)
        cells = cells.fillna("") if kind == "levels" else cells.astype(float)
        if kind == "levels":
            cells = cells.map(str).astype(object)
        found[name] = cells.to_numpy()[:, None]
    return found


def members(model):
    net = model.net
    return [net.member(k) for k in range(len(net))] if hasattr(net, "member") else [net]


def off(model, frame):
    """How far outputs may be apart: the features are the same bits; 1 - h and a mean round once,
    a product and a sum with the target's mean and scale in float64."""
    X = model.prepared(frame)
    most = max(distance(net, X).max() for net in members(model))
    return (most + 2 * np.finfo(X.dtype).eps * max(1, np.abs(model.outputs(X)).max()),
            model.target.scale, 2.0**-51 * np.abs(model.target.mean))


@EACH_TARGET
@pytest.mark.parametrize("options", [(), ("--dtype", "float64"), ("--ensemble", "3")],
                         ids=["alone", "float64", "ensemble"])
def test_a_model_of_a_table(target, options, trained):
    model = trained(TARGETS[target], *options, *TASKS.get(target, ()))
    columns = {column.name: column for column in model.recipe.preparation.columns}
    assert {name: getattr(each, "kind", "levels") for name, each in columns.items()} == KINDS
    assert columns["street"].other and columns["street"].missing and columns["amount"].flag
    assert not (columns["city"].other or columns["city"].missing or columns["whole"].flag)
    frame = table(300, seed=1)
    frame.loc[5::50, "city"] = "never seen"
    proto = to_onnx(model)
    found = run(proto, **inputs_of(model, frame))
    assert json.loads(proto.metadata_props[0].value) == list(TARGETS[target])
    most, scale, moved = off(model, frame)
    if model.target.task in ("regression", "counts"):
        expected = model.predict(frame).reshape(300, -1)
        assert list(found) == ["value"] and found["value"].shape == expected.shape
        assert (np.abs(found["value"] - expected) <= most * scale + moved).all()
        return
    p = model.predict_proba(frame)
    assert list(found) == ["label", "probabilities"]
    assert np.abs(found["probabilities"] - p).max() <= most
    highest = np.sort(p, axis=1)
    gap = (np.abs(p - 0.5).min(axis=1) if model.target.task == "labels" else
           highest[:, -1] - highest[:, -2])
    labels = model.predict(frame)
    assert (gap > 2 * most).mean() > 0.95 and len(set(labels.ravel())) > 1
    assert found["label"].shape == labels.shape
    assert (found["label"] == labels)[gap > 2 * most].all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_network_reads_the_same_bits(dtype, trained):
    """A network that only copies its features has no rounding of its own."""
    model = trained(TARGETS["regression"])
    n = len(model.feature_names)
    copies = fastbp.MLP([n, n], loss="squared_error", dtype=dtype, seed=0)
    copies.weights[0][...], copies.biases[0][...] = np.eye(n), 0
    target = model.target._replace(names=tuple(model.feature_names), mean=np.zeros(n),
                                   scale=np.ones(n))
    copier = SavedModel(copies, *model[1:], model.recipe._replace(target=target))
    frame = table(300, seed=1)
    frame.loc[5::50, "street"] = "never seen"
    found = run(to_onnx(copier), **inputs_of(model, frame))["value"]
    assert (found == copier.prepared(frame)).all()


def test_cells_that_are_missing_or_unknown(trained):
    """Each as `forward` has it, alone in its row; a mark of the training is a missing cell."""
    model = trained(TARGETS["regression"])
    street = model.recipe.preparation.columns[-1].levels[0]
    row = FRAME[FRAME["street"] == street].dropna().drop(columns="y").iloc[:1]
    frame = pd.concat([row] * 11, ignore_index=True)
    for i, (name, cell) in enumerate([
            ("amount", None), ("when", None), ("flag", None), ("code", None), ("code", 77),
            ("street", None), ("street", "NA"), ("street", "?!"), ("city", None), ("city", "?!")],
            1):
        frame.loc[i, name] = cell
    found = run(to_onnx(model), **inputs_of(model, frame))["value"]
    expected = model.predict(frame)[:, None]
    most, scale, moved = off(model, frame)
    assert (np.abs(found - expected) <= most * scale + moved).all()
    assert found[6] == found[7] and found[9] == found[10]
    others = [found[i].item() for i in (0, 1, 2, 3, 4, 5, 6, 8, 9)]
    assert len(set(others)) == len(others)


def test_a_table_without_text(trained):
    """It needs no comparison of texts, and so no newer runtime."""
    for columns, version in ((("amount", "when", "flag"), 17), (("amount", "city"), 19)):
        model = trained(TARGETS["regression"], columns=columns)
        assert [each.version for each in to_onnx(model).opset_import] == [version]


def test_names_of_columns_that_outputs_have(trained):
    """The column keeps its name, the output has another."""
    targets = {"y": FRAME["y"]}
    renamed = FRAME.rename(columns={"amount": "value", "whole": "where"})
    model = trained(targets)
    columns = tuple(column._replace(name={"amount": "value", "whole": "where"}.get(
        column.name, column.name)) for column in model.recipe.preparation.columns)
    preparation = model.recipe.preparation._replace(columns=columns)
    model.recipe = model.recipe._replace(preparation=preparation)
    found = run(to_onnx(model), **inputs_of(model, renamed))
    assert list(found) == ["value.2"]
    most, scale, moved = off(model, renamed)
    assert (np.abs(found["value.2"][:, 0] - model.predict(renamed)) <= most * scale + moved).all()
    columns = (columns[0]._replace(name=""), *columns[1:])
    model.recipe = model.recipe._replace(preparation=preparation._replace(columns=columns))
    refused(lambda: to_onnx(model), ValueError, "a column without a name")
