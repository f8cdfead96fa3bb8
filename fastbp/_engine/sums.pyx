"""Sums over samples (N3), and what follows once they are complete: penalty, reduction.

Scalars are summed in float64 in a fixed order, whatever the blocks; "mean" divides once. These
steps, and those of `epoch`, are the only ones that know of a sum over the whole batch.
"""

from fastbp._engine.plan cimport BLOCK_ROWS, Layer, Shape, add_alone, add_lines
from fastbp._engine.signals cimport MEMORY_WORK


cdef void clear(Totals* totals) noexcept nogil:
    cdef int i
    for i in range(8):
        totals.loss[i] = totals.squares[i] = 0
    totals.weight = 0


cdef void sum_weights(const Step* step, Frame* f) noexcept nogil:
    """Add up 256 rows, then these sums, whatever the block; without weights a sample counts 1."""
    cdef const Shape* s = f.run.shape
    cdef const char* weight = f.samples.sample_weight
    cdef Py_ssize_t row = 0
    if weight == NULL:
        f.run.totals.weight += f.block_rows
        return
    while row < f.block_rows:
        f.run.totals.weight += s.kernels.total(weight + row * s.itemsize,
                                               min(<Py_ssize_t> BLOCK_ROWS, f.block_rows - row))
        row += BLOCK_ROWS


cdef void sum_losses(const Step* step, Frame* f) noexcept nogil:
    """E2: the sum over the block's samples and outputs."""
    cdef const Shape* s = f.run.shape
    s.kernels.add_losses(f.run.totals.loss, f.run.losses, f.samples.sample_weight, f.block_rows,
                         s.sizes[s.n_layers])
    sum_weights(step, f)


# ---- the penalty ------------------------------------------------------------------------

cdef int add_penalties(Plan* plan) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers):
        add_alone(plan, penalise, l, s.sizes[l] * s.sizes[l + 1], MEMORY_WORK)
    return 0


cdef void penalise(const Step* step, Frame* f) noexcept nogil:
    """dW += l2 W where there is a dW; the squares of W into eight partial sums."""
    cdef const Layer* a = &f.run.layers[step.layer]
    cdef Py_ssize_t at = f.first * f.run.shape.itemsize
    f.run.shape.kernels.penalise(a.dW + at if a.dW != NULL else NULL, f.run.totals.squares,
                                 a.W + at, f.run.l2, f.count)


cdef double penalty_of(const Pass* run) noexcept nogil:
    return 0.5 * run.l2 * tree(run.totals.squares) if run.l2 != 0 else 0


# ---- the reduction ----------------------------------------------------------------------

cdef void complete(const Step* step, Frame* f) noexcept nogil:
    """The loss with its penalty, over the divisor."""
    cdef Pass* run = f.run
    cdef double loss = tree(run.totals.loss)
    if run.l2 != 0:
        loss += penalty_of(run)
    if run.divisor == 0:
        run.divisor = run.totals.weight
    run.loss = loss / run.divisor


cdef int add_divisions(Plan* plan) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l
    for l in range(s.n_layers):
        add_lines(plan, divide, l, s.sizes[l], s.sizes[l + 1],
                  <double> MEMORY_WORK * s.sizes[l + 1])
    return 0


cdef void divide(const Step* step, Frame* f) noexcept nogil:
    """Lines of dW, as they lie in memory whatever its layout, and db with the first."""
    cdef const Layer* a = &f.run.layers[step.layer]
    cdef const Shape* s = f.run.shape
    s.kernels.divide(a.dW + f.first * step.width * s.itemsize, f.run.divisor,
                     f.count * step.width)
    if f.first == 0:
        s.kernels.divide(a.db, f.run.divisor, a.fan_out)
