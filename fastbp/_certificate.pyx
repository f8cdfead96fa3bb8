"""The running error bound of a gradient: e_x beside every x of E1 to E6, in the network's dtype.

u is the unit roundoff, K the length of a sum, |.| elementwise, tiny the least number, which
is never counted as less than NORMAL, the least normal one (_kernels/bound.pxi). Every x is a
computed one and e_x bounds its distance from the true one, for exact params, X and y:

    gamma(K) = k u / (1 - k u),  k = min(K, 256) + ceil(K / 256) + 1                    N1
    e_z      = (gamma(K) |h| + e_h) |W| + gamma(K) |b| + eta(K),  eta(K) = (K + 2) tiny
    e_h, e_h', e_deltaL                                                    _kernels/bound.pxi
    e_g      = (gamma(K) |delta| + e_delta) |W^T| + eta(K),  g = delta W^T
    e_delta  = (h' + e_h') e_g + |g| e_h' + u |delta|
    e_dW     = |h^T| (gamma(m) |delta| + e_delta) + e_h^T (|delta| + e_delta) + eta(m)
    e_db     = sum_i gamma(m) |delta_i| + e_delta_i + eta(m)

m is the number of samples. Beside the three products of a gradient two stand for forward and delta,
and two for dW where a layer's input has an error. The products are the gradient's own kernels; a
`scale` just above 1 covers their roundings, which are relative because no term is negative.

A pass has the blocks and phases of `_gradient`. After the first phase delta and e_delta hold the
operands of e_dW, h its magnitude. In the second the rows of e_dW are summed and, after the last
block, finished; of few samples a few rows at a time, which are read from memory once.
"""

from libc.math cimport INFINITY
from libc.stdlib cimport free, malloc

from fastbp._gradient cimport Totals, add_weights, samples, start
from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._kernels.table cimport IDENTITY, SOFTMAX
from fastbp._recursion cimport (
    Stretch, carry_out, first_stretch, interrupted, next_stretch, rows_in_turn, threads_for,
)
from fastbp._signals cimport PIECE, UNIT_WORK, at_once
from fastbp._team cimport Seat, do_phase
from fastbp._workspace cimport ALIGNMENT, BLOCK, Buffers, Sweep, aligned, check_room

cdef enum:
    UNDERFLOWS = 4      # of each term, in the sum and in its bound, rounded up
    # Bytes of e_dW that stay in the cache from the first sum to the last step: 16 and 128 KiB took
    # 1.1 times as long for one sample. Of more samples than these, products in such short runs
    # pack delta again for each: 1.24 on 1024-1024-1024-1 (512).
    NEAR = 1 << 16
    FEW_SAMPLES = 8

ctypedef struct Task:
    Sweep* values
    Sweep* errors
    const Batch* batch
    Activation output
    Py_ssize_t n
    Totals totals
    const Length* lengths
    Length over_samples     # of E6, with what is done to its sums afterwards
    double rounding     # of that, relative
    double l2
    bint mean
    char* inputs
    char* operand

ctypedef struct Block:  # the task of a block's two phases
    Task* task
    Batch samples
    Py_ssize_t row
    Py_ssize_t n


# ---- sums -------------------------------------------------------------------------------

cdef double roundoff(const Shape* s) noexcept nogil:
    return 2.0 ** -24 if s.itemsize == 4 else 2.0 ** -53


