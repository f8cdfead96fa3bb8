"""What a gradient costs a program in C (docs/c-api.md), beside the same call of `MLP.backprop`.

    python bench/c_api.py [--json results/c-api.json]

bench/c_api.c is compiled with the system's compiler; its loop and one of Python take turns on one
core. The results are the same bits, which is verified first.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from fastbp._capi import api

import fastbp
from fastbp._command.bench.networks import name
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.machine import machine
from fastbp._command.problems import problem

SECONDS = 2.0               # to time each network
CALLS = 50                  # in one sample
NETWORKS = [((2, 8, 8, 1), 1), ((10, 32, 32, 1), 64), ((30, 64, 64, 1), 256)]


def compiled():
    """The functions of bench/c_api.c."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "c_api.so")
        subprocess.run(["cc", "-std=c99", "-O2", "-shared", "-fPIC", f"-I{fastbp.get_include()}",
                        Path(__file__).with_suffix(".c"), "-o", library], check=True)
        return ctypes.CDLL(library)


def functions():
    """The address of the struct of functions."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.c_void_p(pointer(api, b"fastbp._capi.api"))


def costs(library, net, X, y):
    """{heading: figure} of one network and its batch."""
    sizes = (ctypes.c_ssize_t * len(net.layer_sizes))(*net.layer_sizes)
    n = ctypes.c_ssize_t(len(X))
    plan, nbytes, loss = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_double()
    grad = np.empty_like(net.grad)
    given = functions()
    assert library.make(ctypes.byref(plan), ctypes.byref(nbytes), given, net.dtype.itemsize,
                        ctypes.c_ssize_t(len(sizes) - 1), sizes, n) == 0
    arrays = [ctypes.c_void_p(array.ctypes.data) for array in (grad, net.params, X, y)]

    def in_c():
        return library.repeat(ctypes.byref(loss), arrays[0], given, plan, *arrays[1:], n, CALLS)

    def in_python():
        for _ in range(CALLS):
            net.backprop(X, y)

    assert in_c() == 0 and loss.value == net.backprop(X, y)
    np.testing.assert_array_equal(grad, net.grad)
    times = [1e6 * statistics.median(samples) / CALLS
             for samples in interleave([in_c, in_python], SECONDS)]
    return {"from C, us": times[0], "`MLP.backprop`, us": times[1],
            "memory of the plan, kB": nbytes.value / 1000}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path, rows, library = parser.parse_args().json, [], compiled()
    with one_core():
        for sizes, batch in NETWORKS:
            net, X, y = problem(sizes, batch, "float32", 0)
            rows.append({"network": f"{name(sizes)} ({batch})", **costs(library, net, X, y)})
            print(rows[-1], flush=True)
    if path:
        path.write_text(json.dumps({"machine": machine(), "tables": {"gradient": rows}}, indent=1)
                        + "\n")


if __name__ == "__main__":
    main()
