"""What `setup.py` asks for before Cython works, and what it remembers of a build."""

import os
import shutil
import subprocess
import sys

import pytest
from places import ROOT


def copy_sources(folder):
    shutil.copytree(ROOT / "fastbp", folder / "fastbp",
                    ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


@pytest.mark.parametrize(("compiler", "cause"), [
    ("no-such-compiler", "no-such-compiler"),
    ("cc -U__GNUC__ -U__clang_major__", "too old"),
    ("cc -nostdinc", "Python.h")])
def test_a_compiler_that_cannot_build_is_refused_before_cython_runs(compiler, cause, tmp_path):
    copy_sources(tmp_path)
    run = subprocess.run([sys.executable, "setup.py", "build_ext"], cwd=tmp_path, text=True,
                         env={**os.environ, "CC": compiler}, capture_output=True)
    assert run.returncode == 1
    assert cause in run.stderr and run.stderr.strip().endswith("CC=... names it.")
    assert "apt install gcc python3-dev" in run.stderr
    assert not (tmp_path / "build" / "cython").exists()


def test_only_a_build_remembers_the_flags_it_was_made_with(tmp_path):
    copy_sources(tmp_path)
    subprocess.run([sys.executable, "setup.py", "egg_info"], cwd=tmp_path, check=True,
                   env={**os.environ, "FASTBP_DEBUG": "1"}, capture_output=True)
    assert not (tmp_path / "build" / "flags.txt").exists()
