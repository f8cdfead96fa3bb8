"""Making a plan: which steps there are, how threads share them, what they cost.

Where the rows are few, a product may be a phase of its own whose lines are its columns: the threads
read different parts of W, which is most of the work.
"""

from libc.stdlib cimport free, realloc

from fastbp._engine.signals cimport MEMORY_WORK, TILE_COLUMNS, UNIT_WORK, between_looks
from fastbp._engine.team cimport MOST_THREADS

cdef enum:
    # The crossover of the automatic number of threads, chosen by bench/crossover.py: bytes of
    # multiply-adds that each should have; to read W counts as the products of so many rows.
    THREAD_WORK = 12_000_000
    READING_ROWS = 4
    # Products of at most so many rows may be shared by columns: of more rows reading W is no longer
    # most of the work, and each thread may as well read all of W for rows of its own.
    COLUMNS_ROWS = 32


# ---- making a plan ----------------------------------------------------------------------

cdef void begin(Plan* plan, const Shape* shape, Py_ssize_t rows, int threads) noexcept:
    """TILE_COLUMNS columns of a product take a quarter of the time between two looks, at most.

    Steps of a whole layer, which wait for memory and touch it first, may take the rest. Of long
    rows there are up to sixteen all the same: one row at a time reads W once for each.
    """
    cdef Py_ssize_t l
    plan.shape, plan.rows, plan.threads = shape, rows, threads
    plan.key = plan.n_steps = plan.per_block = 0
    plan.part_rows = BLOCK_ROWS
    plan.rows_at_once = max(between_looks(BLOCK_ROWS, 4 * shape.tile_work, 1, shape.kernels),
                            between_looks(16, shape.tile_work, 1, shape.kernels))
    plan.row_work = plan.block_work = plan.batch_work = 0
    plan.by_columns = False
    for l in range(shape.n_layers):
        plan.by_columns = plan.by_columns or shares_columns(plan, shape.sizes[l + 1])


