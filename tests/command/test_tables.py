"""Messy files as columns: what is a number, a date or text, and what a file is."""

import gzip
import os
import subprocess
import sys
import time
import zipfile
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from calling import interrupted

from fastbp._table import DataError, open_table


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def columns(path, kinds=None, **options):
    """{name: list of cells, None where missing} of a table."""
    found = open_table(path, **options).columns(kinds=kinds)
    return {name: [None if gone else cell for cell, gone in
                   zip(values.tolist(), missing, strict=True)] for name, values, missing in found}


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        open_table(path, **options).columns()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# ---- how it is written

PLAIN = {"a": [1, 3], "b": [2.5, 4], "y": [0, 1]}


@pytest.mark.parametrize("content", [
    "a,b,y\n1,2.5,0\n3,4,1\n", "a;b;y\n1;2.5;0\n3;4;1", "a\tb\ty\n1\t2.5\t0\n3\t4\t1\n",
    "a|b|y\n1|2.5|0\n3|4|1\n", "a;b;y\n1;2,5;0\n3;4;1\n",
    "a, b, y\n1, \"2.5\", 0\n3, 4, 1\n", "'a','b','y'\n'1','2.5','0'\n'3','4','1'\n",
    "sep=;\na;b;y\n1;2,5;0\n3;4;1\n", '"sep=,"\r\n\r\na,b,y\r\n1,2.5,0\r\n3,4,1\r\n',
    "a,b,y,\n1,2.5,0,\n3,4,1,\n", "a,b,y\n1,2.5,0,\n3,4,1,\n",
    ",a,b,y\n0,1,2.5,0\n1,3,4,1\n", "a,b,y\nr1,1,2.5,0\nr2,3,4,1\n",
    b"a,b,y\r\n1,2.5,0\n3,4,1\n", b"a,b,y\n1,2.5,0\r3,4,1\r\n", b"a,b,y\r1,2.5,0\r3,4,1",
    b"\xef\xbb\xbfa,b,y\n1,2.5,0\n3,4,1\n", "a,b,y\n1,2.5,0\n3,4,1\n".encode("utf-16"),
    "\ufeffa,b,y\r\n1,2.5,0\r\n3,4,1\r\n".encode("utf-16-be"),
    "\n \n\na,b,y\n\n1,2.5,0\n\n3,4,1\n\n",
    gzip.compress(b"a,b,y\n1,2.5,0\n3,4,1\n"), gzip.compress(b"a,b,y\r\n1,2.5,0\n3,4,1\n"),
    '[{"a": 1, "b": 2.5, "y": 0}, {"a": 3, "b": 4, "y": 1}]',
    '{"a": 1, "b": 2.5, "y": 0}\n{"a": 3, "b": 4, "y": 1}\n'])
def test_one_table_in_many_forms(tmp_path, content):
    assert columns(write(tmp_path / "table", content)) == PLAIN


def test_mixed_line_ends_that_begin_late(tmp_path):
    text = b"a,y\n" + b"1,0\n" * 100_000 + b"2,1\r\n" * 3 + b"3,0\n"
    assert columns(write(tmp_path / "t.csv", text))["a"][-5:] == [1, 2, 2, 2, 3]


def test_quotes_and_line_breaks_in_the_header(tmp_path):
    text = 'a, "b, c","d\ne ""f""",g\n1,"2",3,"x\ny"\n'
    assert columns(write(tmp_path / "t.csv", text)) == {
        "a": [1], "b, c": [2], 'd\ne "f"': [3], "g": ["x\ny"]}


def test_a_tie_of_delimiters_is_settled_by_the_rows(tmp_path):
    text = "size, cm;weight, kg;y\n1,5;2,5;0\n1,7;3,5;1\n"
    assert columns(write(tmp_path / "t.csv", text)) == {
        "size, cm": [1.5, 1.7], "weight, kg": [2.5, 3.5], "y": [0, 1]}
    path = write(tmp_path / "u.csv", "a,b;c\n")
    assert "',' and ';' both divide it into 2 columns" in refusal(path)
    assert list(columns(path, delimiter=";")) == ["a,b", "c"]


