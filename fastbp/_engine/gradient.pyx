"""The passes of a network: outputs, loss, gradient.

A block of rows has two phases. In the first every part has rows of its own: it gathers them if the
batch has an order, then E1, E2 with E3, E5. The second is E6 over the whole block. Blocks add their
parts of dW, db and of the loss in ascending order (N1, N3).
"""

from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport (
    BLOCK_ROWS, Pass, add_alone, add_rows, begin, carry_out, delta_of, end_block, end_phase,
    h_of, threads_for, weight_of, y_of,
)
from fastbp._engine.recursion cimport add_descent, add_forward, add_weight_gradients
from fastbp._engine.samples cimport gather
from fastbp._engine.signals cimport UNIT_WORK
from fastbp._engine.sums cimport add_divisions, add_penalties, complete, sum_losses
from fastbp._kernels.table cimport IDENTITY, SOFTMAX

ctypedef enum:              # what a plan is for; added up
    OUTPUTS = 1
    LOSS = 2
    GRADIENT = 4
    DIVIDED = 8
    PENALISED = 16


# ---- loss and gradient ------------------------------------------------------------------

cdef double loss_and_gradient(Workspace ws, const Batch* batch, Py_ssize_t n, bint gradient,
                              double divisor, double l2, int asked) except? -1:
    cdef int threads = threads_for(ws.shape, n, 3 if gradient else 1, asked)
    cdef Py_ssize_t rows = min(max(n, 1), <Py_ssize_t> BLOCK_ROWS * threads)
    cdef long key = ((GRADIENT if gradient else LOSS) + (DIVIDED if divisor != 1 else 0)
                     + (PENALISED if l2 != 0 else 0))
    cdef Plan* plan
    cdef Pass run
    ws.reserve(rows, threads)
    plan = ws.plan_for(key, rows)
    if plan.n_steps == 0:
        make_plan(plan, ws.shape, rows, key)
    ws.enter(&run, plan, n)
    run.batch, run.divisor, run.l2 = batch[0], divisor, l2
    carry_out(&run, threads)
    return run.loss


cdef int make_plan(Plan* plan, const Shape* s, Py_ssize_t rows, long key) except -1:
    begin(plan, s, rows, BLOCK_ROWS)
    if key & GRADIENT:
        add_gradient(plan, s, rows, False)
    else:
        add_forward(plan, s)
        add_loss(plan, s)
        end_phase(plan)
        add_alone(plan, s, sum_losses, 0, 1, 0)
        end_block(plan)
    if key & PENALISED:
        add_penalties(plan, s)
    add_alone(plan, s, complete, 0, 1, 0)
    end_phase(plan)
    if key & DIVIDED and key & GRADIENT:
        add_divisions(plan, s)
        end_phase(plan)
    plan.key = key
    return 0


cdef int add_gradient(Plan* plan, const Shape* s, Py_ssize_t rows, bint ordered) except -1:
    if ordered:
        add_rows(plan, gather, 0, s.sizes[0])
    add_forward(plan, s)
    add_loss(plan, s)
    add_descent(plan, s, False)
    end_phase(plan)
    add_alone(plan, s, sum_losses, 0, 1, 0)
    add_weight_gradients(plan, s, rows)
    end_block(plan)
    return 0


cdef int add_loss(Plan* plan, const Shape* s) except -1:
    return add_rows(plan, compute_loss, s.n_layers - 1, 64.0 * s.sizes[s.n_layers])


cdef void compute_loss(const Step* step, Frame* f) noexcept nogil:
    """E2, E3: the losses of the rows, and delta_L where there is room for it."""
    cdef Py_ssize_t l = step.layer, outputs = f.run.layers[l].fan_out
    f.batch.criterion(f.run.losses + f.at * outputs * f.run.shape.itemsize,
                      delta_of(f, l) if f.run.layers[l].delta != NULL else NULL, h_of(f, l),
                      y_of(f), weight_of(f), &f.batch.target, f.n, outputs)


# ---- outputs ----------------------------------------------------------------------------

cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     Activation output_activation, int asked) except -1:
    """A workspace with room for the way back keeps h and act'(z) of every row."""
    cdef int threads = threads_for(ws.shape, n, 1, asked)
    cdef Py_ssize_t rows = min(max(n, 1), <Py_ssize_t> BLOCK_ROWS * threads)
    cdef Plan* plan
    cdef Pass run
    ws.reserve(max(n, 1) if ws.backward else rows, threads)
    plan = ws.plan_for(OUTPUTS, rows)
    if plan.n_steps == 0:
        begin(plan, ws.shape, rows, BLOCK_ROWS)
        add_forward(plan, ws.shape)
        add_rows(plan, activate_output, ws.shape.n_layers - 1,
                 1.0 + UNIT_WORK * ws.shape.sizes[ws.shape.n_layers])
        end_block(plan)
        plan.key = OUTPUTS
    ws.enter(&run, plan, n)
    run.batch.X, run.output, run.output_activation = X, output, output_activation
    run.keeps = ws.backward
    return carry_out(&run, threads)


cdef void activate_output(const Step* step, Frame* f) noexcept nogil:
    """h_L of z_L, as the loss has it."""
    cdef Py_ssize_t outputs = f.run.layers[step.layer].fan_out
    cdef char* h = h_of(f, step.layer)
    if f.run.output_activation == SOFTMAX:
        f.run.shape.kernels.softmax(h, h, f.n, outputs)
    elif f.run.output_activation != IDENTITY:
        f.run.shape.kernels.activate(h, NULL, h, f.run.output_activation, f.n * outputs)
