# What the compiled modules share: array memory, and a flag that one thread holds at a time.

cimport numpy as cnp

cdef extern from * nogil:
    # nonzero when another thread holds the flag
    int acquire "__sync_lock_test_and_set"(int* flag, int value) noexcept
    void release "__sync_lock_release"(int* flag) noexcept


cdef inline char* data(object array):
    """The memory of an ndarray; NULL for None."""
    return <char*> cnp.PyArray_DATA(array) if array is not None else NULL
