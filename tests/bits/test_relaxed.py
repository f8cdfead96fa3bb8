"""L4 in WebAssembly: the variant `relaxed` is for engines that round a multiply-add once.

Its kernels run in a browser, not here (tools/browser.py); what asks the engine does, in V8.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from py_mini_racer import MiniRacer

from fastbp._kernels import dispatch, webassembly

EXPORTS = "new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array({}))).exports"


class Engine:
    """WebAssembly as Pyodide shows it, with functions for those of the program."""

    def __init__(self, accepts, double, single):
        self.accepts, self.exports = accepts, SimpleNamespace(d=double, s=single)
        self.Module = SimpleNamespace(new=lambda program: program)
        self.Instance = SimpleNamespace(new=lambda module: self)

    def validate(self, program):
        return self.accepts and bytes(program) == webassembly._PROGRAM


def once(a, c):
    return float(np.longdouble(a) * np.longdouble(a) + np.longdouble(c))


def twice(a, c):
    return a * a + c


def twice_single(a, c):
    return float(np.float32(a) * np.float32(a) + np.float32(c))


@pytest.mark.parametrize("engine, expected", [
    (Engine(True, once, once), True),
    (Engine(True, twice, once), False),
    (Engine(True, once, twice_single), False),
    (Engine(False, once, once), False),
])
def test_rounds_once(monkeypatch, engine, expected):
    monkeypatch.setitem(sys.modules, "js", SimpleNamespace(WebAssembly=engine))
    monkeypatch.setitem(sys.modules, "pyodide", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "pyodide.ffi", SimpleNamespace(to_js=bytearray))
    assert webassembly.rounds_once() is expected


def test_without_an_engine():
    assert not webassembly.rounds_once() and not dispatch.has_relaxed()
    assert "relaxed" not in dispatch.cpu_isas()


def test_the_program_in_v8():
    """V8 fuses where the CPU does."""
    exports = EXPORTS.format(list(webassembly._PROGRAM))
    fused = len(dispatch.cpu_isas()) > 1
    with MiniRacer() as v8:
        for name, e in (("d", 2.0**-30), ("s", 2.0**-13)):
            found = v8.eval(f"{exports}.{name}({1 + e!r}, {-1 - 2 * e!r})")
            assert found == (e * e if fused else 0)
