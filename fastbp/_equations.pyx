"""One public function for each equation, on arrays of any owner.

Arguments are checked and converted by `_checks`; the arithmetic is the active variant's
kernels. `fastbp.reference` holds the same functions in plain NumPy.
"""

import numpy as np

from fastbp import _checks
from fastbp._recursion import ACTIVATIONS

cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastbp._gradient cimport Batch, Totals, loss_and_gradient, loss_of, start
from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport IDENTITY, SIGMOID, Activation, KernelTable
from fastbp._loss cimport Loss
from fastbp._native cimport data
from fastbp._signals cimport PIECE, UNIT_WORK, Clock, Piece, at_once, in_pieces, start_clock
from fastbp._workspace cimport BLOCK, Architecture, Workspace

cnp.import_array()


cdef inline const KernelTable* kernels_of(object array):
    return kernels(cnp.PyArray_ITEMSIZE(array))


cdef class Scratch:
    """Memory for the packed panels of one product."""
    cdef char* memory

    def __cinit__(self, Py_ssize_t nbytes):
        self.memory = <char*> malloc(max(nbytes, 1))
        if self.memory == NULL:
            raise MemoryError(f"packed panels need {nbytes} bytes")

    def __dealloc__(self):
        free(self.memory)


# ---- what a piece of each is ------------------------------------------------------------

cdef enum:
    ELEMENTS = 1 << 20          # of a piece of an elementwise function: some milliseconds
    SAMPLES = 1 << 12           # of a piece of a product, in whole blocks (N1)

ctypedef struct Equation:       # the operands of one call, in the order of the kernel
    const KernelTable* kernels
    char* out
    char* second                # OUT, or NULL
    const char* a
    const char* b
    const char* c
    Activation activation
    Py_ssize_t n
    Py_ssize_t fan_in
    Py_ssize_t fan_out
    Py_ssize_t sample           # of a product, the first of a piece
    Py_ssize_t samples
    char* scratch
    const Batch* batch
    Totals* totals


cdef Equation equation(const KernelTable* table, out, second=None, a=None, b=None, c=None):
    cdef Equation task
    memset(&task, 0, sizeof(Equation))
    task.kernels, task.out, task.second = table, data(out), data(second)
    task.a, task.b, task.c = data(a), data(b), data(c)
    return task


cdef int in_blocks(Piece piece, Equation* task, Py_ssize_t n, Py_ssize_t size, double work,
                   bint sums) except -1:
    """`in_pieces` for one block of the n samples after the other: columns, or rows of sums."""
    cdef Clock clock = start_clock()
    cdef Py_ssize_t few = min(size, <Py_ssize_t> PIECE), least = 1 if sums else few
    cdef Py_ssize_t most = at_once(max(n, SAMPLES), work * few, 1, task.kernels)
    if sums:
        most = (most + BLOCK - 1) // BLOCK * BLOCK
    most = min(<Py_ssize_t> SAMPLES, most)
    task.sample = 0
    while task.sample < n or task.sample == 0:
        task.samples = min(most, n - task.sample)
        in_pieces(piece, task, &clock, size,
                  at_once(size, work * task.samples, least, task.kernels), work * task.samples)
        task.sample += most
    return 0


