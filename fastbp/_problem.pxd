from fastbp._engine.plan cimport Batch
from fastbp._loss cimport Loss


cdef class Problem:
    """What a loss is computed from: checked samples, the reduction, the penalty."""
    cdef object X, y, sample_weight     # as the kernels take them
    cdef Py_ssize_t n                   # of samples that were checked: arrays may be resized later
    cdef double divisor                 # 1 for "sum", 0 for "mean", or a number
    cdef double l2
    cdef Loss loss
    cdef Batch batch

# X is checked, and shares no memory with `written`, the arrays that the call will write; where y or
# sample_weight does, it is copied
cdef Problem new_problem(Loss loss, X, y, sample_weight, double divisor, double l2, tuple written)
# The same for the X of n samples at an address
cdef Problem problem_at(Loss loss, const char* X, Py_ssize_t n, y, sample_weight, double divisor)
# That of a copy or a pickle, whose arrays anybody may have changed
cdef Problem restored(X, y, sample_weight, bint mean, double l2, Loss loss, Py_ssize_t n_features)
# The same problem for a later call; the addresses of its arrays are read again
cdef Problem read_again(Problem kept, Loss loss)

# 1 for "sum", 0 for "mean", which the batch decides
cdef double divisor_of(object reduction) except -1
cdef double checked_l2(object l2) except -1
# The array, or a copy where it shares memory with one of `written`
cdef object apart_from(object array, tuple written)
