"""Promise: `fastbp bench` says under which conditions it measured, and does not flatter fastbp.

What would slow a peer down is not in its environment; what other work disturbs is measured again
and then marked; peaks that cannot be are told.
"""

import builtins
import json
import os
import platform
import re
import subprocess
import sys
import time

import pytest
from measuring import arguments

import fastbp
from fastbp._command import machine
from fastbp._command.bench import command, environment, measure, plain, tables, timing

SIDES = ["fastbp", "NumPy", "JAX"]


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 1e-4)


def gradient(network="2-3-1", dtype="float32", peak=100.0, disturbed=()):
    """A result in which JAX seems to need 242 times fastbp's time."""
    times = {name: {"median_us": 242.0 if name == "JAX" else 1.0, "quartiles_us": [1.0, 1.0],
                    "disturbed": name in disturbed} for name in SIDES}
    times["JAX"]["quartiles_us"] = [240.0, 260.0]
    return {"kind": "gradient", "network": network, "batch": 5, "dtype": dtype, "times": times,
            "ratios": {"NumPy": 0.5, "JAX": 242.0}, "gflops": 10.0, "fma_peak_gflops": peak,
            "fraction_of_peak": 0.1, "fraction_of_roofline": 0.2}


def run(results, **options):
    """`command.run` of results that were measured on this machine; its document."""
    path = str(options.pop("json"))
    facts = {**machine.machine(), "left_out": {}, **options.pop("machine", {})}
    assert command.run(arguments(json=path, **options), lambda *_, **__: [facts, *results]) == 0
    with open(path) as file:
        return json.load(file)


# ---- the environment

@pytest.mark.parametrize(("name", "value", "slows"), [
    ("OPENBLAS_CORETYPE", "Haswell", True), ("OPENBLAS_CORETYPE", "", False),
    ("OPENBLAS_L2_SIZE", "32768", True), ("MKL_DEBUG_CPU_TYPE", "4", True),
    ("MKL_ENABLE_INSTRUCTIONS", "SSE4_2", True), ("MKL_CBWR", "COMPATIBLE", True),
    ("ONEDNN_MAX_CPU_ISA", "SSE41", True), ("DNNL_MAX_CPU_ISA", "AVX2", True),
    ("NPY_DISABLE_CPU_FEATURES", "AVX2 FMA3", True), ("ATEN_CPU_CAPABILITY", "default", True),
    ("BLIS_ARCH_TYPE", "generic", True), ("JAX_DISABLE_JIT", "1", True),
    ("JAX_DISABLE_JIT", "False", False), ("TORCH_COMPILE_DISABLE", "0", False),
    ("TORCHDYNAMO_DISABLE", "1", True), ("XLA_FLAGS", "--xla_cpu_max_isa=SSE4_2", True),
    ("XLA_FLAGS", "--xla_dump_to=/tmp", False), ("OPENBLAS_NUM_THREADS", "4", False),
    ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2_Usable", True),
    ("GLIBC_TUNABLES", "glibc.malloc.check=3", False), ("PATH", "/isa", False)])
def test_what_slows_a_peer_down_is_left_out(name, value, slows, monkeypatch):
    """In the process that times peers only; both processes record their environment."""
    script = "import json, os; print(json.dumps({'kind': 'machine', 'environ': dict(os.environ)}))"
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen(
        [sys.executable, "-c", script], **options))
    for other in environment.SLOWING:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    (alone,), (free,) = (list(command.spawn(task)) for task in ("measure", "measure_threads"))
    assert alone["unset"] == ({name: value} if slows else {}) and free["unset"] == {}
    assert environment.ONE_THREAD.items() <= alone["environ"].items()
    assert free["environ"][name] == value
    if name not in environment.ONE_THREAD:
        assert (name in alone["environ"]) == (not slows)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a kernel of x86")
def test_the_kernel_of_blas_is_the_one_it_would_choose(monkeypatch):
    """Whatever the variable says; without being left out it would decide."""
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    script = "from fastbp._command.machine import blas_kernel; print(blas_kernel())"

    def kernel():
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                              check=True).stdout.strip()

    chosen = kernel()
    if machine.machine()["blas"].startswith("scipy-openblas"):
        assert chosen != "None"
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    forced = kernel()
    facts, *_ = command.spawn("measure", networks=[], dtypes=[], epochs=[], seconds=0,
                              without=["torch.compile"])
    assert str(facts["blas_kernel"]) == chosen
    assert facts["unset"] == {"OPENBLAS_CORETYPE": "Prescott"}
    assert forced != chosen or chosen == "None"