cdef void activate_piece(void* task, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Equation* t = <Equation*> task
    cdef Py_ssize_t at = first * t.kernels.itemsize
    t.kernels.activate(t.out + at, t.second + at if t.second != NULL else NULL, t.a + at,
                       t.activation, count)


cdef void slope_piece(void* task, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Equation* t = <Equation*> task
    cdef Py_ssize_t at = first * t.kernels.itemsize
    t.kernels.sigmoid_backward(t.out + at, t.a + at, t.b + at, count)


cdef void delta_piece(void* task, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Columns of delta for a block of samples; with the last ones the factor h (1 - h)."""
    cdef Equation* t = <Equation*> task
    cdef Py_ssize_t at = t.sample * t.kernels.itemsize
    cdef char* delta = t.out + at * t.fan_in
    t.kernels.delta(delta, t.a + at * t.fan_out, t.b, NULL, t.samples, t.fan_in, t.fan_out, False,
                    first, count, t.scratch)
    if first + count == t.fan_in:
        t.kernels.sigmoid_backward(delta, delta, t.c + at * t.fan_in, t.samples * t.fan_in)


cdef void weight_piece(void* task, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Rows of dW from a block of samples."""
    cdef Equation* t = <Equation*> task
    cdef Py_ssize_t at = t.sample * t.kernels.itemsize
    t.kernels.weight_grad(t.out, t.second, t.a + at * t.fan_in, t.b + at * t.fan_out, t.samples,
                          t.fan_in, t.fan_out, False, t.sample > 0, first, count, t.scratch)


cdef void loss_piece(void* task, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Rows of delta and of the losses, and their sum so far."""
    cdef Equation* t = <Equation*> task
    cdef Py_ssize_t at = first * t.kernels.itemsize
    cdef const char* weight = t.batch.sample_weight
    weight = weight + at if weight != NULL else NULL
    t.batch.criterion(t.out + at * t.fan_out, t.second + at * t.fan_out,
                      t.batch.X + at * t.fan_out, t.batch.y + at * t.batch.y_width, weight,
                      &t.batch.target, count, t.fan_out)
    t.kernels.add_losses(t.totals.loss, t.out + at * t.fan_out, weight, count, t.fan_out)


# ---- the functions ----------------------------------------------------------------------

def sigmoid(z, out=None):
    """The logistic function, E1: h = 1 / (1 + e^-z).

    Parameters
    ----------
    z : array of any shape
        float32 is computed in float32, every other real dtype in float64.
    out : ndarray, optional
        Of the result's shape and dtype, C-contiguous; may be `z` itself.

    Returns
    -------
    ndarray, or a NumPy scalar for a 0-d `z` without `out`
        Within 1 ulp; sigma(0) = 1/2, sigma(inf) = 1, sigma(-inf) = 0, NaN stays NaN.

    Raises
    ------
    TypeError
        For `z` that is not real, or `out` of another dtype.
    ValueError
        For `out` of another shape or layout, read-only, or overlapping `z` in part.
    """
    given = {"z": z}
    z = _checks.real_array("z", z)
    result = _checks.output("out", out, z.shape, z.dtype, given, in_place=("z",))
    cdef Clock clock = start_clock()
    cdef Equation task = equation(kernels_of(z), result, None, z)
    task.activation = SIGMOID
    in_pieces(activate_piece, &task, &clock, z.size, ELEMENTS, UNIT_WORK)
    return result[()] if out is None else out


def sigmoid_backward(grad, h, out=None):
    """The fused sigmoid-derivative Hadamard product, E4: grad * h * (1 - h).

    Parameters
    ----------
    grad, h : arrays of one shape
        dL/dh and h = sigma(z).
    out : ndarray, optional
        Of that shape and the common dtype, C-contiguous; may be `grad` itself.

    Returns
    -------
    ndarray, or a NumPy scalar for 0-d arguments without `out`
        1 - h carries the rounding error of h: `MLP` and `Layers` use sigma(-|z|) instead.

    Raises
    ------
    TypeError, ValueError
        For shapes, dtypes or an `out` that does not fit; the message names the argument.
    """
    given = {"grad": grad, "h": h}
    grad = _checks.real_array("grad", grad)
    h = _checks.real_array("h", h, shape=grad.shape)
    dtype = _checks.common_dtype(grad, h)
    grad, h = _checks.as_dtype([grad, h], dtype)
    result = _checks.output("out", out, grad.shape, dtype, given, in_place=("grad",))
    cdef Clock clock = start_clock()
    cdef Equation task = equation(kernels_of(grad), result, None, grad, h)
    in_pieces(slope_piece, &task, &clock, grad.size, ELEMENTS, UNIT_WORK)
    return result[()] if out is None else out


def delta_step(delta_next, W_next, h, out=None):
    """One step of the recursion, E5: delta = (delta_next W_next^T) * h * (1 - h).

    Parameters
    ----------
    delta_next : (n, n_next) or (n_next,) array
        dL/dz of the layer above; one dimension is one sample.
    W_next : (n_here, n_next) array
    h : (n, n_here) or (n_here,) array
    out : ndarray like h, optional
        C-contiguous, of the common dtype, apart from every input.

    Returns
    -------
    ndarray like h

    Raises
    ------
    TypeError, ValueError
        For shapes, dtypes or an `out` that does not fit; the message names the argument.
    MemoryError
        When the packed panels cannot be had.
    """
    given = {"delta_next": delta_next, "W_next": W_next, "h": h}
    delta_next = _checks.samples_or_one("delta_next", delta_next, "n_next")
    lead = delta_next.shape[:-1]
    W_next = _checks.real_array("W_next", W_next, shape=("n_here", delta_next.shape[-1]))
    h = _checks.real_array("h", h, shape=(*lead, W_next.shape[0]))
    dtype = _checks.common_dtype(delta_next, W_next, h)
    delta_next, W_next, h = _checks.as_dtype([delta_next, W_next, h], dtype)
    out = _checks.output("out", out, h.shape, dtype, given)
    cdef Equation task = equation(kernels_of(h), out, None, delta_next, W_next, h)
    cdef Py_ssize_t n = lead[0] if lead else 1
    task.fan_in, task.fan_out = W_next.shape[0], W_next.shape[1]
    if n == 0 or task.fan_in == 0:      # nothing to do, however long the other axes are
        return out
    cdef Scratch scratch = Scratch(task.kernels.scratch_bytes(n, task.fan_in, task.fan_out))
    task.scratch = scratch.memory
    in_blocks(delta_piece, &task, n, task.fan_in, task.fan_out, False)
    return out


def weight_grad(h_prev, delta):
    """Gradients of one layer, E6: dW = h_prev^T delta, db = sum_i delta_i.

    Parameters
    ----------
    h_prev : (n, fan_in) array
    delta : (n, fan_out) array
        dL/dz of the layer.

    Returns
    -------
    dW : (fan_in, fan_out) ndarray
    db : (fan_out,) ndarray

    Raises
    ------
    TypeError, ValueError
        For shapes or dtypes that do not fit; the message names the argument.
    MemoryError
        When the packed panels cannot be had.
    """
    h_prev = _checks.real_array("h_prev", h_prev, shape=("n_samples", "fan_in"))
    delta = _checks.real_array("delta", delta, shape=(h_prev.shape[0], "fan_out"))
    dtype = _checks.common_dtype(h_prev, delta)
    h_prev, delta = _checks.as_dtype([h_prev, delta], dtype)
    dW = np.empty((h_prev.shape[1], delta.shape[1]), dtype)
    db = np.empty(delta.shape[1], dtype)
    cdef Equation task = equation(kernels_of(delta), dW, db, h_prev, delta)
    cdef Py_ssize_t n = h_prev.shape[0], rows
    task.fan_in, task.fan_out = h_prev.shape[1], delta.shape[1]
    if task.fan_out == 0:               # as in `delta_step`
        return dW, db
    cdef Scratch scratch = Scratch(task.kernels.scratch_bytes(n, task.fan_in, task.fan_out))
    task.scratch = scratch.memory
    rows = 1 if task.fan_out == 1 else task.fan_in      # of dW as it lies
    in_blocks(weight_piece, &task, n, rows, task.fan_in if rows == 1 else task.fan_out, True)
    return dW, db


def activate(z, activation="sigmoid"):
    """An activation and its derivative, E1 and E4: h = act(z), act'(z).

    Parameters
    ----------
    z : array of any shape
        float32 is computed in float32, every other real dtype in float64.
    activation : {"sigmoid", "tanh", "relu", "identity"}

    Returns
    -------
    h, slope : ndarrays like z
        sigma and tanh within 1 ulp, their derivatives within 4 ulp, also where h rounds to 1.
        The derivative of relu at 0 is 0.

    Raises
    ------
    TypeError, ValueError
        For `z` that is not real, or another activation.
    """
    cdef Activation which = ACTIVATIONS[
        _checks.choice("activation", activation, _checks.ACTIVATIONS)]
    z = _checks.real_array("z", z)
    h, slope = np.empty_like(z), np.empty_like(z)
    cdef Clock clock = start_clock()
    cdef Equation task = equation(kernels_of(z), h, slope, z)
    task.activation = which
    in_pieces(activate_piece, &task, &clock, z.size, ELEMENTS, UNIT_WORK)
    return h[()], slope[()]


# ---- losses -----------------------------------------------------------------------------

def bce_with_logits(z, y, sample_weight=None, *, pos_weight=None, label_smoothing=0.0):
    """Binary cross-entropy, E2, and its delta, E3, from logits.

    Parameters
    ----------
    z : (n,) or (n, n_outputs) array
    y : array like z
        Targets in [0, 1].
    sample_weight : (n,) array, optional
        Not negative.
    pos_weight : float or (n_outputs,) array, optional
        Multiplies the part y log h of the loss.
    label_smoothing : float
        In [0, 1): the target is (1 - label_smoothing) y + label_smoothing / 2.

    Returns
    -------
    loss : float
        Summed over samples and outputs, in nats.
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
        Summed over samples, in nats.
    delta : ndarray like z
        sample_weight * (softmax(z) - y); a class that is nearly certain keeps the relative
        accuracy of what is left to the others.

    Raises
    ------
    TypeError, ValueError
        As `bce_with_logits`; for classes that are no integers in [0, n_outputs).
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
        sum (z - y)^2 / 2 over samples and outputs.
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
    delta : ndarray like z
        sample_weight * (e^z - y).

    Raises
    ------
    TypeError, ValueError
        For shapes or dtypes that do not fit, negative or infinite counts, negative weights.
    """
    return _with_logits("poisson", z, y, sample_weight)[:2]


def _with_logits(name, z, y, sample_weight, options=None):
    """The sum of the losses and delta; and the losses by themselves, not weighted, in z's dtype.

    These are what tests count ulps of: a call for each sample would take longer than the counting.
    """
    z, y, sample_weight = _checks.logits_and_targets(z, y, sample_weight, name)
    cdef Py_ssize_t n = z.shape[0], outputs = z.shape[1] if z.ndim == 2 else 1
    cdef Loss loss = Loss(name, outputs, z.dtype, options)
    y = loss.targets(y, n)
    sample_weight = loss.weights(sample_weight, y, n, False)
    delta, losses = np.empty_like(z), np.empty_like(z)
    cdef Batch batch = loss.batch(z, y, sample_weight)
    cdef Totals totals
    cdef Clock clock = start_clock()
    cdef Equation task = equation(loss.kernels, losses, delta)
    task.batch, task.totals, task.fan_out = &batch, &totals, outputs
    start(&totals)
    # whole rows, and whole rounds of the eight partial sums of N3
    in_pieces(loss_piece, &task, &clock, n if outputs > 0 else 0,
              8 * max(ELEMENTS // max(outputs, 1) // 8, 1), UNIT_WORK * outputs)
    return loss_of(&totals), delta, losses


# ---- the whole gradient -------------------------------------------------------------------

def backprop(weights, biases, X, y, *, activation="sigmoid", loss="bce", sample_weight=None,
             reduction="sum", pos_weight=None, class_weight=None, label_smoothing=0.0):
    """E1 to E6 for arrays of any owner: the bits of `MLP.backprop`.

    Parameters
    ----------
    weights : sequence of (fan_in, fan_out) arrays
    biases : sequence of (fan_out,) arrays
    X : (n, n_features) array
    y : (n,) or (n, n_outputs) array
        Targets, as for `MLP.backprop`.
    activation, loss, pos_weight, class_weight, label_smoothing
        As for `MLP`.
    sample_weight : (n,) array, optional
        Not negative.
    reduction : {"sum", "mean"}
        "mean" divides by n, or by the sum of `sample_weight`.

    Returns
    -------
    loss : float
        In nats.
    weight_grads, bias_grads : lists of ndarrays
        Shaped like weights and biases, in the dtype of the computation: float32 if weights,
        biases and X all are, otherwise float64.

    Raises
    ------
    TypeError, ValueError
        For shapes or dtypes that do not fit, targets the loss excludes, negative weights, no
        samples or weights that sum to zero under "mean", names and options that do not fit.
    MemoryError
        When the workspace cannot be had.
    """
    mean = _checks.choice("reduction", reduction, ("sum", "mean")) == "mean"
    activation = _checks.choice("activation", activation, _checks.ACTIVATIONS)
    weights, biases, sizes = _checks.layer_arrays(weights, biases)
    X = _checks.real_array("X", X, shape=("n_samples", sizes[0]))
    dtype = _checks.common_dtype(*weights, X)
    cdef Loss measure = Loss(loss, sizes[-1], dtype, {
        "pos_weight": pos_weight, "class_weight": class_weight,
        "label_smoothing": label_smoothing})
    weights, biases = _checks.as_dtype(weights, dtype), _checks.as_dtype(biases, dtype)
    X = X.astype(dtype, copy=False)
    cdef Py_ssize_t n = X.shape[0], l
    y = measure.targets(y, n)
    sample_weight = measure.weights(sample_weight, y, n, mean)
    dW, db = [np.empty_like(W) for W in weights], [np.empty_like(b) for b in biases]
    hidden = [ACTIVATIONS[activation]] * (len(sizes) - 2)
    cdef Workspace ws = Workspace(
        Architecture(sizes, [*hidden, IDENTITY], dtype.itemsize, False), True)
    for l in range(len(weights)):
        ws.sweep.layers[l].W, ws.sweep.layers[l].b = data(weights[l]), data(biases[l])
        ws.sweep.layers[l].dW, ws.sweep.layers[l].db = data(dW[l]), data(db[l])
    cdef Batch batch = measure.batch(X, y, sample_weight)
    return loss_and_gradient(ws, &batch, n, True, mean, 0, 0), dW, db
