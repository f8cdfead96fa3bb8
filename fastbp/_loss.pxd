from libc.float cimport DBL_MAX

from fastbp._engine.plan cimport Batch
from fastbp._kernels.table cimport Activation, Criterion, KernelTable, Target


ctypedef struct Terms:      # how a loss in one dtype reads what belongs to the samples
    const KernelTable* kernels
    Criterion criterion
    Target target
    double most                 # targets lie in [0, most]; if negative, anywhere
    bint is_distribution        # y may be (n,) classes; rows of (n, n_outputs) sum to 1
    double tolerance            # of those sums
    Py_ssize_t n_outputs


cdef inline void smooth(Target* target, double smoothing, Py_ssize_t n_classes) noexcept nogil:
    """t = (1 - smoothing) y + smoothing / n_classes."""
    target.scale, target.shift = 1 - smoothing, smoothing / n_classes


cdef inline bint targets_fit(const Terms* terms, const char* y, bint classes,
                             Py_ssize_t n) noexcept nogil:
    """Whether the loss takes every number in y, n classes or (n, n_outputs)."""
    cdef const KernelTable* table = terms.kernels
    if classes:
        return table.first_outside(y, terms.n_outputs - 1, True, n) < 0
    if terms.most < 0:
        return True
    if table.first_outside(y, terms.most, False, n * terms.n_outputs) >= 0:
        return False
    return (not terms.is_distribution
            or table.first_unnormalised(y, terms.tolerance, n, terms.n_outputs) < 0)


cdef inline bint weights_fit(const Terms* terms, const char* sample_weight, Py_ssize_t n,
                             bint mean) noexcept nogil:
    """Whether no weight is negative, NaN or infinite, nor a sum that will divide 0."""
    if terms.kernels.first_outside(sample_weight, DBL_MAX, False, n) >= 0:
        return False
    return not mean or 0 < terms.kernels.total(sample_weight, n) <= DBL_MAX


cdef inline Batch batch_at(const Terms* terms, const char* X, const char* y, bint classes,
                           const char* sample_weight) noexcept nogil:
    """Samples that fit, as the engine reads them."""
    cdef Batch batch
    batch.criterion, batch.target = terms.criterion, terms.target
    batch.target.indices = classes
    batch.y_width = 1 if classes else terms.n_outputs
    batch.X, batch.y, batch.sample_weight = X, y, sample_weight
    batch.order, batch.gathered = NULL, NULL
    batch.X_offsets = batch.y_offsets = batch.weight_offsets = NULL
    return batch


cdef class Loss:
    """A loss of a network with `n_outputs` outputs in one dtype, and its options."""
    cdef readonly str name
    cdef int number                     # of its criterion in a table
    cdef readonly object pos_weight, class_weight
    cdef readonly double label_smoothing
    cdef Activation output                  # makes h_L of z_L
    cdef object dtype, positives, classes   # pos_weight, class_weight as they are used
    cdef Terms terms
    cdef int typenum

    # y as the kernels take it: (n, n_outputs), or (n,) classes for a softmax
    cdef object targets(self, y, Py_ssize_t n)
    # what each sample counts, or None
    cdef object weights(self, sample_weight, y, Py_ssize_t n, bint mean)
    # checked samples, as the engine reads them
    cdef Batch batch(self, const char* X, y, sample_weight)

# A loss; the one that an earlier call made, if its options are numbers
cdef Loss loss_named(name, Py_ssize_t n_outputs, dtype, pos_weight, class_weight, label_smoothing)
