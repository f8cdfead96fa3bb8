"""The way back over a whole batch whose activations are kept, from any dL/dh_L.

Block after block: delta_L = dL/dh_L * act'(z_L) and E5 for its rows, then E6 over the block.
"""

from libc.string cimport memcpy

from fastbp._engine.loop cimport carry_out
from fastbp._engine.network cimport TO_INPUT, TO_WEIGHTS, WAY_BACK
from fastbp._engine.plan cimport (
    Frame, Pass, Plan, Step, add_rows, delta_of, end_block, end_phase, slope_of, threads_for,
)
from fastbp._engine.recursion cimport add_deltas, add_weight_grads


cdef int backward_all(Workspace ws, const char* X, const char* grad_output, char* input_grad,
                      Py_ssize_t n, int asked) except -1:
    cdef int key = (WAY_BACK + (TO_INPUT if input_grad != NULL else 0)
                    + (TO_WEIGHTS if ws.layers[0].dW != NULL else 0))
    cdef Pass run
    # No more threads than `forward_all` has made room for: what it kept must stay where it is.
    ws.prepare(&run, key, add_way_back, n, n,
               min(ws.threads, threads_for(ws.shape, n, 2, asked)))
    run.batch.X, run.grad_output, run.input_grad, run.keeps = X, grad_output, input_grad, True
    return carry_out(&run)


cdef int add_way_back(Plan* plan, int key) except -1:
    cdef Py_ssize_t L = plan.shape.n_layers
    add_rows(plan, multiply_by_derivative, L - 1, plan.shape.sizes[L])
    add_deltas(plan, key & TO_INPUT)
    end_phase(plan)
    if key & TO_WEIGHTS:
        add_weight_grads(plan)
    end_block(plan)
    return 0


cdef void multiply_by_derivative(const Step* step, Frame* f) noexcept nogil:
    """delta_L = dL/dh_L * act'(z_L)."""
    cdef Py_ssize_t l = step.layer
    cdef Py_ssize_t outputs = f.run.layers[l].fan_out, width = outputs * f.run.shape.itemsize
    cdef const char* grad = f.run.grad_output + (f.block_start + f.at) * width
    cdef const char* slope = slope_of(f, l)
    if slope == NULL:                      # h_L = z_L
        memcpy(delta_of(f, l), grad, f.n * width)
    else:
        f.run.shape.kernels.multiply(delta_of(f, l), grad, slope, f.n * outputs)
