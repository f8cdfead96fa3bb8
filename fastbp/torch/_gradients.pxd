# Where the gradients of one call go, and what is kept from call to call.

from fastbp.torch._gate cimport View
from fastbp.torch._parameters cimport Operands

cdef enum Way:
    IN_PLACE            # into what .grad holds
    NEW                 # into a tensor that .grad will be
    ASIDE               # into an array, whose values .grad gets after the call
    NOWHERE             # the parameter is frozen


cdef class Memory:
    """What calls of one module keep for the next."""
    cdef list present   # of W_1, b_1, ...: whether it is a parameter
    cdef list names     # of the parameters, for errors
    cdef list arrays    # shaped like W_1, b_1, ...; what is written there is not read
    cdef list handed    # `Destination.handed` of the last call; None while a call has it

    cdef object scratch(self, Py_ssize_t l)


cdef class Destination:
    """Where one call writes the gradient of each parameter."""
    cdef Memory held
    cdef Operands operands
    cdef bint accumulate
    cdef Py_ssize_t n
    cdef Way* ways
    cdef View* views    # of each .grad that is plain memory; of others no bytes
    cdef bint unseen    # whether there is a .grad that is not, which PyTorch may write
    cdef list grads     # tensors for IN_PLACE and NEW, arrays for ASIDE
    cdef list handed    # (tensor, storage, array) of each that was NEW in this call or before

    cdef Way way(self, Py_ssize_t i, p) except *
    # do not write over memory that the call reads
    cdef void keep_apart(self, const View* read)
    # of dW_1, db_1, ...
    cdef list addresses(self)
    cdef object memory(self, Py_ssize_t i)
    # after the call: .grad is, or gets, what was written
    cdef int hand_over(self) except -1
    cdef bint is_tied(self, Py_ssize_t i)
