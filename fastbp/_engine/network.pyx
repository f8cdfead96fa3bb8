"""One network in the engine: shape, array pointers, and the memory of passes over it.

The workspace holds activations, derivatives, deltas, losses and scratch. It only grows, and not
with the batch: `MLP` has room for one block of rows for each thread.
"""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastbp._engine.arrays cimport data
from fastbp._engine.memory cimport POOL_BYTES, aligned, borrow, check_room, new_memory, put_back
from fastbp._engine.plan cimport BLOCK_ROWS, begin, discard
from fastbp._engine.signals cimport TILE_COLUMNS
from fastbp._engine.team cimport acquire, release
from fastbp._kernels.dispatch cimport kernels, kernels_of_networks
from fastbp._kernels.table cimport IDENTITY


cdef class Architecture:
    def __cinit__(self, tuple sizes, activations, Py_ssize_t itemsize, bint transposed,
                  bint together=False):
        cdef Py_ssize_t n_layers = len(sizes) - 1
        cdef Py_ssize_t l
        self.shape.kernels = kernels_of_networks(itemsize) if together else kernels(itemsize)
        self.shape.itemsize = self.shape.kernels.itemsize
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
            self.shape.widest_output = max(self.shape.widest_output, self.shape.sizes[l + 1])
            self.shape.tile_work = max(
                self.shape.tile_work,
                <double> self.shape.sizes[l] * min(self.shape.sizes[l + 1], TILE_COLUMNS),
                <double> self.shape.sizes[l + 1] * min(self.shape.sizes[l], TILE_COLUMNS))
            self.shape.n_params += (self.shape.sizes[l] + 1) * self.shape.sizes[l + 1]

    def __dealloc__(self):
        free(self.shape.sizes)
        free(self.shape.activations)


