"""Second-order products: the derivative of a gradient along a direction (E8), and J^T H J v (E9).

The direction is V_l, v_l beside W_l, b_l; x_dot is the derivative of x along it.

    z_dot_l     = h_{l-1} V_l + v_l + h_dot_{l-1} W_l,  h_dot_l = act'(z_l) z_dot_l
    delta_dot_L = (d^2 loss / dz^2) z_dot_L
    delta_dot_l = (delta_dot_{l+1} W_{l+1}^T + delta_{l+1} V_{l+1}^T) act'(z_l) + delta_l bend_l
    dW_dot_l    = h_{l-1}^T delta_dot_l + h_dot_{l-1}^T delta_l
    db_dot_l    = sum_i delta_dot_l

bend_l = act''(z_l) / act'(z_l) z_dot_l. The Gauss-Newton product leaves out the curvature of the
network: delta_dot_L goes through E5 and E6 in place of delta_L. Every product is one of E1, E5, E6,
each with its own chains (N1), and sums of two are rounded once more.

A pass goes through blocks as a gradient does. Where a workspace keeps h, act'(z) and delta of every
row, from a gradient or from a product of the Hessian at the same parameters, the steps of E1, E3
and E5 that give them are left out.
"""

from fastbp._engine.loop cimport carry_out
from fastbp._engine.network cimport (
    DIVIDED, GAUSS_NEWTON, HESSIAN, KNOWN, PENALISED, bind_flat,
)
from fastbp._engine.plan cimport (
    BLOCK_ROWS, Action, Frame, Layer, Pass, Plan, Step, add_alone, add_lines, add_product, add_rows,
    delta_of, end_block, end_phase, h_of, input_of, offset, per_weight, slope_of, threads_for,
    weight_of, y_of,
)
from fastbp._engine.recursion cimport add_divisions, add_loss, delta_rows, forward_rows, sum_weights
from fastbp._engine.signals cimport MEMORY_WORK, UNIT_WORK
from fastbp._kernels.table cimport IDENTITY, SIGMOID, SOFTMAX, TANH


cdef class Tangent:
    def __cinit__(self, Architecture architecture):
        self.shape = &architecture.shape
        self.dots = Workspace(architecture, True)

    cdef int write(self, Workspace values, const char* direction, char* product,
                   const Batch* batch, Activation output, Py_ssize_t n, bint gauss_newton,
                   bint known, double divisor, double l2, int asked) except -1:
        cdef int key = ((GAUSS_NEWTON if gauss_newton else HESSIAN) + (KNOWN if known else 0)
                        + (DIVIDED if divisor != 1 else 0) + (PENALISED if l2 != 0 else 0))
        cdef int threads = threads_for(self.shape, n, PRODUCTS, asked)
        cdef Py_ssize_t l
        cdef Pass run
        if known:                   # more threads need more memory, in which nothing is known
            threads = min(threads, values.threads)
        values.prepare(&run, key, add_tangent, n, n, threads)
        self.dots.reserve(run.plan.rows, run.plan.threads)
        bind_flat(self.dots, direction, product)
        for l in range(self.shape.n_layers):            # where the steps of E6 write
            values.layers[l].dW = self.dots.layers[l].dW
            values.layers[l].db = self.dots.layers[l].db
        run.batch, run.own.divisor, run.own.l2 = batch[0], divisor, l2
        run.output_activation, run.more = output, self.dots.layers
        return carry_out(&run)


cdef int add_tangent(Plan* plan, int key) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l, L = s.n_layers
    add_alone(plan, sum_weights, 0, 1, 0)
    for l in range(L):
        if not key & KNOWN:
            add_product(plan, forward_rows, l, s.sizes[l + 1], s.sizes[l])
        add_product(plan, forward_along, l, s.sizes[l + 1], s.sizes[l])
        if l > 0:
            add_product(plan, forward_dot, l, s.sizes[l + 1], s.sizes[l])
        add_rows(plan, activate_dot, l, 2.0 * s.sizes[l + 1])
    if key & HESSIAN and not key & KNOWN:
        add_loss(plan)
    add_rows(plan, curve_loss, L - 1, UNIT_WORK * s.sizes[L])
    for l in range(L - 1, 0, -1):
        add_product(plan, descend_dot, l, s.sizes[l], s.sizes[l + 1])
        if key & HESSIAN:
            if not key & KNOWN:
                add_product(plan, delta_rows, l, s.sizes[l], s.sizes[l + 1])
            add_rows(plan, bend_delta, l - 1, 2.0 * s.sizes[l])
            add_product(plan, descend_along, l, s.sizes[l], s.sizes[l + 1])
            add_rows(plan, add_along, l - 1, 2.0 * s.sizes[l])
    end_phase(plan)
    for l in range(L):
        if key & HESSIAN and l > 0:
            add_gradient_lines(plan, sum_both, l, 2)
        else:           # X does not depend on the parameters, and E9 has no delta
            add_gradient_lines(plan, sum_one, l, 1)
    end_block(plan)
    if key & PENALISED:
        for l in range(L):
            add_alone(plan, penalise_direction, l, s.sizes[l] * s.sizes[l + 1], MEMORY_WORK)
    if key & DIVIDED:
        add_alone(plan, choose_divisor, 0, 1, 0)
        end_phase(plan)
        add_divisions(plan)
    end_phase(plan)
    return 0


cdef int add_gradient_lines(Plan* plan, Action action, Py_ssize_t l, int products) except -1:
    cdef Py_ssize_t lines = plan.shape.sizes[l], width = plan.shape.sizes[l + 1]
    if width == 1:
        lines, width = width, lines
    return add_lines(plan, action, l, lines, width, products * per_weight(plan.rows) * width)


