from fastbp._copies cimport Copied
from fastbp._kernels.table cimport KernelTable

ctypedef struct Rule:       # an optimiser without Python: what a step reads and changes
    void (*advance)(Rule* rule) noexcept nogil
    void (*apply)(const Rule* rule, const KernelTable* k, char* p, const char* grad,
                  Py_ssize_t first, Py_ssize_t count) noexcept nogil
    long long t             # steps taken
    double lr
    double weight_decay
    double momentum         # SGD
    bint nesterov
    double beta1            # Adam
    double beta2
    double eps
    bint eps_hat
    double power1           # beta1^t, beta2^t
    double power2
    double rate             # of this step, with its bias corrections
    double scale
    char* m
    char* v


cdef class Optimizer(Copied):
    """State and one in-place update over flat vectors of one size and dtype."""
    cdef object state                   # ndarrays by name, created at the first step
    cdef Rule rule
    cdef Py_ssize_t size, itemsize
    cdef int busy

    cdef int _check_made(self) except -1
    # Raise unless an epoch, which calls `rule` alone, does what `step` does
    cdef int check_native(self) except -1
    cdef int prepare(self, Py_ssize_t size, dtype) except -1
