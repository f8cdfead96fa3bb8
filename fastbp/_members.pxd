from fastbp._copies cimport Copied
from fastbp._engine.population cimport ThreadSpaces
from fastbp._engine.team cimport Flag
from fastbp._network cimport Network


cdef class Members(Copied):
    """What a `Population` holds between calls; only `Population` is made."""
    cdef Network net                # a network like all of them, whose parameters nobody reads
    cdef Py_ssize_t n_members
    cdef object params_array, grad_array, params_view, grad_view
    cdef tuple written
    cdef tuple param_views, grad_views      # (W, b) of each layer
    cdef ThreadSpaces output_spaces            # for outputs
    cdef ThreadSpaces gradient_spaces          # for losses, gradients and epochs
    cdef Flag busy

    cdef int _check_made(self) except -1
    # the row of network k
    cdef char* params_of(self, Py_ssize_t k) noexcept
    cdef char* grad_of(self, Py_ssize_t k) noexcept
    # the network like all of them, or refuse a population that was not made
    cdef Network _made(self)
    # from now on it is made
    cdef int _hold(self, Network net, params, grad) except -1
    # take the population for this call, which ends with `release(&self.busy)`, or refuse
    cdef int _enter(self) except -1


# Zeros for the parameters and gradients of so many networks like `net`
cdef tuple new_vectors(n_networks, Network net)
