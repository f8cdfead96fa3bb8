from fastbp._engine.epoch cimport Batches, BatchLoss, Epoch
from fastbp._engine.per_sample cimport Samples
from fastbp._input_grads cimport InputGradients
from fastbp._optimizer cimport Optimizer
from fastbp._problem cimport Problem


cdef class Training(InputGradients):
    """The epochs of an `MLP`; only `MLP` is made."""

    # the source of the noise, or None; the limit and the deviation go to `samples`
    cdef object _privacy(self, Samples* samples, Problem p, max_grad_norm, noise_multiplier, rng)
    # where the losses of the mini-batches go, or NULL
    cdef BatchLoss* _batch_losses(self, out, const Batches* batches, X, y,
                                  sample_weight) except? NULL
    # every mini-batch and its update; the mean of the losses. `samples` may be NULL, and so may
    # `source`, of draws, be None; the caller has entered
    cdef double _epoch(self, Problem p, order, Optimizer optimizer, const Batches* batches,
                       Epoch* epoch, Samples* samples, source) except? -1


# Refuse what is no optimizer, or one that overrides what an epoch does
cdef int check_optimizer(optimizer) except -1
