# The delta recursion over the layers of a network, as steps of a plan.

from fastbp._engine.plan cimport Frame, Plan, Step

# E1 from the first layer to the last
cdef int add_forward(Plan* plan) except -1
# E5 from delta_L to delta_1, and to dL/dX with `input_grad`
cdef int add_descent(Plan* plan, bint input_grad) except -1
# E6 of every layer, whose lines the parts share
cdef int add_weight_gradients(Plan* plan) except -1

# Steps of one layer: E1, and E5 from delta of the layer to that of the layer below
cdef void forward(const Step* step, Frame* f) noexcept nogil
cdef void descend(const Step* step, Frame* f) noexcept nogil
