"""One gradient: a pass over a batch in blocks of 256 rows for each thread.

A block has two phases. In the first every part has rows of its own: it gathers them if the
batch has an order, then E1, E2 with E3, E5. The second is E6 over the whole block. Blocks add
their parts of dW, db and of the loss in ascending order (N1, N3).
"""

from fastbp._kernels.float_mode cimport enter_float_mode, leave_float_mode, settled
from fastbp._recursion cimport (
    carry_out, descend, forward, interrupted, rows_in_turn, threads_for, weight_gradients,
)
from fastbp._signals cimport TOUCHED, release_gil, take_gil
from fastbp._team cimport called_off, do_phase
from fastbp._workspace cimport BLOCK, Buffers

cdef enum:
    AT_ONCE = 1 << 22           # weights of a penalty or a division between two looks for signals

ctypedef struct Task:           # of `sweep_of_thread`
    Sweep* sweep
    const Batch* batch
    Py_ssize_t n
    bint gradient
    Totals* totals

ctypedef struct Block:          # the task of a block's two phases
    Sweep* sweep
    const Batch* batch
    Batch samples               # of the block
    Py_ssize_t row              # its first, in the batch
    Py_ssize_t n
    bint gradient
    Totals* totals


cdef double loss_and_gradient(Workspace ws, const Batch* batch, Py_ssize_t n, bint gradient,
                              bint mean, double l2, int asked) except? -1:
    cdef const Shape* s = ws.shape
    cdef Totals totals
    cdef Task task = Task(&ws.sweep, batch, n, gradient, &totals)
    cdef int threads = threads_for(s, n, 3 if gradient else 1, asked)
    ws.reserve(min(max(n, 1), <Py_ssize_t> BLOCK * threads), threads)
    start(&totals)
    carry_out(&ws.sweep, sweep_of_thread, &task, threads)
    if l2 == 0 and not mean:
        return loss_of(&totals)
    return finish(&ws.sweep, &totals, gradient, mean, l2)


cdef void sweep_of_thread(void* task, Seat* seat) noexcept nogil:
    cdef Task* t = <Task*> task
    cdef float_mode mode = enter_float_mode()
    sweep_blocks(t.sweep, seat, t.batch, t.n, t.gradient, t.totals)
    leave_float_mode(mode)


