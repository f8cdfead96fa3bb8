"""The native epoch: every mini-batch of one pass over the data, without the interpreter.

All threads stay for the whole epoch. After the gradient of a mini-batch one part settles its loss,
then every part divides and updates some lines of the flat vectors.
"""

from libc.math cimport isinf

from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._engine.gradient cimport add_gradient
from fastbp._engine.loop cimport carry_out
from fastbp._engine.memory cimport borrow
from fastbp._engine.network cimport IN_ORDER, PENALISED, UPDATE
from fastbp._engine.plan cimport (
    Frame, Plan, Shape, Step, add_alone, add_lines, end_phase, threads_for,
)
from fastbp._engine.recursion cimport add_penalties, clear, penalty_of, tree
from fastbp._engine.samples cimport gathered_bytes

cdef enum:
    UPDATE_LINE = 16        # parameters that a part of an update is a multiple of
    UPDATE_PIECE = 1024     # parameters whose gradient stays in L1 from division to update

ctypedef struct Epoch:      # what the steps share besides the pass of the gradient
    Rule* rule
    double loss             # of the epoch, so far
    double weight
    BatchLoss* batch_loss   # OUT of the next mini-batch, or NULL


cdef Memory* prepare_epoch(Workspace ws, Pass* run, const Batch* batch, Py_ssize_t n,
                           Py_ssize_t batch_size, double l2, int asked) except? NULL:
    cdef int key = (UPDATE + (IN_ORDER if batch.order != NULL else 0)
                    + (PENALISED if l2 != 0 else 0))
    cdef Memory* gathered = NULL
    ws.prepare(run, key, add_update, n, batch_size, threads_for(ws.shape, batch_size, 3, asked))
    run.batch, run.l2 = batch[0], l2
    if batch.order != NULL:
        gathered = borrow(gathered_bytes(ws.shape, run.plan.rows))
        run.batch.gathered = gathered.at
    return gathered


cdef double run_epoch(Pass* run, Rule* rule, BatchLoss* batch_losses) except? -1:
    cdef Epoch epoch = Epoch(rule, 0, 0, batch_losses)
    run.more = &epoch
    carry_out(run)
    return mean_of(epoch.loss, epoch.weight)


cdef double mean_of(double loss, double weight) noexcept nogil:
    cdef float_mode mode = enter_float_mode()
    loss = settled(settled(loss) / settled(weight))
    leave_float_mode(mode)
    return loss


cdef int add_update(Plan* plan, int key) except -1:
    """Gather, E1 to E6 with "mean", update."""
    add_gradient(plan, key & IN_ORDER)
    if key & PENALISED:
        add_penalties(plan)
    add_alone(plan, settle, 0, 1, 0)
    end_phase(plan)
    # Counted as no work: signals wait until every parameter has made the step.
    add_lines(plan, update, 0, (plan.shape.n_params + UPDATE_LINE - 1) // UPDATE_LINE, UPDATE_LINE,
              0)
    end_phase(plan)
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
    cdef Py_ssize_t last = min((f.first + f.count) * UPDATE_LINE, s.n_params)
    cdef char* params = <char*> f.run.layers[0].W
    cdef char* grad = f.run.layers[0].dW
    if f.run.divisor == 0:
        return
    while first < last:
        count = min(<Py_ssize_t> UPDATE_PIECE, last - first)
        s.kernels.divide(grad + first * s.itemsize, f.run.divisor, count)
        e.rule.apply(e.rule, s.kernels, params, grad, first, count)
        first += count
