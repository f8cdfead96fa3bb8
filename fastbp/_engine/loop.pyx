"""The loop that runs a plan: mini-batches, blocks of rows, phases, steps, pieces.

    for every mini-batch
        for every block of rows
            for every phase of a block: its parts go to the threads, which meet at its end
                rows: some rows at a time through all steps; lines: step after step
        for every phase of a batch

A phase has as many parts as the pass has threads. A thread takes the next part that nobody has,
until there is none, and then waits for those that others took: a helper that arrives late costs
nothing, since the caller does its part, and all of the pass if need be. A part, and a piece of a
step, is of the output (N1): who computes it, and how many there are, changes no bit. The threads of
a pass, Ctrl-C and the float mode of its kernels are matters of this file alone.
"""

from libc.string cimport memset

from fastbp._engine.atomics cimport (
    ACQUIRE, ORDERED, RELEASE, add_count, claim_next, get_count, set_count,
)
from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._engine.plan cimport LINES, ROWS, Frame, Meeting, Plan, Shape, Step
from fastbp._engine.samples cimport advance, locate_samples
from fastbp._engine.signals cimport LOOK_WORK, Clock, look, release_gil, start_clock, take_gil
from fastbp._engine.team cimport SPINS, YIELDS, bide, conduct, dismiss, recruit

cdef enum:
    BRIEF_WORK = 1 << 16        # multiply-adds: some microseconds
    STEP_WORK = 128             # multiply-adds in the time that a step takes besides its work

cdef long long NEVER = 1LL << 62

cdef const char* FORKED = ("a handler of signals forked the process inside a call: "
                           "the child cannot go on with it")

cdef extern from *:
    ctypedef struct PyObject
    PyObject* RUNTIME_ERROR "PyExc_RuntimeError"
    void set_error "PyErr_SetString"(PyObject* kind, const char* message) noexcept nogil


# ---- a call -----------------------------------------------------------------------------

cdef double work_of(const Pass* run) noexcept:
    """Multiply-adds, at most: every block and mini-batch counts as a whole one."""
    cdef const Plan* plan = run.plan
    cdef double batches = 1, blocks = 1
    if run.lengths != NULL:
        batches = run.n_lengths
    elif run.n > run.batch_size:
        batches += (run.n - 1) // run.batch_size
    if run.batch_size > plan.part_rows:
        blocks += (run.batch_size - 1) // plan.part_rows
    blocks *= batches
    return (run.n * plan.row_work + blocks * (plan.block_work + plan.per_block * STEP_WORK)
            + batches * (plan.batch_work + (plan.n_steps - plan.per_block) * STEP_WORK))


cdef int carry_out(Pass* run) except -1:
    return carry_out_in(run, 0)


cdef int carry_out_in(Pass* run, int parts) except -1:
    """Release the GIL for the pass, unless the pass is shorter than that takes.

    While the GIL is held nobody looks for signals: their handlers need it.
    """
    cdef int size = recruit(run.plan.threads)
    cdef bint brief = work_of(run) < BRIEF_WORK
    run.clock = start_clock()
    run.clock.main = run.clock.main and not brief
    if not brief:
        release_gil(&run.clock)
    meet(run, size, parts)
    if not brief:
        take_gil(&run.clock)
    return -1 if called_off(run) else 0


cdef void carry_out_alone(Pass* run, int threads) noexcept nogil:
    run.clock = start_clock()
    run.clock.main = False
    meet(run, recruit(min(threads, run.plan.threads)), 0)


cdef inline void meet(Pass* run, int size, int parts) noexcept nogil:
    """Each phase has a part for each thread, unless its number of parts is given."""
    if run.totals == NULL:          # only now: a pass may be prepared, and then copied
        run.totals = &run.own
    run.meeting = Meeting(parts=parts if parts > 0 else size, deserted=False, claimed=0, done=0,
                          end=NEVER)
    conduct(run_in_thread, run, size, &run.meeting.deserted)
    dismiss(size)


ctypedef struct Lone:       # a pass of one step
    Step step
    Plan plan
    Shape shape
    Pass run
    Py_ssize_t[2] sizes


cdef void begin_lone(Lone* lone, Action action, Sharing sharing, const KernelTable* kernels,
                     void* more, Py_ssize_t items, Py_ssize_t most, double work) noexcept nogil:
    memset(lone, 0, sizeof(Lone))
    lone.step = Step(action, sharing, 0, items, most, work, 1, 0, 1, 1)
    lone.shape.kernels, lone.shape.itemsize, lone.shape.n_layers = kernels, kernels.itemsize, 1
    lone.shape.sizes = lone.sizes
    lone.plan.steps, lone.plan.n_steps, lone.plan.per_block = &lone.step, 1, 1
    lone.plan.threads = 1
    lone.plan.part_rows = lone.plan.rows_at_once = 1
    lone.run.plan, lone.run.shape, lone.run.more = &lone.plan, &lone.shape, more
    lone.run.n = lone.run.batch_size = 1


