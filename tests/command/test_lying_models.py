"""A model file whose digest is right and whose content is not: one sentence, never an answer."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from safetensors import safe_open

from fastbp import _model_file
from fastbp.io import load_model, save_model

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({
    "a": RNG.standard_normal(N), "b": np.where(np.arange(N) % 7, RNG.random(N), np.nan),
    "c": np.array(list("uvw"))[np.arange(N) % 3], "d": np.arange(N) % 2 == 0})
FRAME["y"] = np.where(FRAME["a"] + FRAME["d"] > 0.5, "yes", "no")
TARGETS = {"two classes": "y", "three classes": "c", "regression": "a"}
WRONG = (None, True, -1, 2**70, 1.5, float("nan"), "", "xx", [], {}, [1], ["p"], {"p": 1}, [["p"]])
# What another model may have, and what is for readers alone.
FREE = ("training", "marks", "fill", "name", "names", "classes", "levels", "flag", "missing",
        "other", "rare", "form")


@pytest.fixture(scope="module", params=TARGETS)
def saved(request, tmp_path_factory):
    """The metadata and the tensors of a file of `fastbp train`."""
    from fastbp._command.main import main

    folder = tmp_path_factory.mktemp("model")
    FRAME.to_csv(folder / "t.csv", index=False)
    assert main(["train", str(folder / "t.csv"), "--target", TARGETS[request.param], "--epochs",
                 "2", "--hidden", "3", "--out", str(folder / "m")]) == 0
    with safe_open(folder / "m", "numpy") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def written(path, metadata, tensors):
    metadata = {name: text for name, text in metadata.items() if name != "digest"}
    metadata["digest"] = _model_file._digest(tensors, metadata)
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    return path


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, part in inner:
        yield from places(part, (*path, key))


def changed(recipe, path, value=None, remove=False):
    if not path:
        return value
    recipe = copy.deepcopy(recipe)
    place = recipe
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return recipe


def answered(path):
    """Whether the file is loaded; then it answers, or says what its columns lack."""
    try:
        model = load_model(path)
    except ValueError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return False
    try:
        answers = model.predict(FRAME)
    except (TypeError, ValueError) as error:
        assert "\n" not in str(error)
    else:
        assert len(answers) == N
    return True


@pytest.mark.filterwarnings("ignore:X has ")
def test_every_entry_of_a_recipe_is_something_else(saved, tmp_path):
    metadata, tensors = saved
    recipe = json.loads(metadata["recipe"])
    for path in places(recipe):
        if path[:1] == ("training",) and len(path) > 1:
            continue
        changes = [changed(recipe, path, value) for value in WRONG]
        changes += [changed(recipe, path, remove=True)] * bool(path)
        for change in changes:
            if change == recipe:
                continue
            loaded = answered(written(tmp_path / "m", {**metadata, "recipe": json.dumps(change)},
                                      tensors))
            named = [key for key in path if isinstance(key, str)]
            assert not loaded or named[-1] in FREE, (path, change)


@pytest.mark.parametrize("saved", ["two classes"], indirect=True)
@pytest.mark.parametrize("change", [
    lambda recipe: recipe["target"].update(classes=[["no", "no"]]),
    lambda recipe: recipe["target"].update(classes=[["no", "maybe"]]),
    lambda recipe: recipe["target"].update(classes=["no"]),
    lambda recipe: recipe["target"].update(classes={"no": 1}),
    lambda recipe: recipe["target"].update(names="y"),
    lambda recipe: recipe["target"].update(names=["y", "y"]),
    lambda recipe: recipe.update(marks="NA"), lambda recipe: recipe.update(marks={"NA": 1}),
    lambda recipe: recipe["columns"][2].update(levels="uvw"),
    lambda recipe: recipe["columns"][2].update(levels={"u": 1, "v": 2, "w": 3}),
    lambda recipe: recipe["columns"][2].update(levels=["u", "v", "v"]),
    lambda recipe: recipe["columns"].append(recipe["columns"][0]),
    lambda recipe: recipe["columns"][0].update(fill=float("nan"))])
def test_recipes_that_nearly_fit(change, saved, tmp_path):
    metadata, tensors = saved
    recipe = json.loads(metadata["recipe"])
    change(recipe)
    with pytest.raises(ValueError, match="^[^\n]*damaged: [^\n]*$"):
        load_model(written(tmp_path / "m", {**metadata, "recipe": json.dumps(recipe)}, tensors))


def test_classes_that_the_recipe_does_not_have(saved, tmp_path):
    model = load_model(written(tmp_path / "m", *saved))
    with pytest.raises(ValueError, match="^classes is .*; it should be what the recipe has, "):
        save_model(tmp_path / "n", model._replace(classes=("p", "q")))


@pytest.mark.parametrize("text", ["[" * 10**5, "NaN", "1" * 5000, "null", "{", ""])
def test_json_that_is_none_of_a_model(text, saved, tmp_path):
    metadata, tensors = saved
    for name in ("recipe", "layer_sizes", "n_networks"):
        with pytest.raises(ValueError, match="^[^\n]*$"):
            load_model(written(tmp_path / "m", {**metadata, name: text}, tensors))


def test_parameters_that_are_not_numbers(saved, tmp_path):
    """A label is no place for a NaN: the first class would stand there."""
    metadata, tensors = saved
    broken = {**tensors, "biases.0": np.full_like(tensors["biases.0"], np.nan)}
    model = load_model(written(tmp_path / "m", metadata, broken))
    if model.target.task == "regression":
        assert np.isnan(model.predict(FRAME)).all()
        return
    assert np.isnan(model.predict_proba(FRAME)).all()
    with pytest.raises(ValueError, match="^X gives NaN in row 0, of which there is no label; "):
        model.predict(FRAME)


def test_marks_that_are_no_text(saved, tmp_path, capsys):
    """Half of a pair of UTF-16 has no bytes that a database could take."""
    from fastbp._command.main import main

    metadata, tensors = saved
    recipe = {**json.loads(metadata["recipe"]), "marks": ["\ud800"]}
    path = written(tmp_path / "m", {**metadata, "recipe": json.dumps(recipe)}, tensors)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    assert main(["predict", str(path), str(tmp_path / "t.csv")]) == 2
    assert "missing has '\\ud800'; it should have texts" in capsys.readouterr().err
