from fastbp._copies cimport Copied
from fastbp._engine.epoch cimport Rule
from fastbp._engine.team cimport Flag

cdef class Optimizer(Copied):
    """State and one in-place update over flat vectors of one size and dtype."""
    cdef object state                   # ndarrays by name, created at the first step
    cdef Rule rule
    cdef bint made                      # by `__init__`, or from a state
    cdef Py_ssize_t size, itemsize
    cdef Flag busy

    cdef int _check_made(self) except -1
    # Raise unless an epoch, which calls `rule` alone, does what `step` does
    cdef int check_native(self) except -1
    cdef int prepare(self, Py_ssize_t size, dtype) except -1
