"""Promise: commands on the pages print what the pages show, on the tables of the tool."""

import importlib.util
import re

import pytest
from places import ROOT

import fastbp


def tool(name):
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = tool("pages")


@pytest.mark.skipif(fastbp.available_isas() == ("generic",),
                    reason="the figures of a training are the same on CPUs with FMA alone")
@pytest.mark.parametrize("page", PAGES.PAGES, ids=lambda page: page.name)
def test_commands_print_what_the_page_shows(page, tmp_path):
    blocks = PAGES.blocks(page.read_text())
    assert sum(block.shown is not None for block in blocks) >= 3
    for block, found in zip(blocks, PAGES.printed(page.read_text(), tmp_path), strict=True):
        if block.shown is not None:
            assert PAGES.comparable(found) == PAGES.comparable(block.shown), (
                f"run `python tools/pages.py`: {block.text}")


@pytest.mark.parametrize("page", PAGES.PAGES, ids=lambda page: page.name)
def test_every_output_is_below_what_printed_it(page):
    """A box that follows no block would be held to nothing."""
    text = page.read_text()
    shown = [block for block in PAGES.blocks(text) if block.shown is not None]
    assert len(shown) == len(re.findall(r"^```text$", text, re.MULTILINE))


def test_a_failure_that_is_not_shown_ends_the_tool(tmp_path):
    with pytest.raises(RuntimeError, match="no-such-table"):
        list(PAGES.printed("```sh\nfastbp train no-such-table.csv\n```\n", tmp_path))


def test_tables_are_those_of_the_tool():
    for name, text in tool("orders").tables().items():
        assert (ROOT / "docs" / name).read_bytes() == text.encode(), "run `python tools/orders.py`"
