"""Benchmarks and checks of small cases, which take no longer than it takes to test them; the
command in this process, and models that it trained on small tables."""

import contextlib
import io
from functools import cache

import pytest

from fastbp._command import check, digests
from fastbp._command.bench import timing
from fastbp._command.main import main
from fastbp._kernels import dispatch
from fastbp.io import load_model

FEW = ["--epochs", 2, "--hidden", 3]


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
    for size, few in {"EPOCHS": 2, "ROWS": 100, "MEMBERS": 5}.items():
        monkeypatch.setattr(digests, size, few)
    expected = found_small()
    monkeypatch.setattr(digests, "recorded", lambda: expected)


@cache
def found_small():
    """What the best variant finds of the small networks, as `digests.recorded` gives it."""
    return {dtype: digests.found(check.NETWORKS, dtype) for dtype in dispatch.DTYPES}


@pytest.fixture
def called(tmp_path, monkeypatch):
    """A function that does what the command does, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*map(str, args)])
        return code, out.getvalue(), err.getvalue()

    return call


@pytest.fixture
def model(called):
    """A function that trains on a table, and returns what `load_model` does.

    pandas is imported here: the emulated ARM of `tools/bits.py` has none, for other tests of the
    folder.
    """
    import pandas as pd

    def train(columns, *options):
        pd.DataFrame(columns).to_csv("train.csv", index=False)
        code, _, err = called("train", "train.csv", *FEW, "--out", "m", *options)
        assert code == 0, err
        return load_model("m")

    return train
