from fastbp._engine.memory cimport Memory
from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Batch
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

ctypedef struct BatchLoss:      # of a mini-batch before its update, per unit of weight
    double loss
    double penalty

# All that an epoch in mini-batches of `size` allocates: what the samples of a block are gathered
# into, for `put_back`, or NULL where the batch has no order. Python may run between this and the
# epoch, and change how many threads a call should have: both take the number decided before
cdef Memory* reserve_epoch(Workspace ws, Batch* batch, Py_ssize_t size, Py_ssize_t n_params,
                           double l2, int threads) except? NULL
# After it, one pass over n samples in mini-batches of `size`; the loss per unit of weight. Writes
# one element of `batch_losses` for each mini-batch of some weight, if it is not NULL
cdef double run_epoch(Workspace ws, const Batch* batch, Rule* rule, Py_ssize_t n, Py_ssize_t size,
                      Py_ssize_t n_params, double l2, int threads,
                      BatchLoss* batch_losses) except? -1
cdef object permutation(Py_ssize_t n, source)
