# When a long native region looks for Ctrl-C and other signals, and work that goes piece by piece
# so that it can.

from fastbp._kernels.float_mode cimport float_mode
from fastbp._kernels.table cimport KernelTable

cdef extern from *:
    ctypedef struct PyThreadState

cdef enum:
    UNIT_WORK = 40          # multiply-adds that a unit's sigmoid counts
    PIECE = 64              # whole vectors and tiles of every variant
    TOUCHED = 32            # multiply-adds in the time that a number takes from memory, at least

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

# Every 20 ms of a long region of the main thread handlers of signals run: 1 if they did now, -1
# with the exception of one set, 0 otherwise
cdef int look(Clock* clock, double work) noexcept nogil

# Of n rows or columns of a product, of so many multiply-adds each, those between two looks: all, or
# a multiple of PIECE, or fewer but for the `least`
cdef Py_ssize_t at_once(Py_ssize_t n, double work, Py_ssize_t least,
                        const KernelTable* kernels) noexcept nogil

ctypedef void (*Piece)(void* task, Py_ssize_t first, Py_ssize_t count) noexcept nogil
# With the GIL released and in the mode of N5: piece(task, first, count) for `size` items, at least
# once, in ascending runs of at most `most`, each item worth so many multiply-adds
cdef int in_pieces(Piece piece, void* task, Clock* clock, Py_ssize_t size, Py_ssize_t most,
                   double work) except -1
