"""Calls whose arguments do not bind: an error says which are missing, unknown, or too many.

Cython names a number at most. Its functions are called by way of a pointer that each of
them holds (PEP 590): `explain` puts another there, which makes the same call and looks closer at
one that failed. A call that succeeds takes one jump more.
"""

from fastbp import _arguments

from cpython.exc cimport PyErr_ExceptionMatches, PyErr_Fetch, PyErr_Restore, PyErr_SetObject
from cpython.ref cimport Py_XDECREF, PyObject

ctypedef PyObject* Reference
ctypedef PyObject* (*Call)(PyObject* function, const Reference* given, size_t n,
                           PyObject* names) noexcept

cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        int ml_flags
    ctypedef struct PyCFunctionObject:
        PyMethodDef* m_ml
    ctypedef struct PyTypeObject:
        Py_ssize_t tp_vectorcall_offset
    PyTypeObject* Py_TYPE(PyObject*)
    Py_ssize_t PyVectorcall_NARGS(size_t n)
    int METH_FASTCALL, METH_KEYWORDS

# The pointer of every function with these flags; each module has its own copy of that C function.
cdef Call parse_and_call = NULL


cdef PyObject* explained(PyObject* function, const Reference* given, size_t n,
                         PyObject* names) noexcept:
    cdef PyObject* result = parse_and_call(function, given, n, names)
    if result == NULL and PyErr_ExceptionMatches(TypeError):
        reword(function, given, PyVectorcall_NARGS(n), names)
    return result


cdef void reword(PyObject* function, const Reference* given, Py_ssize_t n,
                 PyObject* names) noexcept:
    """Put another TypeError in the place of one that was raised because of the arguments."""
    cdef PyObject* kind = NULL
    cdef PyObject* value = NULL
    cdef PyObject* traceback = NULL
    cdef Py_ssize_t i
    PyErr_Fetch(&kind, &value, &traceback)
    try:
        by_position = [<object> given[i] for i in range(n)]
        by_name = [] if names == NULL else list(<object> names)
        message = _arguments.unbound(<object> function, by_position, by_name)
    except BaseException:
        message = None
    if message is None:
        PyErr_Restore(kind, value, traceback)
        return
    Py_XDECREF(kind)
    Py_XDECREF(value)
    Py_XDECREF(traceback)
    PyErr_SetObject(TypeError, message)


def explain(*owners):
    """Have the errors of compiled functions, and of the methods of classes, explain a call."""
    global parse_and_call
    cdef Call* held
    for owner in owners:
        functions = [owner] if not isinstance(owner, type) else [
            f for base in owner.__mro__ for f in vars(base).values()]
        for f in functions:
            f = getattr(f, "__func__", f)   # of a static method
            if type(f).__name__ != "cython_function_or_method":
                continue
            if (<PyCFunctionObject*> f).m_ml.ml_flags != METH_FASTCALL | METH_KEYWORDS:
                continue                    # it takes no arguments: Cython's message suffices
            held = <Call*> (<char*> <PyObject*> f + Py_TYPE(<PyObject*> f).tp_vectorcall_offset)
            if held[0] == &explained:
                continue
            if parse_and_call == NULL:
                parse_and_call = held[0]
            held[0] = &explained
