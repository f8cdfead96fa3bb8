"""What this installation is and how many threads it may use."""

import os
import platform
import re
import reprlib
import sys
import warnings

import numpy as np

from fastbp._arguments import choice, count, explained
from fastbp._cgroup import cpu_quota
from fastbp._engine.plan import limit_threads
from fastbp._engine.team import masked_cpus
from fastbp._kernels import dispatch
from fastbp._version import __version__

ENVIRONMENT = "FASTBP_NUM_THREADS"
_limit = None


def _from_environment(name):
    """A number above 0, or the first of a list of such; None for anything else."""
    value = os.environ.get(name, "").split(",")[0].strip()
    return int(value) if value and re.fullmatch("0*[1-9][0-9]{0,8}", value) else None


def _asked():
    """FASTBP_NUM_THREADS. A wrong OMP_NUM_THREADS is ignored: OpenMP has its own rules for it."""
    number, text = _from_environment(ENVIRONMENT), os.environ.get(ENVIRONMENT, "").strip()
    if text and number is None:
        warnings.warn(f"{ENVIRONMENT} is {reprlib.repr(text)} and is ignored; it should be an "
                      "integer of at least 1", RuntimeWarning, stacklevel=2)
    return number


# Read once: a gradient of a millisecond asks for the number of threads.
_ASKED = _asked()
_CAP = min(filter(None, (cpu_quota(), _from_environment("OMP_NUM_THREADS"))), default=2**31)


@explained
def get_num_threads():
    """Most threads that a call may use when their number is chosen by the work.

    Returns
    -------
    int
        What `set_num_threads` was given; otherwise FASTBP_NUM_THREADS; otherwise the CPUs
        this process may use (by its affinity now and the tightest quota of its control group and
        of that group's parents), capped by OMP_NUM_THREADS. The environment and the quota are
        read when fastbp is imported. No result depends on the number.
    """
    if _limit is not None or _ASKED is not None:
        return _limit or _ASKED
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    else:
        cpus = masked_cpus() or os.cpu_count() or 1
    return min(cpus, _CAP)


limit_threads(get_num_threads)


@explained
def set_num_threads(n):
    """Set the most threads that a call may use when their number is chosen by the work.

    Parameters
    ----------
    n : int
        At least 1; None goes back to the environment and the CPUs of this process.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    global _limit
    _limit = None if n is None else count("n", n)


@explained
def get_include():
    """Folder of fastbp.h and of nothing else: where a compiler of C, C++ or Cython's C finds it.

    Returns
    -------
    str
        An absolute path. docs/c-api.md shows the use of the header, and of fastbp/capi.pxd.
    """
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")


def _ran():
    """Where the wheels for this system and machine ran, by the record of tools/platforms.py."""
    import json
    import sysconfig

    system = {"linux": "manylinux", "win32": "windows", "darwin": "macos"}.get(sys.platform)
    if "musl" in (sysconfig.get_config_var("SOABI") or ""):
        system = "musllinux"
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "platforms.json")
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file).get(f"{system}-{platform.machine().lower()}")
    except (OSError, ValueError):       # what bundles a program may leave the file out
        return [f"unknown: {path} cannot be read"]
    return found or ["never on a machine of this kind"]


@explained
def show_config(mode="print"):
    """Version, kernel variants, threads, compiler, and whether this platform was tried.

    Parameters
    ----------
    mode : {"print", "dict"}
        A line for each entry, wrapped on a terminal, or a dict of them.

    Returns
    -------
    dict or None
        The entries, under "dict".

    Raises
    ------
    ValueError
        For another mode.
    """
    choice("mode", mode, ("print", "dict"))
    config = {
        "version": __version__,
        "contract_version": dispatch.CONTRACT_VERSION,
        "isa": dispatch.get_isa(),
        "isas_built": list(dispatch.built_isas()),
        "isas_supported": list(dispatch.cpu_isas()),
        "threads": get_num_threads(),
        "compiler": dispatch.COMPILER,
        "flags": dispatch.FLAGS,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tested_on": _ran(),
    }
    if mode == "dict":
        return config
    from fastbp import _screen

    for name, value in config.items():
        _screen.show(name, ", ".join(value) if isinstance(value, list) else str(value), 18)
