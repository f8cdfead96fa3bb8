"""The machine that figures were measured on: its CPU, libraries and load."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

import numpy as np

import fastbp

LIBRARIES = ("numpy", "torch", "jax", "scikit-learn")  # which figures compare with


def machine():
    """The facts that figures depend on, as a dict for JSON."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {"kind": "machine", **fastbp.show_config("dict"), "cpu": cpu_model(),
            "cpus": os.cpu_count(), "affinity": affinity, "load": os.getloadavg()[0],
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


def cpu_model():
    """The CPU's name: of /proc/cpuinfo, or what Python knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines
                     if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def versions():
    """The version of each of `LIBRARIES`; None for one that is not installed."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found
