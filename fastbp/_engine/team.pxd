# The threads that take part in a call, and the parts of its phases. Knows no network.

cdef enum:
    MOST_THREADS = 256          # of a call, the caller's included

ctypedef long long Flag         # 0, or the number of the thread whose call holds it

ctypedef struct Meeting:        # what the threads of one call share
    int parts                   # of every phase
    int generation              # of the process in which it began
    long long claimed           # parts of all phases, in order
    long long done
    long long end               # no part of this phase or a later one is begun

ctypedef struct Seat:           # one thread's place in a call
    int thread                  # 0 is the caller
    int part                    # of the phase
    long long phase

ctypedef void (*Work)(void* task, Seat* seat) noexcept nogil
ctypedef void (*Part)(void* task, const Seat* seat) noexcept nogil


# With the GIL: how many threads there are for a call, at most `size`; 1 when the team is busy.
# What it returns goes to `conduct`, then to `dismiss`.
cdef int recruit(int size) noexcept
# work(task, seat) in every thread, this one's seat being 0; returns when all have ended
cdef void conduct(Work work, void* task, int size) noexcept nogil
cdef void dismiss(int size) noexcept nogil

cdef void convene(Meeting* meeting, int parts) noexcept nogil
# Do parts of the next phase until none is left, and wait for those that others do; nonzero when
# the call is called off. Every thread goes through the same phases. Thread 0 does `meanwhile` again
# and again where it waits for long
cdef bint do_phase(Meeting* meeting, Seat* seat, Part part, Part meanwhile,
                   void* task) noexcept nogil
# Thread 0 calls this within a part, or within `meanwhile`: the phase it is in will be the last
cdef void call_off(Meeting* meeting, const Seat* seat) noexcept nogil
cdef bint called_off(const Meeting* meeting) noexcept nogil
# A fork by a handler of signals left this thread alone
cdef bint deserted(const Meeting* meeting) noexcept nogil

# The first of `n` items that are a part's; the last ends where the next part's begin
cdef inline Py_ssize_t share(Py_ssize_t n, int part, int parts) noexcept nogil:
    if parts == 1:
        return n * part                 # spare a tiny network the division
    return n // parts * part + min(<Py_ssize_t> part, n % parts)

# A flag that one call holds at a time: nonzero when another has it. After a fork, the calls of the
# thread that forked hold theirs as before; those of threads that the child does not have are free
cdef bint acquire(Flag* flag) noexcept nogil
cdef void release(Flag* flag) noexcept nogil
