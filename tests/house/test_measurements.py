"""The page to filter the measurements has what the files of results have, and fetches nothing."""

import importlib.util
import json
import re

import pytest
from places import ROOT

from fastbp._command.bench import plots

SPEC = importlib.util.spec_from_file_location("measurements", ROOT / "tools" / "measurements.py")
measurements = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(measurements)
TEXT = measurements.PAGE.read_text()
KNOWN = json.loads(re.search(r"^const RESULTS = (.*);$", TEXT, re.MULTILINE)[1])


def test_the_page_is_current():
    assert TEXT == measurements.page(), "run `python tools/measurements.py`"


@pytest.mark.parametrize(("what", "section"), [("gradient", "gradients"),
                                               ("step of Adam", "epochs")])
def test_every_figure_is_there(what, section):
    results = json.loads((ROOT / measurements.RECORD).read_text())[section]
    found = {(row["network"], row["dtype"], row["library"]): (row["us"], row["ratio"])
             for row in KNOWN["rows"] if row["what"] == what}
    assert len(found) == sum(len(result["times"]) for result in results)
    for result in results:
        for library, times in result["times"].items():
            us, ratio = found[f"{result['network']} ({result['batch']})", result["dtype"], library]
            # Unrounded: what is rounded twice may differ from the table in its last digit.
            assert us == times["median_us"]
            assert ratio == result["ratios"].get(library, 1)


def test_colours_are_those_of_the_plots():
    from matplotlib.colors import to_hex

    peers = set(KNOWN["colours"]) & set(plots.COLOURS)
    assert peers == set(plots.COLOURS)
    for peer in peers:
        assert KNOWN["colours"][peer] == to_hex(plots.COLOURS[peer])


def test_nothing_is_fetched():
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|\bfetch\(|@import|url\(""", TEXT)
    assert len(TEXT) < 60_000


def test_a_changed_result_is_stale(tmp_path, monkeypatch, capsys):
    for file in (measurements.RECORD, measurements.POPULATION):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        document = json.loads((ROOT / file).read_text())
        if file == measurements.RECORD:
            document["gradients"][0]["times"]["fastbp"]["median_us"] *= 2
        path.write_text(json.dumps(document))
    monkeypatch.setattr(measurements, "ROOT", tmp_path)
    monkeypatch.setattr(measurements, "PAGE", tmp_path / "docs" / "measurements.html")
    assert measurements.main(["--check"]) == 1
    assert measurements.page() != TEXT
    assert "is stale" in capsys.readouterr().out
