"""Importing fastbp: the variant that FASTBP_ISA names and no other, nothing but NumPy besides,
threads as the environment says, and an error that tells what to do where it cannot work."""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import fastbp
from fastbp import _config
from fastbp._kernels import dispatch

PACKAGE = Path(fastbp.__file__).parent
VARIABLES = ("FASTBP_ISA", "FASTBP_NUM_THREADS", "OMP_NUM_THREADS", "PYTHONPATH")


def run(code, folder, path=PACKAGE.parent, **variables):
    """``code`` in a new process in an empty folder that finds fastbp in ``path``."""
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    environment |= {"PYTHONPATH": str(path), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder,
                          capture_output=True, text=True, timeout=60)


def printed(code, folder, **variables):
    ended = run(f"import fastbp, json, sys; print(json.dumps({code}))", folder, **variables)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def refused(ended, *words):
    """The process ended in an ImportError of one line with these words."""
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert all(word in last for word in words), last


# ---- variants


@pytest.mark.parametrize("spelled", [*dispatch.available_isas(), "GENERIC", " generic "])
def test_the_named_variant_is_used_and_no_other_imported(spelled, tmp_path):
    used, imported = printed("[fastbp.get_isa(), sorted(sys.modules)]", tmp_path,
                             FASTBP_ISA=spelled)
    isa = spelled.strip().lower()
    assert used == isa
    kernels = {name.rpartition(".")[2] for name in imported if name.startswith("fastbp._kernels.")}
    assert kernels - {"dispatch"} == {f"{isa}_float32", f"{isa}_float64"}


@pytest.mark.parametrize("variables", [{}, {"FASTBP_ISA": ""}, {"FASTBP_ISA": " "}])
def test_the_best_variant_is_the_default(variables, tmp_path):
    used, available = printed("[fastbp.get_isa(), fastbp.available_isas()]", tmp_path, **variables)
    assert used == available[0]
    assert tuple(available) == fastbp.available_isas()
    assert available == sorted(available, key=dispatch.ISAS.index) and available[-1] == "generic"


@pytest.mark.parametrize("isa", ["sse2", "avx", "0", "avx2,generic",
                                 *sorted(set(dispatch.ISAS) - set(dispatch.available_isas()))])
def test_a_variant_that_there_is_not(isa, tmp_path):
    """The error names it, those there are, and those known; nothing was imported to find out."""
    refused(run("import fastbp", tmp_path, FASTBP_ISA=isa),
            "FASTBP_ISA", repr(isa), ", ".join(fastbp.available_isas()), ", ".join(dispatch.ISAS))


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"),
                    reason="compares with what Linux says of x86-64")
def test_the_processor_has_the_variants_that_linux_says():
    """By another way than ours: a wheel whose compiler asks in vain would be slow and not fail."""
    text = Path("/proc/cpuinfo").read_text()
    flags = set(re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)[1].split())
    avx2 = {"avx2", "fma"}
    needs = {"avx512": avx2 | {f"avx512{part}" for part in ("f", "cd", "vl", "bw", "dq")},
             "avx2": avx2, "generic": set()}
    assert dispatch.cpu_isas() == tuple(isa for isa in needs if needs[isa] <= flags)


def test_variants_give_results(tmp_path):
    """Each in a process of its own; those with FMA agree to the bit."""
    code = "fastbp.MLP([5, 9, 1], seed=0).backprop([[1, 2, 3, 4, 5]] * 3, [0, 1, 1])"
    losses = {isa: printed(code, tmp_path, FASTBP_ISA=isa) for isa in dispatch.available_isas()}
    fused = {isa: loss for isa, loss in losses.items() if isa != "generic"}
    assert len(set(fused.values())) <= 1 and min(losses.values()) > 0


# ---- what else is imported


def test_nothing_but_numpy(tmp_path):
    """No other file that is not of the standard library: no SciPy, PyTorch, scikit-learn, …

    What Cython's modules share calls itself a module outside of packages, too.
    """
    code = ("sorted({name.partition('.')[0] for name, module in sys.modules.items() "
            "if hasattr(module, '__file__')})")
    ended = run(f"import numpy, json, sys; print(json.dumps({code}))", tmp_path)
    added = set(printed(code, tmp_path)) - set(json.loads(ended.stdout))
    assert added - set(sys.stdlib_module_names) == {"fastbp", "_cython_fastbp"}


def test_the_command_is_not_imported(tmp_path):
    imported = printed("sorted(sys.modules)", tmp_path)
    assert "fastbp" in imported
    for module in ("_command", "io", "datasets", "__main__"):
        assert f"fastbp.{module}" not in imported


# ---- threads


