"""Where the checkout is, and what a child process has to find; no test is here."""

import os
from pathlib import Path

import fastbp

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
# The package where it was found, which need not be the checkout; `tests`; what tests import.
IMPORTED = [str(folder) for folder in (Path(fastbp.__file__).parents[1], ROOT, SUPPORT)]
PYTHONPATH = os.pathsep.join(IMPORTED)
