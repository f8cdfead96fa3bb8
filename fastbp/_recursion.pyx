"""The delta recursion over the layers of a network.

A pass streams over blocks of 256 rows for each thread that takes part (N1: the bits do not
depend on it). A block has two phases: in the first every part has rows of its own, down to
delta_1; in the second it has a share of every dW, from all rows of the block:

    forward             h_l = act(h_{l-1} W_l + b_l), act'(z_l) kept beside h_l       E1
    descend             delta_{l-1} = (delta_l W_l^T) * act'(z_{l-1})                 E5
    weight_gradients    dW_l = h_{l-1}^T delta_l, db_l = sum_i delta_l                E6
"""

from fastbp import _config

from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._kernels.table cimport IDENTITY, RELU, SIGMOID, SOFTMAX, TANH, Activation
from fastbp._signals cimport (
    PIECE, TOUCHED, UNIT_WORK, at_once, look, release_gil, start_clock, take_gil,
)
from fastbp._team cimport (
    MOST_THREADS, call_off, called_off, conduct, convene, deserted, dismiss, do_phase, recruit,
    share,
)
from fastbp._workspace cimport BLOCK, Buffers

IN_USE = ("this {} is in use by another thread; give each thread its own, "
          "or wait for the call that is running")

# What there is; an activation is an epilogue of the kernels (table.pxd).
ACTIVATIONS = {"sigmoid": SIGMOID, "tanh": TANH, "relu": RELU, "identity": IDENTITY}

cdef enum:
    # The crossover of the automatic number of threads, chosen by bench/crossover.py: bytes of
    # multiply-adds that each should have, rows for each.
    THREAD_WORK = 12_000_000
    THREAD_ROWS = 2

cdef const char* FORKED = ("a handler of signals forked the process inside a call: "
                           "the child cannot go on with it")

cdef extern from *:
    ctypedef struct PyObject
    PyObject* RUNTIME_ERROR "PyExc_RuntimeError"
    void set_error "PyErr_SetString"(PyObject* kind, const char* message) noexcept nogil


# ---- Ctrl-C -----------------------------------------------------------------------------

cdef bint interrupted(Sweep* sweep, const Seat* seat, double work) noexcept nogil:
    """Thread 0 looks for signals, the others at what it found."""
    cdef int found
    if seat.thread == 0:
        found = look(sweep.clock, work)
        if found < 0:
            call_off(sweep.meeting, seat)
        elif found > 0 and deserted(sweep.meeting):
            take_gil(sweep.clock)
            set_error(RUNTIME_ERROR, FORKED)
            release_gil(sweep.clock)
            call_off(sweep.meeting, seat)
    return called_off(sweep.meeting)


cdef void rows_in_turn(const Sweep* sweep, const Seat* seat, Py_ssize_t rows, SomeRows some,
                       void* task) noexcept nogil:
    """PIECE columns of a product take a sixteenth of the time between two looks, at most.

    Functions of a whole layer, which wait for memory and touch it first, may take the rest.
    """
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t at = share(rows, seat.part, sweep.meeting.parts), n
    cdef Py_ssize_t end = share(rows, seat.part + 1, sweep.meeting.parts)
    while at < end:
        n = at_once(end - at, 16.0 * PIECE * s.widest, 1, s.kernels)
        if some(task, seat, at, n):
            return
        at += n


cdef inline double per_weight(Py_ssize_t n) noexcept nogil:
    """What n samples do with a weight, in multiply-adds: of few samples, it comes from memory."""
    return max(n, <Py_ssize_t> TOUCHED)


# ---- threads ----------------------------------------------------------------------------

cdef int asked_threads(object n_threads) except -1:
    return 0 if n_threads is None else min(n_threads, MOST_THREADS)


