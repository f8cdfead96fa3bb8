"""`fastbp bench` times only what it has verified, and its figures follow from each other."""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastbp
from fastbp import _bench, _measure, _sides

SMALL = (((2, 3, 1), 5), ((4, 6, 2), 3))


def arguments(**options):
    return argparse.Namespace(**{"networks": None, "dtype": None, "quick": True, "json": None,
                                 **options})


def measure(networks=SMALL, dtypes=("float32", "float64"), epochs=(), seconds=0.0):
    return list(_measure.measure(networks, dtypes, epochs, seconds))


class Wrong(fastbp.MLP):
    """A network whose gradient lacks the last bias."""

    def backprop(self, *args, **options):
        loss = super().backprop(*args, **options)
        self.grad[-1] = 0
        return loss


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(_measure, "SAMPLE", 1e-4)


def test_flops_by_hand():
    # h W: 5 x 2 x 3 + 5 x 3 x 1 fused operations, h^T delta the same, delta W^T 5 x 3 x 1.
    assert _sides.gradient_flops((2, 3, 1), 5) == 2 * (45 + 45 + 15)
    assert _sides.gradient_flops((7, 4), 3) == 2 * (3 * 7 * 4) * 2


def test_flops_are_those_of_counted_products():
    class Counted(np.ndarray):
        count = 0

        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            inputs = [np.asarray(a) for a in inputs]
            result = getattr(ufunc, method)(*inputs, **options)
            if ufunc is np.matmul:
                Counted.count += 2 * inputs[0].size * inputs[1].shape[1]
            return result.view(Counted) if isinstance(result, np.ndarray) else result

    net, X, y = _sides.problem((7, 5, 4, 2), 3, "float64")
    W, b = ([a.view(Counted) for a in arrays] for arrays in (net.weights, net.biases))
    fastbp.reference._gradient(W, b, X.view(Counted), y)
    assert Counted.count == _sides.gradient_flops((7, 5, 4, 2), 3)


def test_results_are_consistent():
    machine, *results = measure()
    assert machine["kind"] == "machine" and machine["isa"] == fastbp.get_isa() and machine["cpu"]
    assert [(r["network"], r["batch"], r["dtype"]) for r in results] == [
        (network, batch, dtype) for network, batch in (("2-3-1", 5), ("4-6-2", 3))
        for dtype in ("float32", "float64")]
    for r in results:
        own, peer = r["times"]["fastbp"], r["times"]["NumPy"]
        assert r["ratios"]["NumPy"] == peer["median_us"] / own["median_us"]
        rounded = 8 * 2.0**-53  # at most eight products and quotients on either side
        assert r["gflops"] * own["median_us"] * 1e3 == pytest.approx(r["flops"], rel=rounded)
        assert r["fraction_of_peak"] * r["fma_peak_gflops"] == pytest.approx(
            r["gflops"], rel=rounded)
        assert 0 <= r["difference_of_bound"] <= 1
        for times in (own, peer):
            low, high = times["quartiles_us"]
            assert 0 < times["least_us"] <= low <= times["median_us"] <= high
            assert times["rounds"] >= _measure.LEAST_ROUNDS


def test_quartiles():
    summary = _measure.summary([9.0, 1.0, 4.0, 2.0, 3.0], per=2)
    assert summary == {"median_us": 1.5e6, "quartiles_us": [1e6, 2e6], "least_us": 0.5e6,
                       "rounds": 5}


def test_epoch():
    (_, result) = measure((), ("float32",), (((2, 3, 1), 100),))
    assert result["kind"] == "epoch" and result["steps"] == 13
    assert result["ratios"]["NumPy"] == (
        result["times"]["NumPy"]["median_us"] / result["times"]["fastbp"]["median_us"])


def test_command_in_a_process_of_its_own(tmp_path, capfd):
    path = tmp_path / "results.json"
    assert _bench.run(arguments(networks="2-3-1@5", dtype="float64", json=str(path))) == 0
    document = json.loads(path.read_text())
    assert set(document) == {"machine", "gradients", "epochs"}
    assert {"cpu", "isa", "compiler", "numpy", "python", "version", "time", "pinned_to",
            "blas"} <= set(document["machine"])
    (result,) = document["gradients"]
    assert (result["network"], result["batch"], result["dtype"]) == ("2-3-1", 5, "float64")
    out, _ = capfd.readouterr()
    assert "2-3-1     5 float64" in out and "NumPy" in out


