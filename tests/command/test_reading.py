"""Promise: numbers in tables of laboratories and offices are read right, or not without a word:
decimal marks, thousands, and what stands in the place of missing cells."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from messy import FEW, K, N, Y, column_of, write
from places import ROOT

from fastbp._table import DataError, open_table
from fastbp._table.cells import MARKS
from fastbp.io import load_model

# ---- decimal marks


@pytest.mark.parametrize(("cells", "beside", "values"), [
    (["3.266", "421"], ["6,99", "7,89"], [3266, 421]), (["5.556,76", "3.266"], ["1"],
                                                        [5556.76, 3266]),
    (["3.266", "421"], ["0,5 %"], [3266, 421]), (["1.234.567", "2.500"], ["1"], [1234567, 2500]),
    (["3,266", "421"], ["6.99"], [3266, 421]), (["3.266", "421"], ["6.99"], [3.266, 421]),
    (["3,266", "421"], ["6,99"], [3.266, 421]), (["6 673", "421"], ["7,5"], [6673, 421]),
    (["6 673,5", "421"], ["7"], [6673.5, 421]), (["1.761", "1500"], ["1"], [1.761, 1500]),
    (["1.761", "2.842"], ["1"], [1.761, 2.842]), (["1.761", "0.421"], ["1"], [1.761, 0.421])])
def test_a_cell_that_fits_nothing_else_decides(tmp_path, cells, beside, values):
    assert column_of(tmp_path, cells, beside) == values
    assert column_of(tmp_path, cells, beside, "number") == values


def test_a_model_reads_every_kind_of_file_alike(called, tmp_path):
    """After a training with commas and no points 1.761 is refused; beside 4,21 it is 1761."""
    write(tmp_path, {"a": [f"{k},5" for k in range(N)], "y": Y})
    assert called("train", "t.csv", *FEW, "--out", "m")[0] == 0
    frame = pd.DataFrame({"a": ["1.761", "421"]})
    frame.to_csv("new.csv", sep=";")
    frame.to_parquet("new.parquet")
    for name in ("new.csv", "new.parquet"):
        code, _, err = called("predict", "m", name)
        assert code == 2 and "'1.761' is not a number with the decimal mark ','" in err, err
    with pytest.raises(ValueError, match="holds '1.761' in row 0"):
        load_model("m").predict(frame)
    pd.DataFrame({"a": ["1.761", "4,21"]}).to_csv("new.csv", sep=";")
    assert called("predict", "m", "new.csv", "--out", "out.csv")[0] == 0
    found = pd.read_csv("out.csv").iloc[:, 1:].to_numpy()
    assert np.allclose(found, load_model("m").predict_proba(pd.DataFrame({"a": [1761, 4.21]})))


@pytest.mark.parametrize("kind", [None, "number", "label"])
def test_a_fraction_or_thousands(tmp_path, kind):
    """Nothing tells which, so that somebody has to; also behind the rows that are looked at."""
    words = "'1.761' could be a fraction or thousands: name the decimal mark"
    many = [str(k % 900) for k in range(2000)]
    for cells in (["1.761", "421"], ["421", "1.761", "2.000"], [*many, "1.761"]):
        with pytest.raises(DataError, match=words):
            column_of(tmp_path, cells, kind=kind)
        assert 1.761 in column_of(tmp_path, cells, kind=kind, decimal=".")
        assert 1761 in column_of(tmp_path, cells, kind=kind, decimal=",")
        assert 1.761 in column_of(tmp_path, cells, kind=kind, likely_decimal=".")
    assert column_of(tmp_path, [*many, "6.99", "1.761"])[-1] == 1.761


def test_numbers_in_any_dress(tmp_path):
    """Each table of them is read right, refused, or read with a word about the column."""
    rng, n_right = np.random.default_rng(0), 0
    for _ in range(60):
        decimal = rng.choice([".", ","])
        other, n = ",.".replace(decimal, ""), rng.choice([3, 10, 40])
        values, texts = {}, {}
        for name in "abc"[:rng.integers(1, 4)]:
            digits, between = rng.integers(0, 4), rng.choice(["", other, " ", "'"])
            unit, scale = rng.choice(["", "", " %", "kg"]), rng.choice([1.0, 1e2, 1e4, 1e6])
            numbers = [f"{x:,.{digits}f}" for x in scale * rng.random(n) ** 2]
            values[name] = [float(text.replace(",", "")) for text in numbers]
            dressed = str.maketrans({",": between, ".": decimal})
            texts[name] = [text.translate(dressed) + unit for text in numbers]
        table = open_table(write(tmp_path, {**texts, "z": 1}))
        try:
            found = table.columns([*texts])
        except DataError as error:
            assert "decimal mark" in str(error)
            continue
        for column in found:
            right = column.values.dtype != object and column.values.tolist() == values[column.name]
            assert right or column.name in table.told, texts
            n_right += right
    assert n_right > 60


def test_columns_that_are_left_out_decide_nothing(called, tmp_path):
    """The versions would be numbers with points."""
    commas = [f"{k % 9},{k % 7}5" for k in range(N)]
    versions = [f"{1 + k % 3}.{k % 4}" for k in range(N)]
    write(tmp_path, {"a": commas, "v": versions, "w": versions, "y": Y})
    code, _, err = called("train", "t.csv", *FEW)
    assert code == 2 and "is not a number with the decimal mark" in err
    for options in (["--drop", "v,w"], ["--only", "a"], ["--categorical", "v,w"]):
        code, out, err = called("train", "t.csv", *FEW, "--out", "m", *options)
        assert code == 0 and "\n  a                number\n" in out, err
        numbers = pd.DataFrame({"a": [float(c.replace(",", ".")) for c in commas], "v": versions,
                                "w": versions})
        code, answers, err = called("predict", "m", "t.csv")
        assert code == 0, err
        np.testing.assert_array_equal(
            pd.read_csv(io.StringIO(answers))["probability_q"].astype(np.float32),
            load_model("m").predict_proba(numbers)[:, 1])


def test_a_mark_that_other_columns_decided_is_told(called, tmp_path):
    """Files, frames of texts and frames of numbers give the same answers then."""
    numbers = 100 + K * 97 % 4000
    texts = [f"{n:,}".replace(",", ".") for n in numbers]
    parts = [f"{k % 9},{k % 7}5" for k in range(N)]
    write(tmp_path, {"a": texts, "b": parts, "y": Y})
    code, out, err = called("train", "t.csv", *FEW, "--out", "m")
    assert code == 0 and "a: decimal mark ',': '1.070' is 1070" in out, err
    code, _, err = called("train", "t.csv", *FEW, "--strict")
    assert code == 2 and "'1.070' is 1070" in err
    code, _, err = called("train", "t.csv", *FEW, "--strict", "--decimal", ",")
    assert code == 0, err
    loaded = load_model("m")
    frame = pd.DataFrame({"a": numbers, "b": [float(p.replace(",", ".")) for p in parts]})
    expected = loaded.predict_proba(frame)
    np.testing.assert_array_equal(
        loaded.predict_proba(pd.DataFrame({"a": texts, "b": parts})), expected)
    code, answers, err = called("predict", "m", "t.csv")
    assert code == 0, err
    np.testing.assert_array_equal(
        pd.read_csv(io.StringIO(answers))["probability_q"].astype(np.float32), expected[:, 1])
    write(tmp_path, {"a": [f"{1 + k / 1000:.3f}" for k in range(N)], "y": Y})
    code, out, err = called("train", "t.csv", *FEW, "--numeric", "a")
    assert code == 0 and "a: decimal mark '.': '1.000' is a fraction, 1" in out, err


def test_files_decide_together(tmp_path):
    write(tmp_path, {"a": ["3.266", "421"], "b": 1}, "p1.csv")
    write(tmp_path, {"a": ["6,99", "1"], "b": 1}, "p2.csv")
    column, _ = open_table(tmp_path / "p*.csv").columns()
    assert column.values.tolist() == [3266, 421, 6.99, 1]


def test_numbers_with_the_other_mark_and_strange_words(called, tmp_path):
    """Most cells are numbers, though not with the mark of the table: no text."""
    cells = [["n.b.", "<LOQ"][k % 2] if k % 5 == 0 else f"{k % 9},{k % 7}5" for k in range(N)]
    points = [f"{k / 8:.4f}" for k in range(N)]
    write(tmp_path, {"pH": cells, "b": points, "c": points, "y": Y})
    code, _, err = called("train", "t.csv", *FEW)
    assert code == 2 and "column 'pH': '1,15' is not a number with the decimal mark '.'" in err
    assert "48 of 60 cells are numbers with ','" in err and "--missing" not in err
    code, _, err = called("train", "t.csv", *FEW, "--categorical", "pH")
    assert code == 0, err


def test_a_training_without_decimal_marks(called, model, tmp_path):
    """It says nothing of 1.761, in a file or in a frame, unlike 6,99 and 0.5."""
    loaded = model({"a": K * 7 % 50, "b": K % 5, "y": Y})
    assert loaded.recipe.decimal is None
    code, _, err = called("predict", "m", write(tmp_path, {"a": ["1.761", "421"], "b": 1}))
    assert code == 2 and "'1.761' could be a fraction or thousands" in err
    with pytest.raises(ValueError, match="holds '1.761' in row 0; it should hold numbers"):
        loaded.predict(pd.DataFrame({"a": ["1.761", "421"], "b": 1}))
    expected = loaded.predict_proba(pd.DataFrame({"a": [0.5, 421], "b": 1}))
    np.testing.assert_array_equal(
        loaded.predict_proba(pd.DataFrame({"a": ["0.5", "421"], "b": 1})), expected)
    for mark in ".,":
        path = write(tmp_path, {"a": [f"0{mark}5", "421"], "b": 1})
        code, out, err = called("predict", "m", path)
        assert code == 0, err
        found = pd.read_csv(io.StringIO(out))["probability_q"].astype(np.float32)
        np.testing.assert_array_equal(found, expected[:, 1])


@pytest.mark.parametrize("name", ["t.parquet", "t.npz"])
def test_texts_in_files_of_types(called, name):
    """As targets, and with --numeric, they are numbers with the mark that they show."""
    texts = np.array([["3.266", "421", "6,99", "0,5"][k % 4] for k in range(N)])
    numbers = np.array([3266, 421, 6.99, 0.5])[np.arange(N) % 4]
    frame = pd.DataFrame({"x1": K % 7 / 4, "a": texts, "y": Y})
    frame.to_parquet("t.parquet")
    np.savez("t.npz", X=frame[["x1"]].to_numpy(), a=texts, y=Y)
    code, out, err = called("train", name, "--target", "a", "--task", "regression", *FEW)
    assert code == 0 and "a: a number, 0.5 to 3266" in out, err
    if name == "t.npz":
        return
    code, out, err = called("train", name, "--numeric", "a", *FEW, "--out", "m")
    assert code == 0, err
    loaded = load_model("m")
    assert loaded.recipe.decimal == "," and loaded.recipe.thousands
    expected = loaded.predict_proba(frame.assign(a=numbers))
    np.testing.assert_array_equal(loaded.predict_proba(frame), expected)
    frame[:1].to_parquet("new.parquet")
    code, out, err = called("predict", "m", "new.parquet")
    found = pd.read_csv(io.StringIO(out))["probability_q"].astype(np.float32)
    assert code == 0 and found[0] == expected[0, 1], err


# ---- missing cells


def test_the_page_lists_all_marks():
    page = (ROOT / "docs" / "command.md").read_text()
    said = page[page.index("Marks of missing cells are"):page.index("Words such\nas missing")]
    assert sorted(re.findall("`([^`]+)`", said)) == sorted(MARKS)


@pytest.mark.parametrize("mark", ["n.a.", "N.A.", "n.d.", "nd", "--", "---", "#DIV/0!", "#REF!",
                                  "#VALUE!", "k.A."])
def test_usual_marks(called, tmp_path, mark):
    write(tmp_path, {"a": [mark if k % 9 == 0 else f"{k}.5" for k in range(N)], "y": Y})
    code, out, err = called("train", "t.csv", *FEW, "--validation-fraction", 0)
    assert code == 0 and "number; 7 missing" in out, err


def test_marks_are_added(called, tmp_path):
    """They do not take the place of the others, may be divided by commas, and may be dashes."""
    marks = ["n.b.", "NA", "----", "-9,9"]
    cells = [marks[k // 9 % 4] if k % 9 == 0 else f"{k},5" for k in range(N)]
    write(tmp_path, {"a": cells, "y": Y})
    code, _, err = called("train", "t.csv", *FEW)
    assert code == 2 and "(--missing=n.b. --missing=---- if these are missing cells" in err
    for options in (["--missing", "n.b.,----", "--missing", "-9,9"],
                    ["--missing", "n.b.", "--missing", "----", "--missing=-9,9"],
                    ["--only-missing", "n.b.,NA", "--missing", "----", "--missing=-9,9"]):
        code, out, err = called("train", "t.csv", *FEW, *options, "--out", "m")
        assert code == 0 and re.search(r"\n  a +number; [67] missing", out), err
        code, _, err = called("predict", "m", "t.csv")
        assert code == 0 and "a: 7 cells missing" in err
    code, _, err = called("train", "t.csv", *FEW, "--only-missing", "n.b.,----")
    assert code == 2 and "'NA' is not a number (the first of 2 such cells)" in err
    code, out, err = called("train", "t.csv", *FEW, "--missing", "n.b.,----,xyz", "--strict",
                            "--drop", "a")
    assert code == 2 and "no feature column" in err


def test_the_option_that_an_error_names_works(called, tmp_path):
    write(tmp_path, {"a": ["it's gone" if k == 7 else f"{k}.5" for k in range(N)], "y": Y})
    code, _, err = called("train", "t.csv", *FEW)
    option = "--missing=it's gone"
    assert code == 2 and """'--missing=it'"'"'s gone'""" in err
    code, out, err = called("train", "t.csv", *FEW, option, "--missing", "xyz")
    assert code == 0 and "no text is 'xyz', a mark that --missing" in out, err
    assert "gone" not in out
    code, out, err = called("train", "t.csv", *FEW, "--categorical", "a")
    assert code == 0 and "levels" in out, err


@pytest.mark.parametrize("options", [["--task", "counts"], []])
def test_stray_texts_in_a_target_of_numbers(called, tmp_path, options):
    target = ["TNTC" if k % 7 == 3 else f"{k * 7 % 50}" for k in range(N)]
    write(tmp_path, {"a": K / 7, "n": target})
    code, _, err = called("train", "t.csv", "--target", "n", *FEW, *options)
    assert code == 2
    assert ("target 'n': 9 of 60 cells are no numbers, 'TNTC' in data row 4 for one "
            "(--missing=TNTC leaves 9 rows out, --task classes takes all for classes)") in err
    code, out, err = called("train", "t.csv", "--target", "n", *FEW, *options, "--missing=TNTC")
    assert code == 0 and "9 rows without a target (9 'TNTC'" in out, err


@pytest.mark.parametrize(("form", "words"), [
    ("{} mg", "'0.5 mg' in data row 1 for one; they look like numbers with a unit"),
    ("{}mg", "they look like numbers with a unit"), ("<{}", "they look like numbers with '<'")])
def test_targets_that_look_like_numbers(called, tmp_path, form, words):
    write(tmp_path, {"a": K / 7, "n": [form.format(k + 0.5) for k in range(N)]})
    code, _, err = called("train", "t.csv", "--target", "n", *FEW)
    assert code == 2 and words in err


def test_classes_that_begin_with_numbers(called, tmp_path):
    """The names of wells, such as 1A to 12H, are not taken for numbers with a unit."""
    wells = [f"{1 + k % 12}{'AB'[k % 2]}" for k in range(N)]
    write(tmp_path, {"a": K / 7, "well": wells})
    code, out, err = called("train", "t.csv", "--target", "well", *FEW)
    assert code == 0 and "well: 12 classes" in out, err


def test_remarks_on_a_task_that_nobody_named(called, tmp_path):
    write(tmp_path, {"a": K / 7, "n": K * 7 % 50, "s": np.where(K % 2, "pos", "POS")})
    code, out, err = called("train", "t.csv", "--target", "n", *FEW)
    assert code == 0 and "--task counts takes them for counts" in out, err
    assert "'POS' and 'pos' differ in their case alone" in out
    code, out, err = called("train", "t.csv", "--target", "n", *FEW, "--task", "regression")
    assert code == 0 and "--task" not in out, err
    code, out, err = called("train", "t.csv", "--target", "s", *FEW)
    assert code == 0 and "are two classes, which differ in their case alone" in out, err
