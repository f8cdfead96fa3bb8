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
        document["machine"]["load"] = 99.0
        (tmp_path / file.name).write_text(json.dumps(document))
        assert not figures.is_current(tmp_path / file.name, path)
        assert not figures.is_current(file, tmp_path / path.name)       # there is none


def test_what_a_cell_says():
    assert figures.cell("/ NumPy", 0.5).strip().endswith("!")
    assert figures.cell("ms", 0.5) == "0.500"
    assert figures.cell("steps", 12) == "12"


def test_a_disturbed_time_has_a_mark():
    document = json.loads((ROOT / "results" / "beyond.json").read_text())
    for result in document["beyond"]:
        for times in result["times"].values():
            times["disturbed"] = False
    document["beyond"][0]["times"]["input_grad"]["disturbed"] = True
    dtype = document["beyond"][0]["dtype"]
    (first, *others) = (row["dL/dX"] for row in figures.rows_of(document, f"{dtype}:input_grad"))
    assert first.endswith("?")
    assert others and not any(cell.endswith("?") for cell in others)


def test_what_torch_md_says_of_its_tables():
    """`torch.compile` is slower than PyTorch as it is in every row, and fused modules are faster;
    `loss_and_grad_` gains most where autograd is most of the time."""
    tables = json.loads((ROOT / "results" / "torch-training.json").read_text())["tables"]
    for name in ("gradient", "step"):
        assert all(row["/ torch.compile"] < 1 < row["/ fused"] for row in tables[name])
    first = tables["gradient"][0]
    assert first["/ loss_and_grad_"] - 1 > 3 * (first["/ fused"] - 1)
