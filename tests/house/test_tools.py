"""Rule: what the tools name exists: tests that they run, leave out or plant errors for.

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

    def load(name):
        spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / f"tools/{name}.py")
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
