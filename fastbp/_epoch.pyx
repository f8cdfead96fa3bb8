"""The native epoch: every mini-batch of one pass over the data, without the interpreter."""

import numpy as np

cimport numpy as cnp

from fastbp._gradient cimport Totals, finish, mean_of, run_blocks, start
from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._native cimport data
from fastbp._recursion cimport Clock, Shape, interrupted, start_clock

cnp.import_array()


cdef double run_epoch(Workspace ws, Batch batch, Optimizer optimizer, Py_ssize_t n,
                      Py_ssize_t size, Py_ssize_t n_params, double l2) except? -1 nogil:
    """Gather, E1 to E6 with "mean", update, for each mini-batch; the loss per unit of weight."""
    cdef const Shape* s = ws.shape
    cdef Py_ssize_t step, rows, outputs = s.sizes[s.n_layers], features = s.sizes[0]
    cdef double loss = 0, weight = 0, batch_loss
    cdef char* params = <char*> ws.layers[0].W
    cdef char* grad = ws.layers[0].dW
    cdef Totals totals
    cdef float_mode mode
    cdef Clock clock = start_clock()
    for step in range((n + size - 1) // size):
        rows = min(size, n - step * size)
        start(&totals)
        run_blocks(ws, &batch, rows, True, &totals, &clock)
        if totals.weight > 0:
            batch_loss = finish(ws, &totals, grad, n_params, l2, True)
            mode = enter_float_mode()
            loss = settled(settled(loss) + settled(batch_loss))
            weight = settled(settled(weight) + totals.weight)
            optimizer.update(s.kernels, params, grad)
            leave_float_mode(mode)
        if batch.order != NULL:
            batch.order += rows
        else:
            batch.X += rows * features * s.itemsize
            batch.y += rows * outputs * s.itemsize
            if batch.sample_weight != NULL:
                batch.sample_weight += rows * s.itemsize
        if interrupted(&clock, 4.0 * (n_params + rows * features)) < 0:
            return -1
    return mean_of(loss, weight)


cdef object permutation(Py_ssize_t n, raw):
    """N6: Fisher-Yates from raw 64-bit draws; `_random.permutation` is the specification."""
    order = np.arange(n, dtype=np.intp)
    cdef Py_ssize_t* a = <Py_ssize_t*> data(order)
    cdef const unsigned long long* bits = <const unsigned long long*> data(raw)
    cdef Py_ssize_t i, j
    for i in range(n - 1, 0, -1):
        j = <Py_ssize_t> multiply_high(bits[n - 1 - i], i + 1)
        a[i], a[j] = a[j], a[i]
    return order


cdef inline unsigned long long multiply_high(unsigned long long a,
                                             unsigned long long b) noexcept nogil:
    """The upper 64 bits of the 128-bit product, from 32-bit halves."""
    cdef unsigned long long low = 0xffffffff
    cdef unsigned long long mid = (a >> 32) * (b & low) + (((a & low) * (b & low)) >> 32)
    return ((a >> 32) * (b >> 32) + (mid >> 32)
            + (((a & low) * (b >> 32) + (mid & low)) >> 32))