cdef int threads_for(const Shape* s, Py_ssize_t n, int products, int asked) except -1:
    """A thread needs work that is worth waking it for, and more than one row to read W for."""
    cdef double work
    cdef Py_ssize_t threads = min(n, <Py_ssize_t> MOST_THREADS)
    if asked > 0:
        return max(1, min(threads, <Py_ssize_t> asked))
    work = <double> n * (products * s.weights + UNIT_WORK * s.units) * s.itemsize
    threads = min(n // THREAD_ROWS, <Py_ssize_t> min(<double> MOST_THREADS, work / THREAD_WORK))
    if threads < 2:
        return 1
    return min(threads, <Py_ssize_t> asked_threads(_config.get_num_threads()))


cdef int carry_out(Sweep* sweep, Work work, void* task, int threads) except -1:
    cdef int size = recruit(threads)
    sweep.clock[0] = start_clock()
    convene(sweep.meeting, size)
    release_gil(sweep.clock)
    conduct(work, task, size)
    dismiss(size)
    take_gil(sweep.clock)
    return -1 if called_off(sweep.meeting) else 0


# ---- the recursion ----------------------------------------------------------------------

cdef const char* forward(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                         Py_ssize_t n, char* output) noexcept nogil:
    """E1 for at most BLOCK rows.

    The last layer is written to `output` unless that is NULL; returns where it lies, or NULL
    when the pass is called off.
    """
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t l, first, count, offset
    cdef double column
    cdef Buffers* a
    cdef const char* h = X
    cdef char* to
    cdef char* dh
    for l in range(s.n_layers):
        a = &sweep.layers[l]
        offset = row * s.sizes[l + 1] * s.itemsize
        to = output if output != NULL and l == s.n_layers - 1 else a.h + row * a.room
        dh = a.dh + offset if a.dh != NULL else NULL
        first, column = 0, per_weight(n) * s.sizes[l]
        while first < s.sizes[l + 1]:
            count = at_once(s.sizes[l + 1] - first, column, PIECE, s.kernels)
            s.kernels.forward(to, dh, h, a.W, a.b, n, s.sizes[l], s.sizes[l + 1], s.transposed,
                              s.activations[l], first, count,
                              sweep.scratch + seat.part * sweep.scratch_bytes)
            first += count
            if interrupted(sweep, seat, <double> n * s.sizes[l] * count):
                return NULL
        h = to
    return h


ctypedef struct Rows:           # the task of `forward_of_thread` and its phases
    Sweep* sweep
    const char* X
    char* output
    Py_ssize_t n
    bint keep                   # every row of h
    Activation output_activation
    Py_ssize_t row              # of the block, its first
    Py_ssize_t rows


cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     Activation output_activation, int asked) except -1:
    cdef Rows rows = Rows(&ws.sweep, X, output, n, ws.backward, output_activation, 0, 0)
    cdef int threads = threads_for(ws.shape, n, 1, asked)
    ws.reserve(max(n, 1) if ws.backward else min(max(n, 1), <Py_ssize_t> BLOCK * threads), threads)
    return carry_out(&ws.sweep, forward_of_thread, &rows, threads)


