"""The thread team: helpers that stay in native code for a whole call and meet at barriers.

Work is split by output, never along a sum (N1), so that the number of ranks changes no bit.
Helpers are daemon threads that Python starts; between two calls they look out for the next one a
few microseconds long, then sleep on a lock. There is one team in a process, and it serves
one call at a time: a call that finds it busy computes alone. No OpenMP, whose runtime hangs
after a fork and collides with others in one process.

A helper's post is a counter that the caller raises and the helper lowers when its work is done:

    caller   task, then posted = 1; wakes the helper if it sleeps     ... waits for posted = 0
    helper   waits for posted = 1, works, posted = 0
"""

import _thread
import atexit
import os

from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock,
    PyThread_type_lock,
)
from posix.time cimport nanosleep, timespec

cdef extern from *:
    """
    #include <sched.h>
    #if defined(__x86_64__) || defined(__i386__)
    #define FASTBP_PAUSE() __builtin_ia32_pause()
    #elif defined(__aarch64__)
    #define FASTBP_PAUSE() __asm__ volatile("yield")
    #else
    #define FASTBP_PAUSE() ((void)0)
    #endif
    """
    int ACQUIRE "__ATOMIC_ACQUIRE"
    int RELEASE "__ATOMIC_RELEASE"
    int ORDERED "__ATOMIC_SEQ_CST"
    int atomic_load "__atomic_load_n"(const int* p, int order) noexcept nogil
    void atomic_store "__atomic_store_n"(int* p, int value, int order) noexcept nogil
    int atomic_add "__atomic_add_fetch"(int* p, int value, int order) noexcept nogil
    int atomic_exchange "__atomic_exchange_n"(int* p, int value, int order) noexcept nogil
    int compare_and_swap "__sync_val_compare_and_swap"(int* p, int old, int new) noexcept nogil
    void pause "FASTBP_PAUSE"() noexcept nogil
    int sched_yield() noexcept nogil

cdef enum:
    SPINS = 4000        # looks at a flag before the processor is given up: some 0.1 ms
    YIELDS = 200        # times it is given up before the thread sleeps

ctypedef struct Helper:
    int posted          # 1: there is work
    int asleep          # 1: waits for the lock
    int leave           # 1: the thread should end, 2: it does
    PyThread_type_lock wake
    char apart[64]      # from the next one's flags

cdef Helper helpers[MOST_RANKS]
cdef int hired = 0                      # helpers[1 .. hired] have threads
cdef int busy = 0
cdef Work current_work = NULL
cdef void* current_task = NULL
cdef int generation = 1                 # of this process, counted in forks


# ---- flags ------------------------------------------------------------------------------

cdef int acquire(int* flag) noexcept nogil:
    """Take the flag; a holder that did not survive a fork does not count."""
    cdef int holder = compare_and_swap(flag, 0, generation)
    if holder != 0 and holder != generation:
        holder = 0 if compare_and_swap(flag, holder, generation) == holder else 1
    return holder


cdef void release(int* flag) noexcept nogil:
    atomic_store(flag, 0, RELEASE)


cdef void wait_while(const int* flag, int value) noexcept nogil:
    """Return once the flag has another value: look, then yield, then sleep between looks."""
    cdef timespec nap
    cdef int i = 0
    nap.tv_sec, nap.tv_nsec = 0, 50_000
    while atomic_load(flag, ACQUIRE) == value:
        if i < SPINS:
            pause()
        elif i < SPINS + YIELDS:
            sched_yield()
        else:
            nanosleep(&nap, NULL)
        i += i < SPINS + YIELDS


# ---- barriers ---------------------------------------------------------------------------

cdef void convene(Meeting* meeting, int size) noexcept nogil:
    meeting.size, meeting.arrived, meeting.round = size, 0, 0
    meeting.stop, meeting.stopped, meeting.generation = 0, 0, generation


