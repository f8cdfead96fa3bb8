"""`fastbp check` holds on this machine, and fails for each kind of thing that can be off.

With the networks of `small_check` in conftest.py, and all lines; those that it prints without
--verbose are in test_check_summary.py.
"""

import json
import re
from argparse import Namespace

import mpmath
import numpy as np
import pytest
from places import ROOT

import fastbp
from fastbp import _arguments
from fastbp._command import check, digests
from fastbp._command.bench.networks import flatten
from fastbp._command.problems import problem
from fastbp._kernels import dispatch
from fastbp._twin import mathematics
from fastbp._twin.error_bound import error_bound
from fastbp._twin.rounding import ANY_ORDER, FASTBP, own_error, wider

pytestmark = pytest.mark.usefixtures("small_check")

FULL = check.NETWORKS
POINTS = check.POINTS
HAS_X87 = np.finfo(np.longdouble).nmant == 63       # a wider long double is emulated, and slow
HAS_FMA = dispatch.available_isas()[0] in digests.FUSED
with_fma = pytest.mark.skipif(not HAS_FMA, reason="no variant with FMA: nothing is recorded for it")


def run():
    """The exit status of `fastbp check -v`."""
    return check.run(Namespace(verbose=True))


def failed(capsys):
    """The lines that say so."""
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]


def verdict(capsys):
    """The failed lines before the last one on bits, and that line."""
    out = capsys.readouterr().out.splitlines()
    (last,) = (line for line in out if " bits: " in line)
    return [line for line in out if line.startswith("FAILED") and line != last], last


def test_all_is_well(capsys):
    before = dispatch.get_isa()
    assert run() == 0
    out = capsys.readouterr().out
    assert "checks passed" in out and "FAILED" not in out
    assert "confirmed on this machine, and L5\n" in out
    for isa in fastbp.available_isas():
        for what in ("gradient", "sigma   ", "tanh    ", "L0      ", "L1      ", "L2      ",
                     "L5      "):
            for dtype in ("float32", "float64"):
                assert f"ok     {what}  {dtype} {isa}" in out or "not measured here" in out
    assert dispatch.get_isa() == before


def wrong(change):
    """MLP whose gradient undergoes `change`."""

    class Wrong(fastbp.MLP):
        def backprop(self, *args, **options):
            loss = super().backprop(*args, **options)
            change(self.grad)
            return loss

    return Wrong


@pytest.mark.parametrize("change", [
    lambda grad: np.negative(grad, out=grad),
    lambda grad: grad.__setitem__(0, 0),
    lambda grad: grad.__setitem__(-1, np.nan),
    lambda grad: np.multiply(grad, 1.001, out=grad),
], ids=["sign", "missing", "nan", "scale"])
def test_wrong_gradient(monkeypatch, capsys, change):
    before = dispatch.get_isa()
    monkeypatch.setattr(fastbp, "MLP", wrong(change))
    assert run() == 1
    lines, last = verdict(capsys)
    assert len(lines) == 2 * len(fastbp.available_isas())
    assert all(" gradient " in line for line in lines)
    assert last.startswith("FAILED") == HAS_FMA and "L2 confirmed" in last
    assert dispatch.get_isa() == before


@pytest.mark.parametrize("change", [
    np.negative, lambda bound: bound / 10**6, lambda bound: bound * np.nan, np.zeros_like,
    lambda bound: np.where(bound == bound.max(), np.nan, bound),
    lambda bound: np.full_like(bound, np.inf)])
def test_wrong_certificate(monkeypatch, capsys, change):
    class Wrong(fastbp.MLP):
        def error_bound(self, *args, **options):
            return change(super().error_bound(*args, **options))

    monkeypatch.setattr(fastbp, "MLP", Wrong)
    assert run() == 1
    lines, _ = verdict(capsys)
    assert len(lines) == 2 * len(fastbp.available_isas())
    assert all(" gradient " in line for line in lines)


def test_wrong_sigma(monkeypatch, capsys):
    monkeypatch.setattr(fastbp, "sigmoid", lambda z: 1 / (1 + np.exp(-z)))
    with np.errstate(over="ignore"):
        assert run() == 1
    lines = failed(capsys)
    assert lines and all(" sigma " in line and "0x" in line for line in lines)


