"""Promise: the tables of laboratories and offices are read right, or not without a word: decimal
marks, thousands, units, dates with a time, other marks of missing cells, lines around the table."""

import io
import re
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from places import ROOT

from fastbp._preparation.remarks import remark
from fastbp._table import DataError, open_table
from fastbp._table.cells import MARKS
from fastbp.io import load_model

N = 60
K = np.arange(N)
FEW = ["--epochs", 2, "--hidden", 3, "--test-fraction", 0]
Y = np.where(K * 37 % 60 > 30, "p", "q")


def write(tmp_path, columns, name="t.csv"):
    pd.DataFrame(columns).to_csv(tmp_path / name, sep=";", index=False)
    return tmp_path / name


def column(tmp_path, cells, beside=("1",), kind=None, **options):
    """The cells of a column as they are read, beside others of the table."""
    frame = {"a": cells, "b": [beside[k % len(beside)] for k in range(len(cells))]}
    table = open_table(write(tmp_path, frame), **options)
    values, missing = table.columns(["a", "b"], {"a": kind} if kind else None)[0][1:]
    return [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]


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
    assert column(tmp_path, cells, beside) == values
    assert column(tmp_path, cells, beside, "number") == values


@pytest.mark.parametrize("kind", [None, "number", "label"])
def test_a_fraction_or_thousands(tmp_path, kind):
    """Nothing tells which, so that somebody has to; also behind the rows that are looked at."""
    words = "'1.761' could be a fraction or thousands: name the decimal mark"
    many = [str(k % 900) for k in range(2000)]
    for cells in (["1.761", "421"], ["421", "1.761", "2.000"], [*many, "1.761"]):
        with pytest.raises(DataError, match=words):
            column(tmp_path, cells, kind=kind)
        assert 1.761 in column(tmp_path, cells, kind=kind, decimal=".")
        assert 1761 in column(tmp_path, cells, kind=kind, decimal=",")
        assert 1.761 in column(tmp_path, cells, kind=kind, likely_decimal=".")
    assert column(tmp_path, [*many, "6.99", "1.761"])[-1] == 1.761


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
    assert code == 0 and "no cell holds 'xyz' (--missing)" in out and "gone" not in out, err
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
    """Of wells, 1A to 12H say, are no numbers with a unit."""
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


# ---- units


@pytest.mark.parametrize(("cells", "values"), [
    (["80.1%", "7%"], [80.1, 7]), (["18 h", "2 h"], [18, 2]), (["18h", "2 h"], [18, 2]),
    (["5,5 kg/m2", "1.249,5 kg/m2"], [5.5, 1249.5]), (["-3 °C", "+2.5 °C"], [-3, 2.5]),
    (["1e5", "2e5"], [1e5, 2e5]), (["0x1", "1x1"], ["0x1", "1x1"]), (["2 h", "3 min"],
                                                                   ["2 h", "3 min"]),
    (["2 h", "3"], ["2 h", "3"]), (["007 h", "008 h"], ["007 h", "008 h"])])
def test_one_unit_behind_all_numbers(tmp_path, cells, values):
    assert column(tmp_path, cells) == values
    assert column(tmp_path, cells, kind="text") == cells
    if all(isinstance(value, float) for value in values) or values[0] == 18:
        assert column(tmp_path, cells, kind="number") == values


def test_units_are_those_of_the_training(called, tmp_path):
    """In files and in frames, and there are plain numbers, too; another unit is refused."""
    numbers = [float(k * 7 % 19) for k in range(N)]
    write(tmp_path, {"a": [f"{n:g} h" for n in numbers], "b": K % 5, "y": Y})
    code, out, err = called("train", "t.csv", *FEW, "--out", "m")
    assert code == 0 and "number ('h' behind each)" in out, err
    loaded = load_model("m")
    assert [each.form for each in loaded.recipe.preparation.columns] == ["h", ""]
    expected = loaded.predict_proba(pd.DataFrame({"a": numbers, "b": K % 5}))[:, 1]
    new = {"a": [f"{n:g} h" if k % 2 else f"{n:g}" for k, n in enumerate(numbers)], "b": K % 5}
    np.testing.assert_array_equal(loaded.predict_proba(pd.DataFrame(new))[:, 1], expected)
    write(tmp_path, new, "new.csv")
    pd.DataFrame(new).to_parquet("new.parquet")
    for name in ("new.csv", "new.parquet"):
        code, answers, err = called("predict", "m", name)
        assert code == 0, err
        np.testing.assert_array_equal(
            pd.read_csv(io.StringIO(answers))["probability_q"].astype(np.float32), expected)
    code, out, err = called("explain", "m", "t.csv")
    assert code == 0 and "'h' behind each" in out, err
    for wrong in ({"a": ["3 min", "4 min"], "b": 1}, {"a": ["3 h"], "b": ["4 h"]}):
        write(tmp_path, wrong, "wrong.csv")
        code, _, err = called("predict", "m", "wrong.csv")
        assert code == 2 and "is not a number" in err
        with pytest.raises(ValueError, match="it should hold numbers"):
            loaded.predict(pd.DataFrame(wrong))
    code, out, err = called("train", "t.csv", *FEW, "--categorical", "a")
    assert code == 0 and "  a                19 levels" in out, err


# ---- dates