cdef void forward_of_thread(void* task, Seat* seat) noexcept nogil:
    cdef Rows r = (<Rows*> task)[0]
    cdef Py_ssize_t block = <Py_ssize_t> BLOCK * r.sweep.meeting.parts, i
    cdef float_mode mode = enter_float_mode()
    for i in range((r.n + block - 1) // block):
        r.row = i * block
        r.rows = min(block, r.n - r.row)
        if do_phase(r.sweep.meeting, seat, forward_part, &r):
            break
    leave_float_mode(mode)


cdef void forward_part(void* task, const Seat* seat) noexcept nogil:
    cdef Rows* r = <Rows*> task
    rows_in_turn(r.sweep, seat, r.rows, forward_rows, r)


cdef bint forward_rows(void* task, const Seat* seat, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """E1 for rows [at, at + n) of a block; h of all blocks, or of this one, is in the workspace."""
    cdef Rows* r = <Rows*> task
    cdef const Shape* s = r.sweep.shape
    cdef Py_ssize_t outputs = s.sizes[s.n_layers]
    cdef char* h = r.output + (r.row + at) * outputs * s.itemsize
    if forward(r.sweep, seat, r.X + (r.row + at) * s.sizes[0] * s.itemsize,
               r.row + at if r.keep else at, n, h) == NULL:
        return True
    if r.output_activation == SOFTMAX:
        s.kernels.softmax(h, h, n, outputs)
    elif r.output_activation != IDENTITY:
        s.kernels.activate(h, NULL, h, r.output_activation, n * outputs)
    return interrupted(r.sweep, seat, n * (1.0 + UNIT_WORK * outputs))


cdef bint descend(Sweep* sweep, const Seat* seat, Py_ssize_t row, Py_ssize_t at, Py_ssize_t n,
                  char* input_grad) noexcept nogil:
    """E5 from delta_L to delta_1, and to dL/dX unless `input_grad` is NULL."""
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t l, first, count
    cdef double column
    cdef Buffers* a
    cdef char* to
    cdef const char* dh
    for l in range(s.n_layers - 1, -1, -1):
        a = &sweep.layers[l]
        to, dh = input_grad, NULL
        if l > 0:
            to = sweep.layers[l - 1].delta + at * s.sizes[l] * s.itemsize
            if sweep.layers[l - 1].dh != NULL:
                dh = sweep.layers[l - 1].dh + row * s.sizes[l] * s.itemsize
        first, column = 0, per_weight(n) * s.sizes[l + 1]
        while to != NULL and first < s.sizes[l]:
            count = at_once(s.sizes[l] - first, column, PIECE, s.kernels)
            s.kernels.delta(to, a.delta + at * s.sizes[l + 1] * s.itemsize, a.W, dh, n,
                            s.sizes[l], s.sizes[l + 1], s.transposed, first, count,
                            sweep.scratch + seat.part * sweep.scratch_bytes)
            first += count
            if interrupted(sweep, seat, <double> n * s.sizes[l + 1] * count):
                return True
    return False


cdef inline Py_ssize_t rows_before(Py_ssize_t weight, Py_ssize_t rows,
                                   Py_ssize_t width) noexcept nogil:
    """Of `rows` rows of `width` weights, those that begin before this weight."""
    if weight <= 0:
        return 0
    if weight >= rows * width:
        return rows
    return (weight + width - 1) // width


cdef Stretch first_stretch(const Sweep* sweep, const Seat* seat) noexcept nogil:
    """Before any layer: the weights of all, one after the other, in equal shares."""
    cdef Stretch rows
    cdef Py_ssize_t weights = <Py_ssize_t> sweep.shape.weights
    rows.first = rows.last = rows.width = 0
    rows.low = share(weights, seat.part, sweep.meeting.parts)
    rows.high = share(weights, seat.part + 1, sweep.meeting.parts)
    return rows


cdef void next_stretch(Stretch* rows, const Shape* s, Py_ssize_t l) noexcept nogil:
    """A row of dW is as it lies in memory: of (fan_in, fan_out), or of (fan_out, fan_in)."""
    cdef Py_ssize_t count = s.sizes[l]
    rows.width = s.sizes[l + 1]
    if s.transposed or rows.width == 1:
        count, rows.width = rows.width, count
    rows.first = rows_before(rows.low, count, rows.width)
    rows.last = rows_before(rows.high, count, rows.width)
    rows.low -= count * rows.width
    rows.high -= count * rows.width


cdef void weight_gradients(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                           Py_ssize_t n, bint accumulate) noexcept nogil:
    """E6 for a part of every dW; a layer without dW is left out."""
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t l, count
    cdef Stretch rows = first_stretch(sweep, seat)
    cdef Buffers* a
    cdef const char* h = X
    for l in range(s.n_layers):
        a = &sweep.layers[l]
        next_stretch(&rows, s, l)
        while rows.first < rows.last and a.dW != NULL:
            count = at_once(rows.last - rows.first, per_weight(n) * rows.width, 1, s.kernels)
            s.kernels.weight_grad(a.dW, a.db, h, a.delta, n, s.sizes[l], s.sizes[l + 1],
                                  s.transposed, accumulate, rows.first, count,
                                  sweep.scratch + seat.part * sweep.scratch_bytes)
            rows.first += count
            if interrupted(sweep, seat, <double> n * count * rows.width):
                return
        h = a.h + row * s.sizes[l + 1] * s.itemsize
