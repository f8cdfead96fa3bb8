"""What the command prints can be read on a terminal of any width, and found by `grep` in a file."""

import io
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminals import lines_on_terminal

import fastbp
from fastbp import _screen
from fastbp._command.main import main

MODULE = [sys.executable, "-m", "fastbp"]
WIDTHS = [20, 21, 40, 79, 80, 120, 200, 400]
TEXT = "largest error 0.807 ulp, allowed 1; 1572663 points on avx512, avx2 and generic, 2-8-8-1 (1)"
WORDS = st.lists(st.one_of(
    st.from_regex(r"[a-z]{1,30}[,;]?", fullmatch=True), st.from_regex(r"-?\d{1,9}", fullmatch=True),
    st.from_regex(r"\d\.\d{1,4}e-\d", fullmatch=True), st.sampled_from(["漢字", "e\u0301t\u00e9"])),
    min_size=1, max_size=40)


# ---- wrapping


@given(WORDS, st.integers(20, 400))
def test_no_word_is_cut_and_no_line_too_long(words, width):
    lines = _screen.wrap(" ".join(words), width)
    assert " ".join(lines).split(" ") == words
    for line in lines:
        assert _screen.cells(line) <= width or " " not in line
        assert line == line.strip()


@given(WORDS, st.integers(20, 400))
def test_a_line_is_as_full_as_can_be(words, width):
    """The next line's first word, and the one it stays with, would not have fitted."""
    lines = _screen.wrap(" ".join(words), width)
    for line, below in zip(lines, lines[1:], strict=False):
        assert _screen.cells(f"{line} {' '.join(below.split()[:2])}") > width


@given(WORDS, st.integers(20, 400))
def test_a_number_stays_with_its_unit(words, width):
    for line in _screen.wrap(" ".join(words), width)[:-1]:
        last = line.split(" ")[-1]
        if re.fullmatch(r"-?\d+|\d\.\d+e-\d", last):
            after = words[words.index(last) + 1:]     # one of equal numbers, where there are two
            assert (words.count(last) > 1 or re.match(r"-?\d", after[0])
                    or _screen.cells(f"{last} {after[0]}") > width)


@pytest.mark.parametrize("text, width, lines", [
    ("", 20, [""]),
    ("one two three four five", 20, ["one two three four", "five"]),
    ("exactly twenty cells", 20, ["exactly twenty cells"]),
    ("largest error 0.8 ulp", 20, ["largest error", "0.8 ulp"]),
    ("it takes about 123456 ns", 22, ["it takes about", "123456 ns"]),
    ("on threads 1, 2, 3", 20, ["on threads 1, 2, 3"]),
    ("see /a/path/that/is/longer/than/a/line or not", 20,
     ["see", "/a/path/that/is/longer/than/a/line", "or not"]),
    ("avx2     in columns", 30, ["avx2     in columns"]),
    ("   begins with blanks", 30, ["   begins with blanks"]),
    ("12345678901234567 abcdefgh", 20, ["12345678901234567", "abcdefgh"]),
])
def test_wrap(text, width, lines):
    assert _screen.wrap(text, width) == lines


@pytest.mark.parametrize("blocked", [False, True], ids=["rich", "no_rich"])
@pytest.mark.parametrize("text, n", [
    ("", 0), ("abc", 3), ("漢字", 4), ("ｆ", 2), ("e\u0301", 1), ("σ′ ≤ µ", 6), ("a\u200bb", 2)])
def test_cells(monkeypatch, blocked, text, n):
    if blocked:
        monkeypatch.setitem(sys.modules, "rich.cells", None)
    assert _screen.cells(text) == n


def test_columns_of_wide_characters():
    assert _screen.rows("漢字", "漢字 漢字 漢字 漢字 漢字", 10, 30) == [
        "漢字      漢字 漢字 漢字 漢字", "          漢字"]


# ---- two columns


@pytest.mark.parametrize("width", range(20, 401))
def test_rows_fit(width):
    name = "name"
    lines = _screen.rows(name, TEXT, 12, width)
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == f"{name} {TEXT}"
    margin = 12 if width >= 32 else 2
    assert all(line.startswith(" " * margin) and line[margin] != " " for line in lines[1:])


def test_rows_of_a_file_and_of_a_long_name():
    assert _screen.rows("name", TEXT, 12, None) == ["name        " + TEXT]
    assert _screen.rows("a_long_name", "text", 11, None) == ["a_long_name text"]
    assert _screen.rows("a_long_name", "text", 11, 80) == ["a_long_name", "  text"]


def test_what_is_no_terminal_has_no_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert _screen.width_of(io.StringIO()) is None and _screen.width_of(None) is None


def test_a_window_without_a_descriptor(monkeypatch):
    monkeypatch.setenv("COLUMNS", "33")
    window = io.StringIO()
    monkeypatch.setattr(window, "isatty", lambda: True, raising=False)
    assert _screen.width_of(window) == 33
    monkeypatch.setenv("COLUMNS", "3")
    assert _screen.width_of(window) == 20


# ---- the command


@pytest.mark.parametrize("width", WIDTHS)
def test_info_on_a_terminal(width):
    code, lines = lines_on_terminal([*MODULE, "info"], width)
    assert code == 0
    assert all(len(line) <= width or " " not in line.strip() for line in lines)
    for name, value in fastbp.show_config("dict").items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        assert f" {name} {text} " in f" {' '.join(' '.join(lines).split())} "


WRONG = [*MODULE, "train", "--activation", "gelu"]


@pytest.fixture(scope="module")
def piped():
    return subprocess.run(WRONG, capture_output=True, text=True)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_an_error_on_a_terminal(width, piped):
    code, lines = lines_on_terminal(WRONG, width, "stderr")
    assert code == piped.returncode == 2 and piped.stderr.count("\n") == 1
    assert " ".join(" ".join(lines).split()) == piped.stderr.rstrip("\n")
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 1 if width == 200 else len(lines) > 1


def test_the_width_that_counts():
    """The width is COLUMNS; without it that of the terminal, even if another stream is not a
    terminal; without both 80."""
    narrow, given, unknown = (
        lines_on_terminal(WRONG, 40, "stderr")[1],
        lines_on_terminal(WRONG, 200, "stderr", env={"COLUMNS": "40"})[1],
        lines_on_terminal(WRONG, None, "stderr")[1])
    assert narrow == given and max(map(len, narrow)) <= 40
    assert 60 < max(map(len, unknown)) <= 80


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("command", ["", "train", "predict", "explain", "check", "bench", "info"])
def test_help(monkeypatch, capsys, width, command):
    """No line but an option's own is wider than the terminal, and none is hard to read."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "10000")
    assert main([*command.split(), "--help"]) == 0
    whole = capsys.readouterr().out
    for line in out.splitlines():
        assert len(line) <= min(width, 100) or re.match(r" +(-|\[-)", line), line
    assert {*out.split()} == {*whole.split()}       # no word is cut


@pytest.mark.parametrize(("command", "beside"), [
    ("train", "beside NA"), ("predict", "beside those of the training"),
    ("explain", "beside those of the training")])
def test_help_of_the_marks(capsys, command, beside):
    assert main([command, "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--decimal MARK decimal mark of a CSV file, . or ,; the other one may" in out
    assert f"text that stands for a missing cell, in the target too, {beside}" in out


def test_the_command_alone_prints_its_help(capsys):
    assert main([]) == 0
    alone = capsys.readouterr()
    assert main(["--help"]) == 0
    assert alone == capsys.readouterr()
    assert alone.out.startswith("usage: fastbp") and not alone.err