def test_names_that_are_missing_or_doubled(tmp_path):
    table = open_table(write(tmp_path / "t.csv", "a,a,,a_2,,\n1,2,3,4,,\n5,6,7,8,,\n"))
    assert table.names == ("a", "a_3", "column_3", "a_2")
    assert table.renamed == ("2 columns are named 'a'", "column 3 has no name")
    table = open_table(write(tmp_path / "u.csv", ",a,,b\n1,2,,3\n"))
    assert table.names == ("a", "b") and len(table.left_out) == 2


@pytest.mark.parametrize("n_empty", [1, 2])
def test_last_columns_without_a_name_that_have_cells(tmp_path, n_empty):
    """They are not taken for names of rows, which would move every cell by a column."""
    empty, sevens, eights = "," * n_empty, ",7" * n_empty, ",8" * n_empty
    for b in ("b", '"b\nc"'):
        path = write(tmp_path / "t.csv", f"a,{b}{empty}\n1,2{sevens}\n3,4{eights}\n")
        table = open_table(path)
        assert table.names == ("a", b.strip('"'), "column_3", "column_4")[:2 + n_empty]
        assert columns(path) == dict(zip(table.names, [[1, 3], [2, 4], [7, 8], [7, 8]],
                                         strict=False))
    path.write_text(f"a,b{empty}\n1,2{empty}\n3,4{empty}\n")
    assert columns(path) == {"a": [1, 3], "b": [2, 4]}


def test_other_encodings(tmp_path):
    path = write(tmp_path / "t.csv", "größe,y\n1,ä\n".encode("latin-1"))
    assert columns(path, encoding="latin-1") == {"größe": [1], "y": ["ä"]}
    assert "neither a CSV file in UTF-8 nor" in refusal(path)
    late = write(tmp_path / "u.csv", b"a,y\n" + b"1,0\n" * 100_000 + b"\xe4,1\n")
    assert "line 100002: is not in UTF-8" in refusal(late)


# ---- what a column holds


@pytest.mark.parametrize(("cells", "values"), [
    ("1 -2.5 +3 1e3 .5", [1, -2.5, 3, 1000, 0.5]), ("00123 45678", ["00123", "45678"]),
    ("0 0.5 -0", [0, 0.5, 0]), ("true False TRUE", [True, False, True]), ("yes no", ["yes", "no"]),
    ("9007199254740993 1", [2**53 + 1, 1]), ("-9007199254740993 1", [-2**53 - 1, 1]),
    ("18446744073709551615 1", [2**64 - 1, 1]),
    ("18446744073709551616 1", ["18446744073709551616", "1"]),
    ("2020-01-02 2020-1-3", [datetime(2020, 1, 2), datetime(2020, 1, 3)]),
    ("31.12.2020 01.02.2020", [datetime(2020, 12, 31), datetime(2020, 2, 1)]),
    ("31/12/2020 01/02/2020", [datetime(2020, 12, 31), datetime(2020, 2, 1)]),
    ("12/31/2020 01/02/2020", [datetime(2020, 12, 31), datetime(2020, 1, 2)]),
    ("01/02/2020 03/04/2020", ["01/02/2020", "03/04/2020"]),
    ("2020-01-02T03:04Z 2020-01-02T03:04", ["2020-01-02T03:04Z", "2020-01-02T03:04"]),
    ("2020-13-01 2020-01-01", ["2020-13-01", "2020-01-01"]),
    ("2020-01-02T03:04:05+02:00 2020-01-02T03:04Z",
     [datetime(2020, 1, 2, 1, 4, 5), datetime(2020, 1, 2, 3, 4)]),
    ("1,234,567 5", [1234567, 5]), ("1'234 5", [1234, 5]), ("A1 22 B3", ["A1", "22", "B3"]),
    ("0x1 0b1", ["0x1", "0b1"]), ("nan x y", ["nan", "x", "y"]), ("1__0 x_1", ["1__0", "x_1"])])
def test_what_cells_are(tmp_path, cells, values):
    text = "a;y\n" + "".join(f"{cell};1\n" for cell in cells.split())
    found = columns(write(tmp_path / "t.csv", text))["a"]
    assert found == values and [*map(type, found)] == [type(found[0])] * len(found)


