from fastbp._engine.memory cimport Memory
from fastbp._engine.network cimport Workspace
from fastbp._engine.per_sample cimport Samples
from fastbp._engine.plan cimport Batch, Pass, Plan
from fastbp._kernels.table cimport Rule, Square

ctypedef struct BatchLoss:      # of a mini-batch before its update, per unit of weight
    double loss
    double penalty

ctypedef struct Batches:    # the mini-batches of an epoch
    Py_ssize_t n            # samples in all of them
    Py_ssize_t size         # of each but the last; where there are `lengths`, of the largest
    const Py_ssize_t* lengths   # of each, or NULL
    Py_ssize_t count        # of the lengths

ctypedef struct Course:     # of one network through an epoch
    BatchLoss* batch_loss   # OUT of the next mini-batch, or NULL
    double loss             # so far
    double weight

ctypedef struct Epoch:      # what the steps share besides the pass of the gradient
    Rule* rules             # of each network
    Course* courses
    double divisor          # of each gradient; 0 for the sum of the weights of its mini-batch
    Py_ssize_t seen         # samples of earlier mini-batches
    Py_ssize_t bad          # the sample whose norm is not finite, which ended the epoch, or -1
    double norm             # its norm
    double max_norm         # of the gradient of each mini-batch; infinity where it is not clipped
    Square* squares         # workspace: those of its blocks, if it is
    Square square           # their sum

# One that clips nothing
cdef Epoch new_epoch(Rule* rules, Course* courses) noexcept nogil
# The pass of an epoch, and all that it allocates, for `put_back`, or NULL where it needs nothing.
# Gradients of samples are clipped if `samples`, with its max_norm and deviation, is not NULL
cdef Memory* prepare_epoch(Workspace ws, Pass* run, Epoch* epoch, const Batch* batch,
                           const Batches* batches, double l2, Samples* samples,
                           int asked) except? NULL
# The raw draws, draw(source, count), for the noise of the next mini-batches: at most so many, or
# those of one; there must be `lengths`
cdef object draws_ahead(const Pass* run, draw, source, Py_ssize_t most)
# That pass; the loss per unit of weight. Writes one element of `batch_loss` for each mini-batch of
# some weight. For noise `raw` has the first draws; handlers of signals run before the others
cdef double run_epoch(Pass* run, Epoch* epoch, raw, draw, source, Py_ssize_t most) except? -1
# What an epoch returns of a network
cdef double mean_of(const Course* course) noexcept nogil
# The steps of a mini-batch
cdef int add_update(Plan* plan, int key) except -1