def test_the_kernel_is_omitted_where_nobody_knows_it(monkeypatch):
    """Without threadpoolctl; with a BLAS of which it has no kernel, or none at all."""
    facts = machine.machine()
    shown = [line for line in tables.machine_lines(facts) if facts["blas"] in line]
    kernel = facts["blas_kernel"]
    assert (f"{facts['blas']} with kernels for {kernel}" in shown[0]) == (kernel is not None)
    monkeypatch.setattr(machine, "blas_kernel", lambda: None)
    assert "with kernels" not in "".join(tables.machine_lines(machine.machine()))
    monkeypatch.undo()
    threadpoolctl = pytest.importorskip("threadpoolctl")
    openmp, mkl = {"user_api": "openmp"}, {"user_api": "blas", "internal_api": "mkl"}
    for found in ([], [openmp], [openmp, mkl]):
        monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda found=found: found)
        assert machine.blas_kernel() is None
    known = {"user_api": "blas", "architecture": "Zen"}
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [openmp, known, mkl])
    assert machine.blas_kernel() == "Zen"
    load = builtins.__import__

    def absent(name, *args, **options):
        if name == "threadpoolctl":
            raise ModuleNotFoundError(name)
        return load(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert machine.blas_kernel() is None


def test_what_was_left_out_is_told(tmp_path, capsys):
    """On stdout with the machine, on stderr, and in the file, of which --from tells it again."""
    unset = {"OPENBLAS_CORETYPE": "Haswell"}
    path = tmp_path / "results.json"
    document = run([gradient()], json=path, machine={"unset": unset})
    assert document["machine"]["unset"] == unset
    first = capsys.readouterr()
    assert "measured without OPENBLAS_CORETYPE=Haswell, which slows a peer down" in first.out
    assert "OPENBLAS_CORETYPE would slow a peer down and was left out" in first.err
    assert command.run(arguments(from_file=str(path), quick=False)) == 0
    assert capsys.readouterr() == first


def test_a_script_starts_again_without_what_slows_a_peer_down(tmp_path):
    """Once: the process that it starts goes on."""
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nfrom fastbp._command.bench.environment import start_again\n"
                      "start_again()\nprint(os.environ.get('MKL_CBWR'), sys.argv[1:])\nsys.exit(3)")
    ended = subprocess.run([sys.executable, script, "a"], capture_output=True, text=True,
                           env={**os.environ, "MKL_CBWR": "SSE2", "OMP_NUM_THREADS": "2"})
    assert (ended.returncode, ended.stdout) == (3, "None ['a']\n")
    assert ended.stderr == "without MKL_CBWR=SSE2, which slows a peer down\n"


# ---- other work on the core

def samples(seconds, share=1.0):
    taken = timing.Samples(seconds)
    taken.wall, taken.cpu = 1.0, share
    return taken


QUIET, WIDE = samples([1.0, 1.0, 1.0, 1.1, 1.1]), samples([1.0, 1.0, 1.0, 2.0, 2.0])
SHARED = samples([242.0] * 5, share=0.6)    # as often interrupted in each sample


@pytest.mark.parametrize(("attempts", "alone", "which"), [
    ([QUIET], True, 0), ([WIDE, QUIET], True, 1), ([SHARED, QUIET], True, 1),
    ([WIDE, WIDE, WIDE], True, 0), ([WIDE, SHARED, WIDE], True, 1), ([SHARED], False, 0)])
def test_what_is_disturbed_is_measured_again(attempts, alone, which, monkeypatch):
    """At most some times; the attempt that was disturbed least counts."""
    taken = [[QUIET, attempt, WIDE] for attempt in attempts]    # the last one is no side
    given = iter(taken)
    monkeypatch.setattr(timing, "interleave", lambda *_: next(given))
    best, number = timing.undisturbed([], 0.0, 2, alone=alone)
    assert best is taken[which] and number == len(attempts) <= timing.ATTEMPTS
    assert next(given, None) is None


def test_disturbance():
    assert timing.spread(timing.summary(QUIET)) == pytest.approx(5)
    assert timing.disturbance(QUIET, True) == pytest.approx(0.5)
    assert timing.disturbance(WIDE, True) == pytest.approx(5)
    assert timing.disturbance(SHARED, True) == pytest.approx(4)
    assert timing.disturbance(SHARED, False) == 0


def test_a_process_that_does_not_have_the_core_is_disturbed():
    """Its samples may all be as long, so that none of them looks odd."""
    (waiting,) = timing.interleave([lambda: time.sleep(2e-3)], 0.05)
    assert waiting.share < 0.5 and timing.disturbance(waiting, True) > 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_other_work_on_the_core_is_seen():
    """A process that counts on the same CPU, ten seconds at most."""
    with timing.one_core():
        script = ("import time; print(flush=True); end = time.monotonic() + 10\n"
                  "while time.monotonic() < end: pass")
        other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        try:
            other.stdout.readline()
            (taken,) = timing.interleave([lambda: sum(range(1000))], 0.3)
        finally:
            other.kill()
            other.communicate()
    assert taken.share < timing.LEAST_SHARE and timing.disturbance(taken, True) > 1


def test_disturbed_times_are_marked(tmp_path, capsys):
    """In the table, on stderr and in the file; the width of each spread below its figure."""
    path = tmp_path / "results.json"
    document = run([gradient(), gradient(disturbed=["JAX"])], json=path)
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()[-4:]]
    assert "242" in rows[0] and "242?" in rows[2] and "0.500!" in rows[2]
    assert rows[1] == rows[3] == ["±0%", "±0%", "±4%"]
    assert "1 of the medians (?) were disturbed" in err and "measure again" in err
    assert [r["times"]["JAX"]["disturbed"] for r in document["gradients"]] == [False, True]
    run([gradient()], json=path)
    assert "disturbed:" not in capsys.readouterr().err


