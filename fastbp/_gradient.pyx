"""One gradient: a pass over a batch in blocks of at most 256 rows.

For each block: gather its rows if the batch has an order, E1, E2 with E3, then E5 and E6.
Blocks add their parts of dW, db and of the loss in ascending order (N1, N3).
"""

from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._recursion cimport BLOCK, Shape, interrupted


cdef void start(Totals* totals) noexcept nogil:
    cdef int i
    for i in range(8):
        totals.loss[i] = 0
    totals.weight = 0


cdef double loss_of(const Totals* totals) noexcept nogil:
    """E2: the partial sums, added as a fixed tree."""
    cdef float_mode mode = enter_float_mode()
    cdef double loss = settled(
        ((totals.loss[0] + totals.loss[1]) + (totals.loss[2] + totals.loss[3]))
        + ((totals.loss[4] + totals.loss[5]) + (totals.loss[6] + totals.loss[7])))
    leave_float_mode(mode)
    return loss


cdef double mean_of(double loss, double weight) noexcept nogil:
    """The one division of reduction="mean"."""
    cdef float_mode mode = enter_float_mode()
    loss = settled(settled(loss) / settled(weight))
    leave_float_mode(mode)
    return loss


cdef Batch rows_from(const Shape* s, const Batch* batch, Py_ssize_t row,
                     Py_ssize_t n) noexcept nogil:
    """The samples of rows [row, row + n), gathered when the batch has an order."""
    cdef Batch block
    cdef Py_ssize_t features = s.sizes[0], outputs = s.sizes[s.n_layers], item = s.itemsize
    cdef char* to = batch.gathered
    block.order, block.gathered, block.sample_weight = NULL, NULL, NULL
    if batch.order == NULL:
        block.X = batch.X + row * features * item
        block.y = batch.y + row * outputs * item
        if batch.sample_weight != NULL:
            block.sample_weight = batch.sample_weight + row * item
        return block
    s.kernels.gather(to, batch.X, batch.order + row, n, features)
    block.X = to
    to += n * features * item
    s.kernels.gather(to, batch.y, batch.order + row, n, outputs)
    block.y = to
    to += n * outputs * item
    if batch.sample_weight != NULL:
        s.kernels.gather(to, batch.sample_weight, batch.order + row, n, 1)
        block.sample_weight = to
    return block


cdef int run_blocks(Workspace ws, const Batch* batch, Py_ssize_t n, bint gradient,
                    Totals* totals, Clock* clock) except -1 nogil:
    """E2 into `totals`, and with `gradient` E6 into what `ws` is bound to."""
    cdef Py_ssize_t i, row, rows
    cdef int status
    cdef float_mode mode
    for i in range(max(1, (n + BLOCK - 1) // BLOCK)):
        row = i * BLOCK
        rows = min(<Py_ssize_t> BLOCK, n - row)
        mode = enter_float_mode()
        status = run_block(ws, batch, row, rows, gradient, totals, clock)
        leave_float_mode(mode)
        if status < 0:
            return -1
    return 0


cdef int run_block(Workspace ws, const Batch* batch, Py_ssize_t row, Py_ssize_t n, bint gradient,
                   Totals* totals, Clock* clock) noexcept nogil:
    """The rows [row, row + n) of a batch; -1 when interrupted."""
    cdef const Shape* s = ws.shape
    cdef Batch block = rows_from(s, batch, row, n)
    cdef const char* z = ws.forward(block.X, 0, n, NULL, clock)
    # the recursion starts in the other of the two delta buffers
    cdef char* delta = ws.delta + ws.delta_bytes if gradient else NULL
    if z == NULL:
        return -1
    s.kernels.bce_with_logits(delta, totals.loss, z, block.y, block.sample_weight, n,
                              s.sizes[s.n_layers])
    if gradient and ws.backprop(block.X, delta, 0, n, NULL, row > 0, clock) < 0:
        return -1
    if block.sample_weight == NULL:
        totals.weight += n
    else:
        totals.weight += s.kernels.total(block.sample_weight, n)
    return interrupted(clock, 64.0 * n * s.sizes[s.n_layers])


cdef double add_penalty(Workspace ws, double l2) noexcept nogil:
    """dW += l2 W for every layer; returns l2/2 times the sum of W^2."""
    cdef const Shape* s = ws.shape
    cdef Totals squares
    cdef Py_ssize_t l
    start(&squares)
    for l in range(s.n_layers):
        s.kernels.penalise(ws.layers[l].dW, squares.loss, ws.layers[l].W, l2,
                           s.sizes[l] * s.sizes[l + 1])
    return settled(0.5 * settled(l2) * loss_of(&squares))


cdef double finish(Workspace ws, const Totals* totals, char* grad, Py_ssize_t n_params, double l2,
                   bint mean) noexcept nogil:
    """Penalty and reduction: completes grad; returns the loss summed, not yet divided."""
    cdef float_mode mode = enter_float_mode()
    cdef double loss = loss_of(totals)
    if l2 != 0:
        loss = settled(loss + add_penalty(ws, l2))
    if mean:
        ws.shape.kernels.divide(grad, totals.weight, n_params)
    leave_float_mode(mode)
    return loss