cdef bint shares_columns(const Plan* plan, Py_ssize_t columns) noexcept:
    """Whether parts of a product's columns take less time than parts of its rows.

    Time is columns times rows, of which reading W counts as READING_ROWS. Where both are equal,
    every thread would read all of W for its rows.
    """
    cdef Py_ssize_t rows = plan.rows, threads = plan.threads, part_rows, part_columns
    if threads == 1 or rows > min(<Py_ssize_t> COLUMNS_ROWS, plan.rows_at_once):
        return False
    part_rows = (rows + threads - 1) // threads
    part_columns = ((columns + threads - 1) // threads + TILE_COLUMNS - 1) // TILE_COLUMNS
    part_columns *= TILE_COLUMNS
    return (part_columns < columns and max(rows, <Py_ssize_t> READING_ROWS) * part_columns
            <= max(part_rows, <Py_ssize_t> READING_ROWS) * columns)


cdef double per_weight(Py_ssize_t n) noexcept nogil:
    return max(n, <Py_ssize_t> MEMORY_WORK)


cdef Step* add(Plan* plan, Action action, Sharing sharing, Py_ssize_t layer, Py_ssize_t items,
               double work) except NULL:
    cdef Step* step
    cdef const Step* earlier
    if plan.n_steps == plan.room:
        step = <Step*> realloc(plan.steps, (2 * plan.room + 16) * sizeof(Step))
        if step == NULL:
            raise MemoryError
        plan.steps, plan.room = step, 2 * plan.room + 16
    step = &plan.steps[plan.n_steps]
    step[0] = Step(action, sharing, layer, items, at_once=items, work=work, width=0, before=0,
                   multiple=1, phase_end=0)
    if plan.n_steps > 0:
        earlier = step - 1
        if earlier.phase_end == 0 and (earlier.sharing == ROWS) != (sharing == ROWS):
            end_phase(plan)
        if earlier.phase_end == 0:
            step.before = earlier.before + earlier.items * earlier.width
    plan.n_steps += 1
    if sharing == ROWS:
        plan.row_work += items * work
    elif plan.per_block == 0:
        plan.block_work += items * work
    else:
        plan.batch_work += items * work
    return step


cdef int add_product(Plan* plan, Action action, Py_ssize_t layer, Py_ssize_t items,
                     Py_ssize_t length) except -1:
    cdef double work = per_weight(min(plan.rows_at_once, plan.rows)) * length
    cdef Step* step
    if plan.by_columns:
        end_phase(plan)
    if shares_columns(plan, items):
        step = add(plan, action, LINES, layer, items, work)
        step.width, step.multiple = 1, TILE_COLUMNS
    else:
        step = add(plan, action, ROWS, layer, items, length)
    # A product computes at full speed, and packs what it reads anew for each piece: twice as much.
    step.at_once = between_looks(items, work / 2, TILE_COLUMNS, plan.shape.kernels)
    if plan.by_columns:
        end_phase(plan)
    return 0


cdef int add_rows(Plan* plan, Action action, Py_ssize_t layer, double work) except -1:
    """Fewer rows go through a phase at once where a step takes long for each, as a wide loss does.
    """
    plan.rows_at_once = min(plan.rows_at_once,
                            between_looks(BLOCK_ROWS, work, 1, plan.shape.kernels))
    add(plan, action, ROWS, layer, 1, work)
    return 0


cdef int add_lines(Plan* plan, Action action, Py_ssize_t layer, Py_ssize_t items,
                   Py_ssize_t width, double work) except -1:
    cdef Step* step = add(plan, action, LINES, layer, items, work)
    step.at_once, step.width = between_looks(items, work, 1, plan.shape.kernels), width
    return 0


cdef int add_alone(Plan* plan, Action action, Py_ssize_t layer, Py_ssize_t items,
                   double work) except -1:
    add(plan, action, ALONE, layer, items, work).at_once = between_looks(
        items, work, 1, plan.shape.kernels)
    return 0


cdef void end_phase(Plan* plan) noexcept:
    cdef int i = plan.n_steps - 1
    while i >= 0 and plan.steps[i].phase_end == 0:
        plan.steps[i].phase_end = plan.n_steps
        i -= 1


cdef void end_block(Plan* plan) noexcept:
    end_phase(plan)
    plan.per_block = plan.n_steps


cdef void discard(Plan* plan) noexcept:
    free(plan.steps)
    plan.steps = NULL
    plan.room = plan.n_steps = 0


# ---- threads ----------------------------------------------------------------------------

cdef object get_limit = None        # of the threads of any call: a function that `_config` gives


def limit_threads(get):
    global get_limit
    get_limit = get


cdef int asked_threads(object n_threads) except -1:
    return 0 if n_threads is None else min(n_threads, MOST_THREADS)


cdef int most_threads(const Shape* s, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t threads = max(n, s.widest_output // TILE_COLUMNS) if n > 0 else 1
    return <int> max(<Py_ssize_t> 1, min(threads, <Py_ssize_t> MOST_THREADS))


cdef int threads_for(const Shape* s, Py_ssize_t n, int products, int asked) except -1:
    """A thread needs work that is worth waking it for, and rows or columns of its own."""
    cdef int threads
    if n == 0 or asked == 1:
        return 1
    threads = most_threads(s, n)
    if asked > 0:
        return min(threads, asked)
    return threads_worth(work_of_rows(products, n, s), threads)


cdef double work_of_rows(int products, Py_ssize_t n, const Shape* s) noexcept nogil:
    return s.itemsize * (<double> products * max(n, <Py_ssize_t> READING_ROWS) * s.weights
                         + <double> n * UNIT_WORK * s.units)


cdef int threads_worth(double work, int most) except -1:
    cdef int threads = <int> min(<double> most, work / THREAD_WORK)
    if threads < 2:
        return 1
    return min(threads, asked_threads(get_limit()))
