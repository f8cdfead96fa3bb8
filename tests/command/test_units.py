"""Promise: units, dates with a time, and lines around the table are read right, or a word says why
they are not."""

import io
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from messy import FEW, K, N, Y, column_of, write

from fastbp._preparation.remarks import remark
from fastbp.io import load_model

# ---- units


@pytest.mark.parametrize(("cells", "values"), [
    (["80.1%", "7%"], [80.1, 7]), (["18 h", "2 h"], [18, 2]), (["18h", "2 h"], [18, 2]),
    (["5,5 kg/m2", "1.249,5 kg/m2"], [5.5, 1249.5]), (["-3 °C", "+2.5 °C"], [-3, 2.5]),
    (["1e5", "2e5"], [1e5, 2e5]), (["0x1", "1x1"], ["0x1", "1x1"]), (["2 h", "3 min"],
                                                                   ["2 h", "3 min"]),
    (["2 h", "3"], ["2 h", "3"]), (["007 h", "008 h"], ["007 h", "008 h"])])
def test_one_unit_behind_all_numbers(tmp_path, cells, values):
    assert column_of(tmp_path, cells) == values
    assert column_of(tmp_path, cells, kind="text") == cells
    if all(isinstance(value, float) for value in values) or values[0] == 18:
        assert column_of(tmp_path, cells, kind="number") == values


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
    assert column_of(tmp_path, cells.split("|")) == values


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
