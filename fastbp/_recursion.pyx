"""The delta recursion over the layers of a network.

A pass streams over blocks of 256 rows for each thread that takes part (N1: the bits do not
depend on it). A block has two phases: in the first every part has rows of its own, down to
delta_1; in the second it has a share of every dW, from all rows of the block:

    forward             h_l = act(h_{l-1} W_l + b_l), act'(z_l) kept beside h_l       E1
    descend             delta_{l-1} = (delta_l W_l^T) * act'(z_{l-1})                 E5
    weight_gradients    dW_l = h_{l-1}^T delta_l, db_l = sum_i delta_l                E6
"""

from fastbp import _config

from libc.stdlib cimport calloc, free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._kernels.table cimport IDENTITY, SIGMOID, Activation
from fastbp._team cimport (
    MOST_THREADS, call_off, called_off, conduct, convene, deserted, dismiss, do_phase, recruit,
    share,
)

IN_USE = ("this {} is in use by another thread; give each thread its own, "
          "or wait for the call that is running")

# What there is; an activation is an epilogue of the kernels (table.pxd).
ACTIVATIONS = {"sigmoid": SIGMOID}

cdef enum:
    ALIGNMENT = 64
    LONG = 1 << 20          # multiply-adds between two looks at the clock: some 0.02 ms
    # The crossover of the automatic number of threads, chosen by bench/crossover.py: bytes of
    # multiply-adds that each should have, what a unit's sigmoid counts, rows for each.
    THREAD_WORK = 12_000_000
    UNIT_WORK = 40
    THREAD_ROWS = 2

cdef extern from *:
    int check_signals "PyErr_CheckSignals"() noexcept


# ---- Ctrl-C -----------------------------------------------------------------------------

cdef Clock start_clock() noexcept nogil:
    cdef Clock clock
    clock.last, clock.work, clock.mode = 0, 0, enter_float_mode()
    leave_float_mode(clock.mode)
    return clock


cdef bint interrupted(Sweep* sweep, const Seat* seat, double work) noexcept nogil:
    """Thread 0 looks for signals every 20 ms of a long call, the others at what it found.

    Handlers of signals run under the caller's float mode (N5).
    """
    cdef Clock* clock = &sweep.clock
    cdef timespec t
    cdef double now
    cdef float_mode mode
    if seat.thread > 0:
        return called_off(&sweep.meeting)
    clock.work += work
    if clock.work < LONG:
        return False
    clock.work = 0
    clock_gettime(CLOCK_MONOTONIC, &t)
    now = t.tv_sec + 1e-9 * t.tv_nsec
    if clock.last == 0:
        clock.last = now
    elif now - clock.last > 0.02:
        clock.last = now
        mode = enter_float_mode()
        leave_float_mode(clock.mode)
        with gil:
            if check_signals() < 0 or deserted(&sweep.meeting):
                call_off(&sweep.meeting, seat)
        enter_float_mode()
        leave_float_mode(mode)
    return called_off(&sweep.meeting)


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
    sweep.clock = start_clock()
    convene(&sweep.meeting, size)
    with nogil:
        conduct(work, task, size)
        dismiss(size)
    if deserted(&sweep.meeting):
        raise RuntimeError("a handler of signals forked the process inside a call: "
                           "the child cannot go on with it")
    return -1 if called_off(&sweep.meeting) else 0


# ---- memory -----------------------------------------------------------------------------

