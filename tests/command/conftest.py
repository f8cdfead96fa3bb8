"""Benchmarks of small cases, measured for no longer than it takes to test them."""

import pytest

from fastbp._command.bench import timing


@pytest.fixture
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 1e-4)
    monkeypatch.setattr(timing, "LARGE_COPY", 2**20)
