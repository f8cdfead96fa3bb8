# The recursion over layers: E1 forward, E5 and E6 backward, over blocks of rows, in parts for one
# or more threads. Knows no loss, no optimiser, and not who owns the arrays.

from fastbp._kernels.float_mode cimport float_mode
from fastbp._kernels.table cimport Activation, KernelTable
from fastbp._team cimport Meeting, Seat, Work

cdef enum:
    BLOCK = 256             # rows of a part in one block of a pass: N1's block length

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
    Py_ssize_t room         # bytes for each row of h, so that no two parts meet
    char* dh                # workspace (rows, fan_out): act'(z), or NULL
    char* delta             # workspace (block, fan_out)

ctypedef struct Shape:      # sizes, activations, layout, kernels: fixed for a network
    const KernelTable* kernels
    Py_ssize_t n_layers
    Py_ssize_t itemsize
    bint transposed         # weights lie (fan_out, fan_in)
    Py_ssize_t* sizes       # n_layers + 1
    Activation* activations  # n_layers
    double weights          # in all layers
    double units            # in all layers

ctypedef struct Sweep:      # a pass over a batch: the arrays, and the threads that share it
    const Shape* shape
    Buffers* layers         # n_layers
    char* losses            # workspace (block, n_outputs): of each output, not weighted
    char* scratch           # of part 0; the others' follow
    Py_ssize_t scratch_bytes
    Meeting meeting
    Clock clock             # of thread 0


ctypedef void (*OutputMap)(void* h, const void* z, Py_ssize_t size) noexcept nogil


cdef class Architecture:
    """The owner of a Shape."""
    cdef Shape shape


cdef class Workspace:
    """The memory and the array pointers of passes over one network."""
    cdef Architecture architecture
    cdef const Shape* shape
    cdef Sweep sweep
    cdef char* memory
    cdef bint backward                  # keeps every h and dh, has room for every delta
    cdef readonly Py_ssize_t rows, block, nbytes
    cdef int threads

    cdef int reserve(self, Py_ssize_t rows, int threads) except -1
    cdef Py_ssize_t place(self, char* memory, Py_ssize_t rows, Py_ssize_t block,
                          int threads) noexcept
    cdef void bind(self, const char* params, char* grad) noexcept nogil


# n_threads as passes take it: 0 for None, which leaves the number to the work
cdef int asked_threads(object n_threads) except -1
# How many threads a pass over n rows should have
cdef int threads_for(const Shape* s, Py_ssize_t n, int products, int asked) except -1

# With the GIL released: work(task, seat) in every thread of the sweep; -1 with an exception set
cdef int carry_out(Sweep* sweep, Work work, void* task, int threads) except -1

# Within a part, after so many multiply-adds: nonzero when the pass is called off
cdef bint interrupted(Sweep* sweep, const Seat* seat, double work) noexcept nogil

# E1 for rows [row, row + n) of the workspace
cdef const char* forward(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                         Py_ssize_t n, char* output) noexcept nogil
# E5 for the same rows, `at` in the block, from delta_L on
cdef void descend(Sweep* sweep, const Seat* seat, Py_ssize_t row, Py_ssize_t at, Py_ssize_t n,
                  char* input_grad) noexcept nogil
# E6 for a part of every dW, from the n rows of a block
cdef void weight_gradients(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                           Py_ssize_t n, bint accumulate) noexcept nogil

# E1 for n rows of any number, then `output_map`(h_L, h_L) unless that is NULL
cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     OutputMap output_map, int asked) except -1
