"""The passes of a network: outputs, loss, gradient.

The plan of the gradient of MLP([784, 256, 10]), whose steps are those of `recursion`:

    for every block of at most 256 rows for each thread
        phase 0     forward_rows 0, forward_rows 1, loss_rows, delta_rows 1
        phase 1     sum_losses, weight_grad_lines 0, weight_grad_lines 1
    once            penalise 0, penalise 1      if there is an l2
                    complete
                    divide 0, divide 1          unless the divisor is 1

In a phase of rows every part has some rows of the block, [at, at + n) of the frame, and takes them
through all steps. In one of lines every part has some lines of dW, [first, first + count) of the
frame, which sum over all rows of the block. Where the rows are few, each product of phase 0 is a
phase of its own, and the parts may have columns of it. Blocks add their parts of dW, db and of the
loss in ascending order (N1, N3).
"""

from fastbp._engine.loop cimport carry_out
from fastbp._engine.network cimport (
    DIVIDED, GRADIENT, INPUT_GRADIENT, LOSS, OUTPUTS, PENALISED, Workspace,
)
from fastbp._engine.plan cimport (
    Frame, Pass, Step, add_alone, add_rows, end_block, end_phase, h_of, threads_for,
)
from fastbp._engine.recursion cimport (
    add_completion, add_deltas, add_forward, add_loss, add_penalties, add_weight_grads,
    sum_losses,
)
from fastbp._engine.samples cimport gather
from fastbp._engine.signals cimport UNIT_WORK
from fastbp._kernels.table cimport IDENTITY, SOFTMAX


# ---- loss and gradient ------------------------------------------------------------------

cdef double loss_and_gradient(Workspace ws, const Batch* batch, Py_ssize_t n, bint gradient,
                              double divisor, double l2, int asked) except? -1:
    cdef Pass run
    prepare_gradient(ws, &run, n, gradient, divisor, l2,
                     threads_for(ws.shape, n, 3 if gradient else 1, asked))
    run.batch = batch[0]
    carry_out(&run)
    return run.own.loss


cdef int prepare_gradient(Workspace ws, Pass* run, Py_ssize_t n, bint gradient, double divisor,
                          double l2, int threads) except -1:
    cdef int key = LOSS if not gradient else GRADIENT + (DIVIDED if divisor != 1 else 0)
    if l2 != 0:
        key += PENALISED
    ws.prepare(run, key, add_loss_and_gradient, n, n, threads)
    run.own.divisor, run.own.l2 = divisor, l2
    return 0


cdef int add_loss_and_gradient(Plan* plan, int key) except -1:
    return add_loss_pass(plan, key, False)


cdef int add_loss_pass(Plan* plan, int key, bint in_order) except -1:
    if key & GRADIENT:
        add_gradient(plan, in_order)
    else:
        if in_order:
            add_rows(plan, gather, 0, plan.shape.sizes[0])
        add_forward(plan)
        add_loss(plan)
        end_phase(plan)
        add_alone(plan, sum_losses, 0, 1, 0)
        end_block(plan)
    if key & PENALISED:
        add_penalties(plan)
    return add_completion(plan, key & DIVIDED)


cdef int add_gradient(Plan* plan, bint in_order) except -1:
    if in_order:
        add_rows(plan, gather, 0, plan.shape.sizes[0])
    add_forward(plan)
    add_loss(plan)
    add_deltas(plan, False)
    end_phase(plan)
    add_alone(plan, sum_losses, 0, 1, 0)
    add_weight_grads(plan)
    end_block(plan)
    return 0


# ---- gradient by the input --------------------------------------------------------------

cdef int input_gradient(Workspace ws, const Batch* batch, char* input_grad, Py_ssize_t n,
                        int asked) except -1:
    cdef Pass run
    ws.prepare(&run, INPUT_GRADIENT, add_input_gradient, n, n, threads_for(ws.shape, n, 2, asked))
    run.batch, run.input_grad = batch[0], input_grad
    return carry_out(&run)


cdef int add_input_gradient(Plan* plan, int key) except -1:
    add_forward(plan)
    add_loss(plan)
    add_deltas(plan, True)
    end_block(plan)
    return 0


# ---- outputs ----------------------------------------------------------------------------

cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     Activation output_activation, int asked) except -1:
    """A workspace with room for the way back keeps h and act'(z) of every row."""
    cdef Pass run
    if ws.backward:                     # `backward_all` will need memory, too
        ws.reserve(n, threads_for(ws.shape, n, 2, asked))
    prepare_outputs(ws, &run, n, output_activation, threads_for(ws.shape, n, 1, asked))
    run.batch.X, run.output = X, output
    return carry_out(&run)


cdef int prepare_outputs(Workspace ws, Pass* run, Py_ssize_t n, Activation output_activation,
                         int threads) except -1:
    ws.prepare(run, OUTPUTS, add_outputs, n, n, threads)
    run.output_activation, run.keeps = output_activation, ws.backward
    return 0


cdef int add_outputs(Plan* plan, int key) except -1:
    cdef Py_ssize_t L = plan.shape.n_layers
    add_forward(plan)
    add_rows(plan, activate_output, L - 1, 1.0 + UNIT_WORK * plan.shape.sizes[L])
    end_block(plan)
    return 0


cdef void activate_output(const Step* step, Frame* f) noexcept nogil:
    """h_L of z_L, as the loss has it."""
    cdef Py_ssize_t outputs = f.run.layers[step.layer].fan_out
    cdef char* h = h_of(f, step.layer)
    if f.run.output_activation == SOFTMAX:
        f.run.shape.kernels.softmax(h, h, f.n, outputs)
    elif f.run.output_activation != IDENTITY:
        f.run.shape.kernels.activate(h, NULL, h, f.run.output_activation, f.n * outputs)
