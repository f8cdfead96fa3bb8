# Sums over the samples of a pass, and what is done once they are complete.

from fastbp._engine.plan cimport Frame, Pass, Plan, Step, Totals

cdef void clear(Totals* totals) noexcept nogil
# The eight partial sums of N3, added as a fixed tree
cdef inline double tree(const double* sums) noexcept nogil:
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))

# Steps of part 0: the weights of a block's samples; its losses, and the weights
cdef void sum_weights(const Step* step, Frame* f) noexcept nogil
cdef void sum_losses(const Step* step, Frame* f) noexcept nogil
# For each layer, dW += l2 W, and the squares of W into the totals
cdef int add_penalties(Plan* plan) except -1
# The loss of the batch, its penalty and its divisor
cdef void complete(const Step* step, Frame* f) noexcept nogil
# l2/2 times the sum of W^2, from the totals
cdef double penalty_of(const Pass* run) noexcept nogil
# For each layer, dW and db over the divisor
cdef int add_divisions(Plan* plan) except -1
