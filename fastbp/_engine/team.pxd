# The threads that take part in a call. Knows no network.

cdef enum:
    MOST_THREADS = 256          # of a call, the caller's included
    SPINS = 4000                # looks at a flag before the processor is given up: some 0.1 ms
    YIELDS = 200                # times it is given up before the thread sleeps between looks

ctypedef long long Flag         # 0, or the number of the thread whose call holds it

ctypedef void (*Work)(void* task, int thread) noexcept nogil

# How many threads there are for a call, at most `size`; 1 when the team is busy. What it returns
# goes to `conduct`, then to `dismiss`.
cdef int recruit(int size) noexcept nogil
# work(task, thread) in every thread, this one being 0; returns when all have ended. A fork by a
# handler of signals leaves thread 0 alone in the child, where `deserted` becomes nonzero
cdef void conduct(Work work, void* task, int size, bint* deserted) noexcept nogil
cdef void dismiss(int size) noexcept nogil

# Pass the time between two looks at a flag: spin, then yield, then sleep; counts how often
cdef int bide(int waits) noexcept nogil

# A flag that one call holds at a time: nonzero when another has it. After a fork, the calls of the
# thread that forked hold theirs as before; those of threads that the child does not have are free
cdef bint acquire(Flag* flag) noexcept nogil
cdef void release(Flag* flag) noexcept nogil
