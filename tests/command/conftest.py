"""Benchmarks and checks of small cases, which take no longer than it takes to test them."""

from functools import cache

import pytest

from fastbp._command import check, digests
from fastbp._command.bench import timing
from fastbp._kernels import dispatch


@pytest.fixture
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 1e-4)
    monkeypatch.setattr(timing, "LARGE_COPY", 2**20)


@pytest.fixture
def best():
    """The best variant, whatever FASTBP_ISA says."""
    before = dispatch.get_isa()
    dispatch.set_isa(dispatch.available_isas()[0])
    yield
    dispatch.set_isa(before)


@pytest.fixture
def small_check(monkeypatch, best):
    """`fastbp check` of a few points and small networks, whose digests it has on record."""
    monkeypatch.setattr(check, "POINTS", 1 << 10)
    monkeypatch.setattr(check, "NETWORKS", (
        check.Case((2, 8, 1), 5), check.Case((3, 4, 2), 9, 40),
        check.Case((4, 5, 3), 7, 1, "tanh", "softmax")))
    monkeypatch.setattr(digests, "EPOCHS", 2)
    expected = found_small()
    monkeypatch.setattr(digests, "recorded", lambda: expected)


@cache
def found_small():
    """What the best variant finds of the small networks, as `digests.recorded` gives it."""
    return {dtype: digests.found(check.NETWORKS, dtype) for dtype in dispatch.DTYPES}