cdef Length length_of(double K, double u, double more) noexcept nogil:
    """Of sums of K products, whose results undergo `more` roundings."""
    cdef float_mode mode = enter_float_mode()
    cdef double k = settled((min(settled(K), 256.0) + (settled(K) + 255.0) // 256.0 + 1) * u)
    cdef Length length
    length.gamma = settled(k / (1 - k) + settled(more) * u) if k < 0.5 else INFINITY
    length.scale = settled(1 + 4 * length.gamma + 16 * u)       # of a sum of two products, too
    length.lost = settled(1 + settled(2 * u * UNDERFLOWS * (K + 2)))
    leave_float_mode(mode)
    return length


# ---- memory and arguments ---------------------------------------------------------------

cdef class Certificate:
    def __cinit__(self, Architecture architecture):
        cdef Py_ssize_t l
        self.shape = &architecture.shape
        self.errors = Workspace(architecture, True)
        self.lengths = <Length*> malloc((self.shape.n_layers + 1) * sizeof(Length))
        if self.lengths == NULL:
            raise MemoryError
        for l in range(self.shape.n_layers + 1):
            self.lengths[l] = length_of(self.shape.sizes[l], roundoff(self.shape), 0)

    def __dealloc__(self):
        free(self.lengths)
        free(self.memory)

    cdef int reserve(self, Py_ssize_t block, int threads) except -1:
        cdef const Shape* s = self.shape
        cdef Py_ssize_t columns, units, inputs, operand, nbytes
        cdef char* at
        self.errors.reserve(block, threads)
        if block <= self.block:
            return 0
        check_room(s.itemsize * (s.sizes[0] + 2 * s.units
                                 + <double> block * (s.sizes[0] + s.widest)))
        units = aligned(<Py_ssize_t> s.units * s.itemsize)
        columns = aligned((s.sizes[0] + <Py_ssize_t> s.units) * s.itemsize)
        inputs = aligned(block * s.sizes[0] * s.itemsize)
        operand = aligned(block * s.widest * s.itemsize)
        nbytes = columns + units + inputs + operand + ALIGNMENT
        at = <char*> malloc(nbytes)
        if at == NULL:
            raise MemoryError(f"the error bound needs {nbytes} bytes")
        free(self.memory)
        self.memory, self.block, self.nbytes = at, block, nbytes
        at += -<Py_ssize_t> at & (ALIGNMENT - 1)
        self.columns, self.biases = at, at + columns
        self.inputs = self.biases + units
        self.operand = self.inputs + inputs
        return 0

    cdef void bind(self, Workspace values) noexcept nogil:
        """Point the errors at W, of one column at |W|, at their own biases, and at the bound."""
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l, at = 0
        cdef char* column = self.columns
        cdef Buffers* a
        cdef Buffers* e
        self.errors.sweep.meeting, self.errors.sweep.clock = &values.meeting, &values.clock
        for l in range(s.n_layers):
            a, e = &values.sweep.layers[l], &self.errors.sweep.layers[l]
            e.W, e.b, e.dW = a.W, self.biases + at, a.dW
            spread(s, self.biases + at, a.b, NULL, self.lengths[l], self.lengths[l].lost,
                   s.sizes[l + 1])
            if s.sizes[l + 1] == 1:
                e.W = column
                s.kernels.spread(column, a.W, NULL, 1, 1, 0, s.sizes[l])
                column += s.sizes[l] * s.itemsize
            at += s.sizes[l + 1] * s.itemsize

    cdef int write(self, Workspace values, const Batch* batch, Activation output, Py_ssize_t n,
                   bint mean, double l2, int asked) except -1:
        cdef const Shape* s = self.shape
        cdef int threads = threads_for(s, n, 6, asked)
        cdef double u = roundoff(s), more
        cdef Py_ssize_t block = min(max(n, 1), <Py_ssize_t> BLOCK * threads)
        cdef Task t
        cdef float_mode mode
        values.reserve(block, threads)
        self.reserve(block, threads)
        mode = enter_float_mode()
        self.bind(values)
        more = settled(roundings(batch, settled(n), u))
        t.rounding = settled(more * u)
        leave_float_mode(mode)
        t.values, t.errors, t.batch, t.output = &values.sweep, &self.errors.sweep, batch, output
        t.n, t.lengths = n, self.lengths
        t.over_samples = length_of(n, u, more)
        t.l2, t.mean = l2, mean
        t.inputs, t.operand = self.inputs, self.operand
        start(&t.totals)
        return carry_out(&values.sweep, pass_of_thread, &t, threads)


cdef double roundings(const Batch* batch, double n, double u) noexcept nogil:
    """What follows a sum, in units of u: the penalty's product and sum, the quotient of a mean.

    The divisor is a float64 sum of n weights, and rounded to the dtype.
    """
    return 6 + (n * 2.0 ** -53 / u if batch.sample_weight != NULL else 0)


cdef void spread(const Shape* s, char* out, const char* x, const char* e, Length length,
                 double lost, Py_ssize_t size) noexcept nogil:
    """gamma |x| + e: the operand, or the bias, of a product that bounds the errors of another."""
    s.kernels.spread(out, x, e, length.gamma, length.scale, lost, size)


# ---- the pass ---------------------------------------------------------------------------

cdef void pass_of_thread(void* task, Seat* seat) noexcept nogil:
    cdef Task* t = <Task*> task
    cdef float_mode mode = enter_float_mode()
    cdef Py_ssize_t i, rows = <Py_ssize_t> BLOCK * t.values.meeting.parts
    cdef Block block
    block.task = t
    for i in range(max(1, (t.n + rows - 1) // rows)):
        block.row = i * rows
        block.n = min(rows, t.n - block.row)
        block.samples = samples(t.values.shape, t.batch, block.row, block.n)
        if (do_phase(t.values.meeting, seat, rows_part, &block)
                or do_phase(t.values.meeting, seat, sums_part, &block)):
            break
    leave_float_mode(mode)


cdef void rows_part(void* task, const Seat* seat) noexcept nogil:
    """The first part adds up the weights."""
    cdef Block* b = <Block*> task
    cdef Task* t = b.task
    if seat.part == 0:
        add_weights(t.values.shape, &t.totals, b.samples.sample_weight, b.n)
    rows_in_turn(t.values, seat, b.n, rows_within, b)


cdef bint rows_within(void* task, const Seat* seat, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """E1, E3, E5 with their bounds for rows [at, at + n) of a block."""
    cdef Block* b = <Block*> task
    cdef Task* t = b.task
    cdef const Shape* s = t.values.shape
    if forward_within(t, seat, b.samples.X + at * s.sizes[0] * s.itemsize, at, n):
        return True
    delta_of_loss(t, &b.samples, at, n)
    if interrupted(t.values, seat, 2.0 * UNIT_WORK * n * s.sizes[s.n_layers]):
        return True
    return descend_within(t, seat, at, n)


cdef bint forward_within(Task* t, const Seat* seat, const char* X, Py_ssize_t at,
                         Py_ssize_t n) noexcept nogil:
    """E1, E4 and e_z, e_h, e_h' of every layer; nonzero when the pass is called off."""
    cdef const Shape* s = t.values.shape
    cdef Py_ssize_t l, o
    cdef Buffers* a
    cdef Buffers* e
    cdef const char* h = X
    cdef const char* e_h = NULL
    cdef char* operand = t.operand + at * s.widest * s.itemsize
    cdef char* values_scratch = t.values.scratch + seat.part * t.values.scratch_bytes
    cdef char* errors_scratch = t.errors.scratch + seat.part * t.errors.scratch_bytes
    cdef Py_ssize_t first, count
    cdef double work
    s.kernels.spread(t.inputs + at * s.sizes[0] * s.itemsize, X, NULL, 1, 1, 0, n * s.sizes[0])
    for l in range(s.n_layers):
        a, e = &t.values.layers[l], &t.errors.layers[l]
        o = at * s.sizes[l + 1] * s.itemsize
        spread(s, operand, h, e_h, t.lengths[l], 0, n * s.sizes[l])
        first, work = 0, 2.0 * n * s.sizes[l]
        while first < s.sizes[l + 1]:
            count = at_once(s.sizes[l + 1] - first, work, PIECE, s.kernels)
            s.kernels.forward(a.h + o, NULL, h, a.W, a.b, n, s.sizes[l], s.sizes[l + 1], False,
                              IDENTITY, first, count, values_scratch)
            s.kernels.forward_magnitudes(e.h + o, operand, e.W, e.b, n, s.sizes[l],
                                         s.sizes[l + 1], first, count, errors_scratch)
            first += count
            if interrupted(t.values, seat, work * count):
                return True
        if s.activations[l] != IDENTITY:
            s.kernels.activate_within(a.h + o, a.dh + o, e.h + o, e.dh + o, s.activations[l],
                                      n * s.sizes[l + 1])
            if interrupted(t.values, seat, <double> UNIT_WORK * n * s.sizes[l + 1]):
                return True
        h, e_h = a.h + o, e.h + o
    return False


cdef void delta_of_loss(Task* t, const Batch* block, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """E3 and e_deltaL."""
    cdef const Shape* s = t.values.shape
    cdef Py_ssize_t outputs = s.sizes[s.n_layers], o = at * outputs * s.itemsize
    cdef Buffers* a = &t.values.layers[s.n_layers - 1]
    cdef Buffers* e = &t.errors.layers[s.n_layers - 1]
    cdef const char* y = block.y + at * block.y_width * s.itemsize
    cdef const char* weight = block.sample_weight
    cdef char* f = t.errors.losses + o
    if weight != NULL:
        weight += at * s.itemsize
    block.criterion(t.values.losses + o, a.delta + o, a.h + o, y, weight, &block.target, n, outputs)
    if t.output == SOFTMAX:
        s.kernels.softmax(f, a.h + o, n, outputs)
    else:
        s.kernels.activate(f, NULL, a.h + o, t.output, n * outputs)
    s.kernels.delta_within(e.delta + o, a.delta + o, f, a.h + o, e.h + o, y, weight,
                           &block.target, t.output, n, outputs)


cdef bint descend_within(Task* t, const Seat* seat, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """E5 and e_delta down to the first layer, leaving the operands of E6; as `forward_within`."""
    cdef const Shape* s = t.values.shape
    cdef Py_ssize_t step, l, o, below, first, count
    cdef double work
    cdef Buffers* a
    cdef Buffers* e
    cdef Buffers* a_below
    cdef Buffers* e_below
    cdef char* operand = t.operand + at * s.widest * s.itemsize
    for step in range(s.n_layers):
        l = s.n_layers - 1 - step
        a, e = &t.values.layers[l], &t.errors.layers[l]
        o, below = at * s.sizes[l + 1] * s.itemsize, at * s.sizes[l] * s.itemsize
        if l > 0:
            a_below, e_below = &t.values.layers[l - 1], &t.errors.layers[l - 1]
            spread(s, operand, a.delta + o, e.delta + o, t.lengths[l + 1], 0,
                   n * s.sizes[l + 1])
            first, work = 0, 2.0 * n * s.sizes[l + 1]
            while first < s.sizes[l]:
                count = at_once(s.sizes[l] - first, work, PIECE, s.kernels)
                s.kernels.delta(a_below.delta + below, a.delta + o, a.W, NULL, n, s.sizes[l],
                                s.sizes[l + 1], False, first, count,
                                t.values.scratch + seat.part * t.values.scratch_bytes)
                s.kernels.delta_magnitudes(e_below.delta + below, operand, e.W, n, s.sizes[l],
                                           s.sizes[l + 1], first, count,
                                           t.errors.scratch + seat.part * t.errors.scratch_bytes)
                first += count
                if interrupted(t.values, seat, work * count):
                    return True
            s.kernels.multiply_within(
                a_below.delta + below, e_below.delta + below,
                a_below.dh + below if a_below.dh != NULL else NULL,
                e_below.dh + below if e_below.dh != NULL else NULL,
                t.lengths[l + 1].lost, n * s.sizes[l])
            s.kernels.spread(a_below.h + below, a_below.h + below, NULL, 1, 1, 0, n * s.sizes[l])
        s.kernels.spread_delta(a.delta + o, e.delta + o, t.over_samples.gamma, t.over_samples.scale,
                               n * s.sizes[l + 1])
    return False


cdef void sums_part(void* task, const Seat* seat) noexcept nogil:
    """e_dW, e_db of a share of the weights, some rows after the other."""
    cdef Block* b = <Block*> task
    cdef Task* t = b.task
    cdef const Shape* s = t.values.shape
    cdef Py_ssize_t l, count
    cdef Stretch rows = first_stretch(t.values, seat)
    for l in range(s.n_layers):
        next_stretch(&rows, s, l)
        while rows.first < rows.last:
            count = at_once(rows.last - rows.first, 2.0 * b.n * rows.width, 1, s.kernels)
            if b.n <= FEW_SAMPLES:
                count = min(count, max(1, NEAR // (rows.width * s.itemsize)))
            sum_rows(b, seat, l, rows.first, count)
            if b.row + b.n == t.n:
                settle(t, l, rows.first, count, rows.width)
            rows.first += count
            if interrupted(t.values, seat, 2.0 * b.n * count * rows.width):
                return


cdef void sum_rows(const Block* b, const Seat* seat, Py_ssize_t l, Py_ssize_t first,
                   Py_ssize_t count) noexcept nogil:
    """Both products of e_dW, in turn for BLOCK samples (N1), and the sum that is e_db."""
    cdef Task* t = b.task
    cdef const Shape* s = t.values.shape
    cdef const Buffers* a = &t.values.layers[l]
    cdef const Buffers* e = &t.errors.layers[l]
    cdef const char* h = t.values.layers[l - 1].h if l > 0 else t.inputs
    cdef Py_ssize_t i, at, n, o
    for i in range(max(1, (b.n + BLOCK - 1) // BLOCK)):
        at = i * BLOCK
        n, o = min(<Py_ssize_t> BLOCK, b.n - at), at * s.sizes[l + 1] * s.itemsize
        s.kernels.weight_grad(a.dW, a.db, h + at * s.sizes[l] * s.itemsize, a.delta + o, n,
                              s.sizes[l], s.sizes[l + 1], False, b.row + at > 0, first, count,
                              t.values.scratch + seat.part * t.values.scratch_bytes)
        if l > 0:           # X has no error
            s.kernels.weight_grad(e.dW, NULL, t.errors.layers[l - 1].h + at * s.sizes[l]
                                  * s.itemsize, e.delta + o, n, s.sizes[l], s.sizes[l + 1], False,
                                  True, first, count,
                                  t.errors.scratch + seat.part * t.errors.scratch_bytes)


cdef void settle(const Task* t, Py_ssize_t l, Py_ssize_t first, Py_ssize_t count,
                 Py_ssize_t width) noexcept nogil:
    """Underflows, the roundings of the penalty, and the division of a mean."""
    cdef const Shape* s = t.values.shape
    cdef const Buffers* a = &t.values.layers[l]
    cdef Py_ssize_t o = first * width * s.itemsize
    cdef double divisor = t.totals.weight if t.mean else 1
    s.kernels.settle_bound(a.dW + o, a.W + o, t.l2, t.rounding, t.over_samples.lost, divisor,
                           count * width)
    if first == 0:
        s.kernels.settle_bound(a.db, NULL, 0, 0, t.over_samples.lost, divisor,
                               s.sizes[l + 1])
