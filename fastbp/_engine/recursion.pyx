"""The delta recursion: E1 forward, E5 backward, E6 for the weights, as steps of a plan.

    for l = 1 ... L     h_l = act(h_{l-1} W_l + b_l), act'(z_l) kept beside h_l       E1
    for l = L ... 2     delta_{l-1} = (delta_l W_l^T) * act'(z_{l-1})                 E5
    for l = 1 ... L     dW_l = h_{l-1}^T delta_l, db_l = sum_i delta_l                E6

A row goes through E1 and E5 by itself; E6 sums over all rows of a block. Layers are
counted from 0 in the code: layers[l] holds W_{l+1}, and its input is X or the h of layers[l - 1].
"""

from fastbp._engine.plan cimport (
    Frame, Layer, Shape, Step, add_lines, add_product, delta_of, dh_of, h_of, input_of, per_weight,
)


cdef int add_forward(Plan* plan) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers):
        add_product(plan, forward, l, s.sizes[l + 1], s.sizes[l])
    return 0


cdef void forward(const Step* step, Frame* f) noexcept nogil:
    """E1: h, act'(z) <- act(input W + b), some columns of some rows."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    f.run.shape.kernels.forward(
        h_of(f, l), dh_of(f, l), input_of(f, l), a.W, a.b, f.n, a.fan_in, a.fan_out,
        f.run.shape.transposed, a.activation, f.first, f.count, f.scratch)


cdef int add_descent(Plan* plan, bint input_grad) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers - 1, 0, -1):
        add_product(plan, descend, l, s.sizes[l], s.sizes[l + 1])
    if input_grad:
        add_product(plan, descend_to_input, 0, s.sizes[0], s.sizes[1])
    return 0


cdef void descend(const Step* step, Frame* f) noexcept nogil:
    """E5: delta of the layer below <- (delta W^T) * act'(z) of the layer below."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    f.run.shape.kernels.delta(
        delta_of(f, l - 1), delta_of(f, l), a.W, dh_of(f, l - 1), f.n, a.fan_in, a.fan_out,
        f.run.shape.transposed, f.first, f.count, f.scratch)


cdef void descend_to_input(const Step* step, Frame* f) noexcept nogil:
    """E5 without a factor: dL/dX <- delta_1 W_1^T."""
    cdef const Layer* a = &f.run.layers[0]
    f.run.shape.kernels.delta(
        f.run.input_grad + (f.block + f.at) * a.fan_in * f.run.shape.itemsize, delta_of(f, 0), a.W,
        NULL, f.n, a.fan_in, a.fan_out, f.run.shape.transposed, f.first, f.count, f.scratch)


cdef int add_weight_gradients(Plan* plan) except -1:
    """A line of dW is as it lies in memory: of (fan_in, fan_out), or of (fan_out, fan_in)."""
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l, lines, width
    for l in range(s.n_layers):
        lines, width = s.sizes[l], s.sizes[l + 1]
        if s.transposed or width == 1:
            lines, width = width, lines
        add_lines(plan, weight_gradient, l, lines, width, per_weight(plan.rows) * width)
    return 0


cdef void weight_gradient(const Step* step, Frame* f) noexcept nogil:
    """E6: some lines of dW <- input^T delta, and db with the first; a layer may have no dW."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    if a.dW != NULL:
        f.run.shape.kernels.weight_grad(
            a.dW, a.db, input_of(f, l), delta_of(f, l), f.n, a.fan_in, a.fan_out,
            f.run.shape.transposed, f.block > 0, f.first, f.count, f.scratch)
