"""The way back over a whole batch whose activations are kept, from any dL/dh_L.

Block after block: delta_L = dL/dh_L * act'(z_L) and E5 in parts of rows, then E6 over the block.
"""

from libc.string cimport memcpy

from fastbp._engine.plan cimport (
    BLOCK_ROWS, Frame, Pass, Plan, Step, add_rows, begin, carry_out, delta_of, dh_of,
    end_block, end_phase, threads_for,
)
from fastbp._engine.recursion cimport add_descent, add_weight_gradients

ctypedef enum:              # beside what `gradient` makes plans for; added up
    BACK = 32
    TO_INPUT = 64
    TO_WEIGHTS = 128


cdef int backward_all(Workspace ws, const char* X, const char* grad_output, char* input_grad,
                      Py_ssize_t n, int asked) except -1:
    cdef int threads = min(ws.threads, threads_for(ws.shape, n, 2, asked))
    cdef Py_ssize_t rows = min(max(n, 1), <Py_ssize_t> BLOCK_ROWS * threads)
    cdef long key = (BACK + (TO_INPUT if input_grad != NULL else 0)
                     + (TO_WEIGHTS if ws.layers[0].dW != NULL else 0))
    cdef Plan* plan = ws.plan_for(key, rows)
    cdef Pass run
    if plan.n_steps == 0:
        begin(plan, ws.shape, rows, BLOCK_ROWS)
        add_rows(plan, apply_slope, ws.shape.n_layers - 1, ws.shape.sizes[ws.shape.n_layers])
        add_descent(plan, ws.shape, input_grad != NULL)
        end_phase(plan)
        if key & TO_WEIGHTS:
            add_weight_gradients(plan, ws.shape, rows)
        end_block(plan)
        plan.key = key
    ws.enter(&run, plan, n)
    run.batch.X, run.grad_output, run.input_grad, run.keeps = X, grad_output, input_grad, True
    return carry_out(&run, threads)


cdef void apply_slope(const Step* step, Frame* f) noexcept nogil:
    """delta_L = dL/dh_L * act'(z_L)."""
    cdef Py_ssize_t l = step.layer
    cdef Py_ssize_t outputs = f.run.layers[l].fan_out, width = outputs * f.run.shape.itemsize
    cdef const char* grad = f.run.grad_output + (f.block + f.at) * width
    cdef const char* dh = dh_of(f, l)
    if dh == NULL:                      # h_L = z_L
        memcpy(delta_of(f, l), grad, f.n * width)
    else:
        f.run.shape.kernels.multiply(delta_of(f, l), grad, dh, f.n * outputs)
