"""The native epoch: every mini-batch of one pass over the data, without the interpreter.

All threads stay for the whole epoch. After the gradient of a mini-batch one part settles its loss,
then every part divides and updates some lines of the flat vectors.
"""

import numpy as np

from fastbp import _random

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isinf

from fastbp._engine.arrays cimport data
from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._engine.gradient cimport add_gradient
from fastbp._engine.memory cimport borrow
from fastbp._engine.plan cimport (
    BLOCK_ROWS, Frame, Pass, Plan, Shape, Step, add_alone, add_lines, begin, carry_out, end_phase,
)
from fastbp._engine.samples cimport gathered_bytes
from fastbp._engine.sums cimport add_penalties, clear, penalty_of, tree

cnp.import_array()

ctypedef enum:              # keys of plans, beside those of `gradient`; added up
    EPOCH = 512
    IN_ORDER = 1024
    WITH_PENALTY = 2048

cdef enum:
    UPDATE_LINE = 16        # parameters that a part of an update is a multiple of
    UPDATE_PIECE = 1024     # parameters whose gradient stays in L1 from division to update

ctypedef struct Epoch:      # what the steps share besides the pass of the gradient
    Rule* rule
    Py_ssize_t n_params
    double loss             # of the epoch, so far
    double weight
    BatchLoss* batch_loss   # OUT of the next mini-batch, or NULL


cdef long key_of(const Batch* batch, double l2) noexcept:
    return (EPOCH + (IN_ORDER if batch.order != NULL else 0)
            + (WITH_PENALTY if l2 != 0 else 0))


cdef Memory* reserve_epoch(Workspace ws, Batch* batch, Py_ssize_t size, Py_ssize_t n_params,
                           double l2, int threads) except? NULL:
    cdef Py_ssize_t rows = min(size, <Py_ssize_t> BLOCK_ROWS * threads)
    cdef long key = key_of(batch, l2)
    cdef Plan* plan = ws.plan_for(key, rows)
    cdef Memory* gathered = NULL
    ws.reserve(rows, threads)
    if plan.n_steps == 0:
        make_plan(plan, ws.shape, rows, n_params, key)
    if batch.order != NULL:
        gathered = borrow(gathered_bytes(ws.shape, rows))
        batch.gathered = gathered.at
    return gathered


cdef double run_epoch(Workspace ws, const Batch* batch, Rule* rule, Py_ssize_t n, Py_ssize_t size,
                      Py_ssize_t n_params, double l2, int threads,
                      BatchLoss* batch_losses) except? -1:
    cdef const Plan* plan = ws.plan_for(key_of(batch, l2),
                                        min(size, <Py_ssize_t> BLOCK_ROWS * threads))
    cdef Epoch epoch = Epoch(rule, n_params, 0, 0, batch_losses)
    cdef Pass run
    if plan.n_steps == 0:
        raise RuntimeError("reserve_epoch made no plan for this epoch")
    ws.enter(&run, plan, n)
    run.batch, run.batch_size, run.l2, run.more = batch[0], size, l2, &epoch
    carry_out(&run, threads)
    return mean_of(epoch.loss, epoch.weight)


cdef double mean_of(double loss, double weight) noexcept nogil:
    cdef float_mode mode = enter_float_mode()
    loss = settled(settled(loss) / settled(weight))
    leave_float_mode(mode)
    return loss


cdef int make_plan(Plan* plan, const Shape* s, Py_ssize_t rows, Py_ssize_t n_params,
                   long key) except -1:
    """Gather, E1 to E6 with "mean", update."""
    begin(plan, s, rows, BLOCK_ROWS)
    add_gradient(plan, s, rows, key & IN_ORDER)
    if key & WITH_PENALTY:
        add_penalties(plan, s)
    add_alone(plan, s, settle, 0, 1, 0)
    end_phase(plan)
    # Counted as no work: signals wait until every parameter has made the step.
    add_lines(plan, s, update, 0, (n_params + UPDATE_LINE - 1) // UPDATE_LINE, UPDATE_LINE, 0)
    end_phase(plan)
    plan.key = key
    return 0


cdef void settle(const Step* step, Frame* f) noexcept nogil:
    """The loss with its penalty; a batch without weight makes no step."""
    cdef Pass* run = f.run
    cdef Epoch* e = <Epoch*> run.more
    cdef double unpenalised = tree(run.totals.loss), loss, penalty
    run.divisor = run.totals.weight
    if run.divisor > 0:
        loss = unpenalised + penalty_of(run) if run.l2 != 0 else unpenalised
        e.loss += loss
        e.weight += run.divisor
        e.rule.advance(e.rule)
        if e.batch_loss != NULL:
            e.batch_loss.loss = unpenalised / run.divisor
            penalty = loss - unpenalised                # as it counts in the sum
            if isinf(unpenalised):
                penalty = penalty_of(run)
            e.batch_loss.penalty = penalty / run.divisor
    if e.batch_loss != NULL:
        e.batch_loss += 1
    clear(&run.totals)


cdef void update(const Step* step, Frame* f) noexcept nogil:
    """Lines of the flat vectors: grad over the weights of the batch, then the optimiser's rule."""
    cdef Epoch* e = <Epoch*> f.run.more
    cdef const Shape* s = f.run.shape
    cdef Py_ssize_t first = f.first * UPDATE_LINE, count
    cdef Py_ssize_t last = min((f.first + f.count) * UPDATE_LINE, e.n_params)
    cdef char* params = <char*> f.run.layers[0].W
    cdef char* grad = f.run.layers[0].dW
    if f.run.divisor == 0:
        return
    while first < last:
        count = min(<Py_ssize_t> UPDATE_PIECE, last - first)
        s.kernels.divide(grad + first * s.itemsize, f.run.divisor, count)
        e.rule.apply(e.rule, s.kernels, params, grad, first, count)
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
        count = min(<Py_ssize_t> _random.DRAWS_BETWEEN_SIGNALS, i)
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