# ---- the steps --------------------------------------------------------------------------

cdef inline Layer* dots_of(const Frame* f) noexcept nogil:
    return <Layer*> f.run.more


cdef void forward_along(const Step* step, Frame* f) noexcept nogil:
    """h_dot_l <- h_{l-1} V_l + v_l."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    f.run.shape.kernels.forward(
        dot.h + offset(f, dot.fan_out), NULL, input_of(f, l), dot.W, dot.b, f.n, dot.fan_in,
        dot.fan_out, False, IDENTITY, f.first, f.count, f.scratch)


cdef void forward_dot(const Step* step, Frame* f) noexcept nogil:
    """spare_l <- h_dot_{l-1} W_l."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    f.run.shape.kernels.forward(
        dot.spare + offset(f, dot.fan_out), NULL, dots_of(f)[l - 1].h + offset(f, dot.fan_in),
        f.run.layers[l].W, NULL, f.n, dot.fan_in, dot.fan_out, False, IDENTITY, f.first, f.count,
        f.scratch)


cdef void activate_dot(const Step* step, Frame* f) noexcept nogil:
    """h_dot_l, and bend_l in place of the second part of z_dot_l."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    cdef Py_ssize_t at = offset(f, dot.fan_out)
    f.run.shape.kernels.activate_tangent(
        dot.h + at, dot.spare + at, h_of(f, l), slope_of(f, l), dot.activation, l == 0,
        f.n * dot.fan_out)


cdef void curve_loss(const Step* step, Frame* f) noexcept nogil:
    """delta_dot_L."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    cdef char* delta_dot = dot.delta + offset(f, dot.fan_out)
    if f.run.output_activation == SOFTMAX:
        f.run.shape.kernels.softmax(delta_dot, h_of(f, l), f.n, dot.fan_out)
    f.run.shape.kernels.curve(
        delta_dot, dot.h + offset(f, dot.fan_out), h_of(f, l), y_of(f), weight_of(f),
        &f.batch.target, f.run.output_activation, f.n, dot.fan_out)


cdef void descend_dot(const Step* step, Frame* f) noexcept nogil:
    """delta_dot_{l-1} <- (delta_dot_l W_l^T) act'(z_{l-1})."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    f.run.shape.kernels.delta_step(
        dots_of(f)[l - 1].delta + offset(f, dot.fan_in), dot.delta + offset(f, dot.fan_out),
        f.run.layers[l].W, slope_of(f, l - 1), f.n, dot.fan_in, dot.fan_out, False, f.first,
        f.count, f.scratch)


cdef void bend_delta(const Step* step, Frame* f) noexcept nogil:
    """delta_dot_l += delta_l bend_l, which is 0 where act'' is."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    cdef Py_ssize_t at = offset(f, dot.fan_out)
    if dot.activation == SIGMOID or dot.activation == TANH:
        f.run.shape.kernels.multiply_add(dot.delta + at, delta_of(f, l), dot.spare + at,
                                         f.n * dot.fan_out)


cdef void descend_along(const Step* step, Frame* f) noexcept nogil:
    """spare_{l-1} <- (delta_l V_l^T) act'(z_{l-1})."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    f.run.shape.kernels.delta_step(
        dots_of(f)[l - 1].spare + offset(f, dot.fan_in), delta_of(f, l), dot.W, slope_of(f, l - 1),
        f.n, dot.fan_in, dot.fan_out, False, f.first, f.count, f.scratch)


cdef void add_along(const Step* step, Frame* f) noexcept nogil:
    """delta_dot_l += spare_l."""
    cdef const Layer* dot = &dots_of(f)[step.layer]
    cdef Py_ssize_t at = offset(f, dot.fan_out)
    f.run.shape.kernels.multiply_add(dot.delta + at, dot.spare + at, NULL, f.n * dot.fan_out)


cdef void sum_one(const Step* step, Frame* f) noexcept nogil:
    """E6: some lines of h_{l-1}^T delta_dot_l, which is dW_dot without delta; db with the first."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    f.run.shape.kernels.weight_grad(
        dot.dW, dot.db, input_of(f, l), dot.delta + offset(f, dot.fan_out), f.n, dot.fan_in,
        dot.fan_out, False, f.block_start + f.at > 0, f.first, f.count, f.scratch)


cdef void sum_both(const Step* step, Frame* f) noexcept nogil:
    """Some lines of both products of dW_dot, in turn for BLOCK_ROWS samples; db with the first."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* dot = &dots_of(f)[l]
    while f.at == 0 or f.at < f.block_rows:
        f.n = min(<Py_ssize_t> BLOCK_ROWS, f.block_rows - f.at)
        sum_one(step, f)
        f.run.shape.kernels.weight_grad(
            dot.dW, NULL, dots_of(f)[l - 1].h + offset(f, dot.fan_in), delta_of(f, l), f.n,
            dot.fan_in, dot.fan_out, False, True, f.first, f.count, f.scratch)
        f.at += BLOCK_ROWS
    f.at, f.n = 0, f.block_rows


cdef void penalise_direction(const Step* step, Frame* f) noexcept nogil:
    """dW_dot += l2 V."""
    cdef const Layer* dot = &dots_of(f)[step.layer]
    cdef Py_ssize_t at = f.first * f.run.shape.itemsize
    f.run.shape.kernels.penalise(dot.dW + at, f.run.totals, dot.W + at, f.count)


cdef void choose_divisor(const Step* step, Frame* f) noexcept nogil:
    """For "mean" the divisor is the sum of the weights."""
    if f.run.totals.divisor == 0:
        f.run.totals.divisor = f.run.totals.weight
