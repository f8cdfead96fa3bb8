from fastbp._crew cimport Crew
from fastbp._kernels.table cimport Activation
from fastbp._members cimport Members


cdef class Evaluation(Members):
    """The methods of a `Population` that change no parameter; only `Population` is made."""
    # h_L or z_L of every network
    cdef object _forward(self, X, out, Activation output)
    # Losses, with gradients into `grad`; of the networks that are `active`, or of all where it is
    # None, and NaN for the others
    cdef object _losses(self, X, y, reduction, sample_weight, l2, bint gradient, active=*)
    cdef int _carry_out(self, Crew crew) except -1
