from fastbp._engine.memory cimport Memory
from fastbp._engine.network cimport Workspace
from fastbp._engine.per_sample cimport Samples
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

ctypedef struct Batches:    # the mini-batches of an epoch
    Py_ssize_t n            # samples in all of them
    Py_ssize_t size         # of each but the last; where there are `lengths`, of the largest
    const Py_ssize_t* lengths   # of each, or NULL
    Py_ssize_t count        # of the lengths

ctypedef struct Epoch:      # what the steps share besides the pass of the gradient
    Rule* rule
    BatchLoss* batch_loss   # OUT of the next mini-batch, or NULL
    double divisor          # of each gradient; 0 for the sum of the weights of its mini-batch
    double loss             # of the epoch, so far
    double weight
    Py_ssize_t seen         # samples of earlier mini-batches
    Py_ssize_t bad          # the sample whose norm is not finite, which ended the epoch, or -1
    double norm             # its norm

# The pass of an epoch, and all that it allocates, for `put_back`, or NULL where it needs nothing.
# Gradients of samples are clipped if `samples`, with its max_norm and deviation, is not NULL
cdef Memory* prepare_epoch(Workspace ws, Pass* run, const Batch* batch, const Batches* batches,
                           double l2, Samples* samples, int asked) except? NULL
# The raw draws, draw(source, count), for the noise of the next mini-batches: at most so many, or
# those of one; there must be `lengths`
cdef object draws_ahead(const Pass* run, draw, source, Py_ssize_t most)
# That pass; the loss per unit of weight. Writes one element of `batch_loss` for each mini-batch of
# some weight. For noise `raw` has the first draws; handlers of signals run before the others
cdef double run_epoch(Pass* run, Epoch* epoch, raw, draw, source, Py_ssize_t most) except? -1
