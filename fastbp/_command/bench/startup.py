"""The time that the import of fastbp adds to NumPy's, and the size of the package as a wheel."""

import io
import os
import subprocess
import sys
import time
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import fastbp
from fastbp._command.bench.timing import summary

ROUNDS = 15
SCRIPTS = ("import numpy", "import numpy, fastbp",
           "import numpy, fastbp; fastbp.MLP([2, 1]).backprop([[1, 2]], [1])")
SUFFIXES = (".py", ".pyi", "py.typed", ".csv", ".md", EXTENSION_SUFFIXES[0])    # what a wheel has


def startup(rounds=ROUNDS):
    """Fresh interpreters in turns: numpy, with fastbp, with a first gradient too; and the size.

    A dict for JSON.
    """
    _seconds(*SCRIPTS)              # the files are in the page cache from here on
    turns = [[_seconds(script) for script in SCRIPTS] for _ in range(rounds)]
    numpy, both, _ = zip(*turns, strict=True)
    return {"kind": "startup",
            "numpy": summary(numpy, 1e3, "ms"), "both": summary(both, 1e3, "ms"),
            "added": summary([b - a for a, b, _ in turns], 1e3, "ms"),
            "added_with_gradient": summary([c - a for a, _, c in turns], 1e3, "ms"),
            "wheel_bytes": wheel_bytes()}


def _seconds(*scripts):
    # Bytecode is kept, as it is for users, also where this process was told to write none.
    environment = {name: value for name, value in os.environ.items()
                   if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    for script in scripts:
        subprocess.run([sys.executable, "-P", "-c", script], check=True, env=environment)
    return time.perf_counter() - start


def wheel_bytes():
    """Bytes of the installed package's files in one deflated archive, as a wheel is."""
    root, archive = Path(fastbp.__path__[0]), io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in sorted(root.rglob("*")):
            if path.name.endswith(SUFFIXES):
                wheel.write(path, path.relative_to(root.parent))
    return archive.tell()
