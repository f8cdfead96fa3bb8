"""`fastbp predict` and the targets and folds of `train`: no wrong number in silence."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from fastbp._command.tables.answers import write
from fastbp._preparation.preparation import columns_from
from fastbp.io import save_model

N = 60
A = np.random.default_rng(0).standard_normal(N)
Y = np.where(A + np.arange(N) % 2 > 0.5, "p", "q")
FEW = ["--epochs", 2, "--hidden", 3]


def train(called, frame, *options, **how):
    frame.to_csv("t.csv", index=False, **how)
    return called("train", "t.csv", *FEW, *options)


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("mark", ["NA", "-", "?"])
def test_numbers_with_marks_are_a_number(called, decimal, mark):
    frame = pd.DataFrame({"a": A, "y": np.round(3 * A, 3)})
    frame.loc[3, "y"] = np.nan
    code, out, err = train(called, frame, "--out", "m", sep=";", decimal=decimal, na_rep=mark)
    assert code == 0 and "y: a number" in out and "1 row without a target" in out, err
    code, out, err = called("explain", "m", "t.csv")
    assert code == 0 and f"{N - 1} looked at" in out, err


@pytest.mark.parametrize(("cells", "words"), [
    (["inf"], "column 'y': the label is inf"), (["1e400", "NA"], "the label is inf ('1e400')"),
    (["nan", "-inf"], "column 'y': the label is -inf")])
def test_an_infinite_target(called, cells, words):
    frame = pd.DataFrame({"a": A, "y": [*cells, *map(str, np.round(A, 3))][:N]})
    code, out, err = train(called, frame)
    assert code == 2 and words in err and not out


def test_classes_that_are_marks(called):
    code, out, err = train(called, pd.DataFrame({"a": A, "y": np.where(Y == "p", "-", "+")}))
    assert code == 0 and "'+'" in out and "'-'" in out, err


def test_folds_without_a_class(called):
    """The area under the curve is that of the folds which have one."""
    frame = pd.DataFrame({"a": A, "y": np.where(np.arange(N) < 2, "p", "q")})
    code, out, err = train(called, frame, "--folds", 5)
    assert code == 0 and "mean and deviation of 2 folds, the others have none" in out, err


def test_folds_of_single_rows(called):
    """Their share of the variance is nobody's, and no NaN goes to a file."""
    frame = pd.DataFrame({"a": A[:12], "y": A[:12]})
    code, out, err = train(called, frame, "--folds", 12, "--out", "m")
    assert code == 0 and "0 folds, the others have none" in out, err
    with safe_open("m", framework="numpy") as file:
        recipe = file.metadata()["recipe"]
    figures = json.loads(recipe, parse_constant=pytest.fail)["training"]["figures"]
    assert figures[0][:3] == ["held-out R²", None, None] and figures[1][1] > 0
    code, out, err = called("explain", "m")
    assert code == 0 and "held-out R²        none" in out, err


def test_values_that_are_too_large(called, model):
    loaded = model({"a": A, "b": -A, "y": Y}, "--activation", "relu")
    for cells, words in (([1e300, 1.0], "column 'a' holds 1e+300, which is too large for float32"),
                         ([3e38, 3e38], "answer to data row 2 is not a number")):
        frame = pd.DataFrame({"a": [0.0, cells[0]], "b": [0.0, cells[1]]})
        frame.to_csv("new.csv", index=False)
        loaded.net.weights[0][:, :] = [[2.0], [-2.0]]
        loaded.net.weights[1][:, 0] = [1.0, -1.0, 1.0]
        save_model("m", loaded)
        code, out, err = called("predict", "m", "new.csv")
        assert code == 2 and words in err and "Warning" not in err, (out, err)


def test_no_row_has_a_target(called, model):
    model({"a": A, "y": Y})
    pd.DataFrame({"a": [1.0, 2.0], "y": [None, None]}).to_csv("new.csv", index=False)
    code, out, err = called("explain", "m", "new.csv")
    assert code == 0 and "the table has no target" in out and not err


