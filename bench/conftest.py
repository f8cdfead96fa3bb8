"""Benchmarks run on one core: BLAS with one thread, the process pinned; `bench_*.py` is collected.

BLAS reads its number of threads when NumPy is loaded, so the environment is set here, before that;
with two threads pinned to one CPU each would wait for the other.
"""

import os
import sys

import pytest

for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "FASTBP"):
    os.environ[f"{name}_NUM_THREADS"] = "1"
os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
NUMPY_WAS_LOADED = "numpy" in sys.modules


def pytest_report_header():
    if NUMPY_WAS_LOADED:
        return ("bench: NumPy was loaded before its BLAS could be limited to one thread; its times "
                "do not count. Run `pytest bench/` alone.")


def pytest_collect_file(file_path, parent):
    named = file_path.name.startswith("bench_") and file_path.suffix == ".py"
    if named and not parent.session.isinitpath(file_path):  # pytest takes what it was given itself
        return pytest.Module.from_parent(parent, path=file_path)


@pytest.fixture(autouse=True, scope="session")
def pinned():
    """The CPU that the session runs on, or None."""
    from fastbp._measure import one_core

    with one_core() as cpu:
        yield cpu


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param
