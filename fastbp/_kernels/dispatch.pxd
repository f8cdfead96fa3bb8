from fastbp._kernels.table cimport KernelTable

# The active variant's table for float32 (itemsize 4) or float64 (8).
cdef const KernelTable* kernels(Py_ssize_t itemsize) noexcept nogil
# Its table of networks as lanes, for the same two.
cdef const KernelTable* kernels_of_networks(Py_ssize_t itemsize) noexcept nogil
