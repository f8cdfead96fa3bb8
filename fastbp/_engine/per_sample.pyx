"""The gradient of each sample of a batch: its norm, its part of a clipped sum, the gradient itself.

    ||g_i||^2 = sum_l ||delta_l,i||^2 (1 + ||h_{l-1},i||^2)
    dW_l      = sum_i h_{l-1},i^T (c_i delta_l,i) + noise,  c_i = min(1, max_norm / ||g_i||)

The rows of a block go through E1, E2 with E3, E5 as for a gradient. Their norms follow while h and
delta are at hand, and c_i multiplies every delta of its row, so that E6 is that of any gradient.
Noise comes once for a batch: element i of the flat gradient, W_1, b_1, W_2, ... as they lie in
memory, gets the i-th normal number of the raw draws (N6).
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY
from libc.string cimport memset

from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._engine.loop cimport carry_out
from fastbp._engine.memory cimport Memory, borrow, put_back
from fastbp._engine.network cimport CLIPPED, DIVIDED, EACH_GRADIENT, IN_ORDER, NOISY, NORMS
from fastbp._engine.plan cimport (
    Frame, Layer, Pass, Plan, Shape, Step, add_alone, add_lines, add_rows, delta_of,
    end_block, end_phase, input_of, threads_for,
)
from fastbp._engine.recursion cimport (
    add_completion, add_deltas, add_forward, add_loss, add_weight_grads, sum_losses,
)
from fastbp._engine.samples cimport gather
from fastbp._engine.signals cimport MEMORY_WORK

cdef enum:
    ROOT_WORK = 64          # multiply-adds in the time of a square root
    NOISE_WORK = 128        # of a normal number


# ---- norms, and the clipped sum ---------------------------------------------------------

cdef Samples blank_samples() noexcept nogil:
    cdef Samples samples
    memset(&samples, 0, sizeof(samples))
    return samples


cdef int norms_of_samples(Workspace ws, const Batch* batch, char* norms, Py_ssize_t n,
                          int asked) except -1:
    cdef Samples samples = blank_samples()
    cdef Pass run
    ws.prepare(&run, NORMS, add_norms_pass, n, n, threads_for(ws.shape, n, 2, asked))
    run.batch = batch[0]
    samples.norms, samples.max_norm = norms, INFINITY
    return with_workspace(&run, &samples)


cdef double clipped_gradient(Workspace ws, const Batch* batch, Samples* samples, Py_ssize_t n,
                             double divisor, int asked) except? -1:
    cdef int key = key_of(samples) + (DIVIDED if divisor != 1 else 0)
    cdef Pass run
    ws.prepare(&run, key, add_clipped_pass, n, n, threads_for(ws.shape, n, 3, asked))
    run.batch, run.own.divisor = batch[0], divisor
    with_workspace(&run, samples)
    return run.own.loss


cdef int with_workspace(Pass* run, Samples* samples) except -1:
    cdef Memory* memory = borrow(workspace_bytes(run.plan.rows))
    place_samples(samples, memory.at, run.plan.rows)
    run.each = samples
    try:
        return carry_out(run)
    finally:
        put_back(memory)


cdef Py_ssize_t workspace_bytes(Py_ssize_t rows) noexcept:
    return rows * (sizeof(double) + sizeof(Reach) + sizeof(int))


cdef void place_samples(Samples* samples, char* memory, Py_ssize_t rows) noexcept:
    samples.squares, samples.reaches = memory, <Reach*> (memory + rows * sizeof(double))
    samples.exponents = <int*> (samples.reaches + rows)


cdef int key_of(const Samples* samples) noexcept:
    return CLIPPED + (NOISY if samples.deviation > 0 else 0)


cdef int add_norms_pass(Plan* plan, int key) except -1:
    add_norms(plan)
    end_block(plan)
    return 0


cdef int add_clipped_pass(Plan* plan, int key) except -1:
    add_clipped_gradient(plan, key)
    return add_completion(plan, key & DIVIDED)


cdef int add_clipped_gradient(Plan* plan, int key) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    if key & IN_ORDER:
        add_rows(plan, gather, 0, s.sizes[0])
    add_norms(plan)
    for l in range(s.n_layers):
        add_rows(plan, clip, l, s.sizes[l + 1])
    end_phase(plan)
    add_alone(plan, sum_losses, 0, 1, 0)
    add_weight_grads(plan)
    end_block(plan)
    if key & NOISY:
        for l in range(s.n_layers):
            add_lines(plan, perturb, l, s.sizes[l], s.sizes[l + 1],
                      <double> NOISE_WORK * s.sizes[l + 1])
        end_phase(plan)
    return 0


cdef int add_norms(Plan* plan) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    add_forward(plan)
    add_loss(plan)
    add_deltas(plan, False)
    for l in range(s.n_layers):
        add_rows(plan, add_squares, l, s.sizes[l] + s.sizes[l + 1])
    return add_rows(plan, take_roots, 0, ROOT_WORK)


cdef void add_squares(const Step* step, Frame* f) noexcept nogil:
    """The layer's part of ||g_i||^2."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    f.run.shape.kernels.add_squares(squares_of(f), exponents_of(f), reach_of(f), delta_of(f, l),
                                    input_of(f, l), f.n, a.fan_in, a.fan_out, l == 0)


