"""The delta recursion over the layers of a network.

A pass streams over blocks of 256 rows for each rank that takes part (N1: the bits do not
depend on it). In a block every rank has rows of its own, down to delta_1; only then do they
meet, and every rank computes a part of every dW from all rows of the block:

    forward        h_l = act(h_{l-1} W_l + b_l), act'(z_l) kept beside h_l            E1
    descend        delta_{l-1} = (delta_l W_l^T) * act'(z_{l-1})                      E5
    weight_grads   dW_l = h_{l-1}^T delta_l, db_l = sum_i delta_l                     E6
"""

from fastbp import _config

from libc.stdlib cimport calloc, free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._kernels.table cimport IDENTITY, SIGMOID, Activation
from fastbp._team cimport (
    MOST_RANKS, call_off, called_off, conduct, convene, deserted, dismiss, recruit, share,
)

IN_USE = ("this {} is in use by another thread; give each thread its own, "
          "or wait for the call that is running")

# What there is; an activation is an epilogue of the kernels (table.pxd).
ACTIVATIONS = {"sigmoid": SIGMOID}

cdef enum:
    ALIGNMENT = 64
    LONG = 1 << 20          # multiply-adds between two looks at the clock: some 0.02 ms
    # The crossover of the automatic number of ranks, chosen by bench/crossover.py: bytes of
    # multiply-adds that each rank should have, what a unit's sigmoid counts, rows for each.
    RANK_WORK = 20_000_000
    UNIT_WORK = 40
    RANK_ROWS = 16

cdef extern from *:
    int check_signals "PyErr_CheckSignals"() noexcept


# ---- Ctrl-C -----------------------------------------------------------------------------

cdef Clock start_clock() noexcept nogil:
    cdef Clock clock
    clock.last, clock.work, clock.mode = 0, 0, enter_float_mode()
    leave_float_mode(clock.mode)
    return clock


cdef bint interrupted(Sweep* sweep, int rank, double work) noexcept nogil:
    """Rank 0 looks for signals every 20 ms of a long call, the others at what it found.

    Handlers of signals run under the caller's float mode (N5).
    """
    cdef Clock* clock = &sweep.clock
    cdef timespec t
    cdef double now
    cdef float_mode mode
    if rank > 0:
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
                call_off(&sweep.meeting)
        enter_float_mode()
        leave_float_mode(mode)
    return sweep.meeting.stop


# ---- ranks ------------------------------------------------------------------------------

cdef int ranks_for(const Shape* s, Py_ssize_t n, int products, object n_threads) except -1:
    """A rank needs work that is worth waking a thread for, and rows that fill its tiles."""
    cdef double work
    cdef Py_ssize_t ranks = min(n, <Py_ssize_t> MOST_RANKS)
    if n_threads is not None:
        return max(1, min(ranks, <Py_ssize_t> n_threads))
    work = <double> n * (products * s.weights + UNIT_WORK * s.units) * s.itemsize
    ranks = min(n // RANK_ROWS, <Py_ssize_t> min(<double> MOST_RANKS, work / RANK_WORK))
    if ranks < 2:
        return 1
    return min(ranks, <Py_ssize_t> _config.get_num_threads())


cdef int carry_out(Sweep* sweep, Work work, void* task, int ranks) except -1:
    cdef int size = recruit(ranks)
    sweep.clock = start_clock()
    convene(&sweep.meeting, size)
    with nogil:
        conduct(work, task, size)
        dismiss(size)
    if deserted(&sweep.meeting):
        raise RuntimeError("a handler of signals forked the process inside a call: "
                           "the child cannot go on with it")
    return -1 if sweep.meeting.stop else 0


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

    cdef int reserve(self, Py_ssize_t rows, int ranks) except -1:
        """Room for `rows` samples, in blocks of BLOCK for each of the ranks; it only grows.

        h and dh of each layer for all rows, delta of each layer for one block, scratch for
        each rank. Without `backward` two buffers of a block serve all layers in turn.
        """
        cdef Py_ssize_t block = min(rows, <Py_ssize_t> BLOCK * ranks)
        if rows <= self.rows and block <= self.block and ranks <= self.ranks:
            return 0
        rows, block, ranks = max(rows, self.rows), max(block, self.block), max(ranks, self.ranks)
        cdef const Shape* s = self.shape
        cdef double floor = 0
        cdef Py_ssize_t l, nbytes
        cdef char* at
        for l in range(s.n_layers):
            # h, dh and delta of a layer, and panels of 256 by at most its wider side
            floor += (4.0 * (rows + 8.0 * BLOCK * ranks)
                      * (<double> s.sizes[l] + s.sizes[l + 1]) * s.itemsize)
        check_room(floor)
        nbytes = self.place(NULL, rows, block, ranks) + ALIGNMENT
        at = <char*> malloc(nbytes)
        if at == NULL:
            raise MemoryError(f"the workspace for {rows} rows needs {nbytes} bytes")
        free(self.memory)
        self.memory, self.nbytes = at, nbytes
        self.rows, self.block, self.ranks = rows, block, ranks
        self.place(at + (-<Py_ssize_t> at & (ALIGNMENT - 1)), rows, block, ranks)
        return 0

    cdef Py_ssize_t place(self, char* memory, Py_ssize_t rows, Py_ssize_t block,
                          int ranks) noexcept:
        """Point the buffers into `memory`, unless it is NULL; returns the bytes they need."""
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l, part, at, widest = 0, scratch = 0
        cdef Buffers* a
        for l in range(s.n_layers):
            widest = max(widest, s.sizes[l + 1])
            scratch = max(scratch, s.kernels.scratch_bytes(min(block, <Py_ssize_t> BLOCK),
                                                           s.sizes[l], s.sizes[l + 1]))
        scratch = aligned(scratch)
        at = ranks * scratch
        if memory != NULL:
            self.sweep.scratch, self.sweep.scratch_bytes = memory, scratch
            self.sweep.losses = memory + at
        at += aligned(block * s.sizes[s.n_layers] * s.itemsize)
        for l in range(s.n_layers):
            a = &self.sweep.layers[l]
            part = aligned((rows if self.backward else block) * s.sizes[l + 1] * s.itemsize)
            if not self.backward:
                part = aligned(block * widest * s.itemsize)
                if memory != NULL:
                    a.h = memory + at + (l & 1) * part
                continue
            if memory != NULL:
                a.h = memory + at
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

cdef const char* forward(Sweep* sweep, int rank, const char* X, Py_ssize_t row, Py_ssize_t n,
                         char* output) noexcept nogil:
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
        to = output if output != NULL and l == s.n_layers - 1 else a.h + offset
        dh = a.dh + offset if a.dh != NULL else NULL
        s.kernels.forward(to, dh, h, a.W, a.b, n, s.sizes[l], s.sizes[l + 1], s.transposed,
                          s.activations[l], sweep.scratch + rank * sweep.scratch_bytes)
        h = to
        if interrupted(sweep, rank, <double> n * s.sizes[l] * s.sizes[l + 1]):
            return NULL
    return h


ctypedef struct Rows:           # the task of `forward_of_rank`
    Sweep* sweep
    const char* X
    char* output
    Py_ssize_t n
    bint keep                   # every row of h
    OutputMap output_map


cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     OutputMap output_map, object n_threads) except -1:
    cdef Rows rows = Rows(&ws.sweep, X, output, n, ws.backward, output_map)
    cdef int ranks = ranks_for(ws.shape, n, 1, n_threads)
    ws.reserve(max(n, 1) if ws.backward else min(max(n, 1), <Py_ssize_t> BLOCK * ranks), ranks)
    return carry_out(&ws.sweep, forward_of_rank, &rows, ranks)


