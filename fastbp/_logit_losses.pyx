"""The losses as functions of logits: the loss, E2, and its delta, E3.

One public function for each loss that a descriptor names; `fastbp.reference` holds the same in
plain NumPy. The kernel of a loss, its targets and its options are those of `Loss`.
"""

from fastbp import _arguments
from fastbp._arguments import LOSSES
from fastbp._calls import explain

cimport numpy as cnp
from libc.float cimport DBL_MAX
from libc.string cimport memset

from fastbp._engine.arrays cimport alike, data, new_like, real, shaped
from fastbp._engine.loop cimport carry_out_one
from fastbp._engine.plan cimport LINES, Batch, Frame, Step
from fastbp._engine.signals cimport UNIT_WORK
from fastbp._engine.recursion cimport tree
from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport KernelTable, Totals
from fastbp._loss cimport Loss, loss_named

cnp.import_array()

cdef enum:
    OUTPUTS_AT_ONCE = 1 << 20   # some milliseconds

cdef frozenset DISTRIBUTIONS = frozenset(
    name for name, loss in LOSSES.items() if loss.is_distribution)


ctypedef struct LossCall:       # the operands of one call
    const KernelTable* kernels
    char* losses                # like z, not weighted
    char* delta
    const Batch* batch          # its X is z
    Py_ssize_t n_outputs
    Totals totals               # of the weighted losses
    double total


cdef void losses_of_rows(const Step* step, Frame* f) noexcept nogil:
    """Rows of delta and of the losses, and the total so far."""
    cdef LossCall* call = <LossCall*> f.run.more
    cdef Py_ssize_t at = f.first * call.kernels.itemsize, n_outputs = call.n_outputs
    cdef const char* weight = call.batch.sample_weight
    weight = weight + at if weight != NULL else NULL
    call.batch.criterion(call.losses + at * n_outputs, call.delta + at * n_outputs,
                         call.batch.X + at * n_outputs, call.batch.y + at * call.batch.y_width,
                         weight, &call.batch.target, f.count, n_outputs)
    call.kernels.add_losses(&call.totals, call.losses + at * n_outputs, weight, f.count, n_outputs)
    call.total = tree(call.totals.losses)


cdef bint logits_fit(object z, object y, object sample_weight,
                     bint is_distribution) noexcept:
    """Whether the arrays fit and have one dtype, and the weights are in range.

    `Loss` looks at the range of y, and at the options.
    """
    cdef const KernelTable* table
    cdef int ndim, kind
    cdef Py_ssize_t n
    if not real(z):
        return False
    ndim, kind = cnp.PyArray_NDIM(z), cnp.PyArray_TYPE(z)
    table = kernels(cnp.PyArray_ITEMSIZE(z))
    if ndim != 2 and (ndim != 1 or is_distribution):
        return False
    n = cnp.PyArray_DIM(z, 0)
    return ((alike(y, z) or is_distribution and shaped(y, kind, 1, -1, n))
            and (sample_weight is None or shaped(sample_weight, kind, 1, -1, n)
                 and table.first_outside(data(sample_weight), DBL_MAX, False, n) < 0))


def bce_with_logits(z, y, sample_weight=None, *, pos_weight=None, label_smoothing=0.0):
    """Binary cross-entropy, E2, and its delta, E3, from logits.

    Parameters
    ----------
    z : (n,) or (n, n_outputs) array
    y : array like z
        Targets in [0, 1].
    sample_weight : (n,) array, optional
        Not negative. A sample of weight 0 adds nothing, even to an infinite loss; NaN stays.
    pos_weight : float or (n_outputs,) array, optional
        Multiplies the part y log h of the loss.
    label_smoothing : float
        In [0, 1): the target is (1 - label_smoothing) y + label_smoothing / 2.

    Returns
    -------
    loss : float
        Summed over samples and outputs, in nats. Of an infinite z its limit: 0 where the target
        is that label, infinite elsewhere, as for every soft or smoothed target.
    delta : ndarray like z
        sample_weight * (sigma(z) - y), with its relative accuracy at saturation.

    Raises
    ------
    TypeError, ValueError
        For shapes or dtypes that do not fit, targets outside [0, 1], negative weights, options
        outside their range.
    """
    return _with_logits("bce", z, y, sample_weight, {
        "pos_weight": pos_weight, "label_smoothing": label_smoothing})[:2]


