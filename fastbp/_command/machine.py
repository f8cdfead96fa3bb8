"""The machine that figures were measured on: its CPU, libraries and load."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import fastbp

LIBRARIES = ("numpy", "torch", "jax", "scikit-learn")  # which figures compare with


def machine():
    """The facts that figures depend on, as a dict for JSON."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {"kind": "machine", **fastbp.show_config("dict"), "commit": commit(),
            "cpu": cpu_model(),
            "cpus": os.cpu_count(), "affinity": affinity,
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "platform": platform.platform(), "blas": f"{blas.get('name')} {blas.get('version')}",
            "blas_kernel": blas_kernel(), "versions": versions(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def blas_kernel():
    """The CPU for which NumPy's BLAS has chosen its kernels; None where that cannot be known.

    NumPy is loaded before every peer, and its BLAS comes first.
    """
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return None
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return found[0].get("architecture") if found else None


def commit():
    """The commit of the checkout that fastbp is imported from; None of an installed package.

    "+" behind it stands for changes of tracked files.
    """
    root = Path(fastbp.__file__).parents[1]
    top, head = _git(root, "rev-parse", "--show-toplevel"), _git(root, "rev-parse", "HEAD")
    if not head or Path(top) != root:
        return None
    return head[:12] + "+" * bool(_git(root, "status", "--porcelain", "--untracked-files=no"))


def _git(folder, *arguments):
    """What git prints, or nothing where it fails or is not there."""
    try:
        run = subprocess.run(["git", "-C", folder, *arguments], capture_output=True,
                             encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def cpu_model():
    """The CPU's name, with family and model where /proc/cpuinfo has them; or what Python knows.

    On a rented machine the name alone may be that of a whole line: "AMD EPYC".
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    facts = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    if not facts.get("model name"):
        return platform.processor() or platform.machine()
    numbers = [f"{word} {facts[name]}" for word, name in (("family", "cpu family"),
                                                         ("model", "model")) if name in facts]
    return facts["model name"] + f" ({', '.join(numbers)})" * bool(numbers)


def versions():
    """The version of each of `LIBRARIES`; None for one that is not installed."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found