def anew(monkeypatch, **variables):
    """`_config`, executed under these variables as an import would."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("fastbp._config_anew", _config.__file__)
    config = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(config)
    return config


@pytest.mark.parametrize(("variables", "expected"), [
    ({}, None), ({"FASTBP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "1"}, 1),
    ({"OMP_NUM_THREADS": "1,2"}, 1), ({"OMP_NUM_THREADS": "100000"}, None),
    ({"FASTBP_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
    ({"FASTBP_NUM_THREADS": ""}, None), ({"FASTBP_NUM_THREADS": "many"}, None),
    ({"FASTBP_NUM_THREADS": "0"}, None), ({"OMP_NUM_THREADS": "-1"}, None),
    ({"FASTBP_NUM_THREADS": "²"}, None), ({"OMP_NUM_THREADS": "9" * 5000}, None)])
@pytest.mark.filterwarnings("ignore:FASTBP_NUM_THREADS:RuntimeWarning")
def test_number_of_threads(variables, expected, monkeypatch):
    """FASTBP_NUM_THREADS, else the CPUs of this process, capped by OMP_NUM_THREADS."""
    config = anew(monkeypatch, **variables)
    if expected is None:
        expected = (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                    else os.cpu_count())
    assert config.get_num_threads() == config.show_config("dict")["threads"] == expected
    config.set_num_threads(7)
    assert config.get_num_threads() == 7
    config.set_num_threads(None)
    assert config.get_num_threads() == expected


@pytest.mark.parametrize(("variables", "expected"), [
    ({"FASTBP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "1"}, 1)])
def test_number_of_threads_of_a_process(variables, expected, tmp_path):
    assert printed("fastbp.get_num_threads()", tmp_path, **variables) == expected


IGNORED = "FASTBP_NUM_THREADS is .* is ignored; it should be an integer of at least 1"


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5", "²", "9" * 5000])
def test_a_number_of_threads_that_is_none(value, monkeypatch):
    """It is ignored, not in silence; the variable of OpenMP is not fastbp's to complain about."""
    with pytest.warns(RuntimeWarning, match=IGNORED):
        anew(monkeypatch, FASTBP_NUM_THREADS=value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for quiet in ({"OMP_NUM_THREADS": value}, {"FASTBP_NUM_THREADS": " "}):
            anew(monkeypatch, **quiet)


def test_the_warning_of_a_process(tmp_path):
    ended = run("import fastbp", tmp_path, FASTBP_NUM_THREADS="many")
    assert ended.returncode == 0 and re.search(f"RuntimeWarning: {IGNORED}", ended.stderr)
    assert run("import fastbp", tmp_path, OMP_NUM_THREADS="many").stderr == ""


# ---- show_config


def test_show_config(capsys):
    config = fastbp.show_config("dict")
    assert set(config) >= {"version", "contract_version", "isa", "isas_built", "isas_supported",
                           "threads", "compiler", "flags", "machine", "python", "numpy"}
    assert config["version"] == fastbp.__version__ and config["isa"] == fastbp.get_isa()
    both = set(config["isas_built"]) & set(config["isas_supported"])
    assert both == set(fastbp.available_isas())
    assert capsys.readouterr().out == ""
    assert fastbp.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(config)
    assert lines[0] == f"version           {fastbp.__version__}"
    assert lines[3] == f"isas_built        {', '.join(config['isas_built'])}"


def test_where_this_platform_was_tested(monkeypatch):
    """By the record of tools/platforms.py, whose wheels have these names."""
    record = json.loads((PACKAGE / "platforms.json").read_text())
    for system, soabi, machine, name in (
            ("linux", "cpython-311-x86_64-linux-gnu", "x86_64", "manylinux-x86_64"),
            ("linux", "cpython-313-aarch64-linux-musl", "aarch64", "musllinux-aarch64"),
            ("darwin", "cpython-313-darwin", "arm64", "macos-arm64"),
            ("win32", "cp313-win_amd64", "AMD64", "windows-amd64")):
        monkeypatch.setattr("sys.platform", system)
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        monkeypatch.setattr("sysconfig.get_config_var", lambda _, soabi=soabi: soabi)
        never = ["never on a machine of this kind"]
        assert fastbp.show_config("dict")["tested_on"] == (record[name] or never)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert fastbp.show_config("dict")["tested_on"] == never


def test_flags_are_those_of_the_build():
    """What no variant does without, then a part for each built variant that has flags."""
    common, *variants = dispatch.FLAGS.split("; ")
    assert "-ffp-contract=off" in common.split()
    assert {part.partition(":")[0] for part in variants} <= set(dispatch.built_isas())
    for isa, flag in (("avx512", "-mavx512f"), ("avx2", "-mfma")):
        assert (isa in dispatch.built_isas()) == any(
            part.startswith(f"{isa}:") and flag in part.split() for part in variants)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_show_config_without_the_record_of_platforms(content, tmp_path):
    """It is what people are asked to report, and does not fail where the record is not there."""
    copy_of_the_package(tmp_path, "*.py", "*.so", "*.pyd")
    record = tmp_path / "fastbp" / "platforms.json"
    if content is not None:
        record.write_bytes(content)
    ended = run("import fastbp; print(*fastbp.show_config('dict')['tested_on'])", tmp_path,
                path=tmp_path)
    assert ended.stdout.strip() == f"unknown: {record} cannot be read", ended.stderr


# ---- where it cannot work


def copy_of_the_package(folder, *patterns):
    for pattern in patterns:
        for path in PACKAGE.rglob(pattern):
            to = folder / "fastbp" / path.relative_to(PACKAGE)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def test_a_source_folder_that_is_not_compiled(tmp_path):
    copy_of_the_package(tmp_path, "*.py")
    refused(run("import fastbp", tmp_path, path=tmp_path), "not compiled", "pip install -e .",
            str(tmp_path / "fastbp"), "fastbp._cython_fastbp")


def test_a_zip_file_and_a_frozen_program(tmp_path):
    copy_of_the_package(tmp_path / "tree", "*.py")
    path = shutil.make_archive(str(tmp_path / "fastbp"), "zip", tmp_path / "tree")
    refused(run("import fastbp", tmp_path, path=path), "zip file", path)
    frozen = "import sys; sys.frozen = True; import fastbp"
    refused(run(frozen, tmp_path, path=tmp_path / "tree"), "--collect-all fastbp")


def test_numpy_that_is_too_old_or_missing(tmp_path):
    copy_of_the_package(tmp_path, "*.py", "*.so", "*.pyd")
    refused(run("import sys; sys.modules['numpy'] = None; import fastbp", tmp_path, path=tmp_path),
            "needs NumPy 2.0 or later", "pip install numpy")
    (tmp_path / "numpy.py").write_text("__version__ = '1.26.4'")
    refused(run("import fastbp", tmp_path, path=tmp_path), "this is 1.26.4")


def test_an_installation_without_kernels(tmp_path):
    """Not even the generic variant: the error says so, and how to have it."""
    copy_of_the_package(tmp_path, "*.py", "*.so", "*.pyd")
    for path in (tmp_path / "fastbp/_kernels").iterdir():
        if "_float" in path.name:
            path.unlink()
    refused(run("import fastbp", tmp_path, path=tmp_path), "built are none", "pip install")


def test_an_installation_of_one_variant(tmp_path):
    """Built and supported are two facts; a wheel of one variant works with it."""
    copy_of_the_package(tmp_path, "*.py", "*.so", "*.pyd", "*.json")
    for path in (tmp_path / "fastbp/_kernels").iterdir():
        if "_float" in path.name and not path.name.startswith("generic"):
            path.unlink()
    ended = run("import fastbp; fastbp.MLP([2, 1]).backprop([[1, 2]], [1]); "
                "print(fastbp.get_isa(), *fastbp.show_config('dict')['isas_built'])",
                tmp_path, path=tmp_path)
    assert ended.stdout.split() == ["generic", "generic"], ended.stderr


def test_another_installation_in_one_process(tmp_path):
    """Each import takes the compiled modules of its own package, and one finder is there."""
    copy_of_the_package(tmp_path, "*.py", "*.so", "*.pyd")
    ended = run(f"""
import sys
def again(folder):
    for name in [name for name in sys.modules if name.partition(".")[0] == "fastbp"]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    import fastbp._mlp
    fastbp.Population(2, [2, 1]).backprop([[1, 2]], [1])
    print(fastbp.__file__, fastbp._mlp.__file__, sep="\\n")
again({str(tmp_path)!r})
again({str(PACKAGE.parent)!r})
again({str(tmp_path)!r})
print(sum(type(finder).__module__ == "fastbp._modules" for finder in sys.meta_path))
""", tmp_path)
    *files, finders = ended.stdout.splitlines()
    expected = [tmp_path / "fastbp", PACKAGE, tmp_path / "fastbp"]
    assert [Path(file).parent for file in files] == [
        folder for folder in expected for _ in range(2)], ended.stderr
    assert finders == "1"


def test_an_installation_of_a_version_with_a_file_for_each_module(tmp_path):
    """It is not given compiled modules of this version, which the process imported before."""
    older = tmp_path / "older"
    (older / "fastbp").mkdir(parents=True)
    (older / "fastbp" / "__init__.py").touch()
    (older / "fastbp" / "_mlp.py").touch()
    ended = run(f"""
import sys, fastbp
for name in [name for name in sys.modules if name.partition(".")[0] == "fastbp"]:
    del sys.modules[name]
sys.path.insert(0, {str(older)!r})
import fastbp._mlp
print(fastbp._mlp.__file__)
""", tmp_path)
    assert Path(ended.stdout.strip()) == older / "fastbp" / "_mlp.py", ended.stderr


def test_pytorch_that_is_not_there(tmp_path):
    refused(run("import sys; sys.modules['torch'] = None; import fastbp.torch", tmp_path),
            "fastbp.torch needs PyTorch", "pip install 'fastbp[torch]'")