def softmax_with_logits(z, y, sample_weight=None, *, class_weight=None, label_smoothing=0.0):
    """Cross-entropy of a softmax over the outputs, E2, and its delta, E3, from logits.

    Parameters
    ----------
    z : (n, n_outputs) array
    y : (n,) or (n, n_outputs) array
        The class of each sample, or probabilities that sum to 1.
    sample_weight : (n,) array, optional
        Not negative.
    class_weight : dict or (n_outputs,) sequence, optional
        What a sample of each class counts, beside its weight.
    label_smoothing : float
        In [0, 1): the target is (1 - label_smoothing) y + label_smoothing / n_outputs.

    Returns
    -------
    loss : float
        Summed over samples, in nats. One z of +infinity in a row has the limit: 0 where that is
        the class, infinite elsewhere. A row with two of them, or of -infinity alone, has none: its
        loss and delta are NaN. A class at -infinity is not there: its own loss is infinite.
    delta : ndarray like z
        sample_weight * (softmax(z) - y); a class that is nearly certain keeps the relative
        accuracy of what is left to the others.

    Raises
    ------
    TypeError, ValueError
        As `bce_with_logits`; for classes that are not integers in [0, n_outputs).
    """
    return _with_logits("softmax", z, y, sample_weight, {
        "class_weight": class_weight, "label_smoothing": label_smoothing})[:2]


def squared_error(z, y, sample_weight=None):
    """Half the squared error of outputs z, E2, and its delta, E3.

    Parameters
    ----------
    z, y : (n,) or (n, n_outputs) arrays
    sample_weight : (n,) array, optional
        Not negative.

    Returns
    -------
    loss : float
        sum (z - y)^2 / 2 over samples and outputs; NaN for z and y of the same infinity.
    delta : ndarray like z
        sample_weight * (z - y).

    Raises
    ------
    TypeError, ValueError
        For shapes or dtypes that do not fit, negative weights.
    """
    return _with_logits("squared_error", z, y, sample_weight)[:2]


def poisson_with_logits(z, y, sample_weight=None):
    """Poisson loss of outputs e^z, E2, and its delta, E3.

    Parameters
    ----------
    z, y : (n,) or (n, n_outputs) arrays
        Logarithms of the expected counts; counts, at least 0.
    sample_weight : (n,) array, optional
        Not negative.

    Returns
    -------
    loss : float
        sum e^z - y z over samples and outputs, in nats; without log y!, which has no gradient.
        Infinite where e^z is, and where z is -infinity, unless y is 0: then 0.
    delta : ndarray like z
        sample_weight * (e^z - y).

    Raises
    ------
    TypeError, ValueError
        For shapes or dtypes that do not fit, negative or infinite counts, negative weights.
    """
    return _with_logits("poisson", z, y, sample_weight)[:2]


def _with_logits(name, z, y, sample_weight, options=None):
    """The sum of the losses, and delta; also the losses one by one, unweighted, in z's dtype.

    Tests count the ulps of the latter: a call for each sample would take longer than the counting.
    """
    if not logits_fit(z, y, sample_weight, name in DISTRIBUTIONS):
        z, y, sample_weight = _arguments.logits_and_targets(z, y, sample_weight, name)
    cdef Py_ssize_t n = cnp.PyArray_DIM(z, 0)
    cdef Py_ssize_t n_outputs = cnp.PyArray_DIM(z, 1) if cnp.PyArray_NDIM(z) == 2 else 1
    cdef dict given = options or {}
    cdef Loss loss = loss_named(name, n_outputs, z.dtype, given.get("pos_weight"),
                                given.get("class_weight"), given.get("label_smoothing", 0.0))
    y = loss.targets(y, n)
    sample_weight = loss.weights(sample_weight, y, n, False)
    delta, losses = new_like(z), new_like(z)
    cdef Batch batch = loss.batch(data(z), y, sample_weight)
    cdef LossCall call
    memset(&call, 0, sizeof(LossCall))
    call.kernels, call.losses, call.delta = loss.terms.kernels, data(losses), data(delta)
    call.batch, call.n_outputs = &batch, n_outputs
    # whole rows, and whole rounds of the eight partial sums of N3
    carry_out_one(losses_of_rows, LINES, call.kernels, &call, NULL, 1, 1, n if n_outputs > 0 else 0,
                  8 * max(OUTPUTS_AT_ONCE // max(n_outputs, 1) // 8, 1), UNIT_WORK * n_outputs)
    return call.total, delta, losses


explain(bce_with_logits, softmax_with_logits, squared_error, poisson_with_logits)
