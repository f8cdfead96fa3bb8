"""Promise: what stands for a missing cell does so in every column and in every kind of file, and a
number is read as it was in the training."""

import io

import numpy as np
import pandas as pd
import pytest

from fastbp._preparation.targets import TASKS
from fastbp.datasets import DataError, read_table
from fastbp.io import load_model, save_model

N = 60
A = np.random.default_rng(0).standard_normal(N)
Y = np.where(A + np.arange(N) % 2 > 0.5, "p", "q")
FEW = ["--epochs", 2, "--hidden", 3]


def lacking(values, *rows, mark=np.nan):
    values = np.array(values, dtype=object if isinstance(mark, str) else None)
    values[[*rows]] = mark
    return values


@pytest.mark.parametrize("mark", ["NA", "N/A", "null", "nan", "?", "None"])
def test_labels_that_are_missing(called, mark):
    """They are no class, in CSV and in Parquet, and the rows are counted."""
    frame = pd.DataFrame({"a": A, "y": lacking(Y, 3, 8, mark=mark)})
    for suffix, write in ((".csv", frame.to_csv), (".parquet", frame.to_parquet)):
        write(f"t{suffix}", index=False)
        code, out, err = called("train", f"t{suffix}", *FEW, "--out", "m")
        assert code == 0, err
        assert (f"2 rows without a target (2 {mark!r}; --only-missing MARK names other marks): "
                "left out" in out)
        assert load_model("m").classes == ("p", "q")
        code, out, err = called("explain", "m", f"t{suffix}")
        assert code == 0 and f"{N - 2} looked at" in out, err


def test_a_mark_is_a_label_if_the_user_names_others(called, model):
    columns = {"a": A, "y": lacking(Y, *range(20), mark="NA")}
    loaded = model(columns, "--only-missing", "X")
    assert loaded.classes == ("NA", "p", "q")
    code, out, err = called("explain", "m", "train.csv", "--missing", "NA")
    assert code == 0 and f"{N} looked at" in out, err
    code, out, err = called("train", "train.csv", "--strict")
    assert code == 2 and "20 rows without a target (20 'NA'" in err


def test_numbers_among_which_other_marks_stand(called):
    pd.DataFrame({"a": A, "y": lacking(np.round(A, 2), 3, mark="NA")}).to_csv("t.csv", index=False)
    code, _, err = called("train", "t.csv", *FEW, "--only-missing", "X", "--task", "regression")
    assert code == 2 and "'y': 1 cell is no number, 'NA' in data row 4 for one (--missing=NA" in err


def test_a_mark_is_no_label_of_read_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,yes\n2,NA\n3,yes\n")
    with pytest.raises(DataError, match="data row 2 .*column 'y': the label is NA"):
        read_table(path)


def test_nan_is_a_missing_cell_in_every_file(called, tmp_path):
    """One table as CSV, Parquet and NPZ: the same models, counts and answers."""
    x1, y = lacking(A, 2, 5, 7), lacking(np.round(3 * A, 2), 4)
    x2 = lacking(np.arange(N) % 7 / 4, 2, 11)
    frame = pd.DataFrame({"x1": x1, "x2": x2, "y": y})
    frame.to_csv("t.csv", index=False)
    con = pytest.importorskip("duckdb").connect()
    con.execute("COPY (SELECT * FROM frame) TO 't.parquet'")
    con.execute("COPY (SELECT coalesce(x1, 'nan'::DOUBLE) AS x1, coalesce(x2, 'nan'::DOUBLE) AS x2,"
                " coalesce(y, 'nan'::DOUBLE) AS y FROM frame) TO 'n.parquet'")
    np.savez("t.npz", X=np.stack([x1, x2], axis=1), y=y)
    found = {}
    for name in ("t.csv", "t.parquet", "n.parquet", "t.npz"):
        code, out, err = called("train", name, *FEW, "--out", "m")
        assert code == 0 and "1 row without a target: left out" in out, err
        code, answers, told = called("predict", "m", name)
        assert code == 0 and "x1: 3 cells missing" in told and "x2: 2 cells missing" in told
        loaded = load_model("m")
        assert [column.flag for column in loaded.recipe.preparation.columns] == [True, True]
        predicted = pd.read_csv(io.StringIO(answers))["predicted_y"]
        np.testing.assert_array_equal(loaded.predict(frame), predicted)
        found[name] = answers
    assert len(set(found.values())) == 1
    np.save("t.npy", np.stack([x1, x2], axis=1))
    assert called("predict", "m", "t.npy")[1] == found["t.npz"]


def test_nan_where_a_model_does_not_say_how_to_fill_it(called, model):
    loaded = model({"x1": A, "x2": -A, "y": Y})
    save_model("plain", loaded.net, feature_names=["x1", "x2"])
    np.savez("t.npz", X=np.stack([lacking(A, 1), A], axis=1))
    code, _, err = called("predict", "plain", "t.npz")
    assert code == 2 and "column 'x1' lacks a cell" in err


