# One kernel variant: the texts, compiled for one instruction set and dtype, and its table.

from cpython.pycapsule cimport PyCapsule_New

include "primitives.pxi"
include "elementwise.pxi"
include "products.pxi"
include "gemm.pxi"
include "loss.pxi"
include "softmax.pxi"
include "update.pxi"
include "bound.pxi"
include "norms.pxi"
include "noise.pxi"
include "tangent.pxi"

cdef KernelTable TABLE

TABLE.version, TABLE.size = TABLE_VERSION, sizeof(KernelTable)
TABLE.isa = ISA
TABLE.itemsize = sizeof(real)
TABLE.vector_bytes = sizeof(vec)
TABLE.activate = activate
TABLE.sigmoid_backward = sigmoid_backward
TABLE.multiply = multiply
TABLE.scratch_bytes = scratch_bytes
TABLE.forward = forward
TABLE.delta_step = delta_step
TABLE.weight_grad = weight_grad
TABLE.criteria = [bce_with_logits, softmax_with_logits, squared_error, poisson_with_logits]
TABLE.softmax = softmax
TABLE.add_losses = add_losses
TABLE.first_outside = first_outside
TABLE.first_unnormalised = first_unnormalised
TABLE.total = total
TABLE.gather = gather
TABLE.penalise = penalise
TABLE.add_transposed_squares = add_transposed_squares
TABLE.divide = divide
TABLE.sgd = sgd
TABLE.adam = adam
TABLE.fma_peak = fma_peak
TABLE.activate_tangent = activate_tangent
TABLE.multiply_add = multiply_add
TABLE.curve = curve
TABLE.spread = spread
TABLE.spread_delta = spread_delta
TABLE.activate_within = activate_within
TABLE.delta_within = delta_within
TABLE.multiply_within = multiply_within
TABLE.settle_bound = settle_bound
TABLE.forward_magnitudes = forward_magnitudes
TABLE.delta_magnitudes = delta_magnitudes
TABLE.add_squares = add_squares
TABLE.take_roots = take_roots
TABLE.clip_rows = clip_rows
TABLE.add_noise = add_noise

table = PyCapsule_New(&TABLE, "fastbp.KernelTable", NULL)
