# When a long native region looks for Ctrl-C and other signals, and how much it does in between.

from fastbp._engine.float_mode cimport float_mode
from fastbp._kernels.table cimport KernelTable

cdef extern from *:
    ctypedef struct PyThreadState

cdef enum:
    UNIT_WORK = 40          # multiply-adds that a unit's sigmoid counts
    MEMORY_WORK = 32        # multiply-adds in the time that a number takes from memory, at least
    TILE_COLUMNS = 64       # whole vectors and tiles of every variant
    LOOK_WORK = 1 << 20     # multiply-adds between two looks at the clock: some 0.02 ms

ctypedef struct Clock:      # when a region last looked
    double last
    double work             # multiply-adds since
    float_mode mode         # the caller's, for its handlers of signals
    PyThreadState* thread   # without the GIL
    bint main               # the thread of handlers

cdef Clock start_clock() noexcept nogil

# Around a region; within it for the main thread alone: once the interpreter is gone, any other ends
# as it takes the GIL, which it must not while others work on what is on its stack
cdef void release_gil(Clock* clock) noexcept nogil
cdef void take_gil(Clock* clock) noexcept nogil

# After LOOK_WORK. Every 20 ms of a long region of the main thread handlers of signals run: 1 if
# they did now, -1 with the exception of one set, 0 otherwise
cdef int look(Clock* clock) noexcept nogil

# Of n rows or columns of a product, of so many multiply-adds each, those between two looks: all, or
# a multiple of TILE_COLUMNS, or fewer but for the `least`
cdef Py_ssize_t between_looks(Py_ssize_t n, double work, Py_ssize_t least,
                              const KernelTable* kernels) noexcept nogil
