# What the compiled modules share: the memory of an array.

cimport numpy as cnp

cdef inline char* data(object array):
    """The memory of an ndarray; NULL for None."""
    return <char*> cnp.PyArray_DATA(array) if array is not None else NULL
