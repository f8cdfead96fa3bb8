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
include "clipping.pxi"
include "noise.pxi"
include "tangent.pxi"
include "lanes.pxi"
include "population.pxi"

cdef KernelTable TABLE

TABLE.version, TABLE.size = TABLE_VERSION, sizeof(KernelTable)
TABLE.isa = ISA
TABLE.networks = 1
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
TABLE.add_weights = add_weights
TABLE.first_outside = first_outside
TABLE.first_unnormalised = first_unnormalised
TABLE.total = total
TABLE.gather = gather
TABLE.scatter = scatter
TABLE.penalise = penalise
TABLE.add_weight_squares = add_weight_squares
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
TABLE.finish_bound = finish_bound
TABLE.forward_magnitudes = forward_magnitudes
TABLE.delta_magnitudes = delta_magnitudes
TABLE.add_squares = add_squares
TABLE.take_roots = take_roots
TABLE.clip_rows = clip_rows
TABLE.add_noise = add_noise
TABLE.squares_of_blocks = squares_of_blocks
TABLE.add_blocks = add_blocks
TABLE.clip_to_norm = clip_to_norm

cdef KernelTable NETWORKS      # the same, of VL networks at once

NETWORKS.version, NETWORKS.size = TABLE_VERSION, sizeof(KernelTable)
NETWORKS.isa = ISA
NETWORKS.networks = VL
NETWORKS.itemsize = NETWORKS.vector_bytes = sizeof(vec)
NETWORKS.activate = activate_networks
NETWORKS.scratch_bytes = scratch_bytes_of_networks
NETWORKS.forward = forward_networks
NETWORKS.delta_step = delta_step_networks
NETWORKS.weight_grad = weight_grad_networks
NETWORKS.criteria = [bce_of_networks, softmax_loss_of_networks, squared_error_of_networks,
                     poisson_of_networks]
NETWORKS.softmax = softmax_of_networks
NETWORKS.add_losses = add_losses_of_networks
NETWORKS.add_weights = add_weights_of_networks
NETWORKS.gather = gather_networks
NETWORKS.scatter = scatter_networks
NETWORKS.penalise = penalise_networks
NETWORKS.add_weight_squares = add_weight_squares_of_networks
NETWORKS.divide = divide_networks
NETWORKS.sgd = sgd_of_networks
NETWORKS.adam = adam_of_networks

table = PyCapsule_New(&TABLE, "fastbp.KernelTable", NULL)
networks = PyCapsule_New(&NETWORKS, "fastbp.KernelTable", NULL)