cdef int carry_out_one(Action action, Sharing sharing, const KernelTable* kernels, void* more,
                       char* scratch, Py_ssize_t n, Py_ssize_t block, Py_ssize_t items,
                       Py_ssize_t most, double work) except -1:
    cdef Lone lone
    begin_lone(&lone, action, sharing, kernels, more, items, most, work)
    lone.plan.part_rows = lone.plan.rows_at_once = block
    lone.plan.row_work = items * max(work, 1) if sharing == ROWS else 0
    lone.plan.block_work = items * max(work, 1) if sharing != ROWS else 0
    lone.run.scratch, lone.run.n, lone.run.batch_size = scratch, n, n
    return carry_out(&lone.run)


cdef void carry_out_parts_alone(Action action, const KernelTable* kernels, void* more, int parts,
                                int threads) noexcept nogil:
    cdef Lone lone
    begin_lone(&lone, action, LINES, kernels, more, parts, 1, 1)
    lone.run.clock = start_clock()
    lone.run.clock.main = False
    meet(&lone.run, recruit(min(threads, parts)), parts)


cdef int carry_out_parts(Action action, const KernelTable* kernels, void* more, int parts,
                         Py_ssize_t items, double work, int threads) except -1:
    cdef Lone lone
    begin_lone(&lone, action, LINES, kernels, more, parts * items, 1, work)
    lone.plan.block_work = work * parts * items
    lone.plan.threads = min(threads, parts)
    return carry_out_in(&lone.run, parts)


cdef bint run_within(Frame* f, Pass* run) noexcept nogil:
    """One thread has the clock of both passes: the thread that looks for signals, in either."""
    run.within = &f.run.meeting
    run.meeting.parts, run.meeting.end = 1, NEVER
    if f.thread == 0:
        run.clock = f.run.clock
    run_in_thread(run, 0)
    if f.thread == 0:
        f.run.clock = run.clock
        if called_off(run) and not called_off(f.run):
            set_count(&f.run.meeting.end, f.phase + 1, RELEASE)
    return called_off(run)


# ---- the loop ---------------------------------------------------------------------------

cdef void run_in_thread(void* task, int thread) noexcept nogil:
    """Every mini-batch, in every thread that takes part."""
    cdef Pass* run = <Pass*> task
    cdef Py_ssize_t done = 0, i = 0
    cdef Frame f
    cdef float_mode mode = enter_float_mode()
    f.run, f.steps, f.batch, f.thread, f.phase = run, run.plan.steps, run.batch, thread, 0
    while i == 0 or (done < run.n if run.lengths == NULL else i < run.n_lengths):
        f.batch_rows = min(run.batch_size, run.n - done) if run.lengths == NULL else run.lengths[i]
        if run_batch(&f) or run.ends:
            break
        advance(&f.batch, run.shape, f.batch_rows)
        done += f.batch_rows
        i += 1
    leave_float_mode(mode)


cdef bint run_batch(Frame* f) noexcept nogil:
    """Block after block, then what is done once for a batch; nonzero when called off."""
    cdef Pass* run = f.run
    cdef const Plan* plan = run.plan
    cdef Py_ssize_t rows = plan.part_rows * run.meeting.parts
    f.block_start = 0
    while f.block_start == 0 or f.block_start < f.batch_rows:
        f.block_rows = min(rows, f.batch_rows - f.block_start)
        locate_samples(f)
        if run_phases(f, 0, plan.per_block):
            return True
        f.block_start += rows
    return run_phases(f, plan.per_block, plan.n_steps)


cdef bint run_phases(Frame* f, int first, int end) noexcept nogil:
    while first < end:
        f.first_step = first
        if run_phase(f):
            return True
        first = f.steps[first].phase_end
    return False


# ---- a phase: its threads, and its parts ------------------------------------------------

cdef bint run_phase(Frame* f) noexcept nogil:
    """Take parts until there is none left, and wait for those of others; nonzero when called off.

    Thread 0 counts its parts into `done` only after all others are done. Until then no thread can
    begin the next phase, so that thread 0, which looks for signals, may still end the pass here.
    """
    cdef Meeting* meeting = &f.run.meeting
    cdef long long first = f.phase * meeting.parts, end = first + meeting.parts, next, kept = 0
    cdef int waits = 0
    if meeting.parts == 1:
        take_part(f, 0)
        f.phase += 1
        return f.phase >= meeting.end
    while True:
        next = get_count(&meeting.claimed, ACQUIRE)
        if next >= end:
            break
        if claim_next(&meeting.claimed, next, next + 1):
            if not called_off(f.run):
                take_part(f, <int> (next - first))
            if meeting.deserted:
                return True
            if f.thread == 0:
                kept += 1
            else:
                add_count(&meeting.done, 1, ORDERED)
    while get_count(&meeting.done, ACQUIRE) < end - kept:
        waits = bide(waits)
        if kept > 0 and waits == SPINS + YIELDS:
            look_meanwhile(f)
            if meeting.deserted:
                return True
    if kept > 0:
        add_count(&meeting.done, kept, ORDERED)
    f.phase += 1
    return f.phase >= get_count(&meeting.end, ACQUIRE)