def test_wrong_tanh(monkeypatch, capsys):
    """2 sigma(2 z) - 1 cancels near 0."""
    monkeypatch.setattr(fastbp, "activate", lambda z, _: (2 * fastbp.sigmoid(2 * z) - 1, z))
    with np.errstate(over="ignore"):
        assert run() == 1
    lines = failed(capsys)
    assert lines and all(" tanh " in line and "0x" in line for line in lines)


def test_wrong_at_infinity(monkeypatch, capsys):
    sigmoid = fastbp.sigmoid
    monkeypatch.setattr(fastbp, "sigmoid", lambda z: np.nan_to_num(sigmoid(z), nan=0.5))
    assert run() == 1 and failed(capsys)


def test_other_bits_in_a_second_run(monkeypatch, capsys):
    count = iter(range(10**6))

    def disturb(grad):
        if next(count) % 2:
            grad[0] = np.nextafter(grad[0], grad.dtype.type(9))

    monkeypatch.setattr(fastbp, "MLP", wrong(disturb))
    monkeypatch.setattr(check, "NETWORKS", check.NETWORKS[:1])
    assert run() == 1
    lines, last = verdict(capsys)
    assert any(" L0 " in line for line in lines) and "no level confirmed" in last


def test_other_bits_for_single_rows(monkeypatch, capsys):
    class Disturbed(fastbp.Layers):
        def forward(self, weights, biases, X):
            h = super().forward(weights, biases, X)
            if len(X) == 1:
                h[0, 0] = np.nextafter(h[0, 0], h.dtype.type(9))
            return h

    monkeypatch.setattr(fastbp, "Layers", Disturbed)
    assert run() == 1
    lines, last = verdict(capsys)
    assert lines and all(" L2 " in line for line in lines) and "L1 confirmed" in last


def test_other_bits_of_threads(monkeypatch, capsys):
    """Only the bits of the training run differ."""
    class Disturbed(fastbp.MLP):
        def train_epoch(self, *args, **options):
            return super().train_epoch(*args, **options) + (self.n_threads == 3)

    monkeypatch.setattr(fastbp, "MLP", Disturbed)
    assert run() == 1
    lines, last = verdict(capsys)
    assert lines and all(" L1 " in line for line in lines) and "L0 confirmed" in last


@pytest.mark.parametrize("what", ["params", "loss", "outputs", "threads"])
def test_other_bits_of_a_population(monkeypatch, capsys, what):
    """Of its last network, or with one number of threads."""
    def next_one(array):
        array[-1] = np.nextafter(array[-1], array.dtype.type(9))

    class Disturbed(fastbp.Population):
        def train_epoch(self, *args, **options):
            losses = super().train_epoch(*args, **options)
            if what == "loss" or (what == "threads" and self.n_threads == 2):
                next_one(losses)
            if what == "params":
                next_one(self.params[-1])
            return losses

        def forward(self, X):
            f = super().forward(X)
            if what == "outputs":
                next_one(f.reshape(-1))
            return f

    monkeypatch.setattr(fastbp, "Population", Disturbed)
    assert run() == 1
    lines, last = verdict(capsys)
    assert len(lines) == 2 * len(fastbp.available_isas())
    assert all(" L5 " in line for line in lines) and last.endswith(" confirmed on this machine")


@with_fma
@pytest.mark.parametrize("machine, level", [("x86_64", "L3"), ("aarch64", "L4")])
def test_recorded_bits_confirm_the_highest_level(monkeypatch, capsys, machine, level):
    monkeypatch.setattr(digests.platform, "machine", lambda: machine)
    assert run() == 0
    lines, last = verdict(capsys)
    assert not lines and f"as recorded for contract 1; {level} confirmed" in last


@with_fma
@pytest.mark.parametrize("digest", digests.Bits._fields)
def test_bits_that_differ_from_the_recorded_ones(monkeypatch, capsys, dtype, digest):
    other = digests.recorded()
    other = {**other, dtype: other[dtype]._replace(**{digest: "0" * 16})}
    monkeypatch.setattr(digests, "recorded", lambda: other)
    assert run() == 1
    lines, last = verdict(capsys)
    assert not lines and last.startswith("FAILED") and "L2 confirmed" in last


