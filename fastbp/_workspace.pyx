"""The memory of passes over one network: activations, derivatives, deltas, losses, scratch.

It only grows, and not with the batch: `MLP` has room for one block of rows for each thread.
"""

from libc.stdlib cimport calloc, free, malloc

from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport IDENTITY, Activation


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
            self.shape.widest = max(self.shape.widest, self.shape.sizes[i])
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
        self.sweep.meeting, self.sweep.clock = &self.meeting, &self.clock
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
        rows, threads = max(rows, self.rows), max(threads, self.threads)
        cdef Py_ssize_t block = min(rows, <Py_ssize_t> BLOCK * threads)
        if rows == self.rows and block == self.block and threads == self.threads:
            return 0
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
