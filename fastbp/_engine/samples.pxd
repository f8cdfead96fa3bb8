# The samples of a pass: those of a mini-batch, of a block, and their gather.

from fastbp._engine.plan cimport Batch, Frame, Plan, Shape, Step

# Where the samples of a frame's block lie, or will when they are gathered
cdef void locate_samples(Frame* f) noexcept nogil
# The batch after its first `rows` samples
cdef void advance(Batch* batch, const Shape* s, Py_ssize_t rows) noexcept nogil
# Steps of rows: X, or X, y and weights, in the order of the batch
cdef void gather_inputs(const Step* step, Frame* f) noexcept nogil
cdef void gather(const Step* step, Frame* f) noexcept nogil
# bytes for the gathered samples of a block
cdef Py_ssize_t gathered_bytes(const Shape* s, Py_ssize_t block) noexcept nogil
