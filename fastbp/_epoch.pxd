from fastbp._gradient cimport Batch
from fastbp._optim cimport Optimizer
from fastbp._recursion cimport Workspace


cdef double run_epoch(Workspace ws, Batch batch, Optimizer optimizer, Py_ssize_t n,
                      Py_ssize_t size, Py_ssize_t n_params, double l2) except? -1 nogil
cdef object permutation(Py_ssize_t n, raw)