@pytest.mark.parametrize("name", ["t.npz", "t.parquet"])
def test_infinite_numbers_are_refused(called, name):
    x, y = lacking(A, 2, mark=np.inf), lacking(np.round(A, 2), 4, mark=-np.inf)
    np.savez("t.npz", X=x[:, None], y=y)
    pd.DataFrame({"x1": x, "y": y}).to_parquet("t.parquet")
    code, _, err = called("train", name)
    assert code == 2 and "2 faults" in err
    assert "the value is inf" in err and "the label is -inf" in err


def test_texts_of_arrays_have_marks(called, model):
    loaded = model({"x1": A, "size": lacking(Y, 1, mark="NA"), "y": np.round(A, 2)})
    assert loaded.recipe.preparation.columns[1].missing
    sizes = np.array(["p", " NA ", "q", ""])
    np.savez("new.npz", X=A[:4, None], size=sizes)
    code, out, err = called("predict", "m", "new.npz", "--keep", "size")
    assert code == 0 and "unknown" not in err, err
    found = pd.read_csv(io.StringIO(out), keep_default_na=False)
    assert found["size"].tolist() == ["p", "NA", "q", ""]
    frame = pd.DataFrame({"x1": A[:4], "size": sizes})
    np.testing.assert_array_equal(loaded.predict(frame), found["predicted_y"].astype(np.float64))
    np.savez("t.npz", X=A[:, None], y=lacking(Y, 5, mark="NA").astype("U"))
    code, out, err = called("train", "t.npz", *FEW)
    assert code == 0 and "1 row without a target (1 'NA'" in out, err


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("how", ["shown", "named"])
def test_thousands_are_those_of_the_training(called, decimal, how):
    """Each batch, and each text in a frame, is read as the column of the training."""
    other = "," if decimal == "." else "."
    more = f"{other}000" if how == "shown" else ""
    numbers = [f"{1 + k % 9}{other}{100 + k}{more}" for k in range(N)]
    parts = [f"{k}{decimal}5" for k in range(N)]
    frame = pd.DataFrame({"a": numbers, "b": parts, "y": Y})
    frame.to_csv("t.csv", sep=";", index=False)
    options = ["--decimal", decimal] if how == "named" else []
    code, out, err = called("train", "t.csv", *FEW, "--out", "m", *options, "--test-fraction", 0)
    assert code == 0, err
    loaded = load_model("m")
    assert loaded.recipe.thousands and loaded.recipe.decimal == decimal
    values = pd.DataFrame({"a": [6673.0, 2100.0], "b": [1.5, 2.5]})
    texts = pd.DataFrame({"a": [f"6{other}673", f"2{other}100"], "b": [f"1{decimal}5",
                                                                      f"2{decimal}5"]})
    np.testing.assert_array_equal(loaded.prepared(texts), loaded.prepared(values))
    texts.to_csv("new.csv", sep=";", index=False)
    texts.to_parquet("new.parquet")
    for name in ("new.csv", "new.parquet"):
        code, out, err = called("predict", "m", name)
        assert code == 0, err
        found = pd.read_csv(io.StringIO(out))["probability_q"].astype(np.float32)
        np.testing.assert_array_equal(found, loaded.predict_proba(values)[:, 1])


def test_thousands_that_the_training_did_not_know(called, model):
    """A comma is refused then, and so it is by a model file without the entry."""
    loaded = model({"a": A, "y": Y})
    texts = pd.DataFrame({"a": ["6,673"], "b": 1})
    texts.to_csv("new.csv", sep=";", index=False)
    assert not loaded.recipe.thousands
    training = {name: value for name, value in loaded.recipe.training.items()
                if name != "thousands"}
    loaded.recipe = loaded.recipe._replace(training=training)
    save_model("old", loaded)
    for name in ("m", "old"):
        code, _, err = called("predict", name, "new.csv")
        assert code == 2 and "'6,673' is not a number" in err
        with pytest.raises(ValueError, match="holds '6,673' in row 0"):
            load_model(name).predict(texts)


@pytest.mark.parametrize("cell", ["6'673", "6 673.0", "6\u00a0673", "6,673.0"])
def test_thousands_that_nobody_could_take_for_a_fraction(called, model, cell):
    """They are read in a frame as in a file, whatever the training had."""
    loaded = model({"a": A, "y": Y})
    frame = pd.DataFrame({"a": [cell, "1"], "b": 1})
    frame.to_csv("new.csv", index=False)
    expected = loaded.predict_proba(pd.DataFrame({"a": [6673.0, 1.0]}))[:, 1]
    np.testing.assert_array_equal(loaded.predict_proba(frame)[:, 1], expected)
    code, out, err = called("predict", "m", "new.csv")
    assert code == 0, err
    found = pd.read_csv(io.StringIO(out))["probability_q"].astype(np.float32)
    np.testing.assert_array_equal(found, expected)


