from fastbp._kernels.table cimport Activation
from fastbp._loss cimport Terms
from fastbp.capi cimport fastbp_problem

ctypedef struct Kind:       # of loss
    Terms terms             # but for the dtype and the outputs
    Activation output       # makes h_L of z_L
    bint smooths            # takes label_smoothing
    bint weighs             # takes pos_weight

# The code of the first fault of a problem
cdef int refusal_of(const fastbp_problem* p) noexcept nogil
# Its loss, if that is none of the faults
cdef const Kind* kind_of(const fastbp_problem* p) noexcept nogil