cdef inline bint called_off(const Pass* run) noexcept nogil:
    return get_count(&run.meeting.end, ACQUIRE) != NEVER


cdef inline Py_ssize_t share(Py_ssize_t n, int part, int parts) noexcept nogil:
    """The first of n items that are a part's; the last ends where the next part's begin."""
    if parts == 1:
        return n * part                 # spare a tiny network the division
    return n // parts * part + min(<Py_ssize_t> part, n % parts)


cdef void take_part(Frame* f, int part) noexcept nogil:
    f.part = part
    f.scratch = f.run.scratch + part * f.run.scratch_bytes
    if f.steps[f.first_step].sharing == ROWS:
        rows_of_part(f)
    else:
        lines_of_part(f)


cdef void rows_of_part(Frame* f) noexcept nogil:
    """Some rows at a time through all steps of the phase, while they are in the cache."""
    cdef const Step* step = f.steps + f.first_step
    cdef const Step* end = f.steps + step.phase_end
    cdef Py_ssize_t last = share(f.block_rows, f.part + 1, f.run.meeting.parts)
    f.at = share(f.block_rows, f.part, f.run.meeting.parts)
    while f.at < last:
        f.n = min(f.run.plan.rows_at_once, last - f.at)
        step = f.steps + f.first_step
        while step < end:
            if in_pieces(step, f, 0, step.items, step.work * f.n):
                return
            step += 1
        f.at += f.n


cdef void lines_of_part(Frame* f) noexcept nogil:
    """Step after step; the numbers in all lines of the phase are split evenly among the parts."""
    cdef const Step* step = f.steps + f.first_step
    cdef const Step* end = f.steps + step.phase_end
    cdef const Step* last = end - 1
    cdef int parts = f.run.meeting.parts
    cdef Py_ssize_t numbers, low, high, first, count
    f.at, f.n = 0, f.block_rows
    if parts == 1:
        while step < end:
            if in_pieces(step, f, 0, step.items, step.work):
                return
            step += 1
        return
    numbers = last.before + last.items * last.width
    low = share(numbers, f.part, parts)
    high = share(numbers, f.part + 1, parts)
    while step < end:
        first, count = 0, step.items if f.part == 0 else 0
        if step.sharing == LINES:
            first = lines_before(low - step.before, step)
            count = lines_before(high - step.before, step) - first
        if count > 0 and in_pieces(step, f, first, first + count, step.work):
            return
        step += 1


cdef inline Py_ssize_t lines_before(Py_ssize_t number, const Step* step) noexcept nogil:
    """The lines of a step that begin before this number, or the next multiple."""
    cdef Py_ssize_t lines
    if number <= 0:
        return 0
    lines = (number + step.width - 1) // step.width
    return min(step.items, (lines + step.multiple - 1) // step.multiple * step.multiple)


cdef inline bint in_pieces(const Step* step, Frame* f, Py_ssize_t first, Py_ssize_t end,
                           double work) noexcept nogil:
    """So many items at a time that signals are looked for; nonzero when the pass is called off."""
    f.first = first
    while True:
        f.count = min(step.at_once, end - f.first)
        step.action(step, f)
        f.first += f.count
        if interrupted(f, work * f.count):
            return True
        if f.first >= end:
            return False


cdef inline bint interrupted(Frame* f, double work) noexcept nogil:
    """After so many multiply-adds: thread 0 looks for signals, the others at what it found."""
    cdef Clock* clock = &f.run.clock
    if f.thread == 0:
        clock.work += work
        if clock.work >= LOOK_WORK:
            look_around(f)
        elif f.run.meeting.parts == 1:
            return False
    return called_off(f.run)


# ---- signals ----------------------------------------------------------------------------

cdef void look_meanwhile(Frame* f) noexcept nogil:
    """Thread 0 waits. The phases of a batch, which may be within an update, are left to end."""
    if f.first_step < f.run.plan.per_block and not called_off(f.run):
        look_around(f)


cdef void look_around(Frame* f) noexcept nogil:
    cdef Pass* run = f.run
    cdef int found
    if run.within != NULL and get_count(&run.within.end, ACQUIRE) != NEVER:
        set_count(&run.meeting.end, f.phase + 1, RELEASE)
        return
    found = look(&run.clock)
    if found > 0 and (run.meeting.deserted or run.within != NULL and run.within.deserted):
        take_gil(&run.clock)
        set_error(RUNTIME_ERROR, FORKED)
        release_gil(&run.clock)
        found = -1
    if found < 0:       # nobody is past this phase, of which thread 0 has parts not counted yet
        set_count(&run.meeting.end, f.phase + 1, RELEASE)
