from fastbp._kernels.table cimport KernelTable


cdef class Optimizer:
    """State and one in-place update over flat vectors of one size and dtype."""
    cdef object state                   # ndarrays by name, created at the first step
    cdef readonly long long t           # steps taken
    cdef Py_ssize_t size, itemsize
    cdef int busy

    cdef double _lr

    cdef int prepare(self, Py_ssize_t size, dtype) except -1
    cdef void update(self, const KernelTable* k, char* p, const char* grad) noexcept nogil
