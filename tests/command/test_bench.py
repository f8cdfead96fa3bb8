"""`fastbp bench` times only what it has verified, and its figures follow from each other."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from measuring import MORE_QUICKLY, ROUNDED, SMALL, arguments, in_this_process, measured

import fastbp
from fastbp._command.bench import (
    command,
    environment,
    measure,
    networks,
    peers,
    startup,
    tables,
    timing,
    verify,
)
from fastbp._command.problems import problem
from fastbp._twin import mathematics

pytestmark = pytest.mark.usefixtures("short_samples")


class Wrong(fastbp.MLP):
    """A network whose gradient lacks the last bias."""

    def backprop(self, *args, **options):
        loss = super().backprop(*args, **options)
        self.grad[-1] = 0
        return loss


# ---- what is counted


def test_flops_by_hand():
    # h W: 5 x 2 x 3 + 5 x 3 x 1 fused operations, h^T delta the same, delta W^T 5 x 3 x 1.
    assert networks.gradient_flops((2, 3, 1), 5) == 2 * (45 + 45 + 15)
    assert networks.gradient_flops((7, 4), 3) == 2 * (3 * 7 * 4) * 2


def test_flops_are_those_of_counted_products():
    class Counted(np.ndarray):
        count = 0

        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            inputs = [np.asarray(a) for a in inputs]
            result = getattr(ufunc, method)(*inputs, **options)
            if ufunc is np.matmul:
                Counted.count += 2 * inputs[0].size * inputs[1].shape[1]
            return result.view(Counted) if isinstance(result, np.ndarray) else result

    net, X, y = problem((7, 5, 4, 2), 3, "float64")
    W, b = ([a.view(Counted) for a in arrays] for arrays in (net.weights, net.biases))
    mathematics.gradient(W, b, X.view(Counted), y)
    assert Counted.count == networks.gradient_flops((7, 5, 4, 2), 3)


def test_bytes_by_hand():
    # X 5 x 2 twice, y 5, W_1 6 once, W_2 3 twice, dW 9.
    assert networks.least_bytes((2, 3, 1), 5, "float32") == 4 * (20 + 5 + 6 + 6 + 9)
    assert networks.least_bytes((7, 4), 3, "float64") == 8 * (42 + 12 + 28 + 28)


def test_copy_loop_moves_what_it_says():
    for n_bytes in (0, timing.LEAST_COPY, 10**6):
        copy, moved = timing.copy_loop(n_bytes)
        (target, source) = copy.__closure__[1].cell_contents, copy.__closure__[0].cell_contents
        target[:] = 0
        copy()
        assert target.all() and source.all()
        assert moved == source.nbytes + target.nbytes
        assert max(n_bytes, timing.LEAST_COPY) <= target.nbytes <= n_bytes + timing.LEAST_COPY + 8


# ---- figures


def test_results_are_consistent():
    machine, *results = measured()
    assert machine["kind"] == "machine" and machine["isa"] == fastbp.get_isa() and machine["cpu"]
    assert [(r["dtype"], r["network"], r["batch"]) for r in results] == [
        (dtype, network, batch) for dtype in ("float32", "float64")
        for network, batch in (("2-3-1", 5), ("4-6-2", 3))]
    for r in results:
        assert list(r["times"]) == [peer.name for peer in peers.installed(["torch.compile"])]
        own = r["times"]["fastbp"]["median_us"]
        for name, ratio in r["ratios"].items():
            assert ratio == r["times"][name]["median_us"] / own
        assert r["gflops"] * own * 1e3 == pytest.approx(r["flops"], rel=ROUNDED)
        assert r["fraction_of_peak"] * r["fma_peak_gflops"] == pytest.approx(
            r["gflops"], rel=ROUNDED)
        least_ns = max(r["flops"] / r["fma_peak_gflops"], r["least_bytes"] / r["copy_gbytes_per_s"])
        assert r["fraction_of_roofline"] * own * 1e3 == pytest.approx(least_ns, rel=ROUNDED)
        assert r["fraction_of_bound"] * own == pytest.approx(r["bound"]["us"], rel=ROUNDED)
        assert 0 <= r["difference_of_bound"] <= 1
        for times in r["times"].values():
            low, high = times["quartiles_us"]
            assert 0 < times["least_us"] <= low <= times["median_us"] <= high
            assert times["rounds"] >= timing.LEAST_ROUNDS


def test_quartiles():
    assert timing.summary([9.0, 1.0, 4.0, 2.0, 3.0], 5e5) == {
        "median_us": 1.5e6, "quartiles_us": [1e6, 2e6], "least_us": 0.5e6, "rounds": 5}


def test_epoch():
    (_, result) = measured((), ("float32",), (((2, 3, 1), 100),), **MORE_QUICKLY)
    assert result["kind"] == "epoch" and result["steps"] == 13
    own = result["times"]["fastbp"]["median_us"]
    assert result["ratios"]["NumPy"] == result["times"]["NumPy"]["median_us"] / own
    assert result["fraction_of_bound"] == result["bound"]["us"] / own
    assert result["bound"]["terms_us"]["update"] >= 0


def test_threads():
    """1, 2, 4, ... up to the number there are, that number, and automatic."""
    fastbp.set_num_threads(6)
    try:
        machine, result = measure.measure_threads(SMALL[:1], ["float32"], 0.0)
    finally:
        fastbp.set_num_threads(None)
    assert machine["kind"] == "machine" and machine["threads"] == 6
    assert list(result["times"]) == ["1", "2", "4", "6", "auto"]
    one = result["times"]["1"]["median_us"]
    assert list(result["speedups"]) == ["2", "4", "6", "auto"]
    for name, speedup in result["speedups"].items():
        assert speedup == pytest.approx(one / result["times"][name]["median_us"], rel=ROUNDED)


def test_threads_that_change_bits_are_not_timed(monkeypatch):
    class Late(fastbp.MLP):
        def backprop(self, *args, **options):
            loss = super().backprop(*args, **options)
            if self.n_threads is None:
                self.grad[0] = np.nextafter(self.grad[0], self.grad.dtype.type(9))
            return loss

    monkeypatch.setattr(fastbp, "MLP", Late)
    with pytest.raises(verify.Deviation, match="other bits"):
        list(measure.measure_threads(SMALL, ["float64"], 0.0))


def test_startup_compares_turns(monkeypatch):
    """Medians of each side and of the differences in a turn, the first interpreters left out."""
    seconds = iter([9.0, 1.0, 3.0, 7.0, 2.0, 5.0, 6.0, 4.0, 5.0, 9.0])
    monkeypatch.setattr(startup, "_seconds", lambda *scripts: next(seconds))
    result = startup.startup(rounds=3)
    medians = {side: result[side]["median_ms"]
               for side in ("numpy", "both", "added", "added_with_gradient")}
    assert medians == {"numpy": 2000, "both": 5000, "added": 2000, "added_with_gradient": 5000}
    assert result["numpy"]["least_ms"] == 1000


def test_startup():
    result = startup.startup(rounds=3)
    assert result["kind"] == "startup" and result["added"]["rounds"] == 3
    for side in ("numpy", "both"):
        assert 0 < result[side]["least_ms"] <= result[side]["median_ms"]
    folder = os.path.dirname(fastbp.__file__)
    assert 0 < result["wheel_bytes"] < sum(
        os.path.getsize(os.path.join(root, name)) for root, _, found in os.walk(folder)
        for name in found)


# ---- what is wrong is not timed


@pytest.mark.parametrize("kind", ["gradient", "epoch"])
def test_wrong_results_are_not_timed(monkeypatch, capsys, tmp_path, kind):
    def refuse(*args):
        raise AssertionError("timed")

    monkeypatch.setattr(fastbp, "MLP", Wrong)
    monkeypatch.setattr(measure, "undisturbed", refuse)
    path = tmp_path / "results.json"
    run = in_this_process(*((SMALL, ()) if kind == "gradient" else ((), SMALL)))
    assert command.run(arguments(json=str(path)), run) == 1
    assert "diff" in capsys.readouterr().err and not path.exists()


def test_epoch_with_other_bits_is_not_timed(monkeypatch):
    class Late(fastbp.MLP):
        def train_epoch(self, *args, **options):
            loss = super().train_epoch(*args, **options)
            self.params[0] = np.nextafter(self.params[0], self.params.dtype.type(9))
            return loss

    monkeypatch.setattr(fastbp, "MLP", Late)
    with pytest.raises(verify.Deviation, match="bits"):
        measured((), ("float32",), SMALL)


# ---- processes


def test_command_in_a_process_of_its_own(tmp_path, capfd):
    path = tmp_path / "results.json"
    assert command.run(arguments(networks="2-3-1@5", dtype="float64", json=str(path))) == 0
    document = json.loads(path.read_text())
    assert set(document) - {"doubts"} == {"machine", "gradients", "epochs", "fits", "widths",
                                          "beyond", "population", "outputs", "growth", "threads",
                                          "population_threads", "startup"}
    machine = document["machine"]
    assert {"cpu", "cpus", "isa", "compiler", "flags", "numpy", "blas", "python", "version",
            "versions", "time", "load", "memory_gbytes_per_s", "left_out", "unset",
            "blas_kernel"} <= set(machine)
    assert set(machine["versions"]) == {"numpy", "torch", "jax", "scikit-learn"}
    if machine["affinity"] is not None:
        assert len(machine["affinity"]) == 1    # from the start: it is read before any pinning
    (result,) = document["gradients"]
    assert (result["network"], result["batch"], result["dtype"]) == ("2-3-1", 5, "float64")
    out, _ = capfd.readouterr()
    assert "2-3-1     5 f64" in out and "NumPy" in out


def test_environment_of_the_processes(monkeypatch):
    """One thread for every library and one core, or what this process has."""
    script = ("import json, os; print(json.dumps({'kind': 'machine', **os.environ, 'affinity': "
              "sorted(getattr(os, 'sched_getaffinity', lambda _: [0])(0))}))")
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen(
        [sys.executable, "-c", script], **options))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (alone,), *both = (list(command.spawn(task)) for task in ("measure", *command.WITH_ALL_CPUS))
    assert len(alone["affinity"]) == 1
    assert environment.ONE_THREAD.items() <= alone.items()
    for (free,) in both:
        assert free["OMP_NUM_THREADS"] == "3"
        if hasattr(os, "sched_getaffinity"):
            assert set(free["affinity"]) == os.sched_getaffinity(0)


def test_deviation_passes_between_processes(monkeypatch):
    line = json.dumps({"kind": "deviation", "message": "off"})
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen(
        [sys.executable, "-c", f"print({line!r})"], **options))
    with pytest.raises(verify.Deviation, match="off"):
        list(command.spawn("measure"))


def test_failure_of_the_process_is_an_error(capfd):
    with pytest.raises(ChildProcessError, match="ended with 1"):
        list(command.spawn("measure", networks="unknown"))
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_affinity_is_restored():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), timing.one_core() as cpu:
        assert os.sched_getaffinity(0) == {cpu}
        raise KeyError
    assert os.sched_getaffinity(0) == before


# ---- options


def test_what_is_asked_for():
    """Everything; four networks without epochs and slow peers; the networks named; threads."""
    ((_, all_of_it), (second, threads)) = command.tasks(arguments(quick=False, dtype="float32"))
    assert all_of_it["networks"] == networks.NETWORKS and all_of_it["epochs"] == networks.EPOCHS
    assert all_of_it["with_startup"] and not all_of_it["without"]
    assert all_of_it["dtypes"] == ["float32"] and second == "measure_threads"
    assert threads["networks"] == networks.NETWORKS
    ((_, quick),) = command.tasks(arguments())
    assert quick["networks"] == command.QUICK and quick["without"] == ["torch.compile"]
    assert quick["dtypes"] == ("float32", "float64")
    ((_, named),) = command.tasks(arguments(quick=False, networks="5-1@7"))
    assert named["networks"] == [((5, 1), 7)] and not named["without"]
    for options in quick, named:
        assert options["epochs"] == () and not options["with_startup"]
    ((task, _),) = command.tasks(arguments(quick=False, threads=True))
    assert task == "measure_threads"
    kind = {"activation": "relu", "loss": "softmax"}
    ((_, other),) = command.tasks(arguments(quick=False, networks="5-3", **kind))
    assert kind.items() <= other.items() and other["epochs"] == ()
    with pytest.raises(ValueError, match="1 output; under loss='softmax'"):
        list(command.tasks(arguments(quick=False, **kind)))


def test_another_activation_and_loss():
    """What is timed and verified is said; the same bits on any number of threads."""
    kind = {"activation": "relu", "loss": "softmax"}
    machine, result = measured((((2, 3, 4), 5),), ("float32",), **kind)
    assert "relu units, loss softmax" in tables.machine_lines(machine)
    assert 0 < result["difference_of_bound"] <= 1
    machine, result = measure.measure_threads((((2, 3, 4), 5),), ("float32",), 0.0, **kind)
    assert kind.items() <= machine.items() and result["speedups"]


@pytest.mark.parametrize("text, pairs", [
    (None, []),
    ("2-8-8-1", [((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32)]),
    ("5-1", [((5, 1), command.DEFAULT_BATCH)]),
    ("5-1@7, 3-2-1@1", [((5, 1), 7), ((3, 2, 1), 1)]),
])
def test_networks(text, pairs):
    assert command.parse_networks(text) == pairs


@pytest.mark.parametrize("text", ["5", "5-1@", "5-1@0", "5-0-1", "5-x", ",", "5-1@2@3", "5--1"])
def test_networks_that_are_none(text):
    with pytest.raises(ValueError, match="30-64-64-1@32"):
        command.parse_networks(text)