@with_fma
def test_a_version_without_record(monkeypatch, capsys):
    monkeypatch.setattr(digests, "recorded", lambda: {})
    assert run() == 1
    assert "but nothing is recorded" in verdict(capsys)[1]


def test_a_machine_without_fma(monkeypatch, capsys):
    dispatch.set_isa("generic")
    with monkeypatch.context() as without:
        without.setattr(dispatch, "available_isas", lambda: ("generic",))
        assert run() == 0
    lines, last = verdict(capsys)
    assert not lines and "L2 confirmed" in last


def test_the_record(monkeypatch, tmp_path):
    """It is what each variant with FMA finds, and is written as it is read."""
    monkeypatch.undo()
    kept = json.loads(digests.RECORD.read_text())
    assert kept["contract_version"] == dispatch.CONTRACT_VERSION
    monkeypatch.setattr(digests, "RECORD", tmp_path / "check_digests.json")
    for isa in set(dispatch.available_isas()) & set(digests.FUSED):
        dispatch.set_isa(isa)
        digests.record(FULL)
        assert json.loads(digests.RECORD.read_text()) == kept
    digests.RECORD.write_text(json.dumps({**kept, "contract_version": 0}))
    assert digests.recorded() == {}


def test_the_documented_digest(monkeypatch):
    monkeypatch.undo()
    of_variants = {dtype: [" ".join(bits)] for dtype, bits in digests.recorded().items()}
    page = ROOT / "docs" / "reproducibility.md"
    text = f"for contract {dispatch.CONTRACT_VERSION} `{digests._total(of_variants)}`"
    assert text in " ".join(page.read_text(encoding="utf-8").split())


@pytest.mark.skipif("avx2" not in dispatch.available_isas()[1:], reason="one variant with FMA")
def test_other_bits_of_a_variant(monkeypatch, capsys):
    def disturb(grad):
        if dispatch.get_isa() == "avx2":
            grad[0] = np.nextafter(grad[0], grad.dtype.type(9))

    monkeypatch.setattr(fastbp, "MLP", wrong(disturb))
    assert run() == 1
    lines, last = verdict(capsys)
    assert len(lines) == 2 and all(" L3 " in line for line in lines)
    assert last.startswith("FAILED") and "L2 confirmed" in last


def test_the_recorded_errors_are_as_large(monkeypatch):
    """docs/accuracy.md has no largest error below what `fastbp check` finds at its points."""
    results = ROOT / "results" / "accuracy.json"
    recorded = {(r["function"], r["dtype"], r["isa"]): r["ulp"]
                for r in json.loads(results.read_text(encoding="utf-8"))["results"]}
    if HAS_X87:
        monkeypatch.setattr(check, "POINTS", POINTS)
    for _, _, line, *_ in check.functions():
        name, dtype, isa, *_ = line.split()
        if isa in dispatch.ISAS:
            isa = "avx2" if isa == "neon" else isa      # the same bits
            found = float(re.search(r"error ([\d.]+) ulp", line)[1])
            assert found <= recorded[name.replace("sigma", "σ"), dtype, isa] + 0.01, line


def test_variant_is_restored_after_an_error(monkeypatch):
    before = dispatch.get_isa()

    def stop():
        dispatch.set_isa(fastbp.available_isas()[-1])
        raise MemoryError
        yield

    monkeypatch.setattr(check, "functions", stop)
    with pytest.raises(MemoryError):
        run()
    assert dispatch.get_isa() == before


@pytest.mark.parametrize("exponent", [-149, -140, -126, -20, -1, 0])
def test_ulp(exponent):
    exact = np.ldexp(np.float64(1), np.array([exponent]))
    spacing = float(np.spacing(exact.astype("float32"))[0])
    above = (exact + spacing).astype("float32")
    assert check.ulp_errors(above, exact) == 1.0
    assert check.ulp_errors(exact.astype("float32"), exact + spacing / 4) == 0.25


def test_points_are_numbers(dtype):
    z = check.points(dtype)
    assert np.isfinite(z).all() and z.dtype == dtype
    assert z.min() < -1e30 and z.max() > 1e30 and np.abs(z).min() < 1e-30


