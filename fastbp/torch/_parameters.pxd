# The parameters of a fused module, for one call and from call to call.

from fastbp.torch._gate cimport View


cdef class Operands:
    """The parameters of one call, each looked at."""
    cdef list params            # those that are there
    cdef View* views            # of params
    cdef list copies            # of those whose memory is not plain
    cdef list addresses         # of W_1, b_1, ...; an absent b has the address of zeros
    cdef bint trained           # whether one of them requires a gradient


cdef class Parameters:
    """Where the Linears hold them, and which shape each should have."""
    cdef list slots             # (attributes of a Linear, "weight" or "bias")
    cdef list present           # of W_1, b_1, ...: whether it is a parameter
    cdef list absent            # slots of the others
    cdef list names             # of each that is present: "0.weight"
    cdef Py_ssize_t* shapes     # of each that is present: (fan_out, fan_in), or (fan_out, 0)
    cdef object zeros           # for b that are absent
    cdef str reason             # why the last `look_up` found None

    # that a weight or bias is computed by a parametrisation or a hook, in words; or None
    cdef str lacking(self)
    # whether a Linear that had no bias has one
    cdef bint has_new_bias(self)
    # None where only PyTorch can read them; ValueError for a wrong shape or storage. With `copied`,
    # a copy is read of those whose memory is not plain.
    cdef Operands look_up(self, bint copied)
    cdef int check_shapes(self, Operands found) except -1
    # the entries of a list like W_1, b_1, ... whose parameters are present
    cdef list of_present(self, list arrays)