cdef Py_ssize_t aligned(Py_ssize_t nbytes) noexcept nogil:
    return (nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


cdef int check_room(double nbytes) except -1:
    """Sizes are computed in float64 first: one that overflows 64 bits cannot be had."""
    if nbytes >= 2.0 ** 62:
        raise MemoryError(f"the workspace needs {nbytes:.3g} bytes")
    return 0


cdef class Architecture:
    def __cinit__(self, tuple sizes, activations, Py_ssize_t itemsize, bint transposed):
        cdef Py_ssize_t n_layers = len(sizes) - 1
        cdef Py_ssize_t l
        self.shape.kernels = kernels(itemsize)
        self.shape.itemsize = itemsize
        self.shape.n_layers = n_layers
        self.shape.transposed = transposed
        self.shape.sizes = <Py_ssize_t*> malloc((n_layers + 1) * sizeof(Py_ssize_t))
        self.shape.activations = <Activation*> malloc(n_layers * sizeof(Activation))
        if self.shape.sizes == NULL or self.shape.activations == NULL:
            raise MemoryError
        for i, size in enumerate(sizes):
            self.shape.sizes[i] = size
        for l in range(n_layers):
            self.shape.activations[l] = activations[l]
            self.shape.weights += self.shape.sizes[l] * self.shape.sizes[l + 1]
            self.shape.units += self.shape.sizes[l + 1]

    def __dealloc__(self):
        free(self.shape.sizes)
        free(self.shape.activations)


cdef class Workspace:
    def __cinit__(self, Architecture architecture, bint backward):
        self.architecture = architecture
        self.shape = self.sweep.shape = &architecture.shape
        self.backward = backward
        self.sweep.layers = <Buffers*> calloc(self.shape.n_layers, sizeof(Buffers))
        if self.sweep.layers == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.sweep.layers)
        free(self.memory)

    cdef int reserve(self, Py_ssize_t rows, int threads) except -1:
        """Room for `rows` samples, in blocks of BLOCK for each thread; it only grows.

        h and dh of each layer for all rows, delta of each layer for one block, scratch for
        each thread. Without `backward` two buffers of a block serve all layers in turn.
        """
        cdef Py_ssize_t block = min(rows, <Py_ssize_t> BLOCK * threads)
        if rows <= self.rows and block <= self.block and threads <= self.threads:
            return 0
        rows, block = max(rows, self.rows), max(block, self.block)
        threads = max(threads, self.threads)
        cdef const Shape* s = self.shape
        cdef double floor = 0
        cdef Py_ssize_t l, nbytes
        cdef char* at
        for l in range(s.n_layers):
            # h, dh and delta of a layer, and panels of 256 by at most its wider side
            floor += (4.0 * (rows + 8.0 * BLOCK * threads)
                      * (<double> s.sizes[l] + s.sizes[l + 1]) * s.itemsize)
        check_room(floor)
        nbytes = self.place(NULL, rows, block, threads) + ALIGNMENT
        at = <char*> malloc(nbytes)
        if at == NULL:
            raise MemoryError(f"the workspace for {rows} rows needs {nbytes} bytes")
        free(self.memory)
        self.memory, self.nbytes = at, nbytes
        self.rows, self.block, self.threads = rows, block, threads
        self.place(at + (-<Py_ssize_t> at & (ALIGNMENT - 1)), rows, block, threads)
        return 0

    cdef Py_ssize_t place(self, char* memory, Py_ssize_t rows, Py_ssize_t block,
                          int threads) noexcept:
        """Point the buffers into `memory`, unless it is NULL; returns the bytes they need."""
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l, part, at, widest = 0, scratch = 0
        cdef Buffers* a
        for l in range(s.n_layers):
            widest = max(widest, s.sizes[l + 1])
            scratch = max(scratch, s.kernels.scratch_bytes(min(block, <Py_ssize_t> BLOCK),
                                                           s.sizes[l], s.sizes[l + 1]))
        scratch = aligned(scratch)
        at = threads * scratch
        if memory != NULL:
            self.sweep.scratch, self.sweep.scratch_bytes = memory, scratch
            self.sweep.losses = memory + at
        at += aligned(block * s.sizes[s.n_layers] * s.itemsize)
        for l in range(s.n_layers):
            a = &self.sweep.layers[l]
            if not self.backward:
                part = aligned(block * widest * s.itemsize)
                if memory != NULL:
                    a.h, a.room = memory + at + (l & 1) * part, widest * s.itemsize
                continue
            part = aligned(rows * s.sizes[l + 1] * s.itemsize)
            if memory != NULL:
                a.h, a.room = memory + at, s.sizes[l + 1] * s.itemsize
                a.dh = NULL if s.activations[l] == IDENTITY else memory + at + part
                a.delta = memory + at + 2 * part
            at += 2 * part + aligned(block * s.sizes[l + 1] * s.itemsize)
        return at if self.backward else at + 2 * aligned(block * widest * s.itemsize)

    cdef void bind(self, const char* params, char* grad) noexcept nogil:
        """Point every layer into the flat vectors W_1, b_1, W_2, b_2, ...; grad may be NULL."""
        cdef Py_ssize_t l, width, weights
        cdef Buffers* a
        for l in range(self.shape.n_layers):
            a = &self.sweep.layers[l]
            width = self.shape.sizes[l + 1] * self.shape.itemsize
            weights = self.shape.sizes[l] * width
            a.W, a.b = params, params + weights
            params += weights + width
            if grad != NULL:
                a.dW, a.db = grad, grad + weights
                grad += weights + width


# ---- the recursion ----------------------------------------------------------------------

cdef const char* forward(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                         Py_ssize_t n, char* output) noexcept nogil:
    """E1 for at most BLOCK rows.

    The last layer is written to `output` unless that is NULL; returns where it lies, or NULL
    when the pass is called off.
    """
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t l, offset
    cdef Buffers* a
    cdef const char* h = X
    cdef char* to
    cdef char* dh
    for l in range(s.n_layers):
        a = &sweep.layers[l]
        offset = row * s.sizes[l + 1] * s.itemsize
        to = output if output != NULL and l == s.n_layers - 1 else a.h + row * a.room
        dh = a.dh + offset if a.dh != NULL else NULL
        s.kernels.forward(to, dh, h, a.W, a.b, n, s.sizes[l], s.sizes[l + 1], s.transposed,
                          s.activations[l], sweep.scratch + seat.part * sweep.scratch_bytes)
        h = to
        if interrupted(sweep, seat, <double> n * s.sizes[l] * s.sizes[l + 1]):
            return NULL
    return h


