"""Benchmarks run on one core: one thread for each library, the process pinned; `bench_*.py` is
collected.

BLAS reads its number of threads when NumPy is loaded, so the environment is set here, before that;
with two threads pinned to one CPU each would wait for the other. What slows a peer down is removed
from it. Peers are loaded by the benchmarks themselves, after the pinning.

`network`, `epoch`: those of `fastbp bench`. `peer`, `trainer`: what is installed of those that
compute a gradient, or train an epoch. With `--benchmark-disable`, which only verifies, large
networks are left out, and torch.compile, which needs seconds for each, has one.
"""

import os
import runpy
import sys
from pathlib import Path

import pytest

# By its path: an import of fastbp would load NumPy.
BENCH = Path(__file__).parents[1] / "fastbp/_command/bench"
ENVIRONMENT = runpy.run_path(str(BENCH / "environment.py"))
for name in ENVIRONMENT["slowing"](os.environ):
    del os.environ[name]
os.environ.update(ENVIRONMENT["ONE_THREAD"])
NUMPY_WAS_LOADED = "numpy" in sys.modules
LARGE = 10**9       # operations; the bound of an error costs several times the gradient


def pytest_report_header():
    if NUMPY_WAS_LOADED:
        return ("bench: NumPy was loaded before its BLAS could be limited to one thread; its times "
                "do not count. Run `pytest bench/` alone.")


def pytest_collect_file(file_path, parent):
    named = file_path.name.startswith("bench_") and file_path.suffix == ".py"
    if named and not parent.session.isinitpath(file_path):  # pytest takes what it was given itself
        return pytest.Module.from_parent(parent, path=file_path)


def pytest_generate_tests(metafunc):
    from fastbp._command.bench.networks import EPOCHS, NETWORKS, gradient_flops, name
    from fastbp._command.bench.peers import installed

    def is_large(case):
        return metafunc.config.getoption("benchmark_disable") and gradient_flops(*case) > LARGE

    for fixture, cases in (("network", NETWORKS), ("epoch", EPOCHS)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, [case for case in cases if not is_large(case)],
                                 ids=lambda case: f"{name(case[0])}({case[1]})")
    for fixture, task in (("peer", "gradient"), ("trainer", "epoch")):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, [p for p in installed() if getattr(p, task)],
                                 ids=lambda peer: peer.name)


def pytest_collection_modifyitems(config, items):
    """With `--benchmark-disable`, keep the first test of torch.compile only."""
    compiled = [item for item in items if "torch.compile" in item.name]
    if config.getoption("benchmark_disable") and compiled:
        items[:] = [item for item in items if item not in compiled[1:]]


@pytest.fixture(autouse=True, scope="session")
def pinned():
    """The CPU that the session runs on, or None."""
    from fastbp._command.bench.timing import one_core

    with one_core() as cpu:
        yield cpu


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param
