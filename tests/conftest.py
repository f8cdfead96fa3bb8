"""Every test that takes `isa` runs on each kernel variant this CPU has; `dtype` on both."""

import gc
import os
import signal

# Threads of NumPy's BLAS, in this process and in those it starts, spin while they wait for work.
# They are none of fastbp's, and few of these products are worth a second one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import all_pairs
import pytest
from hypothesis import HealthCheck, settings

from fastbp._kernels import dispatch

# The same examples at every run; with --hypothesis-profile=exhaustive, many and others each time.
settings.register_profile("default", max_examples=40, stateful_step_count=25, deadline=None,
                          derandomize=True, suppress_health_check=list(HealthCheck))
settings.register_profile("exhaustive", settings.get_profile("default"), max_examples=1000,
                          stateful_step_count=60, derandomize=False, database=None,
                          print_blob=True)
settings.load_profile("default")


def pytest_configure(config):
    """Without `-m`, what is exhaustive is left out: then it need not be made first.

    A shell starts what runs in its background with Ctrl-C ignored; here it is tested.
    """
    all_pairs.others_are_made = config.option.markexpr != "not exhaustive"
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val, argname):
    """Bytes are counted, not spelled out: a compressed file has the time in it.

    Processes that share the tests must give each the same name.
    """
    return f"{argname}{len(val)}" if isinstance(val, bytes) else None


gc.disable()        # until all tests are collected: they make much that stays, and no garbage


def pytest_collection_finish():
    """From here on garbage is looked for among what the tests make, not in all tests there are."""
    gc.freeze()
    gc.enable()


@pytest.fixture(params=dispatch.available_isas())
def isa(request):
    """The variant in use during the test: equation functions, and networks built in it."""
    before = dispatch.get_isa()
    dispatch.set_isa(request.param)
    yield request.param
    dispatch.set_isa(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param
