"""The thread team: helpers that stay in native code for a whole call.

Helpers are threads that know no Python: they start without an object of its, so that nothing
fails once one runs. After a call they look out for the next one for some 0.1 ms, then sleep on
a lock. There is one team in a process, and it serves one call at a time: a call that finds it
busy computes alone. No OpenMP, whose runtime hangs after a fork and collides with others in one
process.
"""

import atexit
import os

from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_release_lock, PyThread_type_lock,
)

from fastbp._engine.atomics cimport (
    ACQUIRE, ORDERED, RELEASE, add_count, atomic_exchange, atomic_load, atomic_store,
    compare_and_swap, set_count, swap_holder,
)
from fastbp._engine.system cimport (
    give_way, keep_apart, nap, pause, rejoin, restricted_to, thread_id,
)

cdef extern from *:
    """
    static __thread long long fastbp_own_number = 0;
    """
    unsigned long NO_THREAD "PYTHREAD_INVALID_THREAD_ID"
    # These need no GIL; Cython's own declarations of them ask for it.
    unsigned long start_thread "PyThread_start_new_thread"(void (*work)(void*) noexcept nogil,
                                                           void* argument) noexcept nogil
    PyThread_type_lock new_lock "PyThread_allocate_lock"() noexcept nogil
    void free_lock "PyThread_free_lock"(PyThread_type_lock lock) noexcept nogil
    long long own_number "fastbp_own_number"    # of each thread; 0 before it has one

cdef enum:
    IDLE = 0            # of a helper's post
    POSTED = 1          # there is work; the caller may take it back
    TAKEN = 2           # the helper works

ctypedef struct Helper:
    int post
    int asleep          # 1: waits for the lock
    int leave           # 1: the thread should end, 2: it does
    int thread          # the system's number of it
    int caller          # and of the thread that woke it
    PyThread_type_lock wake
    char apart[64]      # from the next one's flags

cdef Helper helpers[MOST_THREADS]
cdef int hired = 0                      # helpers[1 .. hired] have threads
cdef Flag busy = 0
cdef Work current_work = NULL
cdef void* current_task = NULL
cdef bint* alone = NULL                 # in the call: whether a fork has left its thread alone
cdef long long numbered = 0             # threads that have had a number
cdef long long numbered_at_fork = 0     # of these the child has one,
cdef long long survivor = 0             # which forked


def masked_cpus():
    """CPUs that Windows leaves to a process that was restricted; 0 for others, and elsewhere."""
    return restricted_to()


# ---- flags ------------------------------------------------------------------------------

cdef inline long long number_of_thread() noexcept nogil:
    """That of the calling thread, which no other has had: the system gives its own again."""
    global own_number
    if own_number == 0:
        own_number = add_count(&numbered, 1, ORDERED)
    return own_number


cdef bint acquire(Flag* flag) noexcept nogil:
    cdef long long me = number_of_thread(), holder = swap_holder(flag, 0, me)
    if holder != 0 and holder <= numbered_at_fork and holder != survivor:
        return swap_holder(flag, holder, me) != holder
    return holder != 0


cdef void release(Flag* flag) noexcept nogil:
    set_count(flag, 0, RELEASE)


cdef int bide(int waits) noexcept nogil:
    """Pass the time between two looks: spin, then yield, then sleep; counts how often."""
    if waits < SPINS:
        pause()
    elif waits < SPINS + YIELDS:
        give_way()
    else:
        nap()
        return waits
    return waits + 1


cdef void wait_while(const int* flag, int value) noexcept nogil:
    cdef int waits = 0
    while atomic_load(flag, ACQUIRE) == value:
        waits = bide(waits)


# ---- helpers ----------------------------------------------------------------------------

cdef bint called(Helper* me) noexcept nogil:
    return atomic_load(&me.post, ORDERED) == POSTED or atomic_load(&me.leave, ORDERED) != 0


cdef void serve(void* helper) noexcept nogil:
    """What a helper does until it should leave."""
    cdef Helper* me = <Helper*> helper
    cdef int spins, thread = <int> (me - helpers)
    me.thread = thread_id()
    while True:
        spins = 0
        while not called(me):
            if spins < SPINS:
                spins += 1
                pause()
                continue
            atomic_store(&me.asleep, 1, ORDERED)
            # whoever clears `asleep`, the helper or the one that wakes it, decides on the lock
            if not called(me) or atomic_exchange(&me.asleep, 0, ORDERED) == 0:
                PyThread_acquire_lock(me.wake, WAIT_LOCK)
                rejoin(me.caller)       # it runs elsewhere: it may use all that the caller may
        if atomic_load(&me.leave, ACQUIRE):
            atomic_store(&me.leave, 2, RELEASE)
            return
        if compare_and_swap(&me.post, POSTED, TAKEN) == POSTED:
            current_work(current_task, thread)
            atomic_store(&me.post, IDLE, RELEASE)


cdef void rouse(Helper* helper) noexcept nogil:
    if atomic_exchange(&helper.asleep, 0, ORDERED):
        helper.caller = thread_id()
        keep_apart(helper.thread)
        PyThread_release_lock(helper.wake)


cdef int recruit(int size) noexcept nogil:
    """Take the team and see to it that it has size - 1 helpers, or as many as can be had."""
    if size <= 1 or acquire(&busy):
        return 1
    size = hire(min(size, <int> MOST_THREADS) - 1) + 1
    if size == 1:
        release(&busy)
    return size


cdef int hire(int wanted) noexcept nogil:
    """Helpers there are, at most `wanted`."""
    global hired
    cdef Helper* helper
    while hired < wanted:
        helper = &helpers[hired + 1]
        helper.post, helper.asleep, helper.leave, helper.thread = IDLE, 0, 0, 0
        helper.wake = new_lock()
        if helper.wake == NULL:
            break
        PyThread_acquire_lock(helper.wake, NOWAIT_LOCK)
        if start_thread(serve, helper) == NO_THREAD:    # no more to be had
            free_lock(helper.wake)
            break
        hired += 1
    return min(hired, wanted)


cdef void conduct(Work work, void* task, int size, bint* deserted) noexcept nogil:
    """A post that no helper has taken by the end is taken back."""
    global alone, current_work, current_task
    cdef int thread
    if size == 1:
        work(task, 0)
        return
    current_work, current_task, alone = work, task, deserted
    for thread in range(1, size):
        atomic_store(&helpers[thread].post, POSTED, ORDERED)
        rouse(&helpers[thread])
    work(task, 0)
    for thread in range(1, size):
        if not deserted[0] and compare_and_swap(&helpers[thread].post, POSTED, IDLE) == TAKEN:
            wait_while(&helpers[thread].post, TAKEN)
    alone = NULL


cdef void dismiss(int size) noexcept nogil:
    if size > 1:
        release(&busy)


@atexit.register
def _leave():
    """Helpers end before the interpreter does; those of a call that is running stay in it."""
    global hired
    cdef int thread
    if acquire(&busy):
        return
    for thread in range(1, hired + 1):
        atomic_store(&helpers[thread].leave, 1, ORDERED)
        rouse(&helpers[thread])
        with nogil:
            wait_while(&helpers[thread].leave, 1)
        free_lock(helpers[thread].wake)
    hired = 0
    release(&busy)


def _after_fork():
    """The child has no helpers; what the parent's waited on is left behind."""
    global alone, hired, numbered_at_fork, survivor
    if alone != NULL:
        alone[0] = True
        alone = NULL
    hired = 0
    numbered_at_fork, survivor = numbered, number_of_thread()


if hasattr(os, "register_at_fork"):     # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