def test_outputs_onto_inputs_by_hard_links(called, model, tmp_path):
    model({"a": A, "y": Y})
    for link, to in (("table", "train.csv"), ("other", "m")):
        (tmp_path / link).hardlink_to(tmp_path / to)
    (tmp_path / "page.png").hardlink_to(tmp_path / "m")
    before = [(tmp_path / name).read_bytes() for name in ("train.csv", "m")]
    for args in (["train", "train.csv", *FEW, "--out", "table"],
                 ["predict", "m", "train.csv", "--out", "table"],
                 ["predict", "m", "train.csv", "--out", "other"],
                 ["explain", "m", "train.csv", "--plot", "page.png"]):
        code, out, err = called(*args)
        assert code == 2 and "would overwrite" in err and not out
    assert [(tmp_path / name).read_bytes() for name in ("train.csv", "m")] == before


@pytest.mark.parametrize(("plot", "words"), [
    ("x.docx", "the suffix must be .png"), ("nowhere/x.png", "No such file or directory")])
def test_plots_that_cannot_be_written(called, model, plot, words):
    model({"a": A, "y": Y})
    code, out, err = called("explain", "m", "train.csv", "--plot", plot)
    assert code == 2 and words in err and not out


@pytest.mark.parametrize("training", [
    {"rows": []}, {"figures": 3}, {"figures": [[1]]}, {"figures": [["a", "b", None, ""]]},
    {"rows": 1.0}])
def test_a_training_that_lies(called, model, training):
    loaded = model({"a": A, "y": Y})
    loaded.recipe = loaded.recipe._replace(training=training)
    save_model("m", loaded)
    code, _, err = called("explain", "m")
    assert code == 2 and "m: damaged: what it says of its training cannot be read" in err


def test_a_closed_output(called, model, monkeypatch):
    model({"a": A, "y": Y})
    with monkeypatch.context() as patch:
        patch.setattr("fastbp._command.tables.answers.sys.stdout", None)
        with pytest.raises(ValueError, match="the standard output is closed"):
            write(None, ["a"], [])


def test_kept_integers_of_later_batches(called, model):
    """The first batch alone would make them floats, and an id would change."""
    model({"a": A, "y": Y})
    ids = np.arange(70000)
    ids[-1] = 2**53 + 1
    pd.DataFrame({"i": ids, "a": 0.5}).to_parquet("new.parquet")
    code, _, err = called("predict", "m", "new.parquet", "--keep", "i", "--out", "o.parquet")
    assert code == 0, err
    assert pd.read_parquet("o.parquet")["i"].tolist() == ids.tolist()


def test_a_checkpoint_ends_in_the_bytes_of_a_run_without_a_stop(called):
    frame = pd.DataFrame({"a": A, "y": Y})
    for out, epochs, *more in (("m", 4, "--checkpoint", "c"), ("n", 9, "--checkpoint", "c"),
                               ("o", 9)):
        frame.to_csv("t.csv", index=False)
        code, said, err = called("train", "t.csv", "--hidden", 3, "--epochs", epochs, "--patience",
                                 100, "--out", out, *more)
        assert code == 0, err
        assert ("9 epochs, 5 of them now, in" in said) == (out == "n")
    assert open("n", "rb").read() == open("o", "rb").read() != open("m", "rb").read()


def test_a_frame_unlike_the_training_is_told_once(called, model):
    """Columns and counts: levels, and cells that are missing where the training had all."""
    lacking = np.where(np.arange(N) % 9, A, np.nan)
    loaded = model({"a": A, "b": lacking, "c": np.resize(list("uvw"), N), "y": Y})
    usual = pd.DataFrame({"a": A, "b": lacking, "c": np.resize(list("uvw"), N)})
    new = pd.DataFrame({"a": [0.5, None, None], "b": [None, 1.0, 2.0], "c": ["u", "x", "z"]})
    new["c"] = new["c"].astype(object)
    for call in (loaded.predict, loaded.predict_proba, loaded.forward, loaded.prepared):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(usual)
            call(new)
        assert [str(each.message) for each in caught] == [
            "X has cells of levels that the training did not have: 2 in 'c'; missing cells, where "
            "the training had none: 2 in 'a'"]
        assert caught[0].category is UserWarning and caught[0].filename == __file__
    new.to_csv("new.csv", index=False)
    code, _, err = called("predict", "m", "new.csv")
    assert code == 0 and "unknown            c: 2 cells of a level that" in err


# ---- what was done to cells, and what can be done about them