cdef class Workspace:
    def __cinit__(self, Architecture architecture, bint backward, bint lent=False,
                  bint whole=False):
        cdef Py_ssize_t l
        self.architecture, self.lent, self.whole = architecture, lent, whole
        self.shape = &architecture.shape
        self.backward = backward
        self.layers = <Layer*> calloc(self.shape.n_layers, sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        for l in range(self.shape.n_layers):
            self.layers[l].fan_in = self.shape.sizes[l]
            self.layers[l].fan_out = self.shape.sizes[l + 1]
            self.layers[l].activation = self.shape.activations[l]

    def __dealloc__(self):
        cdef int i
        for i in range(KEPT_PLANS):
            discard(&self.plans[i])
        free(self.layers)
        put_back(self.memory)

    cdef Workspace lease(self):
        if acquire(&self.taken):
            return Workspace(self.architecture, self.backward, True)
        # After a fork the memory may still be that of a thread which the child does not have.
        self.memory = NULL
        return self

    cdef void give_back(self) noexcept:
        put_back(self.memory)
        self.memory = NULL
        if self.nbytes > POOL_BYTES:        # the next call may need less
            self.rows = self.block = self.threads = 0
        release(&self.taken)

    cdef int reserve(self, Py_ssize_t rows, int threads) except -1:
        """Room for `rows` samples, in blocks of BLOCK_ROWS for each thread; it only grows.

        h and slope of each layer for all rows, delta of each layer for one block, or for all rows
        of a `whole` one, scratch for each thread. Without `backward` two buffers of a block serve
        all layers in turn.
        """
        rows, threads = max(rows, 1, self.rows), max(threads, self.threads)
        cdef Py_ssize_t block = min(rows, <Py_ssize_t> BLOCK_ROWS * threads), nbytes = self.nbytes
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
            # h, slope and delta of a layer, and panels of 256 by at most its wider side
            floor += (4.0 * (rows + 8.0 * BLOCK_ROWS * threads)
                      * (<double> s.sizes[l] + s.sizes[l + 1]) * s.itemsize)
        check_room(floor)
        return self.place(NULL, rows, block, threads)

    cdef Py_ssize_t place(self, char* memory, Py_ssize_t rows, Py_ssize_t block,
                          int threads) noexcept:
        """Point the buffers into `memory`, unless it is NULL; returns the bytes they need."""
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l, part, at, widest = s.widest_output, scratch = 0
        cdef Py_ssize_t deltas = rows if self.whole else block
        cdef Layer* a
        for l in range(s.n_layers):
            scratch = max(scratch, s.kernels.scratch_bytes(min(block, <Py_ssize_t> BLOCK_ROWS),
                                                           s.sizes[l], s.sizes[l + 1]))
        scratch = aligned(scratch)
        at = threads * scratch
        if memory != NULL:
            self.scratch, self.scratch_bytes = memory, scratch
            self.losses = memory + at
        at += aligned(block * s.sizes[s.n_layers] * s.itemsize)
        for l in range(s.n_layers):
            a = &self.layers[l]
            if not self.backward:
                part = aligned(block * widest * s.itemsize)
                if memory != NULL:
                    a.h = memory + at + (l & 1) * part
                continue
            part = aligned(rows * s.sizes[l + 1] * s.itemsize)
            if memory != NULL:
                a.h, a.h_stride = memory + at, s.sizes[l + 1] * s.itemsize
                a.spare = memory + at + part
                a.slope = NULL if s.activations[l] == IDENTITY else a.spare
                a.delta = memory + at + 2 * part
            at += 2 * part + aligned(deltas * s.sizes[l + 1] * s.itemsize)
        return at if self.backward else at + 2 * aligned(block * widest * s.itemsize)

    # ---- passes

    cdef int prepare(self, Pass* run, int key, Maker add_steps, Py_ssize_t n, Py_ssize_t batch_size,
                     int threads) except -1:
        cdef Py_ssize_t rows = min(max(batch_size, 1), <Py_ssize_t> BLOCK_ROWS * threads)
        self.reserve(n if self.whole else rows, threads)
        memset(run, 0, sizeof(Pass))
        run.keeps = run.keeps_deltas = self.whole
        run.plan = self.plan_for(key, add_steps, rows, threads)
        run.shape, run.layers = self.shape, self.layers
        run.losses, run.scratch, run.scratch_bytes = self.losses, self.scratch, self.scratch_bytes
        run.n, run.batch_size = n, batch_size
        run.own.divisor = 1
        if not self.backward:
            self.space_rows(run.plan.by_columns)
        return 0

    cdef void space_rows(self, bint by_columns) noexcept:
        """Say how far apart the rows of h lie, where two buffers serve all layers in turn.

        The parts of a plan by rows may be at different layers, so that each keeps to a place of
        its own in both buffers: its rows are as far apart as those of the widest layer.
        In a plan by columns all parts are at the same layer, and its rows are dense.
        """
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l
        for l in range(s.n_layers):
            self.layers[l].h_stride = s.itemsize * (s.sizes[l + 1] if by_columns
                                                    else s.widest_output)

    cdef const Plan* plan_for(self, int key, Maker add_steps, Py_ssize_t rows,
                              int threads) except NULL:
        """A new one takes the place of the one used longest ago; none moves: a pass may keep it."""
        cdef Plan* oldest = &self.plans[0]
        cdef Plan* plan
        cdef int i
        self.used += 1
        for i in range(KEPT_PLANS):
            plan = &self.plans[i]
            if plan.key == key and plan.rows == rows and plan.threads == threads:
                plan.used = self.used
                return plan
            if plan.used < oldest.used:
                oldest = plan
        begin(oldest, self.shape, rows, threads)
        add_steps(oldest, key)
        oldest.key, oldest.used = key, self.used    # from now on it has all of its steps
        return oldest


# ---- binding ----------------------------------------------------------------------------

cdef void bind_flat(Workspace ws, const char* params, char* grad) noexcept nogil:
    bind_vector(ws.layers, ws.shape, params, grad)


cdef void bind_vector(Layer* layers, const Shape* s, const char* params,
                      char* grad) noexcept nogil:
    cdef Py_ssize_t l, width, weights
    cdef Layer* a
    for l in range(s.n_layers):
        a = &layers[l]
        width = a.fan_out * s.itemsize
        weights = a.fan_in * width
        a.W, a.b = params, params + weights
        params += weights + width
        a.dW = a.db = NULL
        if grad != NULL:
            a.dW, a.db = grad, grad + weights
            grad += weights + width


cdef void bind_arrays(Workspace ws, list weights, list biases):
    cdef Py_ssize_t l
    for l in range(ws.shape.n_layers):
        ws.layers[l].W, ws.layers[l].b = data(weights[l]), data(biases[l])


cdef void bind_grad_arrays(Workspace ws, list dW, list db):
    cdef Py_ssize_t l
    for l in range(ws.shape.n_layers):
        ws.layers[l].dW = NULL if dW is None else data(dW[l])
        ws.layers[l].db = NULL if dW is None else data(db[l])


cdef void bind_pointers(Layer* layers, Py_ssize_t n_layers, const char* const* params,
                        char* const* grads) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(n_layers):
        layers[l].W, layers[l].b = params[2 * l], params[2 * l + 1]
        layers[l].dW = NULL if grads == NULL else grads[2 * l]
        layers[l].db = NULL if grads == NULL else grads[2 * l + 1]


cdef int bind_addresses(Workspace ws, list params, list grads) except -1:
    cdef Py_ssize_t l
    for l in range(ws.shape.n_layers):
        ws.layers[l].W, ws.layers[l].b = address(params, 2 * l), address(params, 2 * l + 1)
        ws.layers[l].dW, ws.layers[l].db = address(grads, 2 * l), address(grads, 2 * l + 1)
    return 0


cdef inline char* address(list given, Py_ssize_t i) except? NULL:
    return NULL if given is None else <char*> <Py_ssize_t> given[i]
