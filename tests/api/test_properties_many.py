"""The properties again, on many examples that are others each time, with each variant."""

import os
import subprocess
import sys

import pytest
from places import ROOT, TESTS

from fastbp._kernels import dispatch


@pytest.mark.exhaustive
@pytest.mark.parametrize("isa", dispatch.available_isas())
def test_many_examples(isa):
    files = sorted(map(str, TESTS.glob("*/test_*properties*.py")))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--hypothesis-profile=exhaustive", *files],
        cwd=ROOT, env={**os.environ, "FASTBP_ISA": isa}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-20_000:]
