"""The native epoch: every mini-batch of one pass over the data, without the interpreter.

All ranks stay for the whole epoch. After the gradient of a mini-batch each divides and updates
a part of the flat vectors, in whole lines of the cache.
"""

import numpy as np

cimport numpy as cnp

from fastbp._gradient cimport Totals, mean_of, start, sweep_blocks, total_loss
from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._native cimport data
from fastbp._optim cimport Rule
from fastbp._recursion cimport Shape, Sweep, carry_out, interrupted
from fastbp._team cimport meet, share

cnp.import_array()

cdef enum:
    LINE = 16               # parameters that a rank's part is a multiple of

ctypedef struct Epoch:      # the task of `epoch_of_rank`
    Sweep* sweep
    const Batch* batch
    Rule* rule
    Py_ssize_t n
    Py_ssize_t size
    Py_ssize_t n_params
    double l2
    Totals totals           # of the mini-batch
    double loss             # of the epoch, so far
    double weight


cdef double run_epoch(Workspace ws, const Batch* batch, Optimizer optimizer, Py_ssize_t n,
                      Py_ssize_t size, Py_ssize_t n_params, double l2, int ranks) except? -1:
    cdef Epoch e
    e.sweep, e.batch, e.rule = &ws.sweep, batch, &optimizer.rule
    e.n, e.size, e.n_params, e.l2, e.loss, e.weight = n, size, n_params, l2, 0, 0
    carry_out(&ws.sweep, epoch_of_rank, &e, ranks)
    return mean_of(e.loss, e.weight)


cdef void epoch_of_rank(void* task, int rank) noexcept nogil:
    """Gather, E1 to E6 with "mean", update, for each mini-batch."""
    cdef Epoch* e = <Epoch*> task
    cdef const Shape* s = e.sweep.shape
    cdef Py_ssize_t step, rows
    cdef Batch batch = e.batch[0]
    cdef float_mode mode = enter_float_mode()
    for step in range((e.n + e.size - 1) // e.size):
        rows = min(e.size, e.n - step * e.size)
        if rank == 0:
            start(&e.totals)
        if sweep_blocks(e.sweep, rank, &batch, rows, True, &e.totals) or finish(e, rank):
            break
        if batch.order != NULL:
            batch.order += rows
        else:
            batch.X += rows * s.sizes[0] * s.itemsize
            batch.y += rows * s.sizes[s.n_layers] * s.itemsize
            if batch.sample_weight != NULL:
                batch.sample_weight += rows * s.itemsize
        if rank == 0:
            interrupted(e.sweep, rank, 4.0 * (e.n_params + rows * s.sizes[0]))
        if meet(&e.sweep.meeting):
            break
    leave_float_mode(mode)


cdef bint finish(Epoch* e, int rank) noexcept nogil:
    """Penalty, division and update after a gradient; a batch without weight makes no step."""
    cdef const Shape* s = e.sweep.shape
    cdef Py_ssize_t lines = (e.n_params + LINE - 1) // LINE
    cdef Py_ssize_t first = LINE * share(lines, rank, e.sweep.meeting.size)
    cdef Py_ssize_t last = min(e.n_params, LINE * share(lines, rank + 1, e.sweep.meeting.size))
    cdef char* params = <char*> e.sweep.layers[0].W
    cdef char* grad = e.sweep.layers[0].dW
    if e.totals.weight == 0:
        return False
    if rank == 0:
        e.loss = settled(settled(e.loss) + settled(total_loss(e.sweep, &e.totals, e.l2)))
        e.weight = settled(settled(e.weight) + e.totals.weight)
        e.rule.advance(e.rule)
    if meet(&e.sweep.meeting):
        return True
    s.kernels.divide(grad + first * s.itemsize, e.totals.weight, last - first)
    e.rule.apply(e.rule, s.kernels, params, grad, first, last - first)
    return False


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
