"""Promise: what docs/accuracy.md says of saturated units beside PyTorch's is so on this machine."""

import importlib.util
import json

import pytest
from places import ROOT

import fastbp

pytest.importorskip("torch")

SPEC = importlib.util.spec_from_file_location(
    "saturation", ROOT / "tools" / "saturation.py")
saturation = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(saturation)
TABLES = json.loads(saturation.FILE.read_text())["tables"]


@pytest.mark.parametrize("isa", [isa for isa in fastbp.available_isas() if isa != "generic"],
                         indirect=True)
@pytest.mark.parametrize("name", TABLES)
def test_saturated_units_beside_pytorch(isa, name):
    """fastbp's figures to the digit; PyTorch's may be those of another version."""
    rows = list(getattr(saturation, name)())
    own = list(rows[0]).index("fastbp") + 1
    assert [list(row.items())[:own] for row in rows] == [
        list(row.items())[:own] for row in TABLES[name]]
    nothing_left = [row for row in rows if "100%" in row.values()]
    assert len(nothing_left) >= len(rows) / 4 and all("%" not in row["fastbp"] for row in rows)