@pytest.mark.parametrize(("cells", "options", "values"), [
    ("1,5 2,25", {}, [1.5, 2.25]), ("1.234,5 2", {}, [1234.5, 2]), ("1,234.5 2", {}, [1234.5, 2]),
    ("1,234 2", {"decimal": "."}, [1234, 2]), ("1,234 2", {"decimal": ","}, [1.234, 2]),
    ("1.234 2,5", {"decimal": ","}, [1234, 2.5]), ("NA 1,5", {"missing": ["NA"]}, [None, 1.5]),
    ("-999 1", {"missing": ["-999", "?"]}, [None, 1]), ("? x", {"missing": ["?"]}, [None, "x"])])
def test_decimal_and_missing_marks(tmp_path, cells, options, values):
    text = "a;y\n" + "".join(f"{cell};1\n" for cell in cells.split())
    assert columns(write(tmp_path / "t.csv", text), **options)["a"] == values


@pytest.mark.parametrize(("cells", "words"), [
    ("1,234 2,500", "'1,234' could be a fraction or thousands"),
    ("1 2 3 x", "data row 4 (counted from 1 after the header), column 'a': 'x' is not a number"),
    ("1 nan", "the value is nan"), ("-inf 1", "the value is -inf"),
    ("1 1e400", "the value is inf ('1e400')"), ("1 2 1_000", "'1_000' is not a number"),
    ("1 2 0x1", "'0x1' is not a number"), ("1,5 2.5", "with the decimal mark '.'")])
def test_what_is_not_guessed(tmp_path, cells, words):
    text = "a;y\n" + "".join(f"{cell};1\n" for cell in cells.split())
    assert words in refusal(write(tmp_path / "t.csv", text))


def test_cells_after_the_first_rows(tmp_path):
    """What the first thousands of rows do not show is found all the same."""
    def late(cell):
        return write(tmp_path / "t.csv", "a,y\n" + "1,0\n" * 5000 + f"{cell},1\n")

    for cell, last in (("", None), (" ", None), ("+2", 2), (" 2", 2), ('"2"', 2),
                       ("9007199254740993", 2**53 + 1), ("007", "007"), (" 007", "007")):
        assert columns(late(cell))["a"][-1] == last
    assert "data row 5001" in refusal(late("x"))


def test_a_kind_that_is_asked_for(tmp_path):
    path = write(tmp_path / "t.csv", "a,b,c\n1,x,1\n2,3,\n")
    assert columns(path, {"a": "text"})["a"] == ["1", "2"]
    assert columns(path, {"b": "label"})["b"] == ["x", "3"]
    with pytest.raises(DataError, match="'x' is not a number"):
        open_table(path).columns(["b"], {"b": "number"})
    with pytest.raises(DataError, match="data row 2 .*'c': the cell is empty"):
        open_table(path).columns(["c"], complete=True)


def test_all_faults_are_in_one_report(tmp_path):
    text = "a,b\n1,2\n3\n5,x\n7,8,9\n5,6\n1,nan\ny,1\n2,2\n3,3\n"
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(DataError) as caught:
        open_table(path).columns()
    assert caught.value.faults == (
        "line 3 has 1 cell, the header has 2", "line 5 has 3 cells, the header has 2",
        "data row 3 (counted from 1 after the header), column 'b': 'x' is not a number",
        "data row 6 (counted from 1 after the header), column 'b': the value is nan",
        "data row 7 (counted from 1 after the header), column 'a': 'y' is not a number")
    assert str(caught.value).startswith(f"{path}: 5 faults: line 3 has")
    many = write(tmp_path / "u.csv", "a,b\n" + "1,2\n" * 99 + "x,3\n" * 50)
    assert refusal(many) == (f"{many}: data row 100 (counted from 1 after the header), column 'a': "
                             "'x' is not a number (the first of 50 such cells)")
    many = write(tmp_path / "u.csv", "a,b\n" + "1,2\n" * 99 + "x\n" * 50)
    assert refusal(many).startswith(f"{many}: 50 faults: ")
    assert refusal(many).endswith("line 120 has 1 cell, the header has 2; and 30 more")


