from fastbp._engine.plan cimport Batch
from fastbp._kernels.table cimport Activation, Criterion, KernelTable, Target


cdef class Loss:
    """A loss of a network with `n_outputs` outputs in one dtype, and its options."""
    cdef readonly str name
    cdef readonly object pos_weight, class_weight
    cdef readonly double label_smoothing
    cdef Activation output                  # makes h_L of z_L
    cdef object dtype, positives, classes   # pos_weight, class_weight as they are used
    cdef const KernelTable* kernels
    cdef Criterion criterion
    cdef Target target
    cdef double most                        # targets lie in [0, most]; if negative, anywhere
    cdef bint is_distribution               # y may be (n,) classes; rows of (n, n_outputs) sum to 1
    cdef Py_ssize_t n_outputs
    cdef int typenum

    # y as the kernels take it: (n, n_outputs), or (n,) classes for a softmax
    cdef object targets(self, y, Py_ssize_t n)
    # what each sample counts, or None
    cdef object weights(self, sample_weight, y, Py_ssize_t n, bint mean)
    # checked samples, as the engine reads them
    cdef Batch batch(self, const char* X, y, sample_weight)

# A loss; the one that an earlier call made, if its options are numbers
cdef Loss loss_named(name, Py_ssize_t n_outputs, dtype, pos_weight, class_weight, label_smoothing)
