"""tools/webassembly.py: what it asks for, and what it makes without a compiler."""

import importlib.util
import json
import re
import sysconfig

import pytest
from places import ROOT

VERSION = sysconfig.get_python_version()


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("tool_webassembly",
                                                  ROOT / "tools" / "webassembly.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pyodide(tool, tmp_path):
    """A package of npm, and the NumPy that it names."""
    numpy = tmp_path / "numpy-2.0-cp3-cp3-pyodide_wasm32.whl"
    numpy.write_bytes(b"NumPy")
    lock = {"info": {"python": f"{VERSION}.9", "version": "0.27"}, "packages": {"numpy": {
        "file_name": numpy.name, "sha256": tool.digest(numpy)}, "other": {}}}
    (tmp_path / "pyodide-lock.json").write_text(json.dumps(lock))
    for name in tool.RUNTIME:
        (tmp_path / name).write_text(name)
    return tmp_path, numpy, lock


def test_headers_have_the_constants_of_the_target(tool, tmp_path):
    tool.write_headers(tmp_path / "include", {"SIZEOF_LONG": 4, "SIZEOF_SIZE_T": 4,
                                              "HAVE_FORK": 0, "EXT_SUFFIX": ".so"})
    config = (tmp_path / "include" / "pyconfig.h").read_text()
    assert sorted(config.splitlines()) == ["#define SIZEOF_LONG 4", "#define SIZEOF_SIZE_T 4"]
    assert (tmp_path / "include" / "Python.h").exists()


def test_what_does_not_belong_together_is_refused(tool, pyodide):
    folder, numpy, lock = pyodide
    assert tool.target_of(folder, numpy) == lock
    numpy.write_bytes(b"another NumPy")
    with pytest.raises(SystemExit, match=re.escape(f"it should be the {numpy.name} of Pyodide")):
        tool.target_of(folder, numpy)
    lock["info"]["python"] = "3.6.1"
    (folder / "pyodide-lock.json").write_text(json.dumps(lock))
    with pytest.raises(SystemExit, match=f"Python is {VERSION}; it should be 3.6, as "):
        tool.target_of(folder, numpy)


def test_the_page_has_all_that_it_loads(tool, pyodide, tmp_path):
    folder, numpy, lock = pyodide
    wheel = tmp_path / "fastbp-0.1.0-cp3-cp3-pyodide_wasm32.whl"
    wheel.write_bytes(b"fastbp")
    tool.fill_page(tmp_path / "page", folder, numpy, wheel, lock)
    beside = tmp_path / "page" / "pyodide"
    packages = json.loads((beside / "pyodide-lock.json").read_text())["packages"]
    assert list(packages) == ["numpy", "fastbp"] and packages["fastbp"]["depends"] == ["numpy"]
    for package in packages.values():
        assert tool.digest(beside / package["file_name"]) == package["sha256"]
    worker = (tmp_path / "page" / "worker.js").read_text()
    page = (tmp_path / "page" / "index.html").read_text()
    assert {*re.findall(r'importScripts\("(.*?)"\)', worker),
            *re.findall(r'new Worker\("(.*?)"\)', page)} == {"pyodide/pyodide.js", "worker.js"}
    assert (beside / "pyodide.js").exists()
