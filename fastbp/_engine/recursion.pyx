"""The equations as steps of a plan: forward_rows, loss, the delta recursion, sums over the samples.

    for l = 1 ... L     h_l = act(h_{l-1} W_l + b_l), act'(z_l) kept beside h_l       E1
                        the loss of each output, delta_L = h_L - y                    E2, E3
    for l = L ... 2     delta_{l-1} = (delta_l W_l^T) * act'(z_{l-1})                 E5
    for l = 1 ... L     dW_l = h_{l-1}^T delta_l, db_l = sum_i delta_l                E6

A row goes through E1 to E5 by itself; E6 and the loss sum over all rows of a block. Layers are
counted from 0 in the code: layers[l] holds W_{l+1}, and its input is X or the h of layers[l - 1].
"""

from fastbp._engine.plan cimport (
    BLOCK_ROWS, Frame, Layer, Shape, Step, add_alone, add_lines, add_product, add_rows, delta_of,
    end_phase, h_of, input_of, offset, per_weight, slope_of, weight_of, y_of,
)
from fastbp._engine.signals cimport MEMORY_WORK
from fastbp._kernels.table cimport Totals

cdef enum:
    LOSS_WORK = 64          # multiply-adds in the time of an output's loss


cdef int add_forward(Plan* plan) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers):
        add_product(plan, forward_rows, l, s.sizes[l + 1], s.sizes[l])
    return 0


cdef void forward_rows(const Step* step, Frame* f) noexcept nogil:
    """E1: h, act'(z) <- act(input W + b), some columns of some rows."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    f.run.shape.kernels.forward(
        h_of(f, l), slope_of(f, l), input_of(f, l), a.W, a.b, f.n, a.fan_in, a.fan_out,
        f.run.shape.transposed, a.activation, f.first, f.count, f.scratch)


cdef int add_loss(Plan* plan) except -1:
    cdef Py_ssize_t L = plan.shape.n_layers
    return add_rows(plan, loss_rows, L - 1, 1.0 * LOSS_WORK * plan.shape.sizes[L])


cdef void loss_rows(const Step* step, Frame* f) noexcept nogil:
    """E2, E3: the losses of the rows, and delta_L where there is room for it."""
    cdef Py_ssize_t l = step.layer, outputs = f.run.layers[l].fan_out
    f.batch.criterion(f.run.losses + offset(f, outputs),
                      delta_of(f, l) if f.run.layers[l].delta != NULL else NULL, h_of(f, l),
                      y_of(f), weight_of(f), &f.batch.target, f.n, outputs)


cdef int add_deltas(Plan* plan, bint input_grad) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers - 1, 0, -1):
        add_product(plan, delta_rows, l, s.sizes[l], s.sizes[l + 1])
    if input_grad:
        add_product(plan, input_grad_rows, 0, s.sizes[0], s.sizes[1])
    return 0


cdef void delta_rows(const Step* step, Frame* f) noexcept nogil:
    """E5: delta of the layer below <- (delta W^T) * act'(z) of the layer below."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    f.run.shape.kernels.delta_step(
        delta_of(f, l - 1), delta_of(f, l), a.W, slope_of(f, l - 1), f.n, a.fan_in, a.fan_out,
        f.run.shape.transposed, f.first, f.count, f.scratch)


cdef void input_grad_rows(const Step* step, Frame* f) noexcept nogil:
    """E5 without a factor: dL/dX <- delta_1 W_1^T."""
    cdef const Layer* a = &f.run.layers[0]
    f.run.shape.kernels.delta_step(
        f.run.input_grad + (f.block_start + f.at) * a.fan_in * f.run.shape.itemsize,
        delta_of(f, 0), a.W, NULL, f.n, a.fan_in, a.fan_out, f.run.shape.transposed, f.first,
        f.count, f.scratch)


cdef int add_weight_grads(Plan* plan) except -1:
    """A line of dW is as it lies in memory: of (fan_in, fan_out), or of (fan_out, fan_in)."""
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l, lines, width
    for l in range(s.n_layers):
        lines, width = s.sizes[l], s.sizes[l + 1]
        if s.transposed or width == 1:
            lines, width = width, lines
        add_lines(plan, weight_grad_lines, l, lines, width, per_weight(plan.rows) * width)
    return 0


