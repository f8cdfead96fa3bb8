"""The figures of the how-to pages are those of the committed files of results."""

import importlib.util
import json
import re

import pytest
from places import ROOT

SPEC = importlib.util.spec_from_file_location("figures", ROOT / "tools" / "figures.py")
figures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(figures)
PAGES = figures.pages()


def test_every_page_of_an_integration_has_figures():
    names = {page.name for page in PAGES}
    assert {"loop.md", "population.md", "scipy.md", "sklearn.md", "torch.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_figures_are_current(page):
    assert figures.rewritten(page.read_text()) == page.read_text(), "run `python tools/figures.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_table_has_its_machine(page):
    """On the page of the table; but for files of runs, whose rows each say theirs."""
    names = {}
    for file, name, *_ in figures.SECTION.findall(page.read_text()):
        names.setdefault(file, set()).add(name)
    for file, shown in names.items():
        assert "machine" in shown or "machine" not in json.loads((ROOT / file).read_text()), file


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_changed_figure_is_stale(page):
    text = page.read_text()
    for section in figures.SECTION.finditer(text):
        digits = [m.start() for m in re.finditer(r"\d", section[4])]
        assert digits
        for at in {digits[0], digits[-1]}:
            at += section.start(4)
            other = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1:]
            assert figures.rewritten(other) == text


def test_pictures_are_current():
    assert ROOT / "docs" / "population-networks.png" in [path for _, path in figures.pictures()]
    for file, path in figures.pictures():
        assert figures.is_current(file, path), "run `python tools/figures.py`"
        assert len(path.read_bytes()) < 60_000


def test_a_picture_of_other_results_is_stale(tmp_path):
    for file, path in figures.pictures():
        document = json.loads(file.read_text())
        document["growth"][0]["times"]["fastbp"]["least_us"] *= 2
        (tmp_path / file.name).write_text(json.dumps(document))
        assert not figures.is_current(tmp_path / file.name, path)
        assert not figures.is_current(file, tmp_path / path.name)       # there is none


def test_what_a_cell_says():
    assert figures.cell("/ NumPy", 0.5).strip().endswith("!")
    assert figures.cell("ms", 0.5) == "0.500"
    assert figures.cell("steps", 12) == "12"
