# What the compiled modules share: arrays as memory.

cimport numpy as cnp
from cpython.float cimport PyFloat_FromDouble

cdef extern from "Python.h":
    ctypedef struct PyFloatObject:
        double ob_fval


cdef inline object new_float():
    """A float for `filled`, made before a call writes anything: then no memory can be refused."""
    return PyFloat_FromDouble(0)


cdef inline object filled(object number, double value):
    """The float, which nobody else has seen, with its value."""
    (<PyFloatObject*> number).ob_fval = value
    return number


cdef inline char* data(object array):
    """The memory of an ndarray; NULL for None."""
    return <char*> cnp.PyArray_DATA(array) if array is not None else NULL


cdef inline bint ready(object array, int typenum) noexcept:
    """Whether the kernels can take this array as it is."""
    return (cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == typenum
            and cnp.PyArray_ISCARRAY_RO(array))
