# The equations over the layers of a network, as steps of a plan.

from fastbp._engine.plan cimport Frame, Plan, Step
from fastbp._kernels.table cimport Totals

# E1 from the first layer to the last
cdef int add_forward(Plan* plan) except -1
# E2, E3 as a step of rows
cdef int add_loss(Plan* plan) except -1
# E5 from delta_L to delta_1, and to dL/dX with `input_grad`
cdef int add_deltas(Plan* plan, bint input_grad) except -1
# E6 of every layer, whose lines the parts share
cdef int add_weight_grads(Plan* plan) except -1

# Steps of one layer: E1, and E5 from delta of the layer to that of the layer below
cdef void forward_rows(const Step* step, Frame* f) noexcept nogil
cdef void delta_rows(const Step* step, Frame* f) noexcept nogil

cdef inline void clear(Totals* totals) noexcept nogil:
    cdef int i
    for i in range(8):
        totals.losses[i] = totals.squares[i] = 0
    totals.weight = 0


# The eight partial sums of N3, added as a fixed tree
cdef inline double tree(const double* sums) noexcept nogil:
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))


# Steps of part 0: the weights of a block's samples; its losses, and the weights
cdef void sum_weights(const Step* step, Frame* f) noexcept nogil
cdef void sum_losses(const Step* step, Frame* f) noexcept nogil
# For each layer, dW += l2 W, and the squares of W into the totals
cdef int add_penalties(Plan* plan) except -1
# The end of a pass: the loss of the batch with its penalty, over its divisor, and so dW and db
cdef int add_completion(Plan* plan, bint divided) except -1
# l2/2 times the sum of W^2, from the totals
cdef double penalty_of(const Totals* totals) noexcept nogil
# For each layer, dW and db over the divisor
cdef int add_divisions(Plan* plan) except -1
