"""`fastbp bench` prints, draws, writes and reads back what it measured, and refuses first what it
cannot do.
"""

import json
import re
import shutil
import sys

import numpy as np
import pytest
from measuring import ALL_PEERS, MORE_QUICKLY, SMALL, arguments, measured

import fastbp
from fastbp._command.bench import command, measure, plots, startup, tables
from fastbp._command.machine import machine

pytestmark = pytest.mark.usefixtures("short_samples")


def full(kind, **changes):
    """A result of every peer with the longest figures there are."""
    times = {"median_us": 987654.0, "quartiles_us": [1.0, 1.9e6]}
    names = ["1", *map(str, 2 ** np.arange(1, 7)), "auto"] if kind == "threads" else [
        "fastbp", *ALL_PEERS]
    compared = {name: 0.95234 if i % 2 else 1234.5 for i, name in enumerate(names[1:])}
    return {"kind": kind, "network": "2048-2048-2048-1", "batch": 65536, "dtype": "float64",
            "times": dict.fromkeys(names, times), "gflops": 123.456, "fraction_of_peak": 1.0,
            "fma_peak_gflops": 1.0, "fraction_of_roofline": 1.0, "ratios": compared,
            "bound": {"us": 987654.0}, "fraction_of_bound": 1.0, "speedups": compared, **changes}


@pytest.mark.parametrize("kind", ["gradient", "epoch", "threads"])
@pytest.mark.parametrize("terminal", [False, True])
def test_tables_fit(kind, terminal, capsys, monkeypatch):
    """100 columns, as text and drawn by rich; a peer that is faster is marked."""
    if terminal:
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert shutil.get_terminal_size().columns == tables.WIDTH
    command.show([full(kind), full(kind)])
    out = capsys.readouterr().out
    assert ("\x1b[" in out) == terminal         # rich draws the table again for each row
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out).splitlines()
    assert max(map(len, lines)) <= tables.WIDTH
    rows, spreads = lines[-4::2], lines[-3::2]
    assert all(line.startswith("2048-2048-2048-1 65536 f64 987654? 987654") for line in rows)
    assert f"0.952{tables.SLOWER}?" in rows[1] and "1234?" in rows[1]
    assert spreads[1].split() == ["±96%", "100%", *["±96%"] * (spreads[1].count("±") - 1)]
    assert spreads[1].count("±") == (8 if kind == "threads" else 1 + len(ALL_PEERS))


def test_tables_of_files_without_bounds(capsys):
    """They have no such column."""
    old = full("gradient")
    del old["bound"]
    command.show([old, full("epoch")])
    heads = [line for line in capsys.readouterr().out.splitlines() if "network batch" in line]
    assert ["bound" in head for head in heads] == [False, True]


def test_the_machine_is_printed_once(capsys):
    """What is left out, and why, with it."""
    first = {**machine(), "left_out": {"torch.compile": "no compiler"}}
    document = command.show([first, full("gradient"), machine(), full("threads")])
    out = capsys.readouterr().out
    assert out.count("fastbp " + fastbp.__version__) == 1
    assert "torch.compile is left out: no compiler" in out
    assert document["machine"] is first and len(document["threads"]) == 1


def test_results_are_printed_and_drawn_from_a_file(tmp_path, capsys, monkeypatch):
    """The same text; the plots carry the digest of what they show."""
    path = str(tmp_path / "results.json")
    monkeypatch.setattr(measure, "startup", lambda: startup.startup(rounds=2))

    def run(task, **options):
        if task == "measure":
            return measured(SMALL, epochs=(((2, 3, 1), 100),), with_startup=True, **MORE_QUICKLY)
        return list(measure.measure_threads(SMALL, ("float32",), 0.0))

    assert command.run(arguments(quick=False, json=path), run) == 0
    measured_text = capsys.readouterr().out
    stem = str(tmp_path / "plot")
    assert command.run(arguments(quick=False, from_file=path, plot=stem)) == 0
    assert capsys.readouterr().out == measured_text
    document = json.loads((tmp_path / "results.json").read_text())
    for name in plots.names(stem, ["gradients"]):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG") and plots.digest(document).encode() in content
        assert plots.digest({**document, "startup": None}).encode() not in content


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"gradients": []}'])
def test_files_that_are_no_results(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="results.json: is not a file that fastbp bench --json"):
        command.run(arguments(quick=False, from_file=str(path)))


@pytest.mark.parametrize("option", [{"quick": True}, {"json": "a"}, {"threads": True},
                                    {"networks": "2-1"}, {"suite": "tiny"},
                                    {"population": True}, {"dtype": "float32"},
                                    {"loss": "poisson"}])
def test_a_file_is_not_measured(option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="--from prints what was measured"):
        command.run(arguments(**{"quick": False, "from_file": "results.json", **option}))


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"plot": "no/plot"}, OSError, "No such file"),
    ({"json": "no/a.json"}, OSError, "No such file"),
    ({"plot": "plot", "threads": True}, ValueError, "--plot draws gradients"),
    ({"from_file": "missing", "quick": False}, OSError, "No such file")])
def test_what_cannot_be_written_is_told_before_measuring(options, error, words, tmp_path,
                                                         monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        command.run(arguments(**options))
    assert not capsys.readouterr().out and not list(tmp_path.iterdir())


def test_plots_need_gradients(tmp_path):
    document = command.show([machine(), full("threads")])
    with pytest.raises(ValueError, match="have none"):
        plots.draw(document, str(tmp_path / "plot"))
