"""The samples of a pass: X, y, sample_weight as they lie, or gathered in an order, block by block.
"""

import numpy as np

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from numpy.random cimport bitgen_t

from fastbp._engine.arrays cimport data

cnp.import_array()


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


# ---- an order ---------------------------------------------------------------------------

# Bit generators whose raw output is 64 bits of the C function that their capsule names.
cdef frozenset OF_64_BITS = frozenset({
    np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64})


cdef object fisher_yates(order, draw, source, Py_ssize_t most):
    """N6: what `_random.permutation` is of 0, 1, 2, ..."""
    cdef Py_ssize_t* a = <Py_ssize_t*> data(order)
    cdef Py_ssize_t i = cnp.PyArray_DIM(order, 0) - 1, count
    cdef bitgen_t* generator = NULL
    if type(source) in OF_64_BITS:
        generator = <bitgen_t*> PyCapsule_GetPointer(source.capsule, "BitGenerator")
    while i > 0:
        count = min(most, i)
        if generator == NULL:
            raw = draw(source, count)
            swap_by(<const unsigned long long*> data(raw), a, i, count)
        else:
            with source.lock, nogil:
                swap(generator, a, i, count)
        i -= count
        PyErr_CheckSignals()
    return order


cdef void swap_by(const unsigned long long* raw, Py_ssize_t* a, Py_ssize_t i,
                  Py_ssize_t count) noexcept nogil:
    """Entries i, i - 1, ... change places with earlier ones that some draws choose."""
    cdef Py_ssize_t drawn, j
    for drawn in range(count):
        j = <Py_ssize_t> multiply_high(raw[drawn], i + 1 - drawn)
        a[i - drawn], a[j] = a[j], a[i - drawn]


cdef void swap(bitgen_t* generator, Py_ssize_t* a, Py_ssize_t i, Py_ssize_t count) noexcept nogil:
    cdef unsigned long long raw
    cdef Py_ssize_t drawn
    for drawn in range(count):
        raw = generator.next_raw(generator.state)
        swap_by(&raw, a, i - drawn, 1)


cdef inline unsigned long long multiply_high(unsigned long long a,
                                             unsigned long long b) noexcept nogil:
    """The upper 64 bits of the 128-bit product, from 32-bit halves."""
    cdef unsigned long long low = 0xffffffff
    cdef unsigned long long mid = (a >> 32) * (b & low) + (((a & low) * (b & low)) >> 32)
    return ((a >> 32) * (b >> 32) + (mid >> 32)
            + (((a & low) * (b >> 32) + (mid & low)) >> 32))