ctypedef struct Rows:           # the task of `forward_of_thread`
    Sweep* sweep
    const char* X
    char* output
    Py_ssize_t n
    bint keep                   # every row of h
    OutputMap output_map


cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     OutputMap output_map, int asked) except -1:
    cdef Rows rows = Rows(&ws.sweep, X, output, n, ws.backward, output_map)
    cdef int threads = threads_for(ws.shape, n, 1, asked)
    ws.reserve(max(n, 1) if ws.backward else min(max(n, 1), <Py_ssize_t> BLOCK * threads), threads)
    return carry_out(&ws.sweep, forward_of_thread, &rows, threads)


cdef void forward_of_thread(void* task, Seat* seat) noexcept nogil:
    cdef float_mode mode = enter_float_mode()
    do_phase(&(<Rows*> task).sweep.meeting, seat, forward_part, task)
    leave_float_mode(mode)


cdef void forward_part(void* task, const Seat* seat) noexcept nogil:
    """A part of all rows, block after block; those it does not keep have a block of its own."""
    cdef Rows* r = <Rows*> task
    cdef const Shape* s = r.sweep.shape
    cdef Py_ssize_t outputs = s.sizes[s.n_layers], n, i
    cdef Py_ssize_t first = share(r.n, seat.part, r.sweep.meeting.parts)
    cdef Py_ssize_t last = share(r.n, seat.part + 1, r.sweep.meeting.parts)
    cdef Py_ssize_t at = min(<Py_ssize_t> seat.part * BLOCK, first)
    cdef char* h
    for i in range((last - first + BLOCK - 1) // BLOCK):
        n = min(<Py_ssize_t> BLOCK, last - first - i * BLOCK)
        h = r.output + (first + i * BLOCK) * outputs * s.itemsize
        if forward(r.sweep, seat, r.X + (first + i * BLOCK) * s.sizes[0] * s.itemsize,
                   first + i * BLOCK if r.keep else at, n, h) == NULL:
            break
        if r.output_map != NULL:
            r.output_map(h, h, n * outputs)
        if interrupted(r.sweep, seat, n * (1.0 + UNIT_WORK * outputs)):
            break


cdef void descend(Sweep* sweep, const Seat* seat, Py_ssize_t row, Py_ssize_t at, Py_ssize_t n,
                  char* input_grad) noexcept nogil:
    """E5 from delta_L to delta_1, and to dL/dX unless `input_grad` is NULL."""
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t step, l
    cdef Buffers* a
    cdef char* to
    cdef const char* dh
    for step in range(s.n_layers):
        l = s.n_layers - 1 - step
        a = &sweep.layers[l]
        to, dh = input_grad, NULL
        if l > 0:
            to = sweep.layers[l - 1].delta + at * s.sizes[l] * s.itemsize
            dh = sweep.layers[l - 1].dh + row * s.sizes[l] * s.itemsize
        if to != NULL:
            s.kernels.delta(to, a.delta + at * s.sizes[l + 1] * s.itemsize, a.W, dh, n,
                            s.sizes[l], s.sizes[l + 1], s.transposed,
                            sweep.scratch + seat.part * sweep.scratch_bytes)
        if interrupted(sweep, seat, <double> n * s.sizes[l] * s.sizes[l + 1]):
            return


cdef inline Py_ssize_t rows_before(Py_ssize_t weight, Py_ssize_t rows,
                                   Py_ssize_t width) noexcept nogil:
    """Of `rows` rows of `width` weights, those that begin before this weight."""
    if weight <= 0:
        return 0
    if weight >= rows * width:
        return rows
    return (weight + width - 1) // width


cdef void weight_gradients(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                           Py_ssize_t n, bint accumulate) noexcept nogil:
    """E6: of all weights, one after the other, each part has an equal share in whole rows.

    A row of dW is as it lies in memory: of (fan_in, fan_out), or of (fan_out, fan_in).
    """
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t low = share(<Py_ssize_t> s.weights, seat.part, sweep.meeting.parts)
    cdef Py_ssize_t high = share(<Py_ssize_t> s.weights, seat.part + 1, sweep.meeting.parts)
    cdef Py_ssize_t l, rows, width, first, last
    cdef Buffers* a
    cdef const char* h = X
    for l in range(s.n_layers):
        a = &sweep.layers[l]
        rows, width = s.sizes[l], s.sizes[l + 1]
        if s.transposed or width == 1:
            rows, width = width, rows
        first, last = rows_before(low, rows, width), rows_before(high, rows, width)
        low -= rows * width
        high -= rows * width
        if first < last:
            s.kernels.weight_grad(a.dW, a.db, h, a.delta, n, s.sizes[l], s.sizes[l + 1],
                                  s.transposed, accumulate, first, last - first,
                                  sweep.scratch + seat.part * sweep.scratch_bytes)
            if interrupted(sweep, seat, <double> n * (last - first) * width):
                return
        h = a.h + row * s.sizes[l + 1] * s.itemsize
