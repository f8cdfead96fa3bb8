"""Promise: docs/accuracy.md says what was measured: recorded errors are found again at their inputs
and keep the promises, tables are those of the results, and the scripts behind them run.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sweeps
from families import FAMILIES, PROMISES, WIDTHS
from ulps import GENERIC, PROMISED

from fastbp._kernels import dispatch

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("accuracy", ROOT / "tools" / "accuracy.py")
accuracy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(accuracy)
DOCUMENT = json.loads(accuracy.FILE.read_text())
RESULTS = DOCUMENT["results"]


def inputs_of(record):
    """The name of a family, and the recorded inputs of one sample, for its functions."""
    rows = [[float.fromhex(x) for x in text.split()] for text in record["at"]]
    if record["function"].startswith("softmax"):
        (z, (y,)) = rows
        assert len(z) in WIDTHS
        return f"softmax of {len(z)}", (np.array([z], record["dtype"]), np.array([int(y)]))
    name, = (name for name, family in FAMILIES.items() if record["function"] in family.functions)
    return name, tuple(np.array(row, record["dtype"]) for row in rows)


def test_every_function_is_recorded():
    found = [(r["function"], r["dtype"], r["isa"]) for r in RESULTS]
    isas = {isa for *_, isa in found}
    assert len(found) == len(set(found)) == 2 * len(PROMISES) * len(isas)
    assert {function for function, *_ in found} == set(PROMISES)
    assert isas == set(DOCUMENT["machine"]["isas_supported"])
    assert DOCUMENT["machine"]["contract_version"] == dispatch.CONTRACT_VERSION


def test_recorded_errors_keep_the_promises():
    for r in RESULTS:
        promised = (GENERIC if r["isa"] == "generic" else PROMISED)[PROMISES[r["function"]]]
        assert 0.5 < r["ulp"] <= promised, r


@pytest.mark.parametrize("record", RESULTS,
                         ids=lambda r: f"{r['function']}-{r['dtype']}-{r['isa']}")
def test_a_recorded_error_is_found_again(record):
    """By every variant that has its bits: all with FMA, or the one without, which is on x86."""
    name, inputs = inputs_of(record)
    without = {"generic"} if "avx2" in dispatch.built_isas() else set()
    for isa in dispatch.available_isas():
        if isa in without if record["isa"] == "generic" else isa != "generic":
            error, = sweeps.error_of(name, record["function"], isa, *inputs)
            assert error == record["ulp"], isa


def test_tables_are_those_of_the_results():
    assert accuracy.tables(DOCUMENT) == DOCUMENT["tables"], "run `tools/accuracy.py --tables`"


def test_the_script_measures():
    """All functions, dtypes and variants, at a few points of each kind."""
    document = accuracy.measure(quick=True)
    found = {(r["function"], r["dtype"], r["isa"]): r for r in document["results"]}
    assert len(found) == 2 * len(PROMISES) * len(dispatch.available_isas())
    for r in found.values():
        assert 0.5 < r["ulp"] <= (GENERIC if r["isa"] == "generic" else PROMISED)[
            PROMISES[r["function"]]] and r["points"] >= 7000 and not r["all"]


def test_coefficients_are_those_of_the_script():
    text = subprocess.run([sys.executable, ROOT / "tools" / "coefficients.py"], check=True,
                          capture_output=True, text=True).stdout
    assert text == (ROOT / "fastbp" / "_kernels" / "coefficients.h").read_text()
