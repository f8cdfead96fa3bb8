from fastbp._crew cimport Crew
from fastbp._given cimport Given
from fastbp._kernels.table cimport Activation
from fastbp._members cimport Members


cdef class Evaluation(Members):
    """The methods of a `Population` that change no parameter; only `Population` is made."""
    # h_L or z_L of every network
    cdef object _forward(self, X, out, Activation output)
    # The loss of every network; with `gradient` its gradient goes into `grad`
    cdef object _loss(self, X, y, reduction, sample_weight, l2, bint gradient)
    # The same of checked samples: of the networks with these numbers, each at its `rows`; NaN for
    # the others. A divisor of 0 stands for the sum of the weights
    cdef object _losses(self, Given given, list rows, double divisor, penalties, bint gradient,
                        numbers)
    cdef int _carry_out(self, Crew crew) except -1