cdef void forward_of_rank(void* task, int rank) noexcept nogil:
    """The ranks need not meet: each has rows of its own, and a block for those it does not keep."""
    cdef Rows* r = <Rows*> task
    cdef const Shape* s = r.sweep.shape
    cdef Py_ssize_t outputs = s.sizes[s.n_layers], n, i
    cdef Py_ssize_t first = share(r.n, rank, r.sweep.meeting.size)
    cdef Py_ssize_t last = share(r.n, rank + 1, r.sweep.meeting.size)
    cdef Py_ssize_t at = min(<Py_ssize_t> rank * BLOCK, first)
    cdef char* h
    cdef float_mode mode = enter_float_mode()
    for i in range((last - first + BLOCK - 1) // BLOCK):
        n = min(<Py_ssize_t> BLOCK, last - first - i * BLOCK)
        h = r.output + (first + i * BLOCK) * outputs * s.itemsize
        if forward(r.sweep, rank, r.X + (first + i * BLOCK) * s.sizes[0] * s.itemsize,
                   first + i * BLOCK if r.keep else at, n, h) == NULL:
            break
        if r.output_map != NULL:
            r.output_map(h, h, n * outputs)
        if interrupted(r.sweep, rank, n * (1.0 + UNIT_WORK * outputs)):
            break
    leave_float_mode(mode)


cdef void descend(Sweep* sweep, int rank, Py_ssize_t row, Py_ssize_t at, Py_ssize_t n,
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
                            sweep.scratch + rank * sweep.scratch_bytes)
        if interrupted(sweep, rank, <double> n * s.sizes[l] * s.sizes[l + 1]):
            return


cdef void weight_grads(Sweep* sweep, int rank, const char* X, Py_ssize_t row, Py_ssize_t n,
                       bint accumulate) noexcept nogil:
    """E6: of all weights, one after the other, each rank has an equal share in whole rows.

    A row of dW is as it lies in memory: of (fan_in, fan_out), or of (fan_out, fan_in).
    """
    cdef const Shape* s = sweep.shape
    cdef Py_ssize_t low = share(<Py_ssize_t> s.weights, rank, sweep.meeting.size)
    cdef Py_ssize_t high = share(<Py_ssize_t> s.weights, rank + 1, sweep.meeting.size)
    cdef Py_ssize_t l, rows, width, first, last
    cdef Buffers* a
    cdef const char* h = X
    for l in range(s.n_layers):
        a = &sweep.layers[l]
        rows, width = s.sizes[l], s.sizes[l + 1]
        if s.transposed or width == 1:
            rows, width = width, rows
        first = min(rows, max(<Py_ssize_t> 0, (low + width - 1) // width))
        last = min(rows, max(<Py_ssize_t> 0, (high + width - 1) // width))
        low -= rows * width
        high -= rows * width
        if first < last:
            s.kernels.weight_grad(a.dW, a.db, h, a.delta, n, s.sizes[l], s.sizes[l + 1],
                                  s.transposed, accumulate, first, last - first,
                                  sweep.scratch + rank * sweep.scratch_bytes)
            if interrupted(sweep, rank, <double> n * (last - first) * width):
                return
        h = a.h + row * s.sizes[l + 1] * s.itemsize