@pytest.mark.parametrize("quartile, told", [(1.1, False), (1.3, True)])
def test_disturbed_times_are_told(capsys, quartile, told):
    (machine, result) = measure(SMALL[:1], ("float32",))
    for times in result["times"].values():
        times.update(median_us=1.0, quartiles_us=[1.0, 1.0])
    result["times"]["NumPy"]["quartiles_us"] = [1.0, quartile]
    assert _bench.run(arguments(), lambda **options: [machine, result]) == 0
    assert ("1 of the medians" in capsys.readouterr().err) == told


def test_quick_networks(capsys):
    asked = {}

    def remember(**options):
        asked.update(options)
        yield from _measure.measure(SMALL[:1], ("float32",), (), 0.0)

    assert _bench.run(arguments(), remember) == 0
    assert asked["networks"] == _bench.QUICK and asked["epochs"] == ()
    assert asked["dtypes"] == ("float32", "float64")
    assert _bench.run(arguments(quick=False, dtype="float32"), remember) == 0
    assert asked["networks"] == _sides.NETWORKS and asked["epochs"] == _sides.EPOCHS
    assert asked["dtypes"] == ["float32"]


@pytest.mark.parametrize("kind", ["gradient", "epoch"])
def test_wrong_gradient_is_not_timed(monkeypatch, capsys, tmp_path, kind):
    def refuse(*args):
        raise AssertionError("timed")

    def small(**options):
        networks, epochs = (SMALL, ()) if kind == "gradient" else ((), SMALL)
        return _measure.measure(networks, ("float32",), epochs, 0.0)

    monkeypatch.setattr(fastbp, "MLP", Wrong)
    monkeypatch.setattr(_measure, "interleave", refuse)
    path = tmp_path / "results.json"
    assert _bench.run(arguments(json=str(path)), small) == 1
    assert "differ" in capsys.readouterr().err and not path.exists()


def test_epoch_with_other_bits_is_not_timed(monkeypatch):
    class Late(fastbp.MLP):
        def train_epoch(self, *args, **options):
            loss = super().train_epoch(*args, **options)
            self.params[0] = np.nextafter(self.params[0], self.params.dtype.type(9))
            return loss

    monkeypatch.setattr(fastbp, "MLP", Late)
    with pytest.raises(_measure.Deviation, match="bits"):
        measure((), ("float32",), SMALL)


def test_deviation_passes_between_processes(monkeypatch):
    line = json.dumps({"kind": "deviation", "message": "off"})
    popen = subprocess.Popen

    def other(command, **options):
        return popen([sys.executable, "-c", f"print({line!r})"], **options)

    monkeypatch.setattr(subprocess, "Popen", other)
    with pytest.raises(_measure.Deviation, match="off"):
        list(_bench.spawn())


def test_failure_of_the_process_is_an_error(capfd):
    with pytest.raises(ChildProcessError, match="ended with 1"):
        list(_bench.spawn(networks="unknown"))
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_affinity_is_restored():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), _measure.one_core() as cpu:
        assert os.sched_getaffinity(0) == {cpu}
        raise KeyError
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("text, pairs", [
    (None, []),
    ("2-8-8-1", [((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32)]),
    ("5-1", [((5, 1), _bench.DEFAULT_BATCH)]),
    ("5-1@7, 3-2-1@1", [((5, 1), 7), ((3, 2, 1), 1)]),
])
def test_networks(text, pairs):
    assert _bench.parse_networks(text) == pairs


@pytest.mark.parametrize("text", ["5", "5-1@", "5-1@0", "5-0-1", "5-x", ",", "5-1@2@3", "5--1"])
def test_networks_that_are_none(text):
    with pytest.raises(ValueError, match="30-64-64-1@32"):
        _bench.parse_networks(text)
