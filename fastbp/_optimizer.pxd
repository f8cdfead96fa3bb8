from fastbp._copies cimport Copied
from fastbp._engine.team cimport Flag
from fastbp._kernels.table cimport Rule

cdef class Optimizer(Copied):
    """State and one in-place update over flat vectors of one size and dtype."""
    cdef object state                   # ndarrays by name, created at the first step
    cdef Rule rule
    cdef bint made                      # by `__init__`, or from a state
    cdef Py_ssize_t size, itemsize
    cdef Flag busy
    cdef dict each                      # options that are lists, a number for each network
    cdef list networks                  # the optimizers of a population's networks, or None

    # An option that is a number, or one for each network; and what a user sees of it
    cdef object option(self, name, value, check)
    cdef object number(self, name, one)
    cdef list of_networks(self, Py_ssize_t n)
    cdef Optimizer _of_network(self, Py_ssize_t k)
    cdef int assign(self, name, double number) except -1
    cdef int _check_made(self) except -1
    # Raise unless an epoch, which calls `rule` alone, does what `step` does
    cdef int check_native(self) except -1
    # Create the state at the first step; refuse another size or dtype afterwards
    cdef int prepare(self, Py_ssize_t size, dtype) except -1
    # The same in two steps; the second asks for no memory, and None keeps the state that is there
    cdef object new_state(self, Py_ssize_t size, dtype)
    cdef int begin(self, state, Py_ssize_t size, Py_ssize_t itemsize) except -1
