"""Promise: what a target is, and which columns are features, is judged as a reader would."""

import io

import numpy as np
import pytest

from fastbp._command.main import main
from fastbp._command.tables import report
from fastbp._preparation import judge
from fastbp._preparation.columns import plain_column
from fastbp._preparation.targets import target_of
from fastbp._table import DataError
from fastbp._table.cells import Column


def texts(*cells):
    cells = np.array([cell or None for cell in cells], dtype=object)
    return Column("y", cells, np.equal(cells, None))


@pytest.mark.parametrize(("cells", "numbers"), [
    (("1,5", "NA", "1.249,90", "-2,25"), [1.5, 1249.9, -2.25]),
    (("1.5", "-", "1249.90", ""), [1.5, 1249.9]),
    (("1,249.90", "?", "3.5"), [1249.9, 3.5])])
def test_a_target_of_numbers_with_marks_of_missing_cells(cells, numbers):
    target, y, there = target_of([texts(*cells)], "regression")
    assert target.task == "regression"
    assert y[there, 0].tolist() == numbers
    again, there = target.numbers_of([texts(*cells)])
    assert again[there, 0].tolist() == numbers


def test_the_decimal_mark_that_the_user_named():
    cells = texts("1,249", "NA", "2,5")
    assert target_of([texts("1,249", "NA")], "regression", decimal=",")[1][0, 0] == 1.249
    assert target_of([cells], "regression", decimal=",")[1][0, 0] == 1.249


def test_labels_among_which_a_mark_stands_are_labels():
    target, _, there = target_of([texts("a", "NA", "a", "b")])
    assert target.classes == (("NA", "a", "b"),) and there.all()


def test_texts_that_differ_in_most_rows_are_no_classes():
    names = [f"name {k}" for k in range(60)]
    with pytest.raises(DataError, match="60 different texts in 100 rows, 'name 0' for one"):
        target_of([texts(*names, *names[:40])])
    assert len(target_of([texts(*names, *names)])[0].classes[0]) == 60


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
    ("a;b\n2.000;1\n", "a;b\n2000,0;1\n"), ("a;b\n2,000;1\n", "a;b\n2;1\n"),
    ("a,b\n2.000,1\n", "a;b\n2,0;1\n"), ("a;b\n2.000;1.5\n", "a;b\n2,0;1,5\n"),
    ('a,b\n"2.000,5",1\n', "a;b\n2000,5;1\n")])
def test_new_rows_are_read_with_the_decimal_mark_of_the_training(new, same, tmp_path, monkeypatch,
                                                                 capsys):
    """Where they leave it open: 2.000 is two thousand if the training had decimal commas."""
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