cdef bint meet(Meeting* meeting) noexcept nogil:
    """The last to arrive fixes what all learn, so that they agree on going on."""
    cdef int round
    if meeting.size == 1 or deserted(meeting):
        return meeting.stop
    round = atomic_load(&meeting.round, ACQUIRE)
    if atomic_add(&meeting.arrived, 1, ORDERED) == meeting.size:
        meeting.stopped = atomic_load(&meeting.stop, ACQUIRE)
        meeting.arrived = 0
        atomic_store(&meeting.round, round + 1, RELEASE)
    else:
        wait_while(&meeting.round, round)
    return meeting.stopped


cdef void call_off(Meeting* meeting) noexcept nogil:
    atomic_store(&meeting.stop, 1, RELEASE)


cdef bint called_off(const Meeting* meeting) noexcept nogil:
    return atomic_load(&meeting.stop, ACQUIRE)


cdef bint deserted(const Meeting* meeting) noexcept nogil:
    return meeting.size > 1 and meeting.generation != generation


# ---- helpers ----------------------------------------------------------------------------

cdef void serve(int rank) noexcept nogil:
    """What a helper does until it should leave."""
    cdef Helper* me = &helpers[rank]
    cdef int i
    while True:
        i = 0
        while atomic_load(&me.posted, ACQUIRE) == 0 and atomic_load(&me.leave, ACQUIRE) == 0:
            if i < SPINS:
                i += 1
                pause()
                continue
            atomic_store(&me.asleep, 1, ORDERED)
            if (atomic_load(&me.posted, ORDERED) == 0 and atomic_load(&me.leave, ORDERED) == 0
                    or atomic_exchange(&me.asleep, 0, ORDERED) == 0):
                PyThread_acquire_lock(me.wake, WAIT_LOCK)   # whoever cleared `asleep` releases it
        if atomic_load(&me.leave, ACQUIRE):
            atomic_store(&me.leave, 2, RELEASE)
            return
        current_work(current_task, rank)
        atomic_store(&me.posted, 0, RELEASE)


cdef void rouse(Helper* helper) noexcept nogil:
    if atomic_exchange(&helper.asleep, 0, ORDERED):
        PyThread_release_lock(helper.wake)


def _serve(int rank):
    with nogil:
        serve(rank)


cdef int recruit(int size):
    """Take the team and see to it that it has size - 1 helpers, or as many as can be had."""
    if size <= 1 or acquire(&busy):
        return 1
    size = hire(min(size, <int> MOST_RANKS) - 1) + 1
    if size == 1:
        release(&busy)
    return size


cdef int hire(int wanted):
    """Helpers there are, at most `wanted`."""
    global hired
    cdef Helper* helper
    while hired < wanted:
        helper = &helpers[hired + 1]
        helper.posted, helper.asleep, helper.leave = 0, 0, 0
        helper.wake = PyThread_allocate_lock()
        if helper.wake == NULL:
            break
        PyThread_acquire_lock(helper.wake, NOWAIT_LOCK)
        try:
            _thread.start_new_thread(_serve, (hired + 1,))
        except RuntimeError:            # no more threads to be had, or Python is ending
            break
        hired += 1
    return min(hired, wanted)


cdef void conduct(Work work, void* task, int size) noexcept nogil:
    global current_work, current_task
    cdef int rank, started_in = generation
    if size > 1:
        current_work, current_task = work, task
    for rank in range(1, size):
        atomic_store(&helpers[rank].posted, 1, ORDERED)
        rouse(&helpers[rank])
    work(task, 0)
    for rank in range(1, size):
        if generation == started_in:
            wait_while(&helpers[rank].posted, 1)


cdef void dismiss(int size) noexcept nogil:
    if size > 1:
        release(&busy)


@atexit.register
def _leave():
    """Helpers end before the interpreter does; those of a call that is running stay in it."""
    global hired
    cdef int rank
    if acquire(&busy):
        return
    for rank in range(1, hired + 1):
        atomic_store(&helpers[rank].leave, 1, ORDERED)
        rouse(&helpers[rank])
        with nogil:
            wait_while(&helpers[rank].leave, 1)
    hired = 0
    release(&busy)


def _after_fork():
    """The child has no helpers; what the parent's waited on is left behind."""
    global generation, hired
    generation += 1
    hired = 0


os.register_at_fork(after_in_child=_after_fork)
