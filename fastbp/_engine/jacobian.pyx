"""The Jacobian of the outputs of every sample: a way back from each output.

delta^k is d(output k)/dz of a layer, for one sample; K = n_outputs, J = dh_L/dz_L or 1:

    delta_L^k     = row k of J
    delta_{l-1}^k = (delta_l^k W_l^T) * act'(z_{l-1})                       E5
    by the input    delta_1^k W_1^T
    by parameters   dW_l = h_{l-1}^T delta_l^k, db_l = delta_l^k            E6 of one sample

The ways of a sample are rows of one product, so that one row of data fills a tile: K of them, or
WAYS at a time where there are more outputs. A block has as many samples as make WAYS rows for each
thread: besides what a gradient needs, memory is that of WAYS rows of delta of each layer and of
packed panels for each thread.
"""

from libc.string cimport memcpy, memset

from fastbp._engine.loop cimport carry_out
from fastbp._engine.memory cimport Memory, aligned, borrow, check_room, put_back
from fastbp._engine.network cimport JACOBIAN, TO_INPUT, TO_WEIGHTS
from fastbp._engine.plan cimport (
    Frame, Layer, Pass, Plan, Shape, Step, add_product, add_rows, end_block, h_of, input_of,
    slope_of, threads_for,
)
from fastbp._engine.recursion cimport add_forward
from fastbp._engine.signals cimport MEMORY_WORK, UNIT_WORK, between_looks
from fastbp._kernels.table cimport IDENTITY, SOFTMAX, Totals

cdef enum:
    WAYS = 256              # rows of delta in a block of one part, at most

ctypedef struct Ways:       # what the steps share
    Py_ssize_t outputs      # K
    Py_ssize_t count        # ways of a sample in this pass,
    Py_ssize_t first        # from this output on
    char** delta            # workspace (rows, count, fan_out) of each layer
    const char* counts      # IN  0, 1, 2, ..., K
    char* out               # OUT (n, K, row)
    Py_ssize_t row_bytes    # of a row of `out`


cdef int write_jacobian(Workspace ws, const Batch* batch, Activation output, const char* counts,
                        char* out, bint to_input, Py_ssize_t n, int asked) except -1:
    cdef const Shape* s = ws.shape
    cdef Py_ssize_t K = s.sizes[s.n_layers]
    cdef Py_ssize_t count = ways_at_once(s), first = 0
    cdef int products = (1 if to_input else 2) * <int> count + 1
    cdef Memory* memory
    cdef Ways ways
    cdef Pass run
    ways.outputs, ways.count, ways.counts, ways.out = K, count, counts, out
    ways.row_bytes = (s.sizes[0] if to_input else s.n_params) * s.itemsize
    ws.prepare(&run, JACOBIAN + (TO_INPUT if to_input else TO_WEIGHTS), add_jacobian, n, n,
               threads_for(s, n, products, asked))
    run.batch, run.output_activation, run.more = batch[0], output, &ways
    memory = room_for(&run, &ways)
    try:
        while first < K:
            ways.first = min(first, K - count)      # the last ones may come again
            carry_out(&run)
            first += count
    finally:
        put_back(memory)
    return 0


cdef inline Py_ssize_t ways_at_once(const Shape* s) noexcept nogil:
    return min(s.sizes[s.n_layers], <Py_ssize_t> WAYS)


cdef Memory* room_for(Pass* run, Ways* ways) except NULL:
    """delta of every layer, and scratch of every part, which may have columns of all rows."""
    cdef const Shape* s = run.shape
    cdef Py_ssize_t threads = run.plan.threads
    cdef Py_ssize_t rows = max(1, min(run.n, run.plan.part_rows * threads)) * ways.count
    cdef Py_ssize_t l, scratch = s.sizes[s.n_layers] * s.itemsize       # for the losses of a way
    cdef Py_ssize_t nbytes = aligned(s.n_layers * sizeof(char*))
    cdef Memory* memory
    check_room((rows * s.units + 16.0 * (rows + WAYS) * threads * s.widest) * s.itemsize)
    for l in range(s.n_layers):
        nbytes += aligned(rows * s.sizes[l + 1] * s.itemsize)
        scratch = max(scratch, s.kernels.scratch_bytes(rows, s.sizes[l], s.sizes[l + 1]))
    scratch = aligned(scratch)
    memory = borrow(nbytes + threads * scratch)
    run.scratch, run.scratch_bytes = memory.at + nbytes, scratch
    ways.delta = <char**> memory.at
    for l in range(s.n_layers):
        nbytes -= aligned(rows * s.sizes[l + 1] * s.itemsize)
        ways.delta[l] = memory.at + nbytes
    return memory


