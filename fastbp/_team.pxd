# The threads that take part in a call, and how they meet. Knows no network.

cdef enum:
    MOST_RANKS = 256            # threads of a call, the caller's included

ctypedef void (*Work)(void* task, int rank) noexcept nogil

ctypedef struct Meeting:        # a barrier for `size` ranks
    int size
    int arrived
    int round
    int stop                    # anyone may set it ...
    int stopped                 # ... and all learn of it at the same barrier
    int generation              # of the process in which it began


# With the GIL: how many ranks there are for a call, at most `size`; 1 when the team is busy.
# What it returns goes to `conduct`, then to `dismiss`.
cdef int recruit(int size)
# work(task, rank) for every rank, 0 in this thread; returns when all have ended
cdef void conduct(Work work, void* task, int size) noexcept nogil
cdef void dismiss(int size) noexcept nogil

cdef void convene(Meeting* meeting, int size) noexcept nogil
# Wait for the other ranks; nonzero when one of them wants to stop
cdef bint meet(Meeting* meeting) noexcept nogil
cdef void call_off(Meeting* meeting) noexcept nogil
cdef bint called_off(const Meeting* meeting) noexcept nogil
# A fork in between, by a handler of signals, left this rank alone
cdef bint deserted(const Meeting* meeting) noexcept nogil

# The first of `n` items that are rank's; the last ends where the next rank's begin
cdef inline Py_ssize_t share(Py_ssize_t n, int rank, int size) noexcept nogil:
    return n // size * rank + min(<Py_ssize_t> rank, n % size)

# A flag that one thread holds at a time: nonzero when another has it
cdef int acquire(int* flag) noexcept nogil
cdef void release(int* flag) noexcept nogil
