"""`fastbp check` prints six lines, and in full what does not hold."""

import re
from argparse import Namespace

import numpy as np
import pytest

import fastbp
from fastbp._command import check, digests
from fastbp._kernels import dispatch

pytestmark = pytest.mark.usefixtures("small_check")

PARTS = ["gradient", "functions", "repetition", "variants", "population", "verdict"]
HAS_FMA = dispatch.available_isas()[0] in digests.FUSED


def lines_of(capsys, status, verbose=False):
    """The lines that are printed, once the exit status has been compared."""
    assert check.run(Namespace(verbose=verbose)) == status
    return capsys.readouterr().out.splitlines()


def parts(lines):
    """The names of lines of parts."""
    return [line[7:].split()[0] for line in lines]


def next_one(array):
    array[0] = np.nextafter(array[0], array.dtype.type(9))


def test_six_lines(capsys):
    lines = lines_of(capsys, 0)
    assert parts(lines) == PARTS and all(line.startswith("ok     ") for line in lines)
    n = len(dispatch.available_isas())
    for line in (*lines[:3], lines[4]):
        assert f"; {n} variants" in line or n == 1
    assert max(map(len, lines)) <= 80 or not HAS_FMA


def test_figures_and_levels_are_those_of_all_lines(capsys):
    full, short = lines_of(capsys, 0, verbose=True), lines_of(capsys, 0)
    errors = [float(re.search(r"error (?:bound )?([\d.]+)", line)[1]) for line in full
              if re.search(r" (gradient|sigma|tanh) .* allowed 1", line)]
    n = 2 * len(dispatch.available_isas())
    assert f"largest error {max(errors[:n]):.3f} of its bound, allowed 1;" in short[0]
    assert f"largest error {max(errors[n:]):.3f} ulp, allowed 1;" in short[1]
    n_checks = re.fullmatch(r"(\d+) checks passed", full[-1])[1]
    assert len(full) == int(n_checks) + 2 and f" {n_checks} checks passed; " in short[-1]
    level = re.search(r"(L\d) confirmed on this machine, and L5", full[-2])[1]
    assert short[-1].endswith(f"; L0 to {level} and L5 confirmed on this machine")


def test_a_gradient_that_is_off(monkeypatch, capsys):
    class Wrong(fastbp.MLP):
        def backprop(self, *args, **options):
            loss = super().backprop(*args, **options)
            np.multiply(self.grad, 1.001, out=self.grad)
            return loss

    monkeypatch.setattr(fastbp, "MLP", Wrong)
    lines = lines_of(capsys, 1)
    failed = [line for line in lines if line.startswith("FAILED")]
    n = 2 * len(dispatch.available_isas())
    assert all(re.match(r"FAILED gradient +float\d\d \w+ +largest \|error\|", line)
               for line in failed[:n])
    held = [line for line in lines if line not in failed]
    if HAS_FMA:     # the recorded digests are of right gradients
        assert failed[n].startswith("FAILED bits: digest") and len(failed) == n + 2
        assert parts(held) == ["functions", "repetition", "population"]
    else:
        assert parts(held) == PARTS[1:-1]
    assert re.fullmatch(rf"FAILED verdict     {len(failed) - 1} of \d+ checks failed; "
                        r"L0 to L2 and L5 confirmed on this machine", lines[-1])


@pytest.mark.parametrize("named", [True, False], ids=["L0", "no level"])
def test_threads_or_calls_that_differ(monkeypatch, capsys, named):
    """What fails in one part leaves the lines of the others."""
    calls = iter(range(10**6))

    class Disturbed(fastbp.MLP):
        def backprop(self, *args, **options):
            loss = super().backprop(*args, **options)
            if self.n_threads == 3 if named else next(calls) % 2:
                next_one(self.grad)
            return loss

    monkeypatch.setattr(fastbp, "MLP", Disturbed)
    monkeypatch.setattr(check, "NETWORKS", check.NETWORKS[:1])
    lines = lines_of(capsys, 1)
    assert any(line.startswith("FAILED L1 ") for line in lines)
    assert any(line.startswith("FAILED L0 ") for line in lines) != named
    assert "repetition" not in parts(lines) and "population" in parts(lines)
    levels = "L0 and L5" if named else "no level"
    assert lines[-1].endswith(f" checks failed; {levels} confirmed on this machine")


def test_a_population_that_differs(monkeypatch, capsys):
    class Disturbed(fastbp.Population):
        def forward(self, X):
            f = super().forward(X)
            next_one(f.reshape(-1))
            return f

    monkeypatch.setattr(fastbp, "Population", Disturbed)
    lines = lines_of(capsys, 1)
    *others, last = lines
    assert parts(line for line in others if line.startswith("ok")) == PARTS[:4]
    failed = [line for line in others if line.startswith("FAILED L5 ")]
    assert len(failed) == len(others) - 4 == 2 * len(dispatch.available_isas())
    assert last.startswith("FAILED verdict") and "L5" not in last


@pytest.mark.skipif(not HAS_FMA, reason="no variant with FMA: nothing is recorded for it")
@pytest.mark.parametrize("machine, levels", [("x86_64", "L3"), ("aarch64", "L3, L4")])
def test_levels_of_machines(monkeypatch, capsys, machine, levels):
    monkeypatch.setattr(digests.platform, "machine", lambda: machine)
    lines = lines_of(capsys, 0)
    assert lines[3].endswith(f"as recorded for contract 1 ({levels})")
    assert f"; L0 to {levels[-2:]} and L5 confirmed" in lines[-1]


def test_a_machine_without_fma(monkeypatch, capsys):
    dispatch.set_isa("generic")
    with monkeypatch.context() as without:
        without.setattr(dispatch, "available_isas", lambda: ("generic",))
        lines = lines_of(capsys, 0)
    assert parts(lines) == PARTS and "nothing recorded" in lines[3]
    assert all(line.endswith("; 1 variant") for line in (*lines[:3], lines[4]))
    assert "; L0 to L2 and L5 confirmed" in lines[-1]


def test_a_long_double_that_is_no_wider(monkeypatch, capsys):
    monkeypatch.setattr(check, "wider", lambda dtype: np.float64)
    monkeypatch.setattr(check, "gradients", lambda: iter([
        digests.Outcome("gradient", True, "not what is tested here", 0.0)]))
    lines = lines_of(capsys, 0)
    assert lines[1].endswith("variants, not float64: long double is no wider")
