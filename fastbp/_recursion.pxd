# The recursion over layers: E1 forward, E5 and E6 backward, over blocks of rows, in parts for one
# or more threads. Knows no loss, no optimiser, and not who owns the arrays.

from fastbp._kernels.table cimport Activation
from fastbp._team cimport Seat, Work
from fastbp._workspace cimport Shape, Sweep, Workspace


# n_threads as passes take it: 0 for None, which leaves the number to the work
cdef int asked_threads(object n_threads) except -1
# How many threads a pass over n rows should have
cdef int threads_for(const Shape* s, Py_ssize_t n, int products, int asked) except -1

# With the GIL released: work(task, seat) in every thread of the sweep; -1 with an exception set
cdef int carry_out(Sweep* sweep, Work work, void* task, int threads) except -1

# Within a part, after so many multiply-adds: nonzero when the pass is called off
cdef bint interrupted(Sweep* sweep, const Seat* seat, double work) noexcept nogil

# some(task, seat, at, n) for the part's rows of a block, so many at a time that it can look for
# signals; it returns whether the pass is called off
ctypedef bint (*SomeRows)(void* task, const Seat* seat, Py_ssize_t at, Py_ssize_t n) noexcept nogil
cdef void rows_in_turn(const Sweep* sweep, const Seat* seat, Py_ssize_t rows, SomeRows some,
                       void* task) noexcept nogil

# E1 for rows [row, row + n) of the workspace
cdef const char* forward(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                         Py_ssize_t n, char* output) noexcept nogil
# E5 for the same rows, `at` in the block, from delta_L on; nonzero when the pass is called off
cdef bint descend(Sweep* sweep, const Seat* seat, Py_ssize_t row, Py_ssize_t at, Py_ssize_t n,
                  char* input_grad) noexcept nogil

# The rows of dW that are a part's, layer after layer
ctypedef struct Stretch:
    Py_ssize_t first        # rows [first, last) of the layer, of so many weights
    Py_ssize_t last
    Py_ssize_t width
    Py_ssize_t low          # the part has the weights [low, high), from the next layer's on
    Py_ssize_t high

cdef Stretch first_stretch(const Sweep* sweep, const Seat* seat) noexcept nogil
cdef void next_stretch(Stretch* rows, const Shape* s, Py_ssize_t l) noexcept nogil

# E6 for a part of every dW, from the n rows of a block
cdef void weight_gradients(Sweep* sweep, const Seat* seat, const char* X, Py_ssize_t row,
                           Py_ssize_t n, bint accumulate) noexcept nogil

# E1 for n rows of any number, then `output_activation` of the last layer's outputs
cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     Activation output_activation, int asked) except -1
