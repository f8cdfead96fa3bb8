from fastbp._gradient cimport Batch
from fastbp._optim cimport Optimizer
from fastbp._workspace cimport Workspace


ctypedef struct BatchLoss:      # of a mini-batch before its update, per unit of weight
    double loss
    double penalty

# One pass over n samples in mini-batches of `size`; the loss per unit of weight. Writes one
# element of `batch_losses` for each mini-batch of some weight, if it is not NULL
cdef double run_epoch(Workspace ws, const Batch* batch, Optimizer optimizer, Py_ssize_t n,
                      Py_ssize_t size, Py_ssize_t n_params, double l2, int threads,
                      BatchLoss* batch_losses) except? -1
cdef object permutation(Py_ssize_t n, source)
