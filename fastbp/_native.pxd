# What the compiled modules share: arrays as memory.

cimport numpy as cnp

cdef inline char* data(object array):
    """The memory of an ndarray; NULL for None."""
    return <char*> cnp.PyArray_DATA(array) if array is not None else NULL


cdef inline bint ready(object array, int typenum) noexcept:
    """Whether the kernels can take this array as it is."""
    return (cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == typenum
            and cnp.PyArray_ISCARRAY_RO(array))