cdef void weight_grad_lines(const Step* step, Frame* f) noexcept nogil:
    """E6: some lines of dW <- input^T delta, and db with the first; a layer may have no dW."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    if a.dW != NULL:
        f.run.shape.kernels.weight_grad(
            a.dW, a.db, input_of(f, l), delta_of(f, l), f.n, a.fan_in, a.fan_out,
            f.run.shape.transposed, f.block_start > 0, f.first, f.count, f.scratch)


# ---- sums over the samples --------------------------------------------------------------
#
# Scalars are summed in float64 in a fixed order, whatever the blocks (N3); "mean" divides once.

cdef void sum_weights(const Step* step, Frame* f) noexcept nogil:
    """Add up 256 rows, then these sums, whatever the block; without weights a sample counts 1."""
    cdef const Shape* s = f.run.shape
    cdef const char* weight = f.samples.sample_weight
    cdef Py_ssize_t row = 0, k
    if weight == NULL:
        for k in range(s.kernels.networks):
            f.run.totals[k].weight += f.block_rows
        return
    while row < f.block_rows:
        s.kernels.add_weights(f.run.totals, weight + row * s.itemsize,
                              min(<Py_ssize_t> BLOCK_ROWS, f.block_rows - row))
        row += BLOCK_ROWS


cdef void sum_losses(const Step* step, Frame* f) noexcept nogil:
    """E2: the sum over the block's samples and outputs."""
    cdef const Shape* s = f.run.shape
    s.kernels.add_losses(f.run.totals, f.run.losses, f.samples.sample_weight, f.block_rows,
                         s.sizes[s.n_layers])
    sum_weights(step, f)


cdef int add_penalties(Plan* plan) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers):
        add_alone(plan, penalise, l, s.sizes[l] * s.sizes[l + 1], MEMORY_WORK)
    return 0


cdef void penalise(const Step* step, Frame* f) noexcept nogil:
    """dW += l2 W where there is a dW; the squares of W, in one order, into eight partial sums."""
    cdef const Layer* a = &f.run.layers[step.layer]
    cdef const Shape* s = f.run.shape
    cdef Py_ssize_t at = f.first * s.itemsize
    if a.dW != NULL:
        s.kernels.penalise(a.dW + at, f.run.totals, a.W + at, f.count)
    if s.transposed:
        s.kernels.add_transposed_squares(f.run.totals, a.W, f.first, f.count, a.fan_in, a.fan_out,
                                         f.scratch)
    else:
        s.kernels.add_weight_squares(f.run.totals, a.W + at, f.count)


cdef double penalty_of(const Totals* totals) noexcept nogil:
    return 0.5 * totals.l2 * tree(totals.squares) if totals.l2 != 0 else 0


cdef int add_completion(Plan* plan, bint divided) except -1:
    add_alone(plan, complete, 0, 1, 0)
    end_phase(plan)
    if divided:
        add_divisions(plan)
        end_phase(plan)
    return 0


cdef void complete(const Step* step, Frame* f) noexcept nogil:
    """The loss with its penalty, over the divisor; of each network."""
    cdef Totals* totals
    cdef double loss
    cdef Py_ssize_t k
    for k in range(f.run.shape.kernels.networks):
        totals = &f.run.totals[k]
        loss = tree(totals.losses)
        if totals.l2 != 0:
            loss += penalty_of(totals)
        if totals.divisor == 0:
            totals.divisor = totals.weight
        totals.loss = loss / totals.divisor


cdef int add_divisions(Plan* plan) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers):
        add_lines(plan, divide, l, s.sizes[l], s.sizes[l + 1],
                  <double> MEMORY_WORK * s.sizes[l + 1])
    return 0


cdef void divide(const Step* step, Frame* f) noexcept nogil:
    """Lines of dW, as they lie in memory whatever its layout, and db with the first."""
    cdef const Layer* a = &f.run.layers[step.layer]
    cdef const Shape* s = f.run.shape
    s.kernels.divide(a.dW + f.first * step.width * s.itemsize, f.run.totals,
                     f.count * step.width)
    if f.first == 0:
        s.kernels.divide(a.db, f.run.totals, a.fan_out)
