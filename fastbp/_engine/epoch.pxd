from fastbp._engine.memory cimport Memory
from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Batch, Pass
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

# The pass of an epoch in mini-batches, and all that it allocates: what the samples of a block are
# gathered into, for `put_back`, or NULL where the batch has no order
cdef Memory* prepare_epoch(Workspace ws, Pass* run, const Batch* batch, Py_ssize_t n,
                           Py_ssize_t batch_size, double l2, int asked) except? NULL
# That pass over n samples; the loss per unit of weight. Writes one element of `batch_losses` for
# each mini-batch of some weight, if it is not NULL
cdef double run_epoch(Pass* run, Rule* rule, BatchLoss* batch_losses) except? -1
