"""Ctrl-C in native code: when to look for signals, and how long a piece of work between is.

A piece is of the output (N1), or of whole blocks of a sum: how long it is changes no bit.
"""

import _signal as signal        # `signal` itself makes enums of it, which takes a millisecond
import os

from fastbp._engine.float_mode cimport enter_float_mode, leave_float_mode
from fastbp._engine.system cimport seconds

# Vectors of multiply-adds: some 5 ms of AVX-512 on a core, and 30 ms of AVX2 on one that computes
# vectors in two halves and waits for memory.
cdef double PIECE_WORK = 2.0 ** 24

cdef extern from *:
    int check_signals "PyErr_CheckSignals"() noexcept nogil
    unsigned long this_thread "PyThread_get_thread_ident"() noexcept nogil
    PyThreadState* save_thread "PyEval_SaveThread"() noexcept nogil
    void restore_thread "PyEval_RestoreThread"(PyThreadState* thread) noexcept nogil


cdef unsigned long thread_of_handlers() except? 0:
    """Where the interpreter runs handlers of signals; 0, which is no thread, if it cannot be known.

    Before Python 3.13 `threading` takes the thread that imports it first for the main one, which
    in a program that embeds Python may be any. `signal` knows better, but only about the caller:
    where two other threads import threading and fastbp, handlers run when a call has ended.
    """
    try:
        signal.signal(signal.SIGINT, None)
    except TypeError:                               # of None: the thread may set a handler
        return this_thread()
    except ValueError:
        pass
    import threading                                # a millisecond too, and seldom needed
    main = threading.main_thread().ident
    return 0 if main == this_thread() else main


cdef unsigned long main_thread = thread_of_handlers()


def _after_fork():
    """In the child, the thread that forked is the main one."""
    global main_thread
    main_thread = this_thread()


if hasattr(os, "register_at_fork"):     # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


cdef Clock start_clock() noexcept nogil:
    cdef Clock clock
    clock.last, clock.work, clock.thread, clock.main = 0, 0, NULL, this_thread() == main_thread
    clock.mode = enter_float_mode()
    leave_float_mode(clock.mode)
    return clock


cdef void release_gil(Clock* clock) noexcept nogil:
    clock.thread = save_thread()


cdef void take_gil(Clock* clock) noexcept nogil:
    restore_thread(clock.thread)


cdef int look(Clock* clock) noexcept nogil:
    """Handlers of signals run under the caller's float mode (N5)."""
    cdef double now
    cdef float_mode mode
    cdef int found
    clock.work = 0
    if not clock.main:
        return 0
    now = seconds()
    if clock.last == 0:
        clock.last = now
    if now - clock.last <= 0.02:
        return 0
    clock.last = now
    mode = enter_float_mode()
    leave_float_mode(clock.mode)
    take_gil(clock)
    found = check_signals()
    release_gil(clock)
    enter_float_mode()
    leave_float_mode(mode)
    return -1 if found < 0 else 1


cdef Py_ssize_t between_looks(Py_ssize_t n, double work, Py_ssize_t least,
                              const KernelTable* kernels) noexcept nogil:
    cdef double most = PIECE_WORK * kernels.vector_bytes
    cdef Py_ssize_t count
    work *= kernels.itemsize
    if n * work <= most:
        return n
    count = <Py_ssize_t> (most / work)
    if count >= TILE_COLUMNS:
        count -= count % TILE_COLUMNS
    return min(n, max(least, count))
