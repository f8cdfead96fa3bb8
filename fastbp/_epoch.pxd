from fastbp._gradient cimport Batch
from fastbp._optim cimport Optimizer
from fastbp._workspace cimport Workspace


# One pass over n samples in mini-batches of `size`; the loss per unit of weight
cdef double run_epoch(Workspace ws, const Batch* batch, Optimizer optimizer, Py_ssize_t n,
                      Py_ssize_t size, Py_ssize_t n_params, double l2, int threads) except? -1
cdef object permutation(Py_ssize_t n, raw)