cdef void take_roots(const Step* step, Frame* f) noexcept nogil:
    cdef Samples* samples = <Samples*> f.run.each
    f.run.shape.kernels.take_roots(
        samples.norms + (f.block_start + f.at) * f.run.shape.itemsize, squares_of(f),
        exponents_of(f), samples.max_norm, f.n)


cdef void clip(const Step* step, Frame* f) noexcept nogil:
    """delta_l,i <- c_i delta_l,i."""
    cdef Samples* samples = <Samples*> f.run.each
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    f.run.shape.kernels.clip_rows(delta_of(f, l), squares_of(f), samples.max_norm, reach_of(f)[0],
                                  input_of(f, l), f.n, a.fan_in, a.fan_out)


cdef inline char* squares_of(const Frame* f) noexcept nogil:
    return (<Samples*> f.run.each).squares + f.at * sizeof(double)


cdef inline int* exponents_of(const Frame* f) noexcept nogil:
    return (<Samples*> f.run.each).exponents + f.at


cdef inline Reach* reach_of(const Frame* f) noexcept nogil:
    return (<Samples*> f.run.each).reaches + f.at


cdef Py_ssize_t first_not_finite(const Frame* f) noexcept nogil:
    return f.run.shape.kernels.first_outside((<Samples*> f.run.each).norms, DBL_MAX, False,
                                             f.batch_rows)


# ---- noise ------------------------------------------------------------------------------

cdef double deviation_of(double multiplier, double max_norm) noexcept nogil:
    cdef float_mode mode = enter_float_mode()
    multiplier = settled(settled(multiplier) * settled(max_norm))
    leave_float_mode(mode)
    return multiplier


cdef Py_ssize_t draws_of(const Shape* s) noexcept nogil:
    """Two for two numbers: the last pair may be one too many."""
    return (s.n_params + 1) & ~1


cdef void perturb(const Step* step, Frame* f) noexcept nogil:
    """Lines of dW, as they lie in memory whatever its layout, and db with the first."""
    cdef Samples* samples = <Samples*> f.run.each
    cdef const Layer* a = &f.run.layers[step.layer]
    cdef const Shape* s = f.run.shape
    cdef Py_ssize_t at = 0, first = f.first * step.width, l
    for l in range(step.layer):
        at += (s.sizes[l] + 1) * s.sizes[l + 1]
    s.kernels.add_noise(a.dW + first * s.itemsize, samples.raw, samples.deviation, at + first,
                        f.count * step.width)
    if f.first == 0:
        s.kernels.add_noise(a.db, samples.raw, samples.deviation, at + a.fan_in * a.fan_out,
                            a.fan_out)


# ---- the gradients ----------------------------------------------------------------------

cdef int gradients_of_samples(Workspace ws, const Batch* batch, char* grads, Py_ssize_t n,
                              int asked) except -1:
    cdef Samples samples = blank_samples()
    cdef Pass run
    samples.grads = grads
    ws.prepare(&run, EACH_GRADIENT, add_gradients_pass, n, n, threads_for(ws.shape, n, 3, asked))
    run.batch, run.each = batch[0], &samples
    return carry_out(&run)


cdef int add_gradients_pass(Plan* plan, int key) except -1:
    """A line is that of dW as for a gradient, in the gradients of all rows of the block."""
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l, lines, width
    add_forward(plan)
    add_loss(plan)
    add_deltas(plan, False)
    end_phase(plan)
    for l in range(s.n_layers):
        lines, width = s.sizes[l], s.sizes[l + 1]
        if width == 1:
            lines, width = width, lines
        add_lines(plan, gradient_of_each, l, lines, width,
                  <double> plan.rows * MEMORY_WORK * width)
    end_block(plan)
    return 0


cdef void gradient_of_each(const Step* step, Frame* f) noexcept nogil:
    """E6 of one sample, row after row: the same kernel, and so the same bits."""
    cdef Py_ssize_t l = step.layer, _
    cdef const Shape* s = f.run.shape
    cdef const Layer* a = &f.run.layers[l]
    cdef Py_ssize_t row = s.n_params * s.itemsize
    cdef char* grad = (<Samples*> f.run.each).grads + f.block_start * row
    cdef char* dW = grad + (a.W - f.run.layers[0].W)
    cdef char* db = grad + (a.b - f.run.layers[0].W)
    cdef const char* h = input_of(f, l)
    cdef const char* delta = delta_of(f, l)
    for _ in range(f.block_rows):
        s.kernels.weight_grad(dW, db, h, delta, 1, a.fan_in, a.fan_out, False, False, f.first,
                              f.count, f.scratch)
        dW += row
        db += row
        h += a.fan_in * s.itemsize
        delta += a.fan_out * s.itemsize