@pytest.mark.parametrize("form", ["t.csv", "t.parquet", "t.npz", "p*.csv"])
def test_batches_are_the_table(tmp_path, form):
    frame = pd.DataFrame({"x1": np.arange(5000) / 7, "x2": 2.0})
    frame["s"] = [f"{i:04}" for i in range(5000)]
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame[:3100].to_csv(tmp_path / "p1.csv", index=False)
    frame[3100:].to_csv(tmp_path / "p2.csv", index=False, sep=";", lineterminator="\r\n")
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", X=frame[["x1", "x2"]].to_numpy(), s=frame["s"].to_numpy(str))
    table = open_table(tmp_path / form)
    batches = list(table.batches(1000, ["s", "x1"], {"s": "text"}))
    assert max(len(batch[0].values) for batch in batches) == 1000
    for j, whole in enumerate(table.columns(["s", "x1"])):
        np.testing.assert_array_equal(np.concatenate([batch[j].values for batch in batches]),
                                      whole.values)


def test_faults_in_batches(tmp_path):
    path = write(tmp_path / "t.csv", "a,y\n" + "1,0\n" * 999 + "x,1\n" + "1,2\n" * 9)
    batches = open_table(path).batches(300)
    assert [len(next(batches)[0].values) for _ in range(3)] == [300] * 3
    with pytest.raises(DataError, match="data row 1000 .*'a': 'x' is not a number"):
        next(batches)
    write(path, "a,y\n1,0\r\n" + "1,0\n" * 99_999 + "1\n")
    with pytest.raises(DataError, match="line 100002 has 1 cell"):
        next(open_table(path).batches(300))


# ---- which files


def test_files_of_a_pattern(tmp_path):
    write(tmp_path / "p1.csv", "a,b\n1,2\n3,4\n")
    write(tmp_path / "p2.csv", "b,a\n5,6\n7,8\n")
    assert columns(tmp_path / "p*.csv") == {"a": [1, 3, 6, 8], "b": [2, 4, 5, 7]}
    assert columns([tmp_path / "p2.csv", tmp_path / "p1.csv"])["b"] == [5, 7, 2, 4]
    write(tmp_path / "p2.csv", "b,a\n5,6\n7,x\n")
    assert "p2.csv, data row 2 (counted from 1 after the header), column 'a'" in refusal(
        tmp_path / "p*.csv")
    write(tmp_path / "p2.csv", "b,c\n5,6\n")
    assert "has no column 'a' and has 'c' besides" in refusal(tmp_path / "p*.csv")
    assert "no file has a name of this pattern" in refusal(tmp_path / "q*.csv")
    star = "*" * (os.name != "nt")      # of no name on Windows
    assert columns(write(tmp_path / f"r[1]{star}.csv", "a\n1\n")) == {"a": [1]}
    path = write(tmp_path / "r[1].json.gz", gzip.compress(b'{"a": 1}', mtime=0))
    assert columns(path) == {"a": [1]}


def test_parquet(tmp_path):
    path = tmp_path / "table"
    days = pd.to_datetime(["2020-01-01 12:00", None])
    pd.DataFrame({
        "i": [1, 2], "big": [2**60, 1], "f": [0.5, None], "s": ["x", None], "id": ["007", "8"],
        "day": days, "zone": days.tz_localize("Europe/Berlin"), "truth": [True, False],
        "level": pd.Categorical(["u", "v"])}).to_parquet(path)
    assert columns(path) == {
        "i": [1, 2], "big": [2**60, 1], "f": [0.5, None], "s": ["x", None], "id": ["007", "8"],
        "day": [datetime(2020, 1, 1, 12), None], "zone": [datetime(2020, 1, 1, 11), None],
        "truth": [True, False], "level": ["u", "v"]}
    pd.DataFrame({"a": [[1], [2]]}).to_parquet(path)
    assert "column 'a' holds BIGINT[]" in refusal(path)
    pd.DataFrame({"a": [1, np.inf]}).to_parquet(path)
    assert "row 2, column 'a': the value is inf" in refusal(path)
    write(path, path.read_bytes()[:-9])
    assert "is not a Parquet file that can be read" in refusal(path)


