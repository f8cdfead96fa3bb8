"""Promise: `fastbp bench --suite beyond` verifies a quantity, then times it beside a gradient."""

import json

import numpy as np
import pytest

import fastbp
from fastbp._command.bench import beyond, command, tables, timing
from fastbp._command.bench.networks import SUITES
from fastbp._command.bench.verify import Deviation
from fastbp._command.main import main
from fastbp._command.problems import problem

NETWORKS = [[[3, 5, 1], 4]]


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 1e-4)


def test_every_quantity_has_a_row_of_its_own(dtype):
    _, result = beyond.measure_beyond(NETWORKS, [dtype], 0)
    names = [quantity.name for quantity in beyond.QUANTITIES]
    assert list(result["times"]) == [beyond.GRADIENT, *names]
    for name in names:
        assert result["ratios"][name] == (result["times"][name]["median_us"]
                                          / result["times"][beyond.GRADIENT]["median_us"])
        assert 0 <= result["difference_of_bound"][name] <= 1
    cells = [first for first, _ in tables.cells(result)]
    assert cells[:3] == ["3-5-1", "4", tables.short_dtype(dtype)]
    assert len(cells) == len(tables.columns(result)) == 4 + len(names)
    assert not any(tables.SLOWER in cell for cell in cells)     # a multiple below 1 is no peer's
    head = " ".join(f"{name:>{width}}" for name, width in tables.columns(result))
    assert len(head) <= tables.WIDTH


def scaled(method):
    """What it gives, and the gradient, off by 2^-12 of itself, which float32 can tell."""
    def call(self, *arguments, **options):
        found = getattr(fastbp.MLP, method)(self, *arguments, **options)
        self.grad *= 1 + 2.0**-12
        return found * (1 + 2.0**-12) if isinstance(found, np.ndarray) else found
    return call


class WrongPoint:
    """A linearization whose products are off as much."""

    def __init__(self, point):
        self.hvp, self.gnvp = (lambda v, product=product: product(v) * (1 + 2.0**-12)
                               for product in (point.hvp, point.gnvp))


Wrong = type("Wrong", (fastbp.MLP,), {
    **{q.method: scaled(q.method) for q in beyond.QUANTITIES},
    "linearize": lambda self, X, y: WrongPoint(fastbp.MLP.linearize(self, X, y))})


@pytest.mark.parametrize("quantity", beyond.QUANTITIES, ids=lambda q: q.name)
def test_what_is_timed_is_what_is_verified(quantity, dtype):
    """A call gives what the method gives, here or at a point; a wrong one is not timed."""
    net, X, y = problem((3, 5, 4, 1), 12, dtype)
    more = quantity.more(net, X, y)
    found = quantity.call(net, X, y)()
    grad = net.grad.copy()
    expected = getattr(net, quantity.method)(X, y, *more)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(net.grad, grad)
    wrong = Wrong([3, 5, 4, 1], dtype=dtype, seed=0)
    wrong.params = net.params
    assert quantity.off(net, X, y) <= 1 < quantity.off(wrong, X, y)


def test_a_deviation_is_reported(monkeypatch):
    wrong = beyond.QUANTITIES[0]._replace(difference=lambda *arguments: 1.5)
    monkeypatch.setattr(beyond, "QUANTITIES", (wrong,))
    with pytest.raises(Deviation, match="input_grad is off by 1.5 times"):
        list(beyond.measure_beyond(NETWORKS, ["float32"], 0))


def test_the_suite_is_printed_written_and_read_back(capsys, tmp_path, monkeypatch):
    path = tmp_path / "beyond.json"

    def measured(task, networks, dtypes, seconds):
        assert task == "measure_beyond" and networks == SUITES["beyond"].beyond
        return beyond.measure_beyond(NETWORKS, dtypes, 0)

    monkeypatch.setattr(command, "spawn", measured)
    assert main(["bench", "--suite", "beyond", "--dtype", "float32", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "dL/dX" in printed and "3-5-1" in printed
    assert len(json.loads(path.read_text())["beyond"]) == 1
    assert main(["bench", "--from", str(path)]) == 0
    assert capsys.readouterr().out == printed
