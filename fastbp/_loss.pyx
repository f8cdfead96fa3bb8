"""A loss: the kernel of E2 and E3, how it reads targets, and the weight of each sample.

What is particular to each loss is in `_arguments/descriptors.py`. Class weights become
weights of samples.
"""

from fastbp import _arguments
from fastbp._arguments import LOSSES, OUTPUTS

cimport numpy as cnp
from libc.float cimport DBL_MAX

from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport CRITERIA
from fastbp._engine.arrays cimport data, ready

cnp.import_array()

cdef enum:
    MOST_MADE = 64

if len(LOSSES) != CRITERIA:
    raise ImportError(f"there are {CRITERIA} kernels of losses and {len(LOSSES)} descriptors; "
                      "fastbp should be built again")

cdef dict made = {}


cdef Loss loss_named(name, Py_ssize_t n_outputs, dtype, pos_weight, class_weight, label_smoothing):
    """With weights among the options it is made anew: their owner may have changed them."""
    cdef bint plain = (type(name) is str and type(label_smoothing) is float
                       and pos_weight is None and class_weight is None)
    cdef tuple key = (name, n_outputs, dtype.num, label_smoothing) if plain else None
    cdef Loss loss = made.get(key) if plain else None
    if loss is None or loss.terms.kernels != kernels(loss.terms.kernels.itemsize):
        loss = Loss(name, n_outputs, dtype, {
            "pos_weight": pos_weight, "class_weight": class_weight,
            "label_smoothing": label_smoothing})
        if plain:
            if len(made) >= MOST_MADE:
                made.clear()
            made[key] = loss
    return loss


cdef inline bint holds_classes(const Terms* terms, y) noexcept:
    return terms.is_distribution and cnp.PyArray_NDIM(y) == 1


cdef class Loss:
    def __init__(self, name, n_outputs, dtype, options=None):
        """`options` may hold pos_weight, class_weight, label_smoothing; they are checked here."""
        checked = _arguments.loss_options(name, n_outputs, **(options or {}))
        cdef Terms* terms = &self.terms
        self.name, self.dtype, terms.n_outputs = checked.name, dtype, n_outputs
        self.pos_weight, self.class_weight = checked.pos_weight, checked.class_weight
        self.label_smoothing = checked.label_smoothing
        self.typenum, terms.kernels = dtype.num, kernels(dtype.itemsize)
        self.number = list(LOSSES).index(self.name)
        terms.criterion = terms.kernels.criteria[self.number]
        self.output = <Activation> <int> OUTPUTS[checked.loss.output]
        terms.is_distribution = checked.loss.is_distribution
        most = checked.loss.targets.most
        terms.tolerance = _arguments.UNIT_SUM_TOLERANCE
        terms.most = -1 if most is None else min(<double> most, DBL_MAX)
        smooth(&terms.target, self.label_smoothing, n_outputs if terms.is_distribution else 2)
        if self.pos_weight is not None:
            self.positives = _arguments.positive_array("pos_weight", self.pos_weight, dtype)
            terms.target.pos_weight = data(self.positives)

    @property
    def options(self):
        """The options that were given, as keywords of `MLP`."""
        given = {"pos_weight": self.pos_weight, "class_weight": self.class_weight,
                 "label_smoothing": self.label_smoothing or None}
        return {name: value for name, value in given.items() if value is not None}

    cdef object targets(self, y, Py_ssize_t n):
        cdef const Terms* terms = &self.terms
        cdef int ndim = cnp.PyArray_NDIM(y) if ready(y, self.typenum) else 0
        if not (ndim == 2 and cnp.PyArray_DIM(y, 0) == n
                and cnp.PyArray_DIM(y, 1) == terms.n_outputs
                or ndim == 1 and cnp.PyArray_DIM(y, 0) == n
                and (terms.is_distribution or terms.n_outputs == 1)):
            y = _arguments.target_array(y, n, terms.n_outputs, self.dtype, self.name)
        if not targets_fit(terms, data(y), holds_classes(terms, y), n):
            _arguments.target_range(y, terms.n_outputs, self.name)
        # The number of dimensions tells classes from probabilities, and no other thread can change
        # that of a view.
        return y[:] if terms.is_distribution else y

    cdef object weights(self, sample_weight, y, Py_ssize_t n, bint mean):
        if mean:
            _arguments.at_least_one_sample(n, "mean")
        if sample_weight is None and self.class_weight is None:
            return None
        if (self.class_weight is None and ready(sample_weight, self.typenum)
                and cnp.PyArray_NDIM(sample_weight) == 1
                and cnp.PyArray_DIM(sample_weight, 0) == n
                and weights_fit(&self.terms, data(sample_weight), n, mean)):
            return sample_weight
        return _arguments.weights_with_classes(sample_weight, self, y, n, "mean" if mean else "sum",
                                               self.dtype)

    cdef Batch batch(self, const char* X, y, sample_weight):
        return batch_at(&self.terms, X, data(y), holds_classes(&self.terms, y),
                        data(sample_weight))