@pytest.mark.parametrize(("cells", "values"), [
    ("28.08.2024 08:10|1.9.2024 23:05:07", [datetime(2024, 8, 28, 8, 10),
                                           datetime(2024, 9, 1, 23, 5, 7)]),
    ("08/28/2024 10:05|09/01/2024 00:00", [datetime(2024, 8, 28, 10, 5), datetime(2024, 9, 1)]),
    ("8/28/24 10:05 PM|9/1/24 12:00 AM", [datetime(2024, 8, 28, 22, 5), datetime(2024, 9, 1)]),
    ("28.08.24|01.09.69", [datetime(2024, 8, 28), datetime(1969, 9, 1)]),
    ("28/08/2024, 08:10|01/09/2024", [datetime(2024, 8, 28, 8, 10), datetime(2024, 9, 1)]),
    ("2024-8-28 8:10|2024-08-29", [datetime(2024, 8, 28, 8, 10), datetime(2024, 8, 29)]),
    ("1.8.24|2.10.1", ["1.8.24", "2.10.1"]), ("20/08/12|21/09/11", ["20/08/12", "21/09/11"]),
    ("28.08.2024 25:10|01.09.2024 1:10", ["28.08.2024 25:10", "01.09.2024 1:10"]),
    ("8/28/24 13:05 PM|9/1/24 1:00 AM", ["8/28/24 13:05 PM", "9/1/24 1:00 AM"])])
def test_dates_with_a_time_or_a_short_year(tmp_path, cells, values):
    assert column(tmp_path, cells.split("|")) == values


def test_moments_become_days(called, tmp_path):
    moments = pd.date_range("2024-01-03 08:10", periods=N, freq="37h")
    cells = moments.strftime("%d.%m.%y %H:%M")
    write(tmp_path, {"a": cells, "y": Y})
    code, out, err = called("train", "t.csv", *FEW, "--out", "m")
    assert code == 0 and "dates (D.M.Y), as days" in out, err
    loaded = load_model("m")
    np.testing.assert_array_equal(loaded.predict_proba(pd.DataFrame({"a": cells})),
                                  loaded.predict_proba(pd.DataFrame({"a": moments})))


@pytest.mark.parametrize(("cells", "words"), [
    (["03/04/2024", "05/06/2024"], "such as '03/04/2024', but which part is the day"),
    (["28-Aug-2024", "1. März 2024"], "such as '28-Aug-2024', in no form that is known"),
    (["28.08.2024", "29.08.2024", "soon"], "most look like dates such as '28.08.2024', but 'soon'"),
    (["2 h", "3 min", "x"], "most look like numbers with a unit, '2 h' for one"),
    (["<2", "3", "<4"], "most look like numbers with '<', '<2' for one"),
    ([*map(str, range(11)), *["n.b."] * 20], "11 different numbers are among them, '0' for one: "
     "--missing=n.b. takes the most frequent text for a missing cell"),
    (["a", "b", "B"], "'b' and 'B' differ in their case alone")])
def test_texts_that_look_like_something_else(cells, words):
    assert words in remark(cells)


@pytest.mark.parametrize("cells", [["a", "b"], ["1A", "12B", "3C"], ["A1", "22", "B3"],
                                   ["1.2.3", "4.5.6"]])
def test_texts_that_look_like_nothing_else(cells):
    assert remark(cells) == ""


# ---- lines around the table, and files of other programs


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_before_the_header(called, tmp_path, ends):
    rows = [f"{k}.5;{Y[k]}" for k in range(N)]
    text = ends.join(['# Instrument: LC-2; "new', "", "a;y", *rows, ""])
    (tmp_path / "t.csv").write_text(text, newline="")
    code, _, err = called("train", "t.csv", *FEW)
    assert code == 2 and "--skip N leaves out lines that stand before the line with" in err
    code, out, err = called("train", "t.csv", *FEW, "--skip", 1, "--out", "m")
    assert code == 0 and "t.csv: 60 rows, 1 column beside the target" in out, err
    code, out, err = called("predict", "m", "t.csv", "--skip", 2)
    assert code == 0 and len(out.splitlines()) == N + 1, err
    (tmp_path / "t.csv").write_text(text + f"1;p;q{ends}", newline="")
    code, _, err = called("train", "t.csv", *FEW, "--skip", 1)
    assert code == 2 and "line 64 has 3 cells, the header has 2" in err
    code, _, err = called("train", "--skip", 1)
    assert code == 2 and "--skip needs DATA" in err


def test_rows_that_are_no_data(called, tmp_path):
    write(tmp_path, {"a": ["mL", *K, "mean"], "b": ["cm", *K / 7, 3.5], "y": ["", *Y, ""]})
    code, _, err = called("train", "t.csv", *FEW)
    assert code == 2
    assert "'mL' is not a number (the first of 2 such cells; a row of units?; a row of means" in err
    assert "'cm' is not a number (a row of units?)" in err


def test_what_to_do_with_files_of_other_programs(called, tmp_path):
    (tmp_path / "t.csv").write_bytes("größe;y\n1;a\n2;b\n".encode("latin-1"))
    code, _, err = called("train", "t.csv")
    assert code == 2 and "--encoding latin-1" in err
    (tmp_path / "x.XLSX").write_bytes(b"PK\x03\x04abc")
    code, _, err = called("train", "x.XLSX")
    assert code == 2 and "save the sheet as CSV" in err


def test_one_line_for_each_column_and_cause(called, tmp_path):
    write(tmp_path, {"a": [f"{k},5" if k % 3 else "x" for k in range(N)],
                     "b": [f"{k / 8:.4f}" for k in range(N)], "c": K / 7, "d": K / 9, "y": Y})
    code, _, err = called("train", "t.csv", *FEW, "--numeric", "a")
    assert code == 2 and "t.csv: 2 faults: " in err
    assert "column 'a': 'x' is not a number (the first of 20 such cells); " in err
    assert "'1,5' is not a number with the decimal mark '.' (--decimal) (the first of 40" in err
    code, _, err = called("train", "t.csv", *FEW, "--numeric", "a", "--missing", "x")
    assert code == 2 and "faults" not in err and "--drop" not in err
