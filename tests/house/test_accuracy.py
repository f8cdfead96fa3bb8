"""Promise: docs/accuracy.md says what was measured: recorded errors are found again at their inputs
and keep the promises, tables are those of the results, and the scripts behind them run.
"""

import importlib.util
import json
import subprocess
import sys

import pytest
import sweeps
from families import PROMISES
from places import ROOT
from ulps import GENERIC, PROMISED

from fastbp._kernels import dispatch

SPEC = importlib.util.spec_from_file_location("accuracy", ROOT / "tools" / "accuracy.py")
accuracy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(accuracy)
DOCUMENT = json.loads(accuracy.FILE.read_text())
RESULTS = DOCUMENT["results"]


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
    name, inputs = accuracy.witness(record)
    without = {"generic"} if "avx2" in dispatch.built_isas() else set()
    for isa in dispatch.available_isas():
        if isa in without if record["isa"] == "generic" else isa != "generic":
            error, = sweeps.error_of(name, record["function"], isa, *inputs)
            assert error == record["ulp"], isa


def test_a_run_counts_at_the_inputs_of_earlier_ones():
    """Whether a point is drawn again or not, what was found larger stays so."""
    record = next(r for r in RESULTS if not r["all"] and r["isa"] in dispatch.available_isas())
    one = {**record, "ulp": 0.0, "at": ["0x1p0"] * len(record["at"])}
    every, other = {**one, "all": True}, {**one, "isa": "another"}
    accuracy.try_again(RESULTS, [one, other])
    accuracy.try_again(RESULTS, [every])
    assert (one["ulp"], one["at"]) == (record["ulp"], record["at"])
    assert every["ulp"] == other["ulp"] == 0


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
