# The recursion over layers: E1 forward, E5 and E6 backward, over blocks of rows.
# Knows no loss, no optimiser, and not who owns the arrays.

from fastbp._kernels.float_mode cimport float_mode
from fastbp._kernels.table cimport Activation, KernelTable

cdef enum:
    BLOCK = 256             # rows a pass streams over: N1's block length

ctypedef struct Clock:      # when a long native region last looked for Ctrl-C
    double last
    double work             # multiply-adds since
    float_mode mode         # the caller's, for its signal handlers

ctypedef struct Buffers:    # one layer's arrays during one pass
    const char* W           # IN  (fan_in, fan_out), or (fan_out, fan_in)
    const char* b           # IN  (fan_out,)
    char* dW                # OUT like W
    char* db                # OUT (fan_out,)
    char* h                 # workspace (rows, fan_out)
    char* dh                # workspace (rows, fan_out): act'(z), or NULL


ctypedef struct Shape:      # sizes, activations, layout, kernels: fixed for a network
    const KernelTable* kernels
    Py_ssize_t n_layers
    Py_ssize_t itemsize
    bint transposed         # weights lie (fan_out, fan_in)
    Py_ssize_t* sizes       # n_layers + 1
    Activation* activations  # n_layers


cdef class Architecture:
    """The owner of a Shape."""
    cdef Shape shape


cdef class Workspace:
    """The memory and the array pointers of one pass over one network."""
    cdef Architecture architecture
    cdef const Shape* shape
    cdef Buffers* layers
    cdef char* delta                    # two matrices (BLOCK or fewer, widest layer)
    cdef Py_ssize_t delta_bytes
    cdef char* scratch
    cdef char* memory
    cdef bint backward                  # keeps every h and dh, has room for delta
    cdef readonly Py_ssize_t rows, nbytes

    cdef int reserve(self, Py_ssize_t rows) except -1
    cdef void bind(self, const char* params, char* grad) noexcept nogil
    cdef const char* forward(self, const char* X, Py_ssize_t row, Py_ssize_t n, char* output,
                             Clock* clock) noexcept nogil
    cdef int forward_rows(self, const char* X, char* h, Py_ssize_t n) except -1 nogil
    cdef int backprop(self, const char* X, const char* delta, Py_ssize_t row, Py_ssize_t n,
                      char* input_grad, bint accumulate, Clock* clock) noexcept nogil


cdef Clock start_clock() noexcept nogil
# -1, with KeyboardInterrupt set, if Ctrl-C was pressed; looks after enough work
cdef int interrupted(Clock* clock, double work) noexcept nogil

# A flag that one thread holds at a time: nonzero when another has it
cdef int acquire(int* flag) noexcept nogil
cdef void release(int* flag) noexcept nogil