cdef bint sweep_blocks(Sweep* sweep, Seat* seat, const Batch* batch, Py_ssize_t n, bint gradient,
                       Totals* totals) noexcept nogil:
    cdef Py_ssize_t i, rows = <Py_ssize_t> BLOCK * sweep.meeting.parts
    cdef Block block
    block.sweep, block.batch, block.gradient, block.totals = sweep, batch, gradient, totals
    for i in range(max(1, (n + rows - 1) // rows)):
        block.row = i * rows
        block.n = min(rows, n - block.row)
        block.samples = samples(sweep.shape, batch, block.row, block.n)
        if (do_phase(sweep.meeting, seat, rows_part, &block)
                or do_phase(sweep.meeting, seat, sums_part, &block)):
            return True
    return False


cdef void rows_part(void* task, const Seat* seat) noexcept nogil:
    cdef Block* b = <Block*> task
    rows_in_turn(b.sweep, seat, b.n, descend_rows, b)


cdef bint descend_rows(void* task, const Seat* seat, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Gather, E1, E2 and E3, E5 for rows [at, at + n) of a block."""
    cdef Block* b = <Block*> task
    cdef const Shape* s = b.sweep.shape
    cdef Py_ssize_t outputs = s.sizes[s.n_layers], o = at * outputs * s.itemsize
    cdef const char* z
    cdef const char* weight = b.samples.sample_weight
    cdef char* delta = NULL
    if b.batch.order != NULL:
        gather(s, b.batch, &b.samples, b.row, at, n)
    z = forward(b.sweep, seat, b.samples.X + at * s.sizes[0] * s.itemsize, at, n, NULL)
    if z == NULL:
        return True
    if b.gradient:
        delta = b.sweep.layers[s.n_layers - 1].delta + o
    b.batch.criterion(b.sweep.losses + o, delta, z,
                      b.samples.y + at * b.batch.y_width * s.itemsize,
                      weight + at * s.itemsize if weight != NULL else NULL, &b.batch.target, n,
                      outputs)
    if interrupted(b.sweep, seat, n * (64.0 * outputs + s.sizes[0])):
        return True
    return b.gradient and descend(b.sweep, seat, at, at, n, NULL)


cdef void sums_part(void* task, const Seat* seat) noexcept nogil:
    """E6 for a share of every dW; the first part adds up the losses (N3)."""
    cdef Block* b = <Block*> task
    cdef const Shape* s = b.sweep.shape
    cdef const char* weight = b.samples.sample_weight
    if seat.part == 0:
        s.kernels.add_losses(b.totals.loss, b.sweep.losses, weight, b.n, s.sizes[s.n_layers])
        add_weights(s, b.totals, weight, b.n)
    if b.gradient:
        weight_gradients(b.sweep, seat, b.samples.X, 0, b.n, b.row > 0)


cdef void add_weights(const Shape* s, Totals* totals, const char* weight,
                      Py_ssize_t n) noexcept nogil:
    """The sum of the weights, of each 256 rows first, whatever the block (N3)."""
    cdef Py_ssize_t i
    if weight == NULL:
        totals.weight += n
        return
    for i in range((n + BLOCK - 1) // BLOCK):
        totals.weight += s.kernels.total(weight + i * BLOCK * s.itemsize,
                                         min(<Py_ssize_t> BLOCK, n - i * BLOCK))


# ---- samples ----------------------------------------------------------------------------

cdef Py_ssize_t gathered_bytes(const Shape* s, Py_ssize_t block) noexcept nogil:
    return block * (s.sizes[0] + s.sizes[s.n_layers] + 1) * s.itemsize


cdef Batch samples(const Shape* s, const Batch* batch, Py_ssize_t row, Py_ssize_t n) noexcept nogil:
    """Where the samples [row, row + n) lie, or will when they are gathered: X, y, weights."""
    cdef Batch block = batch[0]
    block.order, block.gathered, block.sample_weight = NULL, NULL, NULL
    if batch.order == NULL:
        block.X, block.y = batch.X, batch.y
        if batch.sample_weight != NULL:
            block.sample_weight = batch.sample_weight + row * s.itemsize
        block.X += row * s.sizes[0] * s.itemsize
        block.y += row * batch.y_width * s.itemsize
        return block
    block.X = batch.gathered
    block.y = block.X + n * s.sizes[0] * s.itemsize
    if batch.sample_weight != NULL:
        block.sample_weight = block.y + n * batch.y_width * s.itemsize
    return block


cdef void gather(const Shape* s, const Batch* batch, const Batch* block, Py_ssize_t row,
                 Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Samples [at, at + n) of a block that begins at `row` of the order."""
    cdef const Py_ssize_t* order = batch.order + row + at
    s.kernels.gather(<char*> block.X + at * s.sizes[0] * s.itemsize, batch.X, order, n, s.sizes[0])
    s.kernels.gather(<char*> block.y + at * batch.y_width * s.itemsize, batch.y, order, n,
                     batch.y_width)
    if batch.sample_weight != NULL:
        s.kernels.gather(<char*> block.sample_weight + at * s.itemsize, batch.sample_weight, order,
                         n, 1)


# ---- sums -------------------------------------------------------------------------------

cdef void start(Totals* totals) noexcept nogil:
    cdef int i
    for i in range(8):
        totals.loss[i] = 0
    totals.weight = totals.penalty = 0


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


cdef double total_loss(Sweep* sweep, const Seat* seat, Totals* totals, double l2) noexcept nogil:
    """The loss summed, with its penalty, whose gradient is added to every dW."""
    cdef float_mode mode = enter_float_mode()
    cdef double loss = loss_of(totals)
    if l2 != 0:
        totals.penalty = add_penalty(sweep, seat, l2)
        loss = settled(loss + totals.penalty)
    leave_float_mode(mode)
    return loss


cdef double add_penalty(Sweep* sweep, const Seat* seat, double l2) noexcept nogil:
    """dW += l2 W for every layer; returns l2/2 times the sum of W^2."""
    cdef const Shape* s = sweep.shape
    cdef const Buffers* a
    cdef Totals squares
    cdef Py_ssize_t l, first, count, size, at
    start(&squares)
    for l in range(s.n_layers):
        a = &sweep.layers[l]
        first, size = 0, s.sizes[l] * s.sizes[l + 1]
        while first < size:
            count, at = min(<Py_ssize_t> AT_ONCE, size - first), first * s.itemsize
            s.kernels.penalise(a.dW + at if a.dW != NULL else NULL, squares.loss, a.W + at, l2,
                               count)
            first += count
            if interrupted(sweep, seat, <double> TOUCHED * count):
                return 0
    return settled(0.5 * settled(l2) * loss_of(&squares))


cdef void divide(Sweep* sweep, const Seat* seat, double divisor) noexcept nogil:
    """Every dW and db over the divisor."""
    cdef const Shape* s = sweep.shape
    cdef const Buffers* a
    cdef Py_ssize_t l, first, count, size
    cdef float_mode mode = enter_float_mode()
    for l in range(s.n_layers):
        a = &sweep.layers[l]
        s.kernels.divide(a.db, divisor, s.sizes[l + 1])
        first, size = 0, s.sizes[l] * s.sizes[l + 1]
        while first < size and not called_off(sweep.meeting):
            count = min(<Py_ssize_t> AT_ONCE, size - first)
            s.kernels.divide(a.dW + first * s.itemsize, divisor, count)
            first += count
            interrupted(sweep, seat, <double> TOUCHED * count)
    leave_float_mode(mode)


cdef double finish(Sweep* sweep, Totals* totals, bint gradient, bint mean,
                   double l2) except? -1:
    """Penalty and reduction: completes every dW and db; returns the loss."""
    cdef Seat alone = Seat(0, 0, 0)
    cdef double loss
    release_gil(sweep.clock)
    loss = total_loss(sweep, &alone, totals, l2)
    if gradient and mean:
        divide(sweep, &alone, totals.weight)
    take_gil(sweep.clock)
    if called_off(sweep.meeting):
        return -1
    return mean_of(loss, totals.weight) if mean else loss


cdef int divide_by(Sweep* sweep, double divisor) except -1:
    cdef Seat alone = Seat(0, 0, 0)
    release_gil(sweep.clock)
    divide(sweep, &alone, divisor)
    take_gil(sweep.clock)
    return -1 if called_off(sweep.meeting) else 0