def test_digest_depends_on_every_bit():
    a = np.arange(5.0)
    b = a.copy()
    b[3] = np.nextafter(b[3], 9)
    digest = digests.digest
    assert digest([a, a]) == digest([a, a.copy()]) != digest([a, b])
    assert digest([a.astype(">f8")]) == digest([a])


def test_bound_of_one_unit_by_hand():
    """1-1, one sample: dW = x delta, db = delta, the bound step by step, in mpmath."""
    net, X, y = problem((1, 1), 1, "float32")
    w, x, target = (mpmath.mpf(float(a.flat[0])) for a in (net.params, X, y))
    u, tiny = mpmath.mpf(2) ** -24, mpmath.mpf(2) ** -149
    gamma = 3 * u / (1 - 3 * u)  # one term: min(1, 256) + 1 + 1
    z = w * x
    sigma = 1 / (1 + mpmath.exp(-z))
    e_z = gamma * abs(z) + 3 * tiny
    M = (1 - target) * sigma + target * (1 - sigma)
    e_delta = min(M * mpmath.expm1(e_z), e_z / 4)
    e_delta += 4 * (u * (M + e_delta) + tiny)
    e_dW = gamma * abs(x) * M + (1 + gamma) * abs(x) * e_delta + 3 * tiny
    e_db = gamma * M + (1 + gamma) * e_delta + 3 * tiny
    grad, bound = error_bound(net.weights, net.biases, X, y)
    assert grad == pytest.approx([float(x * (sigma - target)), float(sigma - target)], rel=1e-14)
    assert bound == pytest.approx([float(e_dW), float(e_db)], rel=1e-12)


@pytest.mark.parametrize("rounding, module", [(FASTBP, fastbp), (ANY_ORDER, fastbp.reference)])
@pytest.mark.parametrize("activation", _arguments.ACTIVATIONS)
@pytest.mark.parametrize("loss", _arguments.LOSSES)
def test_bound_holds_for_both_twins(dtype, rounding, module, activation, loss):
    wide, kind = wider(dtype), {"activation": activation, "loss": loss}
    for sizes, batch in (((3, 5, 2), 300), ((300, 7, 4), 4)):
        net, X, y = problem(sizes, batch, dtype, **kind)
        exact, bound = error_bound(net.weights, net.biases, X, y, rounding, wide, **kind)
        _, dW, db = module.backprop(net.weights, net.biases, X, y, **kind)
        error = np.abs(flatten(dW, db).astype(wide) - exact)
        assert np.all(error <= (1 + own_error(dtype, wide)) * bound)


@pytest.mark.parametrize("activation, loss, wrong", [
    ("tanh", "bce", lambda z: (np.tanh(z), 1 - np.float32(np.tanh(z))**2)),
    ("relu", "bce", lambda z: (np.maximum(z, 0), np.where(z > 0, 1, 0.001))),
    ("sigmoid", "softmax", lambda z, t: (z, np.float64(
        np.float32(mathematics.softmax(z)) - np.float32(t)))),
    ("sigmoid", "squared_error", lambda z, t: (z, 2 * (z - t))),
    ("sigmoid", "poisson", lambda z, t: (z, z - t)),
])
def test_bound_refuses_wrong_functions(monkeypatch, activation, loss, wrong):
    """Saturated units that cancel in float32 among them."""
    kind = {"activation": activation, "loss": loss}
    net, X, y = problem((20, 9, 4), 30, "float32", **kind)
    net.biases[0][:] = 6 if activation == "tanh" else 0.25
    net.biases[1][0] = 18 if loss == "softmax" else 0
    y = np.zeros_like(y) if loss == "softmax" else y
    exact, bound = error_bound(net.weights, net.biases, X, y, **kind)

    def error():
        arrays = ([np.float64(a) for a in each] for each in (net.weights, net.biases))
        _, dW, db = mathematics.gradient(*arrays, np.float64(X), np.float64(y),
                                         _arguments.loss_options(loss, 4), activation=activation)
        return np.abs(flatten(dW, db) - exact)

    assert np.all(error() <= bound)
    table, name = ((mathematics.LOSSES, loss) if wrong.__code__.co_argcount == 2
                   else (mathematics.ACTIVATIONS, activation))
    monkeypatch.setitem(table, name, wrong)
    assert not np.all(error() <= bound)