def test_rare_levels_and_new_ones_are_told_apart(called, model):
    """The first new levels are named. Of 51 levels the rarest one gets no feature of its own."""
    cells = np.array([*(f"k{i:02}" for i in range(50)), *(f"k{i:02}" for i in range(51))] * 2)
    loaded = model({"a": np.tile(A[:50], 5)[:len(cells)], "k": cells,
                    "y": np.tile(["p", "q"], len(cells) // 2)}, "--test-fraction", 0)
    (column,) = (each for each in loaded.recipe.preparation.columns if each.name == "k")
    assert column.other and column.rare == {"k50"}
    new = ["k50", "k50", "n1", "k01", "n2", "n1", "n3", None]
    for levels, named in ((new, "4 cells of a level that the training did not have: 'n1', 'n2', "
                           "'n3'\n"), ([*new, "n4"], "'n1', 'n2', 'n3' and others\n"),
                          (["n1"], "1 cell of a level that the training did not have: 'n1'\n")):
        pd.DataFrame({"a": 0.5, "k": levels}).to_csv("new.csv", index=False)
        code, _, err = called("predict", "m", "new.csv")
        assert code == 0 and named in err, err
        assert ("rare               k: 2 cells of a level that was rare in the training\n"
                in err) == (len(levels) > 1)


def test_new_levels_of_many_batches(called, model, monkeypatch):
    monkeypatch.setattr("fastbp._command.predict.AT_ONCE", 7)
    model({"a": A, "k": np.where(A > 0, "u", "v"), "y": Y})
    pd.DataFrame({"a": 0.5, "k": [f"n{i // 10}" for i in range(100)]}).to_csv("new.csv")
    code, _, err = called("predict", "m", "new.csv")
    assert code == 0 and "k: 100 cells of a level that the training did not have: 'n0', " in err


@pytest.mark.parametrize(("rare", "other"), [(["u"], True), (["w", "w"], True), (["w"], False),
                                             ([1], True)])
def test_rare_levels_that_lie(model, rare, other):
    loaded = model({"a": A, "k": np.where(A > 0, "u", "v"), "y": Y})
    lists = loaded.recipe.preparation.as_lists()
    assert columns_from(lists) == loaded.recipe.preparation.columns
    lists[1] = {**lists[1], "rare": rare, "other": other}
    with pytest.raises(ValueError, match="'k' is no column that a model can have"):
        columns_from(lists)


def test_a_file_that_knows_no_rare_levels(model):
    loaded = model({"a": A, "k": np.where(A > 0, "u", "v"), "y": Y})
    lists = loaded.recipe.preparation.as_lists()
    del lists[1]["rare"]
    assert columns_from(lists) == loaded.recipe.preparation.columns


@pytest.mark.parametrize(("cell", "words"), [
    ({"a": "#LOST"}, "'#LOST' is not a number"), ({"d": "#LOST"}, "'#LOST' is not a date"),
    ({"t": "#LOST"}, "'#LOST' is neither true nor false")])
def test_one_cell_that_cannot_be_read(called, model, cell, words):
    """The error says what can be done, and that leaves the marks of the training in force."""
    days = pd.date_range("2020-01-01", periods=N).strftime("%Y-%m-%d")
    a = A.round(3).astype(str).astype(object)
    a[5] = "NA"
    columns = {"a": a, "d": days, "t": np.where(A > 0, "True", "False")}
    model({**columns, "y": Y})
    row = {name: cells[0] for name, cells in columns.items()} | cell
    rest = {name: ["NA" if name == "a" else cells[1]] * 9 for name, cells in columns.items()}
    pd.DataFrame({name: [row[name], *rest[name]] for name in row}).to_csv("new.csv", index=False)
    code, _, err = called("predict", "m", "new.csv")
    assert code == 2 and f"{words}" in err and err.endswith(
        "(--missing MARK names cells that stand for nothing, beside those of the training)\n"), err
    code, _, err = called("predict", "m", "new.csv", "--missing", "#LOST")
    assert code == 0 and "10 answered" in err, err


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_table_where_the_model_belongs(called, model, command):
    """Whatever the two files are called."""
    model({"a": A, "y": Y})
    code, out, err = called(command, "train.csv", "m")
    assert code == 2 and not out and err == (
        "fastbp: error: train.csv is no model, which fastbp train --out writes; the model comes "
        "first, then the table: m train.csv\n")
    code, out, err = called(command, "train.csv", "train.csv")
    assert code == 2 and not out and err.endswith("then the table\n")
