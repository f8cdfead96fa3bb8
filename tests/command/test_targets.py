"""Promise: what a target is, and which columns are features, is judged as a reader would."""

import io
from pathlib import Path

import numpy as np
import pytest

from fastbp._command.main import main
from fastbp._command.tables import report
from fastbp._preparation import judge
from fastbp._preparation.columns import plain_column
from fastbp._preparation.targets import TASKS, target_of
from fastbp._table import DataError
from fastbp._table.cells import MARKS, column_of
from fastbp._table.numerals import Numerals


def labels(*cells, decimal=".", known=False):
    """A column of labels, "" where one is missing, as `fastbp train` reads it."""
    cells = np.array([cell or None for cell in cells], dtype=object)
    found = column_of("y", cells, Numerals(decimal, known), "label", MARKS)
    assert not found.bad
    return found.column


@pytest.mark.parametrize(("cells", "decimal", "numbers"), [
    (("1,5", "NA", "1.249,90", "-2,25"), ",", [1.5, 1249.9, -2.25]),
    (("1.5", "-", "1249.90", ""), ".", [1.5, 1249.9]),
    (("1,249.90", "?", "3.5"), ".", [1249.9, 3.5]), (("2,5", "NA", "1,249"), ",", [2.5, 1.249])])
def test_a_target_of_numbers_with_marks_of_missing_cells(cells, decimal, numbers):
    column = labels(*cells, decimal=decimal)
    target, y, there = target_of([column], "regression")
    assert target.task == "regression"
    assert y[there, 0].tolist() == numbers
    again, there = target.numbers_of([column])
    assert again[there, 0].tolist() == numbers


def test_thousands_of_a_target_whose_decimal_mark_the_user_named():
    """Also among marks of missing cells."""
    assert labels("1,249", "NA", known=True).values[0] == 1249
    assert labels("1.249", "NA", decimal=",", known=True).values[0] == 1249
    cells = np.array(["1,249", "NA"], dtype=object)
    (bad,) = column_of("y", cells, Numerals("."), "label", MARKS).bad
    assert "'1,249' could be a fraction or thousands" in bad.what


@pytest.mark.parametrize("mark", [*sorted(MARKS - {"-"}), ""])
def test_a_mark_among_labels_is_no_class(mark):
    target, y, there = target_of([labels("b", mark, "a", mark, "b", "a")])
    assert target.classes == (("a", "b"),)
    assert there.tolist() == [True, False, True, False, True, True]
    assert y[there].tolist() == [1, 0, 1, 0]


def test_a_minus_beside_a_plus_is_a_class():
    target, _, there = target_of([labels("+", "-", "NA", "-")])
    assert target.classes == (("+", "-"),) and there.tolist() == [True, True, False, True]
    with pytest.raises(DataError, match="holds 'yes' alone beside 1 missing"):
        target_of([labels("yes", "-", "yes")])


@pytest.mark.parametrize(("task", "numbers", "words"), [
    ("regression", [3, 3, 3], "target 'y' is 3 in all 3 rows; it should have two values or more"),
    ("counts", [0, 0], "target 'y' is 0 in all 2 rows"),
    ("classes", [3, 3], "holds '3' alone; it should hold two classes or more"),
    ("labels", [3, 3], "holds '3' alone; it should hold two classes or more"),
    ("regression", [3, np.nan, 3, 3], "target 'y' is 3 in all 3 rows"),
    ("counts", [1, 0.5, 2, -1], r"is 0.5 in data row 2 and in 1 more; counts should be whole num"),
    ("counts", [1, 2, -2], "is -2 in data row 3; counts should be whole numbers of at least 0"),
    *((task, [1, np.nan], "1 row has a value of the target 'y'; it should be 2 rows or more")
      for task in (None, *TASKS))])
def test_a_target_that_cannot_be_learned(task, numbers, words):
    with pytest.raises(DataError, match=words):
        target_of([plain_column("y", np.array(numbers, float))], task)


def test_counts_of_another_table_are_counts():
    """As where `fastbp explain` reads them."""
    target = target_of([plain_column("n", np.arange(4.0))], "counts")[0]
    with pytest.raises(DataError, match="target 'n' is 0.5 in data row 2; counts should be whole"):
        target.numbers_of([plain_column("n", np.array([1.0, 0.5]))])


def test_texts_that_differ_in_most_rows_are_no_classes():
    names = [f"name {k}" for k in range(60)]
    with pytest.raises(DataError, match="60 different texts in 100 rows, 'name 0' for one"):
        target_of([labels(*names, *names[:40])])
    assert len(target_of([labels(*names, *names)])[0].classes[0]) == 60


@pytest.mark.parametrize(("numbers", "left_out"), [
    (np.arange(40.0), True), (np.delete(np.arange(40.0), [3, 4, 20]), True),
    (np.arange(40.0)[::2], True), (np.arange(40.0)[::-1], True),
    (np.arange(0.0, 4000.0, 100), False), (np.delete(np.arange(40.0)[::-1], [3, 4]), False)])