def test_results_from_before_the_mark(tmp_path):
    """Their spread decides."""
    times = {"median_us": 100.0, "quartiles_us": [90.0, 109.0]}
    assert not tables.disturbed(times) and tables.disturbed({**times, "quartiles_us": [80., 101.]})
    assert tables.ratio_cell(0.5, {**times, "disturbed": True}) == "0.500!?"
    assert tables.ratio_cell(0.5) == "0.500!"


@pytest.mark.parametrize("task", ["gradient", "epoch", "threads"])
@pytest.mark.parametrize(("spread", "attempts"), [(1e9, 1), (1e-9, timing.ATTEMPTS)])
def test_what_is_measured_says_how_it_went(task, spread, attempts, monkeypatch):
    """Share of the core, attempts and the mark; several cores have no share of one."""
    monkeypatch.setattr(timing, "LARGEST_SPREAD", spread)
    monkeypatch.setattr(timing, "LEAST_SHARE", -1e9)
    peers = measure.installed(["torch.compile", "PyTorch", "JAX", "scikit-learn"])
    case = (2, 3, 1), 100, "float32", 0.0
    result = {"gradient": lambda: measure.time_gradient(*case, peers),
              "epoch": lambda: measure.time_epoch(*case, peers),
              "threads": lambda: measure.time_threads(*case)}[task]()
    assert result["attempts"] == attempts
    for times in result["times"].values():
        assert times["disturbed"] == (attempts > 1)
        assert ("core_share" in times) == (task != "threads")


# ---- peaks

@pytest.mark.parametrize(("float32", "float64", "told"), [
    ([100], [50], []), ([100, 95], [52, 50], []), ([100], [], []), ([], [], []),
    ([100], [60], ["100 and 60.0 GFLOP/s, not near 2 : 1"]),
    ([90], [30], ["90.0 and 30.0 GFLOP/s, not near 2 : 1"]),
    ([100, 80, 50], [50, 49], ["beside 2 of 3 networks the FMA peak of float32 was below 90% of"]),
    ([100], [50, 30], ["beside 1 of 2 networks the FMA peak of float64 was below 90% of 50.0"])])
def test_peaks_that_cannot_be(float32, float64, told, tmp_path, capsys):
    results = [gradient(dtype=dtype, peak=peak) for dtype, peaks in
               (("float32", float32), ("float64", float64)) for peak in peaks]
    path = tmp_path / "results.json"
    document = run(results, json=path)
    out = capsys.readouterr().out
    assert ("Not to be trusted:" in out) == bool(told) == ("doubts" in document)
    for line, words in zip(document.get("doubts", ()), told, strict=True):
        assert words in line and line in out
    assert command.run(arguments(from_file=str(path), quick=False)) == 0
    assert capsys.readouterr().out == out


# ---- what was measured


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
                   check=True, capture_output=True)


def test_the_commit_of_a_checkout(tmp_path, monkeypatch):
    """The commit has a + where tracked files were changed; an installed package has no commit."""
    package = tmp_path / "fastbp"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(fastbp, "__file__", str(package / "__init__.py"))
    assert machine.commit() is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    found = machine.commit()
    assert re.fullmatch("[0-9a-f]{12}", found)
    (package / "new.py").touch()
    assert machine.commit() == found
    (package / "__init__.py").write_text("changed")
    assert machine.commit() == found + "+"
    inner = tmp_path / "site-packages" / "fastbp"       # an environment within some checkout
    inner.mkdir(parents=True)
    monkeypatch.setattr(fastbp, "__file__", str(inner / "__init__.py"))
    assert machine.commit() is None


@pytest.mark.parametrize(("text", "name"), [
    ("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel\t\t: 99\n",
     "AMD EPYC (family 25, model 17)"),
    ("model name\t: A CPU\n", "A CPU"),
    ("processor\t: 0\n", platform.processor() or platform.machine())])
def test_the_name_of_the_cpu(text, name, monkeypatch):
    monkeypatch.setattr(machine.Path, "read_text", lambda path, encoding: text)
    assert machine.cpu_model() == name


def test_lines_of_the_machine():
    """What older files lack, and what newer ones say more."""
    facts = {**machine.machine(), "commit": None, "cpus": 2, "load": 2.5}
    first, second, *others = tables.machine_lines(facts)
    assert first.endswith("load 2.5 before (other programs ran)")
    assert "commit" not in second
    assert not [line for line in others if line.startswith("NumPy is")]
    facts |= {"commit": "0123456789ab", "load": 1.0, "left_out": {}}
    first, second, *others = tables.machine_lines(facts)
    assert first.endswith("load 1.0 before")
    assert " of commit 0123456789ab, " in second
    assert f"NumPy is {tables.REFERENCE}" in others
    assert f"NumPy is {plain.WORDS}" in [*tables.machine_lines({**facts, "numpy_is": plain.WORDS})]