cdef int add_jacobian(Plan* plan, int key) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l, L = s.n_layers, count = ways_at_once(s)
    plan.part_rows = WAYS // count
    plan.rows_at_once = between_looks(plan.part_rows, 4 * s.tile_work * count, 1, s.kernels)
    add_forward(plan)
    add_rows(plan, begin_ways, L - 1, <double> UNIT_WORK * count * s.sizes[L])
    for l in range(L - 1, -1, -1):
        if key & TO_WEIGHTS:
            add_product(plan, write_weights, l, count * lines_of(s, l), MEMORY_WORK * line_of(s, l))
        if l > 0:
            add_product(plan, descend_ways, l, s.sizes[l], count * s.sizes[l + 1])
            if count > 1 and s.activations[l - 1] != IDENTITY:
                add_rows(plan, multiply_ways, l - 1, count * s.sizes[l])
    if key & TO_INPUT:
        add_product(plan, input_ways, 0, s.sizes[0], count * s.sizes[1])
    end_block(plan)
    return 0


# ---- the steps --------------------------------------------------------------------------

cdef inline Ways* ways_of(const Frame* f) noexcept nogil:
    return <Ways*> f.run.more


cdef inline char* delta_of_ways(const Frame* f, Py_ssize_t l) noexcept nogil:
    cdef const Ways* w = ways_of(f)
    return w.delta[l] + f.at * w.count * f.run.shape.sizes[l + 1] * f.run.shape.itemsize


cdef inline char* out_of(const Frame* f, Py_ssize_t i) noexcept nogil:
    """The first of the rows that this pass writes for sample i of the frame."""
    cdef const Ways* w = ways_of(f)
    return w.out + ((f.block_start + f.at + i) * w.outputs + w.first) * w.row_bytes


cdef void begin_ways(const Step* step, Frame* f) noexcept nogil:
    """delta_L: the rows of J."""
    cdef const Ways* w = ways_of(f)
    cdef Py_ssize_t l = step.layer, K = w.outputs, itemsize = f.run.shape.itemsize, i, k
    cdef char* z = h_of(f, l)
    cdef char* slopes = f.run.losses + f.at * K * itemsize
    cdef char* delta = delta_of_ways(f, l)
    cdef const char* one = w.counts + itemsize
    if f.run.output_activation == SOFTMAX:
        softmax_ways(f, delta, slopes, z)
        return
    if f.run.output_activation != IDENTITY:
        f.run.shape.kernels.activate(z, slopes, z, f.run.output_activation, f.n * K)
    memset(delta, 0, f.n * w.count * K * itemsize)
    for i in range(f.n):
        for k in range(w.first, w.first + w.count):
            memcpy(delta + k * itemsize,
                   one if f.run.output_activation == IDENTITY else slopes + (i * K + k) * itemsize,
                   itemsize)
            delta += K * itemsize