def test_running_numbers_are_an_id(numbers, left_out):
    """Also where the rows held out, or those without a target, are not among them."""
    judgement = judge(plain_column("order", numbers), np.arange(len(numbers)))
    assert (judgement.column is None) == left_out


@pytest.mark.parametrize(("numbers", "task"), [
    ([1, 2, 3, 1, 2, 3], "classes"), ([1, 2, 3, 1, 2], "regression"), ([7, 8, 7], "classes"),
    ([1.5, 2, 3, 1.5, 2, 3], "regression")])
def test_whole_numbers_that_repeat_are_classes(numbers, task):
    assert target_of([plain_column("y", np.array(numbers, float))])[0].task == task


def test_how_to_make_numbers_of_classes_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{k / 7},{k % 3}\n" for k in range(60)))
    assert main(["train", "t.csv", "--epochs", "1"]) == 0
    assert "--task regression takes them for numbers" in capsys.readouterr().out
    assert main(["train", "t.csv", "--epochs", "1", "--task", "classes"]) == 0
    assert "--task" not in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "words"), [
    (["train", "t.csv", "t.csv"], "several files are one pattern in quotes"),
    (["train", "t.csv", "--drop", "b"], "the columns are 'a', 'y'"),
    (["predict", "model.safetensors", "t.csv", "--out", "p.xlsx"], "the name should end in .csv")])
def test_slips_of_a_first_hour(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{k / 7},{k % 2}\n" for k in range(60)))
    assert main(["train", "t.csv", "--epochs", "1", "--out", "model.safetensors"]) == 0
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert words in line
    assert line.count("'y'") <= 1


@pytest.mark.parametrize(("new", "same"), [
    ("a;b\n2,000;1\n", "a;b\n2;1\n"), ("a;b\n2.000;1,5\n", "a;b\n2000;1,5\n"),
    ("a,b\n2.000,1\n", "a;b\n2,0;1\n"), ("a;b\n2.000;1.5\n", "a;b\n2,0;1,5\n"),
    ('a,b\n"2.000,5",1\n', "a;b\n2000,5;1\n")])
def test_new_rows_are_read_with_the_decimal_mark_of_the_training(new, same, tmp_path, monkeypatch,
                                                                 capsys):
    """Where they leave it open; a cell that fits one mark alone decides."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{k * 37 % 3001},{k % 10};{k % 7};{k % 2}\n" for k in range(80))
    (tmp_path / "t.csv").write_text("a;b;y\n" + rows)
    assert main(["train", "t.csv", "--epochs", "3", "--out", "model.safetensors"]) == 0
    capsys.readouterr()
    found = []
    for text in (new, same):
        (tmp_path / "new.csv").write_text(text)
        assert main(["predict", "model.safetensors", "new.csv"]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]


@pytest.mark.parametrize("thousands", [True, False])
def test_thousands_of_new_rows_are_those_of_the_training(called, thousands):
    """2.000 is two thousand if decimal commas stood beside thousands there, or by --decimal."""
    rows = "".join(f"{'1.' * thousands}{100 + k * 37 % 900},{k % 10};{k % 2}\n" for k in range(80))
    Path("t.csv").write_text("a;y\n" + rows)
    assert called("train", "t.csv", "--epochs", 3, "--out", "m")[0] == 0
    Path("new.csv").write_text("a\n2000\n")
    _, same, _ = called("predict", "m", "new.csv")
    Path("new.csv").write_text("a\n2.000\n")
    code, out, err = called("predict", "m", "new.csv")
    if thousands:
        assert (code, out) == (0, same)
    else:
        assert code == 2 and "'2.000' is not a number with the decimal mark ','" in err
    assert called("predict", "m", "new.csv", "--decimal", ",")[1] == same


@pytest.mark.parametrize("columns", [30, 40, 80, 200])
def test_lines_wrap_between_words_on_a_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text, kept = "number; 26 missing, filled with the median 48.97, and a flag " * 4, io.StringIO()
    report.say("price", text.strip(), kept)
    assert kept.getvalue().count("\n") == 1
    kept = io.StringIO()
    kept.isatty = lambda: True
    report.say("price", text.strip(), kept)
    lines = kept.getvalue().splitlines()
    assert " ".join(kept.getvalue().split()) == f"price {text.strip()}"
    assert 1 < len(lines) and max(map(len, lines)) <= columns
    indent = report.WIDTH if columns > 30 else 2    # beside a name of 18 cells, or below it
    assert all(line.startswith(" " * indent) for line in lines[1:])


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_table_before_the_model(command, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    assert main([command, str(table), "model.safetensors"]) == 2
    assert "the model comes first" in capsys.readouterr().err
