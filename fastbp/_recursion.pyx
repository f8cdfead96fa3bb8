"""The delta recursion over the layers of a network.

A pass streams over blocks of at most 256 rows (N1: the bits do not depend on it):

    forward    h_l = act(h_{l-1} W_l + b_l), act'(z_l) kept beside h_l              E1
    backward   dW_l = h_{l-1}^T delta_l, db_l = sum_i delta_l                       E6
               delta_{l-1} = (delta_l W_l^T) * act'(z_{l-1})                        E5
"""

import os

from libc.stdlib cimport calloc, free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._kernels.table cimport IDENTITY, SIGMOID, Activation

IN_USE = ("this {} is in use by another thread; give each thread its own, "
          "or wait for the call that is running")

# What there is; an activation is an epilogue of the kernels (table.pxd).
ACTIVATIONS = {"sigmoid": SIGMOID}

cdef enum:
    ALIGNMENT = 64
    LONG = 1 << 20          # multiply-adds between two looks at the clock: some 0.02 ms

cdef extern from *:
    int check_signals "PyErr_CheckSignals"() noexcept
    int compare_and_swap "__sync_val_compare_and_swap"(int* p, int old, int new) noexcept nogil
    void clear "__sync_lock_release"(int* p) noexcept nogil

cdef int generation = 1     # of this process, counted in forks


cdef Clock start_clock() noexcept nogil:
    cdef Clock clock
    clock.last, clock.work, clock.mode = 0, 0, enter_float_mode()
    leave_float_mode(clock.mode)
    return clock


cdef int interrupted(Clock* clock, double work) noexcept nogil:
    """-1, with KeyboardInterrupt set, if Ctrl-C was pressed; looks every 20 ms of a long call.

    Handlers of signals run under the caller's float mode (N5).
    """
    cdef timespec t
    cdef double now
    cdef float_mode mode
    cdef int status = 0
    clock.work += work
    if clock.work < LONG:
        return 0
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
            status = check_signals()
        enter_float_mode()
        leave_float_mode(mode)
    return status


cdef int acquire(int* flag) noexcept nogil:
    """Take the flag; a holder that did not survive a fork does not count."""
    cdef int holder = compare_and_swap(flag, 0, generation)
    if holder != 0 and holder != generation:
        holder = 0 if compare_and_swap(flag, holder, generation) == holder else 1
    return holder


cdef void release(int* flag) noexcept nogil:
    clear(flag)


def _after_fork():
    global generation
    generation += 1


os.register_at_fork(after_in_child=_after_fork)


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
        for i, activation in enumerate(activations):
            self.shape.activations[i] = activation

    def __dealloc__(self):
        free(self.shape.sizes)
        free(self.shape.activations)