def test_arrays(tmp_path):
    np.save(tmp_path / "t.npy", np.array([[1, 2], [3, 4]], dtype=np.int8))
    assert columns(tmp_path / "t.npy") == {"x1": [1, 3], "x2": [2, 4]}
    np.savez(tmp_path / "t.npz", X=np.eye(2), y=[2**60, 1], s=["a", " "])
    assert columns(tmp_path / "t.npz") == {
        "x1": [1, 0], "x2": [0, 1], "y": [2**60, 1], "s": ["a", None]}


def test_files_of_other_kinds(tmp_path):
    for name in ("xl/workbook.xml", "t.csv"):
        with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
            archive.writestr(name, "a,b\n")
        words = "is an Excel file; open it there and save" if "xl" in name else "unpack it first"
        assert words in refusal(tmp_path / "t.xlsx")
    assert "is an Excel file" in refusal(write(tmp_path / "t.csv", b"\xd0\xcf\x11\xe0\xa1"))
    whole = gzip.compress(os.urandom(10**6).hex().encode())
    for content in (whole[:100], whole[:-300], b"\x1f\x8bxx"):
        refusal(write(tmp_path / "t.csv.gz", content))
    assert "is not a JSON file that can be read" in refusal(write(tmp_path / "t", '[{"a":'))


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"missing": "NA"}, TypeError, "missing is 'NA'; it should be a sequence of str"),
    ({"decimal": ";"}, ValueError, "decimal is ';'; it should be '.' or ','"),
    ({"delimiter": "::"}, ValueError, "delimiter is '::'; it should be one character"),
    ({"delimiter": ",", "decimal": ","}, ValueError, "they should differ"),
    ({"path": 1}, TypeError, "path is 1; it should be a path, or a sequence of paths"),
    ({"path": []}, ValueError, "path is an empty sequence"),
    ({"encoding": "none"}, ValueError, "encoding is 'none'")])
def test_options_are_checked(tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        open_table(**{"path": tmp_path / "none.csv", **options})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/stdin")
def test_a_pipe(tmp_path):
    script = "from fastbp._table import open_table; print(open_table('/dev/stdin').columns()[0][1])"
    ended = subprocess.run([sys.executable, "-c", script], input="a,b\n1,2\n", text=True,
                           capture_output=True)
    assert ended.stdout == "[1.]\n", ended.stderr


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    import tempfile
    (tmp_path / "temporary").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "data")
    write(tmp_path / "data" / "t.csv", b"a,b\r\n1,2\n3,4\r\n")
    assert columns("t.csv")["a"] == [1, 3]
    assert os.listdir(tmp_path / "data") == ["t.csv"] and not os.listdir(tmp_path / "temporary")


def test_an_interrupt(tmp_path):
    """Ctrl-C while DuckDB reads is a KeyboardInterrupt."""
    table = open_table(write(tmp_path / "t.csv", "a,b\n" + "0.12345,x\n" * 200_000))
    with interrupted(0.1):      # also where the shell has SIGINT ignored
        while True:
            table.columns(["a"])


def test_many_columns(tmp_path):
    """Take seconds: DuckDB's optimizers would look at every pair of them, for minutes."""
    names = [f"c{j}" for j in range(4000)]
    rows = [[f"{i}.{j}" for j in range(4000)] for i in (1, 2)]
    start = time.process_time()
    found = columns(write(tmp_path / "t.csv", "\n".join(map(",".join, [names, *rows])) + "\n"))
    assert time.process_time() - start < 30
    assert [*found] == names and found["c3999"] == [1.3999, 2.3999]


def test_without_duckdb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ImportError, match=r"needs DuckDB.*pip install 'fastbp\[cli\]'"):
        open_table(write(tmp_path / "t.csv", "a\n1\n"))
    np.save(tmp_path / "t.npy", np.eye(2))
    open_table(tmp_path / "t.npy")


def test_the_bundled_table_needs_no_duckdb(tmp_path):
    script = ("import sys; from fastbp._command.main import main; "
              "code = main(['train', '--epochs', '1']); assert 'duckdb' not in sys.modules; "
              "sys.exit(code)")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                           cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
