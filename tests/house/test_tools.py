"""Rule: what the tools name exists: tests that they run, leave out or plant errors for; texts that
they edit.

They run before a release alone, and pytest is silent about an option for a test that is not there.
"""

import importlib.util
import sys

import pytest
from places import ROOT


@pytest.fixture
def tool(monkeypatch):
    """By the path: tests/support has a module of the name of one."""
    monkeypatch.syspath_prepend(ROOT / "tools")

    def load(name, folder="tools"):
        spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def missing(options):
    """Yield those options of pytest that name a test file or function which does not exist."""
    for option in options:
        path, _, function = option.rpartition("=")[2].partition("::")
        if not path.startswith("tests/"):
            continue
        file = ROOT / path
        if not file.exists() or function and f"def {function}(" not in file.read_text():
            yield option


@pytest.mark.parametrize("name", ["address", "thread"])
def test_sanitizers(tool, name):
    sanitizer = tool("sanitize").SANITIZERS[name]
    plant = sanitizer.plant
    assert not [*missing([*sanitizer.tests, *sanitizer.excluded, plant.test])]
    assert (ROOT / plant.file).read_text().count(plant.text) == 1


@pytest.mark.parametrize("name", ["exhaustive", "free", "parallel"])
def test_long_runs(tool, name):
    assert not [*missing(tool("hardening").RUNS[name][1])]


def test_builds(tool):
    assert not [*missing(tool("bits").TESTS)]


def test_changes_of_the_contract(tool, monkeypatch):
    """Each text that bench/contract.py edits stands once in its file, and becomes another one."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    copies = tool("contract", "bench").WITHOUT
    changes = [change for edits, _ in copies.values() for change in edits]
    assert len(changes) > 3
    for file, old, new in changes:
        assert (ROOT / file).read_text().count(old) == 1, f"{file}: {old}"
        assert old != new
    assert all(edits or flags for edits, flags in copies.values())