cdef class Workspace:
    def __cinit__(self, Architecture architecture, bint backward):
        self.architecture = architecture
        self.shape = &architecture.shape
        self.backward = backward
        self.layers = <Buffers*> calloc(self.shape.n_layers, sizeof(Buffers))
        if self.layers == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.layers)
        free(self.memory)

    cdef int reserve(self, Py_ssize_t rows) except -1:
        """Room for `rows` samples: h and dh of each layer, two deltas of a block, scratch.

        Without `backward` two buffers serve all layers in turn, for one block of rows.
        """
        cdef const Shape* s = self.shape
        cdef Py_ssize_t block = min(rows, <Py_ssize_t> BLOCK)
        cdef Py_ssize_t widest = 0, scratch = 0, total, l, part
        cdef double floor = 0
        cdef char* at
        if rows <= self.rows:
            return 0
        for l in range(s.n_layers):
            # h, dh and delta of a layer, and panels of 256 by at most its wider side
            floor += 4.0 * (rows + 8 * BLOCK) * (<double> s.sizes[l] + s.sizes[l + 1]) * s.itemsize
        check_room(floor)
        for l in range(s.n_layers):
            widest = max(widest, s.sizes[l + 1])
            scratch = max(scratch, s.kernels.scratch_bytes(block, s.sizes[l], s.sizes[l + 1]))
        part = aligned(block * widest * s.itemsize)
        total = aligned(scratch) + 2 * part + ALIGNMENT
        if self.backward:
            for l in range(s.n_layers):
                total += 2 * aligned(rows * s.sizes[l + 1] * s.itemsize)
        at = <char*> malloc(total)
        if at == NULL:
            raise MemoryError(f"the workspace for {rows} rows needs {total} bytes")
        free(self.memory)
        self.memory, self.rows, self.nbytes = at, rows, total
        at += -<Py_ssize_t> at & (ALIGNMENT - 1)
        self.scratch, self.delta, self.delta_bytes = at, at + aligned(scratch), part
        at = self.delta + 2 * part
        for l in range(s.n_layers):
            if self.backward:
                part = aligned(rows * s.sizes[l + 1] * s.itemsize)
                self.layers[l].h = at
                self.layers[l].dh = NULL if s.activations[l] == IDENTITY else at + part
                at += 2 * part
            else:
                self.layers[l].h = self.delta + (l & 1) * self.delta_bytes
        return 0

    cdef void bind(self, const char* params, char* grad) noexcept nogil:
        """Point every layer into the flat vectors W_1, b_1, W_2, b_2, ...; grad may be NULL."""
        cdef Py_ssize_t l, width, weights
        for l in range(self.shape.n_layers):
            width = self.shape.sizes[l + 1] * self.shape.itemsize
            weights = self.shape.sizes[l] * width
            self.layers[l].W = params
            self.layers[l].b = params + weights
            params += weights + width
            if grad != NULL:
                self.layers[l].dW = grad
                self.layers[l].db = grad + weights
                grad += weights + width

    cdef const char* forward(self, const char* X, Py_ssize_t row, Py_ssize_t n, char* output,
                             Clock* clock) noexcept nogil:
        """E1 for n <= BLOCK rows, kept from workspace row `row` on.

        The last layer is written to `output` unless that is NULL; returns where it lies, or
        NULL when interrupted.
        """
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l, offset
        cdef Buffers* a
        cdef const char* h = X
        cdef char* to
        cdef char* dh
        for l in range(s.n_layers):
            a = &self.layers[l]
            offset = row * s.sizes[l + 1] * s.itemsize
            to = output if output != NULL and l == s.n_layers - 1 else a.h + offset
            dh = a.dh + offset if a.dh != NULL else NULL
            s.kernels.forward(to, dh, h, a.W, a.b, n, s.sizes[l], s.sizes[l + 1],
                              s.transposed, s.activations[l], self.scratch)
            h = to
            if interrupted(clock, <double> n * s.sizes[l] * s.sizes[l + 1]) < 0:
                return NULL
        return h

    cdef int forward_rows(self, const char* X, char* h, Py_ssize_t n) except -1 nogil:
        """E1 for any n, block after block; the outputs go to h."""
        cdef const Shape* s = self.shape
        cdef Py_ssize_t i, rows
        cdef const char* done
        cdef float_mode mode
        cdef Clock clock = start_clock()
        for i in range((n + BLOCK - 1) // BLOCK):
            rows = min(<Py_ssize_t> BLOCK, n - i * BLOCK)
            mode = enter_float_mode()
            done = self.forward(X, i * BLOCK if self.backward else 0, rows, h, &clock)
            leave_float_mode(mode)
            if done == NULL or interrupted(&clock, rows) < 0:
                return -1
            X += rows * s.sizes[0] * s.itemsize
            h += rows * s.sizes[s.n_layers] * s.itemsize
        return 0

    cdef int backprop(self, const char* X, const char* delta, Py_ssize_t row, Py_ssize_t n,
                      char* input_grad, bint accumulate, Clock* clock) noexcept nogil:
        """E6 and E5 from the last layer to the first, from delta_L of the block.

        Returns -1 when interrupted.
        """
        cdef const Shape* s = self.shape
        cdef Py_ssize_t step, l, below
        cdef Buffers* a
        cdef const char* h
        cdef char* to
        for step in range(s.n_layers):
            l = s.n_layers - 1 - step
            a = &self.layers[l]
            below = row * s.sizes[l] * s.itemsize
            h = X
            if l > 0:
                h = self.layers[l - 1].h + below
            s.kernels.weight_grad(a.dW, a.db, h, delta, n, s.sizes[l], s.sizes[l + 1],
                                  s.transposed, accumulate, self.scratch)
            if interrupted(clock, <double> n * s.sizes[l] * s.sizes[l + 1]) < 0:
                return -1
            if l > 0:
                to = self.delta + (step & 1) * self.delta_bytes
                s.kernels.delta(to, delta, a.W, self.layers[l - 1].dh + below, n,
                                s.sizes[l], s.sizes[l + 1], s.transposed, self.scratch)
                delta = to
            elif input_grad != NULL:
                s.kernels.delta(input_grad, delta, a.W, NULL, n, s.sizes[l], s.sizes[l + 1],
                                s.transposed, self.scratch)
            if interrupted(clock, <double> n * s.sizes[l] * s.sizes[l + 1]) < 0:
                return -1
        return 0