cdef void softmax_ways(const Frame* f, char* delta, char* p, const char* z) noexcept nogil:
    """dp_k/dz_j = p_k (t_j - p_j) for t = e_k: E3 of class k with weight p_k, negated.

    So 1 - p_k comes from the other classes, and keeps its relative accuracy. Nobody reads losses.
    """
    cdef const Ways* w = ways_of(f)
    cdef Py_ssize_t K = w.outputs, itemsize = f.run.shape.itemsize, width = K * itemsize, i, k
    cdef Totals minus
    f.run.shape.kernels.softmax(p, z, f.n, K)
    for i in range(f.n * w.count):
        k = w.first + i % w.count
        f.batch.criterion(f.scratch, delta + i * width, z + i // w.count * width,
                          w.counts + k * itemsize, p + (i // w.count * K + k) * itemsize,
                          &f.batch.target, 1, K)
    minus.divisor = -1
    f.run.shape.kernels.divide(delta, &minus, f.n * w.count * K)


cdef void descend_ways(const Step* step, Frame* f) noexcept nogil:
    """E5, whose factor follows where there are several ways for each of its rows."""
    cdef Py_ssize_t l = step.layer, count = ways_of(f).count
    cdef const Layer* a = &f.run.layers[l]
    f.run.shape.kernels.delta_step(
        delta_of_ways(f, l - 1), delta_of_ways(f, l), a.W,
        slope_of(f, l - 1) if count == 1 else NULL, f.n * count, a.fan_in, a.fan_out,
        f.run.shape.transposed, f.first, f.count, f.scratch)


cdef void multiply_ways(const Step* step, Frame* f) noexcept nogil:
    """E5: * act'(z), the same for all ways of a sample."""
    cdef Py_ssize_t l = step.layer, count = ways_of(f).count, fan_out = f.run.layers[l].fan_out, i
    cdef Py_ssize_t width = fan_out * f.run.shape.itemsize
    cdef char* delta = delta_of_ways(f, l)
    cdef const char* slope = slope_of(f, l)
    for i in range(f.n * count):
        f.run.shape.kernels.multiply(delta + i * width, delta + i * width,
                                     slope + i // count * width, fan_out)


cdef void input_ways(const Step* step, Frame* f) noexcept nogil:
    """E5 without a factor: delta_1 W_1^T. The rows of all samples lie together, or those of one."""
    cdef const Ways* w = ways_of(f)
    cdef const Layer* a = &f.run.layers[0]
    cdef Py_ssize_t n = f.n if w.count == w.outputs else 1, i = 0
    while i < f.n:
        f.run.shape.kernels.delta_step(
            out_of(f, i), delta_of_ways(f, 0) + i * w.count * a.fan_out * f.run.shape.itemsize,
            a.W, NULL, n * w.count, a.fan_in, a.fan_out, f.run.shape.transposed, f.first, f.count,
            f.scratch)
        i += n


cdef inline Py_ssize_t lines_of(const Shape* s, Py_ssize_t l) noexcept nogil:
    """Lines of dW, as E6 writes them: W of a single unit is one line."""
    return 1 if s.sizes[l + 1] == 1 else s.sizes[l]


cdef inline Py_ssize_t line_of(const Shape* s, Py_ssize_t l) noexcept nogil:
    return s.sizes[l] if s.sizes[l + 1] == 1 else s.sizes[l + 1]


cdef void write_weights(const Step* step, Frame* f) noexcept nogil:
    """E6 of one sample for some lines of dW, counted through all ways; db with the first."""
    cdef const Ways* w = ways_of(f)
    cdef Py_ssize_t l = step.layer, itemsize = f.run.shape.itemsize
    cdef const Layer* a = &f.run.layers[l]
    cdef Py_ssize_t lines = lines_of(f.run.shape, l), at = f.first, end = f.first + f.count
    cdef Py_ssize_t i, k, line, count
    cdef const char* h = input_of(f, l)
    cdef const char* delta = delta_of_ways(f, l)
    cdef char* row
    while at < end:
        k, line = at // lines, at % lines
        count = min(lines - line, end - at)
        for i in range(f.n):
            row = out_of(f, i) + k * w.row_bytes
            f.run.shape.kernels.weight_grad(
                row + (a.W - f.run.layers[0].W), row + (a.b - f.run.layers[0].W),
                h + i * a.fan_in * itemsize, delta + (i * w.count + k) * a.fan_out * itemsize, 1,
                a.fan_in, a.fan_out, False, False, line, count, f.scratch)
        at += count
