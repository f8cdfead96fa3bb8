"""The native epoch: every mini-batch of one pass over the data, without the interpreter.

All threads stay for the whole epoch, or with noise for as many steps as have had their draws. After
the gradient of a mini-batch one part adds up its loss, then every part divides and updates some
lines of the flat vectors. Where the norm of the gradient is limited, every part divides some of its
blocks and sums their squares, one part adds these up, then every part clips and updates.
"""

from libc.math cimport INFINITY, isinf

from fastbp._engine.arrays cimport data
from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._engine.gradient cimport add_gradient
from fastbp._engine.loop cimport carry_out
from fastbp._engine.memory cimport aligned, borrow
from fastbp._engine.network cimport CLIPPED, IN_ORDER, LIMITED, PENALISED, UPDATE
from fastbp._engine.per_sample cimport (
    add_clipped_gradient, draws_of, first_not_finite, key_of, place_samples, workspace_bytes,
)
from fastbp._engine.plan cimport (
    Frame, Plan, Shape, Step, add_alone, add_lines, end_phase, threads_for,
)
from fastbp._engine.recursion cimport add_penalties, clear, penalty_of, tree
from fastbp._engine.samples cimport advance, gathered_bytes
from fastbp._kernels.table cimport NORM_BLOCK, Rule, Square, Totals

cdef enum:
    UPDATE_LINE = 16        # parameters that a part of an update is a multiple of
    UPDATE_PIECE = 1024     # parameters whose gradient stays in L1 from division to update


cdef Epoch new_epoch(Rule* rules, Course* courses) noexcept nogil:
    return Epoch(rules=rules, courses=courses, divisor=0, seen=0, bad=-1, norm=0,
                 max_norm=INFINITY, squares=NULL, square=Square(0, 0))


cdef Memory* prepare_epoch(Workspace ws, Pass* run, Epoch* epoch, const Batch* batch,
                           const Batches* batches, double l2, Samples* samples,
                           int asked) except? NULL:
    cdef bint limited = epoch.max_norm < INFINITY
    cdef int key = (UPDATE + (IN_ORDER if batch.order != NULL else 0)
                    + (PENALISED if l2 != 0 else 0) + (LIMITED if limited else 0)
                    + (key_of(samples) if samples != NULL else 0))
    cdef Py_ssize_t nbytes = 0, gathered = 0, squares = 0
    cdef Memory* memory = NULL
    ws.prepare(run, key, add_update, batches.n, batches.size,
               threads_for(ws.shape, batches.size, 3, asked))
    run.batch, run.own.l2, run.each = batch[0], l2, samples
    run.lengths, run.n_lengths = batches.lengths, batches.count
    if batch.order != NULL:
        gathered = nbytes = aligned(gathered_bytes(ws.shape, run.plan.rows))
    if samples != NULL:
        nbytes += aligned(workspace_bytes(run.plan.rows)) + batches.size * ws.shape.itemsize
    if limited:
        squares = aligned(nbytes)
        nbytes = squares + blocks_of(ws.shape) * sizeof(Square)
    if nbytes > 0:
        memory = borrow(nbytes)
        run.batch.gathered = memory.at
    if samples != NULL:
        place_samples(samples, memory.at + gathered, run.plan.rows)
        samples.norms = memory.at + gathered + aligned(workspace_bytes(run.plan.rows))
    if limited:
        epoch.squares = <Square*> (memory.at + squares)
    return memory


cdef inline Py_ssize_t blocks_of(const Shape* s) noexcept nogil:
    return (s.n_params + NORM_BLOCK - 1) // NORM_BLOCK


cdef double run_epoch(Pass* run, Epoch* epoch, raw, draw, source, Py_ssize_t most) except? -1:
    run.more, epoch.bad = epoch, -1
    if raw is None:
        carry_out(run)
    else:
        run_with_noise(run, raw, draw, source, most)
    return mean_of(epoch.courses)


cdef object draws_ahead(const Pass* run, draw, source, Py_ssize_t most):
    return draw(source, batches_at_once(run, most) * draws_of(run.shape))


