from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Batch, Frame, Pass, Plan, Shape

ctypedef double Reach       # a sum of 1 + ||h||^2, by which h is known to be of an ordinary size

ctypedef struct Samples:    # what the steps about single samples share besides the pass
    char* squares           # workspace (block,) in float64: squares 4^exponents, then factors c_i
    int* exponents          # workspace (block,)
    Reach* reaches          # workspace (block,): of the rows of a frame, at the first of them
    char* norms             # OUT (n,) of a mini-batch
    char* grads             # OUT (n, n_params)
    double max_norm
    double deviation        # of the noise; 0: there is none
    const unsigned long long* raw   # IN draws_of(shape) for the noise of each mini-batch

# All members NULL or 0; who runs a pass sets by name what it needs
cdef Samples blank_samples() noexcept nogil

# norms (n,) <- ||g_i||, g_i being the gradient of the weighted loss of sample i
cdef int norms_of_samples(Workspace ws, const Batch* batch, char* norms, Py_ssize_t n,
                          int asked) except -1

# The norms of `samples`, and sum_i min(1, max_norm / ||g_i||) g_i, with noise, over the divisor
# into what `ws` is bound to; the loss, which is not clipped, over the divisor
cdef double clipped_gradient(Workspace ws, const Batch* batch, Samples* samples, Py_ssize_t n,
                             double divisor, int asked) except? -1

# grads (n, n_params) <- g_i
cdef int gradients_of_samples(Workspace ws, const Batch* batch, char* grads, Py_ssize_t n,
                              int asked) except -1

# The steps of that sum for every block of a batch, then of its noise, as `key` says
cdef int add_clipped_gradient(Plan* plan, int key) except -1
# What the key says of clipping and noise
cdef int key_of(const Samples* samples) noexcept
# The workspace of `samples` in blocks of so many rows: its bytes, and where it lies
cdef Py_ssize_t workspace_bytes(Py_ssize_t rows) noexcept
cdef void place_samples(Samples* samples, char* memory, Py_ssize_t rows) noexcept
# The standard deviation of the noise
cdef double deviation_of(double multiplier, double max_norm) noexcept nogil
# Draws for the noise of one gradient
cdef Py_ssize_t draws_of(const Shape* s) noexcept nogil
# The first sample of the mini-batch whose norm is infinite or NaN, or -1
cdef Py_ssize_t first_not_finite(const Frame* f) noexcept nogil
