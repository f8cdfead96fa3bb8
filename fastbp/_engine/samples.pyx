"""The samples of a pass: X, y, sample_weight as they lie, or gathered in an order, block by block.
"""


cdef Py_ssize_t gathered_bytes(const Shape* s, Py_ssize_t block) noexcept nogil:
    return block * (s.sizes[0] + s.sizes[s.n_layers] + 1) * s.itemsize


cdef void locate_samples(Frame* f) noexcept nogil:
    """X, y, weights of the block's first row, then the others; gathered ones in the same order."""
    cdef const Batch* batch = &f.batch
    cdef Batch* block = &f.samples
    cdef const Shape* s = f.run.shape
    block[0] = batch[0]
    if batch.order == NULL:
        advance(block, s, f.block_start)
        return
    block.order = batch.order + f.block_start
    block.X = batch.gathered
    block.y = block.X + f.block_rows * s.sizes[0] * s.itemsize
    if batch.sample_weight != NULL:
        block.sample_weight = block.y + f.block_rows * batch.y_width * s.itemsize


cdef void advance(Batch* batch, const Shape* s, Py_ssize_t rows) noexcept nogil:
    if batch.order != NULL:
        batch.order += rows
        return
    batch.X += rows * s.sizes[0] * s.itemsize
    batch.y += rows * batch.y_width * s.itemsize
    if batch.sample_weight != NULL:
        batch.sample_weight += rows * s.itemsize


cdef void gather_inputs(const Step* step, Frame* f) noexcept nogil:
    """Rows [at, at + n) of the block's X, from where its order says."""
    cdef const Batch* batch = &f.batch
    cdef const Batch* block = &f.samples
    cdef const Shape* s = f.run.shape
    s.kernels.gather(<char*> block.X + f.at * s.sizes[0] * s.itemsize, batch.X,
                     block.order + f.at, batch.X_offsets, f.n, s.sizes[0])


cdef void gather(const Step* step, Frame* f) noexcept nogil:
    """The same rows of X, y and the weights."""
    cdef const Batch* batch = &f.batch
    cdef const Batch* block = &f.samples
    cdef const Shape* s = f.run.shape
    cdef const Py_ssize_t* order = block.order + f.at
    gather_inputs(step, f)
    s.kernels.gather(<char*> block.y + f.at * batch.y_width * s.itemsize, batch.y, order,
                     batch.y_offsets, f.n, batch.y_width)
    if batch.sample_weight != NULL:
        s.kernels.gather(<char*> block.sample_weight + f.at * s.itemsize, batch.sample_weight,
                         order, batch.weight_offsets, f.n, 1)
