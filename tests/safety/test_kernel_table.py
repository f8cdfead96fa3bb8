"""Promise: a table of kernels is looked through before a function of it is called.

A module of another version of fastbp, left behind by an installation, would be called with other
arguments. Its table is refused by version and size, one that lacks a function by that.
"""

import ctypes
import sys
import types

import pytest

from fastbp._kernels import dispatch, generic_float32

NAME = b"fastbp.KernelTable"
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

WORD = ctypes.sizeof(ctypes.c_void_p)
VERSION, SIZE, FIRST_FUNCTION = 0, WORD, 6 * WORD       # places in the struct


def changed(place=None, value=0):
    """The generic table with another word at a place, and the memory that it lies in."""
    start = pointer_of(generic_float32.table, NAME)
    size = ctypes.c_ssize_t.from_address(start + SIZE).value
    memory = ctypes.create_string_buffer(ctypes.string_at(start, size), size)
    if place is not None:
        ctypes.c_ssize_t.from_buffer(memory, place % size).value = value
    return new_capsule(ctypes.addressof(memory), NAME, None), memory


@pytest.mark.parametrize("place, value", [(VERSION, 0), (VERSION, 10**6), (SIZE, 8),
                                          (FIRST_FUNCTION, 0), (-WORD, 0)])
def test_another_table_is_refused(place, value, monkeypatch):
    table, memory = changed(place, value)
    module = types.SimpleNamespace(table=table, networks=generic_float32.networks,
                                   __file__="generic_float32.so", __spec__=generic_float32.__spec__)
    monkeypatch.setitem(sys.modules, "fastbp._kernels.generic_float32", module)
    isa = dispatch.get_isa()
    with pytest.raises(ImportError, match="generic_float32.so was compiled for another version"):
        dispatch.set_isa("generic")
    assert dispatch.get_isa() == isa


def test_a_table_as_it_was_compiled_is_taken(monkeypatch):
    """Else the test above would pass for any table."""
    table, memory = changed()
    module = types.SimpleNamespace(table=table, networks=generic_float32.networks,
                                   __file__="generic_float32.so", __spec__=generic_float32.__spec__)
    monkeypatch.setitem(sys.modules, "fastbp._kernels.generic_float32", module)
    isa = dispatch.get_isa()
    try:
        dispatch.set_isa("generic")
        assert dispatch.get_isa() == "generic"
    finally:
        monkeypatch.undo()
        dispatch.set_isa("generic")     # the memory above goes
        dispatch.set_isa(isa)
