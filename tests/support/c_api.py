"""The functions of fastbp.h, called through ctypes, which releases the GIL; no test is here.

The numbers are read from the header. Structs and functions are declared again: a program of another
language would do the same.
"""

import contextlib
import ctypes
import re
from ctypes import POINTER, c_char_p, c_double, c_int, c_size_t, c_ssize_t, c_void_p
from pathlib import Path

import numpy as np
from fastbp._capi import api as capsule

import fastbp

HEADER = Path(fastbp.__file__).parent / "include" / "fastbp.h"
NUMBERS = {name: int(number) for name, number in
           re.findall(r"FASTBP_(\w+)(?: = | )(\d+)", HEADER.read_text())}
CODES = {number: name for name, number in NUMBERS.items()
         if name.startswith("BAD_")
         or name in ("OK", "NULL_POINTER", "NO_MEMORY", "BUSY", "FAILED")}


class Problem(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("dtype", c_int), ("loss", c_int), ("n_layers", c_ssize_t),
                ("sizes", POINTER(c_ssize_t)), ("activations", POINTER(c_int)),
                ("rows", c_ssize_t), ("threads", c_int), ("transposed", c_int), ("classes", c_int),
                ("mean", c_int), ("l2", c_double), ("label_smoothing", c_double),
                ("pos_weight", c_void_p)]


def function(*arguments, result=c_int):
    return ctypes.CFUNCTYPE(result, *arguments)


RUN = c_void_p, c_void_p, c_void_p, c_void_p
SAMPLES = c_void_p, c_void_p, c_void_p, c_ssize_t       # X, y, sample_weight, n


class Functions(ctypes.Structure):
    _fields_ = [("version", c_int), ("size", c_size_t),
                ("message", function(c_int, result=c_char_p)),
                ("memory", function(POINTER(c_size_t), POINTER(Problem))),
                ("new_plan", function(POINTER(c_void_p), POINTER(Problem))),
                ("free_plan", function(c_void_p)),
                ("spread", function(c_void_p, c_void_p, c_void_p, result=c_ssize_t)),
                ("forward", function(*RUN, c_ssize_t)), ("logits", function(*RUN, c_ssize_t)),
                ("loss", function(c_void_p, POINTER(c_double), c_void_p, *SAMPLES)),
                ("gradient", function(c_void_p, POINTER(c_double), c_void_p, c_void_p, *SAMPLES))]


pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = c_void_p, [ctypes.py_object, c_char_p]
API = Functions.from_address(pointer_of(capsule, b"fastbp._capi.api"))


def problem(sizes, dtype="float64", activation="sigmoid", loss="bce", rows=1, **options):
    """What C code would write; pos_weight is an array."""
    names = [activation] * (len(sizes) - 2) if isinstance(activation, str) else activation
    made = Problem(ctypes.sizeof(Problem), NUMBERS[dtype.upper()], NUMBERS[loss.upper()],
                   len(sizes) - 1, (c_ssize_t * len(sizes))(*sizes),
                   (c_int * len(names))(*[NUMBERS[name.upper()] for name in names]), rows)
    return altered(made, **options)


def altered(made, **values):
    """The problem with other values of its members."""
    made.kept = values          # an array lives as long as the problem that leads to it
    for name, value in values.items():
        setattr(made, name, value.ctypes.data if isinstance(value, np.ndarray) else value)
    return made


def address(array):
    return None if array is None else array.ctypes.data


def addresses(arrays):
    """The arrays' addresses, as a C array."""
    return (c_void_p * len(arrays))(*map(address, arrays))


class Plan:
    """A plan, whose functions return the name of a code."""

    def __init__(self, made):
        self.at, self.value, self.code = c_void_p(), c_double(-1), None
        self.code = CODES[API.new_plan(ctypes.byref(self.at), ctypes.byref(made))]

    def outputs(self, name, out, params, X, n=None):
        return CODES[getattr(API, name)(self.at, address(out), addresses(params), address(X),
                                        len(X) if n is None else n)]

    def loss(self, params, X, y, sample_weight=None, n=None):
        """The loss is in ``value``."""
        return CODES[API.loss(self.at, self.value, addresses(params), address(X), address(y),
                              address(sample_weight), len(X) if n is None else n)]

    def gradient(self, grads, params, X, y, sample_weight=None, n=None):
        return CODES[API.gradient(self.at, self.value, addresses(grads), addresses(params),
                                  address(X), address(y), address(sample_weight),
                                  len(X) if n is None else n)]

    def free(self):
        return CODES[API.free_plan(self.at)]


def once(made, method, *arguments):
    """Make a plan, run it, and free it: the loss. MemoryError where memory is refused."""
    plan = Plan(made)
    if plan.code == "NO_MEMORY":
        raise MemoryError
    code = plan.code
    try:
        code = getattr(plan, method)(*arguments)
    finally:
        freed = False
        while not freed:            # ctypes may be refused memory, too
            with contextlib.suppress(MemoryError):
                freed = plan.free() == "OK"
    assert code == "OK"
    return plan.value.value
