from fastbp._crew cimport Crew
from fastbp._given cimport Given
from fastbp._kernels.table cimport Activation
from fastbp._members cimport Members


cdef class Evaluation(Members):
    """The methods of a `Population` that change no parameter; only `Population` is made."""
    # h_L or z_L of every network
    cdef object _forward(self, X, out, Activation output)
    # Losses, with gradients into `grad`; and those of the networks with these numbers at some rows
    # of what is given, each over its divisor, and NaN for the others
    cdef object _loss(self, X, y, reduction, sample_weight, l2, bint gradient)
    cdef object _losses(self, Given given, list rows, double divisor, penalties, bint gradient,
                        numbers)
    cdef int _carry_out(self, Crew crew) except -1
