"""The memory of passes over one network: activations, derivatives, deltas, losses, scratch.

It only grows, and not with the batch: `MLP` has room for one block of rows for each thread. What a
call needs for itself alone it borrows from the pool, a few pieces that the process keeps, so that
no small call waits for the allocator, and many networks hold no more than one.
"""

from libc.stdlib cimport calloc, free, malloc

from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport IDENTITY, Activation
from fastbp._team cimport acquire, release

cdef enum:
    POOL = 8                    # pieces: for as many calls at once
    POOL_BYTES = 1 << 23        # of a piece, at most: a call that needs more takes milliseconds


cdef Py_ssize_t aligned(Py_ssize_t nbytes) noexcept nogil:
    return (nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


cdef int check_room(double nbytes) except -1:
    """Sizes are computed in float64 first: one that overflows 64 bits cannot be had."""
    if nbytes >= 2.0 ** 62:
        raise no_memory(nbytes)
    return 0


cdef object no_memory(double nbytes):
    return MemoryError(f"the workspace needs {nbytes:.3g} bytes")


# ---- memory of a call -------------------------------------------------------------------

cdef Memory[POOL] pool


cdef Memory* borrow(Py_ssize_t nbytes) except NULL:
    cdef int i
    if nbytes <= POOL_BYTES:
        for i in range(POOL):
            if acquire(&pool[i].taken) == 0:
                return fitted(&pool[i], nbytes)
    return new_memory(nbytes)


cdef Memory* fitted(Memory* piece, Py_ssize_t nbytes) except NULL:
    """A piece of the pool that is taken, grown if need be; whenever a fork comes, it is whole."""
    cdef char* old = piece.start
    cdef char* start
    if piece.nbytes < nbytes:
        start = <char*> malloc(nbytes + ALIGNMENT)
        if start == NULL:
            release(&piece.taken)
            raise no_memory(nbytes)
        piece.nbytes = 0
        piece.start, piece.at = start, line(start)
        piece.nbytes = nbytes
        free(old)
    return piece


cdef Memory* new_memory(Py_ssize_t nbytes) except NULL:
    """For one owner: the bytes follow the description."""
    cdef Memory* memory = <Memory*> malloc(sizeof(Memory) + nbytes + ALIGNMENT)
    if memory == NULL:
        raise no_memory(nbytes)
    memory[0] = Memory(<char*> memory, line(<char*> (memory + 1)), nbytes, 1)
    return memory


cdef char* line(char* at) noexcept:
    """The first line of the cache that begins there or later."""
    return at + (-<Py_ssize_t> at & (ALIGNMENT - 1))


cdef void put_back(Memory* memory) noexcept:
    if memory >= &pool[0] and memory < &pool[0] + POOL:
        release(&memory.taken)
    else:
        free(memory)


# ---- a network's ------------------------------------------------------------------------

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
    def __cinit__(self, Architecture architecture, bint backward, bint lent=False):
        self.architecture, self.lent = architecture, lent
        self.shape = self.sweep.shape = &architecture.shape
        self.sweep.meeting, self.sweep.clock = &self.meeting, &self.clock
        self.backward = backward
        self.sweep.layers = <Buffers*> calloc(self.shape.n_layers, sizeof(Buffers))
        if self.sweep.layers == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.sweep.layers)
        put_back(self.memory)

    cdef Workspace lease(self):
        if acquire(&self.taken):
            return Workspace(self.architecture, self.backward, True)
        self.memory = NULL          # nor what a thread had that did not survive a fork
        return self

    cdef void give_back(self) noexcept:
        put_back(self.memory)
        self.memory = NULL
        if self.nbytes > POOL_BYTES:        # not for the next, which may be small
            self.rows = self.block = self.threads = 0
        release(&self.taken)

    cdef int reserve(self, Py_ssize_t rows, int threads) except -1:
        """Room for `rows` samples, in blocks of BLOCK for each thread; it only grows.

        h and dh of each layer for all rows, delta of each layer for one block, scratch for
        each thread. Without `backward` two buffers of a block serve all layers in turn.
        """
        rows, threads = max(rows, self.rows), max(threads, self.threads)
        cdef Py_ssize_t block = min(rows, <Py_ssize_t> BLOCK * threads), nbytes = self.nbytes
        cdef bint fits = rows == self.rows and block == self.block and threads == self.threads
        cdef Memory* memory
        if fits and self.memory != NULL:
            return 0
        if not fits:
            nbytes = self.needed(rows, block, threads)
        memory = borrow(nbytes) if self.lent else new_memory(nbytes)
        put_back(self.memory)
        self.memory = memory
        if not fits or self.placed != memory.at:
            self.placed = NULL
            self.place(memory.at, rows, block, threads)
            self.nbytes, self.threads, self.block, self.rows = nbytes, threads, block, rows
            self.placed = memory.at
        return 0

    cdef Py_ssize_t needed(self, Py_ssize_t rows, Py_ssize_t block, int threads) except -1:
        cdef const Shape* s = self.shape
        cdef double floor = 0
        cdef Py_ssize_t l
        for l in range(s.n_layers):
            # h, dh and delta of a layer, and panels of 256 by at most its wider side
            floor += (4.0 * (rows + 8.0 * BLOCK * threads)
                      * (<double> s.sizes[l] + s.sizes[l + 1]) * s.itemsize)
        check_room(floor)
        return self.place(NULL, rows, block, threads)

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
