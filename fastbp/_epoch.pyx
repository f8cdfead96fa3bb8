"""The native epoch: every mini-batch of one pass over the data, without the interpreter.

All threads stay for the whole epoch. After the gradient of a mini-batch a phase settles its
loss, and in another every part divides and updates some lines of the flat vectors.
"""

import numpy as np

from fastbp import _random

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isinf

from fastbp._gradient cimport Totals, loss_of, mean_of, start, sweep_blocks, total_loss
from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._native cimport data
from fastbp._optim cimport Rule
from fastbp._recursion cimport carry_out
from fastbp._team cimport Seat, called_off, do_phase, share
from fastbp._workspace cimport Shape, Sweep

cnp.import_array()

cdef enum:
    LINE = 16               # parameters that a part of an update is a multiple of
    PIECE = 1024            # parameters whose gradient stays in L1 from division to update

ctypedef struct Epoch:      # the task of `epoch_of_thread` and of its last two phases
    Sweep* sweep
    const Batch* batch
    Rule* rule
    Py_ssize_t n
    Py_ssize_t size
    Py_ssize_t n_params
    double l2
    Totals totals           # of the mini-batch
    double step_weight
    double loss             # of the epoch, so far
    double weight
    BatchLoss* batch_loss   # OUT of the next mini-batch, or NULL


cdef double run_epoch(Workspace ws, const Batch* batch, Optimizer optimizer, Py_ssize_t n,
                      Py_ssize_t size, Py_ssize_t n_params, double l2, int threads,
                      BatchLoss* batch_losses) except? -1:
    cdef Epoch e
    e.sweep, e.batch, e.rule = &ws.sweep, batch, &optimizer.rule
    e.n, e.size, e.n_params, e.l2, e.loss, e.weight = n, size, n_params, l2, 0, 0
    e.batch_loss = batch_losses
    start(&e.totals)
    carry_out(&ws.sweep, epoch_of_thread, &e, threads)
    return mean_of(e.loss, e.weight)


cdef void epoch_of_thread(void* task, Seat* seat) noexcept nogil:
    """Gather, E1 to E6 with "mean", update, for each mini-batch."""
    cdef Epoch* e = <Epoch*> task
    cdef const Shape* s = e.sweep.shape
    cdef Py_ssize_t step, rows
    cdef Batch batch = e.batch[0]
    cdef float_mode mode = enter_float_mode()
    for step in range((e.n + e.size - 1) // e.size):
        rows = min(e.size, e.n - step * e.size)
        if (sweep_blocks(e.sweep, seat, &batch, rows, True, &e.totals)
                or do_phase(e.sweep.meeting, seat, settle_part, e)
                or do_phase(e.sweep.meeting, seat, update_part, e)):
            break
        if batch.order != NULL:
            batch.order += rows
        else:
            batch.X += rows * s.sizes[0] * s.itemsize
            batch.y += rows * batch.y_width * s.itemsize
            if batch.sample_weight != NULL:
                batch.sample_weight += rows * s.itemsize
    leave_float_mode(mode)


cdef void settle_part(void* task, const Seat* seat) noexcept nogil:
    """The loss with its penalty; a batch without weight makes no step."""
    cdef Epoch* e = <Epoch*> task
    cdef double unpenalised, loss, penalty
    if seat.part > 0:
        return
    e.step_weight = e.totals.weight
    if e.step_weight > 0:
        unpenalised = settled(loss_of(&e.totals))
        loss = settled(total_loss(e.sweep, seat, &e.totals, e.l2))
        if called_off(e.sweep.meeting):
            return
        e.loss = settled(settled(e.loss) + loss)
        e.weight = settled(settled(e.weight) + e.step_weight)
        e.rule.advance(e.rule)
        if e.batch_loss != NULL:
            e.batch_loss.loss = mean_of(unpenalised, e.step_weight)
            penalty = settled(loss - unpenalised)       # as it counts in the sum
            if isinf(unpenalised):
                penalty = e.totals.penalty
            e.batch_loss.penalty = mean_of(penalty, e.step_weight)
    if e.batch_loss != NULL:
        e.batch_loss += 1
    start(&e.totals)


cdef void update_part(void* task, const Seat* seat) noexcept nogil:
    cdef Epoch* e = <Epoch*> task
    cdef const Shape* s = e.sweep.shape
    cdef Py_ssize_t lines = (e.n_params + LINE - 1) // LINE
    cdef Py_ssize_t first = LINE * share(lines, seat.part, e.sweep.meeting.parts)
    cdef Py_ssize_t last = LINE * share(lines, seat.part + 1, e.sweep.meeting.parts)
    cdef Py_ssize_t count
    cdef char* grad = e.sweep.layers[0].dW
    if e.step_weight == 0:
        return
    last = min(last, e.n_params)
    while first < last:
        count = min(<Py_ssize_t> PIECE, last - first)
        s.kernels.divide(grad + first * s.itemsize, e.step_weight, count)
        e.rule.apply(e.rule, s.kernels, <char*> e.sweep.layers[0].W, grad, first, count)
        first += count


cdef object permutation(Py_ssize_t n, source):
    """N6: Fisher-Yates from raw 64-bit draws; `_random.permutation` is the specification.

    It draws so many at a time, and handlers of signals run in between.
    """
    order = np.arange(n, dtype=np.intp)
    cdef Py_ssize_t* a = <Py_ssize_t*> data(order)
    cdef const unsigned long long* bits
    cdef Py_ssize_t i = n - 1, j, drawn, count
    while i > 0:
        count = min(<Py_ssize_t> _random.AT_ONCE, i)
        raw = _random.raw_bits(source, count)
        bits = <const unsigned long long*> data(raw)
        with nogil:
            for drawn in range(count):
                j = <Py_ssize_t> multiply_high(bits[drawn], i + 1)
                a[i], a[j] = a[j], a[i]
                i -= 1
        PyErr_CheckSignals()
    return order


cdef inline unsigned long long multiply_high(unsigned long long a,
                                             unsigned long long b) noexcept nogil:
    """The upper 64 bits of the 128-bit product, from 32-bit halves."""
    cdef unsigned long long low = 0xffffffff
    cdef unsigned long long mid = (a >> 32) * (b & low) + (((a & low) * (b & low)) >> 32)
    return ((a >> 32) * (b >> 32) + (mid >> 32)
            + (((a & low) * (b >> 32) + (mid & low)) >> 32))