cdef Py_ssize_t batches_at_once(const Pass* run, Py_ssize_t most) noexcept:
    return min(run.n_lengths, max(most // draws_of(run.shape), 1))


cdef int run_with_noise(Pass* run, raw, draw, source, Py_ssize_t most) except -1:
    """Some mini-batches at a time, after their draws, which need the interpreter."""
    cdef Py_ssize_t left = run.n_lengths, i
    while True:
        run.n, run.n_lengths = 0, batches_at_once(run, most)
        for i in range(run.n_lengths):
            run.n += run.lengths[i]
        (<Samples*> run.each).raw = <const unsigned long long*> data(raw)
        carry_out(run)
        left -= run.n_lengths
        if left == 0 or run.ends:
            return 0
        advance(&run.batch, run.shape, run.n)
        run.lengths += run.n_lengths
        run.n_lengths = left
        raw = draws_ahead(run, draw, source, most)


cdef double mean_of(const Course* course) noexcept nogil:
    cdef float_mode mode = enter_float_mode()
    cdef double loss = settled(settled(course.loss) / settled(course.weight))
    leave_float_mode(mode)
    return loss


cdef int add_update(Plan* plan, int key) except -1:
    """Gather, E1 to E6, clipped or not, update."""
    if key & CLIPPED:
        add_clipped_gradient(plan, key)
    else:
        add_gradient(plan, key & IN_ORDER)
    if key & PENALISED:
        add_penalties(plan)
    add_alone(plan, end_batch, 0, 1, 0)
    end_phase(plan)
    # Counted as no work: signals wait until every parameter has made the step.
    if key & LIMITED:
        add_lines(plan, divide_blocks, 0, blocks_of(plan.shape), NORM_BLOCK, 0)
        end_phase(plan)
        add_alone(plan, add_blocks, 0, 1, 0)
        end_phase(plan)
    add_lines(plan, update, 0, (plan.shape.n_params + UPDATE_LINE - 1) // UPDATE_LINE, UPDATE_LINE,
              0)
    end_phase(plan)
    return 0


cdef void end_batch(const Step* step, Frame* f) noexcept nogil:
    """The loss with its penalty, and whether there is a step; for each network.

    Without clipping a mini-batch without weight makes none; with clipping every one does, and one
    that has a norm which no factor clips ends the epoch.
    """
    cdef Epoch* e = <Epoch*> f.run.more
    cdef Totals* totals
    cdef Rule* rule
    cdef Course* course
    cdef Py_ssize_t k
    for k in range(f.run.shape.kernels.networks):
        totals = &f.run.totals[k]
        totals.divisor = e.divisor if e.divisor > 0 else totals.weight
    if f.run.each != NULL:
        check_norms(f, e)
    for k in range(f.run.shape.kernels.networks):
        totals, rule, course = &f.run.totals[k], &e.rules[k], &e.courses[k]
        rule.rests = not totals.divisor > 0
        if not rule.rests and totals.weight > 0:
            add_to_loss(course, totals)
        if course.batch_loss != NULL:
            course.batch_loss += 1
        clear(totals)
    e.rules.advance(e.rules, f.run.shape.kernels.networks)
    e.seen += f.batch_rows


cdef void check_norms(const Frame* f, Epoch* e) noexcept nogil:
    """After the noise of the mini-batch, whose draws are used now."""
    cdef Samples* samples = <Samples*> f.run.each
    cdef const Shape* s = f.run.shape
    cdef Py_ssize_t i = first_not_finite(f)
    if samples.raw != NULL:
        samples.raw += draws_of(s)
    if i >= 0:
        e.bad = f.batch.order[i] if f.batch.order != NULL else e.seen + i
        e.norm = s.kernels.total(samples.norms + i * s.itemsize, 1)
        f.run.ends, f.run.totals.divisor = True, 0


cdef inline void add_to_loss(Course* course, const Totals* totals) noexcept nogil:
    cdef double unpenalised = tree(totals.losses), weight = totals.weight, loss, penalty
    loss = unpenalised + penalty_of(totals) if totals.l2 != 0 else unpenalised
    course.loss += loss
    course.weight += weight
    if course.batch_loss != NULL:
        course.batch_loss.loss = unpenalised / weight
        penalty = loss - unpenalised                # as it counts in the sum
        if isinf(unpenalised):
            penalty = penalty_of(totals)
        course.batch_loss.penalty = penalty / weight


cdef void divide_blocks(const Step* step, Frame* f) noexcept nogil:
    """Blocks of grad over the weights of the batch, and their squares while they are in L1."""
    cdef Epoch* e = <Epoch*> f.run.more
    cdef const Shape* s = f.run.shape
    cdef Py_ssize_t first = f.first * NORM_BLOCK, count
    cdef Py_ssize_t last = min((f.first + f.count) * NORM_BLOCK, s.n_params)
    cdef char* grad
    if e.rules.rests:
        return
    while first < last:
        count = min(<Py_ssize_t> UPDATE_PIECE, last - first)
        grad = f.run.layers[0].dW + first * s.itemsize
        s.kernels.divide(grad, f.run.totals, count)
        s.kernels.squares_of_blocks(e.squares + first // NORM_BLOCK, grad, count)
        first += count


cdef void add_blocks(const Step* step, Frame* f) noexcept nogil:
    cdef Epoch* e = <Epoch*> f.run.more
    e.square = Square(0, 0)
    if not e.rules.rests:
        f.run.shape.kernels.add_blocks(&e.square, e.squares, blocks_of(f.run.shape))


cdef void update(const Step* step, Frame* f) noexcept nogil:
    """Lines of the flat vectors: grad over the weights of the batch, then the optimiser's rule.

    A gradient whose norm is limited is that quotient already, and is clipped.
    """
    cdef Epoch* e = <Epoch*> f.run.more
    cdef const Shape* s = f.run.shape
    cdef Py_ssize_t first = f.first * UPDATE_LINE, count
    cdef Py_ssize_t last = min((f.first + f.count) * UPDATE_LINE, s.n_params)
    cdef char* params = <char*> f.run.layers[0].W
    cdef char* grad = f.run.layers[0].dW
    if s.kernels.networks == 1 and e.rules.rests:
        return
    while first < last:
        count = min(<Py_ssize_t> UPDATE_PIECE, last - first)
        if e.squares == NULL:
            s.kernels.divide(grad + first * s.itemsize, f.run.totals, count)
        else:
            s.kernels.clip_to_norm(grad + first * s.itemsize, &e.square, e.max_norm, count)
        e.rules.apply(e.rules, s.kernels, params, grad, first, count)
        first += count