def test_apostrophes_say_nothing_of_commas(called):
    frame = pd.DataFrame({"a": [f"{1 + k}'{100 + k}" for k in range(N)], "b": A, "y": Y})
    frame.to_csv("t.csv", index=False)
    code, _, err = called("train", "t.csv", *FEW, "--out", "m")
    assert code == 0 and not load_model("m").recipe.thousands, err


def test_answers_with_decimal_commas(called, model):
    model({"a": A, "b": np.arange(N) % 7, "y": np.round(3 * A, 2)})
    plain = called("predict", "m", "train.csv", "--keep", "b")[1]
    code, out, err = called("predict", "m", "train.csv", "--keep", "b", "--out-decimal", ",")
    assert code == 0 and out.startswith("b;predicted_y\n0;"), err
    assert out == plain.replace(",", ";").replace(".", ",")
    frame = pd.read_csv(io.StringIO(out), sep=";", decimal=",")
    pd.testing.assert_frame_equal(frame, pd.read_csv(io.StringIO(plain)))
    code, _, err = called("predict", "m", "train.csv", "--out-decimal", ",", "--out", "o.parquet")
    assert code == 2 and "o.parquet is Parquet" in err


def test_kept_numbers_have_the_digits_of_their_type(called, model):
    model({"x1": A, "y": Y})
    kept = {"f": np.array([0.1, 2.0], np.float32), "i": np.array([1, 2], np.int8),
            "d": np.array([0.1, 2.5])}
    pd.DataFrame({"x1": A[:2], **kept}).to_parquet("new.parquet")
    np.savez("new.npz", X=A[:2, None], h=kept["f"].astype(np.float16), **kept)
    for name, more in (("new.parquet", []), ("new.npz", ["h"])):
        names = [*kept, *more]
        code, out, err = called("predict", "m", name, "--keep", ",".join(names))
        assert code == 0, err
        found = pd.read_csv(io.StringIO(out), dtype=str)[names]
        expected = [["0.1", "1", "0.1", "0.1"], ["2", "2", "2.5", "2"]]
        assert found.to_numpy().tolist() == [row[:len(names)] for row in expected]


def test_kept_cells_are_as_they_stand(called, tmp_path):
    cells = ["007.50", "1,234,567.0", "NA", "", "-"]
    rows = "".join(f'"{cells[k % 5]}",{k % 7}.0,{k % 2}\n' for k in range(N))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    code, _, err = called("train", "t.csv", *FEW, "--out", "m", "--numeric", "a", "--missing", "-",
                          "--missing", "NA")
    assert code == 0, err
    code, out, err = called("predict", "m", "t.csv", "--keep", "all")
    assert code == 0 and "a: 36 cells missing" in err
    found = pd.read_csv(io.StringIO(out), dtype=str, keep_default_na=False)
    assert found["a"].tolist() == [cells[k % 5] for k in range(N)]
    assert found["b"].tolist() == [f"{k % 7}.0" for k in range(N)]


@pytest.mark.parametrize("out", ["o.csv", "o.parquet"])
def test_kept_numbers_of_parquet_may_be_any(called, model, out):
    """NaN, infinite and missing ones, which are no fault beside the columns of the model."""
    model({"a": A, "y": Y})
    con = pytest.importorskip("duckdb").connect()
    con.execute("COPY (SELECT * FROM (VALUES (0.5, 'nan'::DOUBLE), (1.5, NULL), (2.5, 'inf'), "
                "(NULL, 0.1)) AS t(a, k)) TO 'new.parquet'")
    code, _, err = called("predict", "m", "new.parquet", "--keep", "k", "--keep", "a", "--out", out)
    assert code == 0, err
    kept = con.execute(f"SELECT k::VARCHAR, a::VARCHAR FROM '{out}'").fetchall()
    assert [row[1] for row in kept] == ["0.5", "1.5", "2.5", None]
    assert [row[0] for row in kept] == ["nan", None, "inf", "0.1"]


def test_rows_with_one_value_of_the_target(called, model):
    """They do not say how good the answers are."""
    model({"a": A, "y": np.round(A, 2)})
    pd.DataFrame({"a": A, "y": 3}).to_csv("new.csv", index=False)
    code, out, err = called("explain", "m", "new.csv")
    assert code == 0 and "one value of it: answers can be compared, not judged" in out, err
    assert "R² lost" not in out and "nan" not in out
    pd.DataFrame({"a": A[:4], "y": A[:4]}).to_csv("t.csv", index=False)
    code, out, err = called("train", "t.csv", *FEW)
    assert code == 0 and "held-out R²        none (share" in out, err


@pytest.mark.parametrize("task", TASKS)
def test_a_table_of_one_row(called, tmp_path, task):
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    for options in ([], ["--test-fraction", 0], ["--folds", 2]):
        code, out, err = called("train", "t.csv", "--task", task, *options)
        assert code == 2 and not out
        assert "t.csv: 1 row has a value of the target 'y'; it should be 2 rows or more" in err
