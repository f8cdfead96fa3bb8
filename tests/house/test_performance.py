"""The figures of docs/performance.md and of the README are those of the files of results."""

import copy
import importlib.util
import json
import re

import pytest
from places import ROOT

SPEC = importlib.util.spec_from_file_location("performance", ROOT / "tools" / "performance.py")
performance = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(performance)
PAGE = performance.PAGE.read_text()
IMAGES = [path.read_bytes() for path in performance.images()]


@pytest.fixture
def document():
    return copy.deepcopy(performance.rewritten(PAGE)[1])


def test_figures_and_plots_are_current():
    assert performance.stale(PAGE, IMAGES) == [], "run `python tools/performance.py`"
    assert performance.stale_starts() == [], "run `python tools/performance.py`"


def test_a_changed_figure_is_stale():
    """Each figure of each table row of the section, one at a time."""
    start, end = performance.SECTION.search(PAGE).span(3)
    rows = re.finditer(r"^\| [\d-]+ \(.*$", PAGE[start:end], re.MULTILINE)
    figures = [re.search(r"\d(?=[^\d]*\|$)", row[0]).start() + row.start() + start for row in rows]
    assert len(figures) > 30
    for at in figures:
        other = str((int(PAGE[at]) + 1) % 10)
        wrong = PAGE[:at] + other + PAGE[at + 1:]
        assert performance.stale(wrong, IMAGES) == ["docs/performance.md"]


def test_a_changed_file_is_stale(tmp_path, monkeypatch, document):
    """A figure that no table shows makes the plots stale, one that a table shows the page, too."""
    name = performance.SECTION.search(PAGE)[1]
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    stem = tmp_path / "docs" / "performance"
    monkeypatch.setattr(performance, "ROOT", tmp_path)
    monkeypatch.setattr(performance, "STEM", stem)
    document["gradients"][0]["times"]["fastbp"]["least_us"] *= 2
    path.write_text(json.dumps(document))
    assert performance.stale(PAGE, IMAGES) == ["docs/performance-*.png"]
    document["gradients"][0]["gflops"] *= 2
    path.write_text(json.dumps(document))
    assert performance.stale(PAGE, IMAGES) == ["docs/performance.md", "docs/performance-*.png"]


def test_where_a_peer_is_faster_is_said(document):
    for result in (*document["gradients"], *document["epochs"]):
        result["ratios"] = dict.fromkeys(result["ratios"], 2.0)
    assert "No peer is faster" in performance.section(document)
    last = document["gradients"][-1]
    last["ratios"]["NumPy"] = 0.954
    text = performance.section(document)
    assert "No peer is faster" not in text
    assert f"NumPy on {last['network']} ({last['batch']}), gradient, f64 (0.954)" in text
    assert "| 0.954! |" in text


def test_bounds_have_columns(document):
    """A file with bounds has them in place of the roofline, in the table of epochs too."""
    gradients, epochs = document["gradients"], document["epochs"]
    assert ("of roofline" in performance.gradient_table(gradients)) != ("bound" in gradients[0])
    for result in (*gradients, *epochs):
        result |= {"bound": {"us": 1.25}, "fraction_of_bound": 0.67}
    for text in (performance.gradient_table(gradients), performance.epoch_table(epochs)):
        assert text.splitlines()[0].endswith("| bound µs | of bound |")
        assert all(line.endswith("| 1.25 | 67% |") for line in text.splitlines()[2:])


@pytest.mark.parametrize(("added", "size", "words"), [
    (29.0, 1_900_000, "2 MB"), (31.0, 1_900_000, "the first is exceeded"),
    (29.0, 2_100_000, "the second is exceeded")])
def test_limits_that_are_exceeded_are_said(document, added, size, words):
    startup = document["startup"]
    startup["added"]["median_ms"], startup["wheel_bytes"] = added, size
    text = performance.startup_text(startup)
    assert text.endswith(words)
    assert text.count("exceeded") == words.count("exceeded")


def test_every_plot_has_a_dark_twin():
    """Both are shown, and differ; the README's too."""
    light, dark = performance.images()[:3], performance.images()[3:]
    for one, other in zip(light, dark, strict=True):
        assert one.read_bytes() != other.read_bytes()
        shown = "".join(path.read_text() for path in (performance.PAGE, *performance.STARTS))
        assert f'{one.name}"' in shown and f'{other.name}"' in shown


def test_what_is_committed(document):
    """Every section and peer; plots that are small."""
    assert all(document[name] for name in ("gradients", "epochs", "threads", "startup"))
    assert len(document["gradients"][0]["ratios"]) == 5
    assert max(map(len, IMAGES)) < 100_000
