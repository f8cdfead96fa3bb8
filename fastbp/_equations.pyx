"""One public function for each equation of one layer, E1 and E4 to E6, on arrays of any owner.

Arrays that a look at their headers shows to fit are used as they are; others are checked and
converted by `_arguments`. The arithmetic is the active variant's kernels. `fastbp.reference` holds
the same functions in plain NumPy.
"""

from fastbp import _arguments, _layers, _logit_losses
from fastbp._calls import explain

cimport numpy as cnp
from libc.string cimport memset

from fastbp._engine.arrays cimport (
    alike, apart, data, new_like, new_matrix, new_vector, ready, real, shaped, writable,
)
from fastbp._engine.loop cimport carry_out_one
from fastbp._engine.memory cimport Memory, borrow, put_back
from fastbp._engine.plan cimport BLOCK_ROWS, LINES, ROWS, Action, Frame, Sharing, Step
from fastbp._engine.signals cimport TILE_COLUMNS, UNIT_WORK, between_looks
from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport SIGMOID, Activation, KernelTable
from fastbp._layers cimport activation_number

cnp.import_array()


cdef inline const KernelTable* kernels_of(object array):
    return kernels(cnp.PyArray_ITEMSIZE(array))


cdef inline object scalar_or_array(object array):
    return array if cnp.PyArray_NDIM(array) > 0 else array[()]


# ---- the step that each function runs ---------------------------------------------------

cdef enum:
    # Between two looks at Ctrl-C, some milliseconds apart:
    ELEMENTS_AT_ONCE = 1 << 20      # of an elementwise function
    SAMPLES_AT_ONCE = 1 << 12       # of a product; whole blocks of the chains of N1

ctypedef struct Equation:       # the operands of one call, in the order of the kernel
    const KernelTable* kernels
    char* out
    char* second                # another output, or NULL
    const char* a
    const char* b
    const char* c
    Activation activation
    Py_ssize_t fan_in
    Py_ssize_t fan_out


cdef Equation equation(const KernelTable* table, out, second=None, a=None, b=None, c=None):
    cdef Equation e
    memset(&e, 0, sizeof(Equation))
    e.kernels, e.out, e.second = table, data(out), data(second)
    e.a, e.b, e.c = data(a), data(b), data(c)
    return e


cdef int over_elements(Action action, Equation* e, Py_ssize_t size) except -1:
    return carry_out_one(action, LINES, e.kernels, e, NULL, 1, 1, size, ELEMENTS_AT_ONCE, UNIT_WORK)


cdef int over_samples(Action action, Sharing sharing, Equation* e, Py_ssize_t n, Py_ssize_t items,
                      Py_ssize_t length) except -1:
    """A product over n samples in blocks, shared by columns of a block, or by lines of the sum."""
    cdef Py_ssize_t columns = min(items, <Py_ssize_t> TILE_COLUMNS), block, pieces
    block = between_looks(max(n, SAMPLES_AT_ONCE), <double> length * columns, 1, e.kernels)
    if sharing == LINES:
        block = (block + BLOCK_ROWS - 1) // BLOCK_ROWS * BLOCK_ROWS
    block = min(<Py_ssize_t> SAMPLES_AT_ONCE, block)
    pieces = between_looks(items, <double> length * min(block, max(n, 1)),
                           columns if sharing == ROWS else 1, e.kernels)
    cdef Memory* panels = borrow(e.kernels.scratch_bytes(n, e.fan_in, e.fan_out))
    try:
        return carry_out_one(action, sharing, e.kernels, e, panels.at, n, block, items, pieces,
                             length if sharing == ROWS else <double> length * min(block, n))
    finally:
        put_back(panels)


cdef void activate_elements(const Step* step, Frame* f) noexcept nogil:
    cdef Equation* e = <Equation*> f.run.more
    cdef Py_ssize_t at = f.first * e.kernels.itemsize
    e.kernels.activate(e.out + at, e.second + at if e.second != NULL else NULL, e.a + at,
                       e.activation, f.count)


cdef void multiply_by_slope(const Step* step, Frame* f) noexcept nogil:
    cdef Equation* e = <Equation*> f.run.more
    cdef Py_ssize_t at = f.first * e.kernels.itemsize
    e.kernels.sigmoid_backward(e.out + at, e.a + at, e.b + at, f.count)


cdef void delta_columns(const Step* step, Frame* f) noexcept nogil:
    """Columns of delta for a block of samples; after the last of them the factor h (1 - h)."""
    cdef Equation* e = <Equation*> f.run.more
    cdef Py_ssize_t at = f.block_start * e.kernels.itemsize
    cdef char* delta = e.out + at * e.fan_in
    e.kernels.delta_step(delta, e.a + at * e.fan_out, e.b, NULL, f.n, e.fan_in, e.fan_out, False,
                         f.first, f.count, f.scratch)
    if f.first + f.count == e.fan_in:
        e.kernels.sigmoid_backward(delta, delta, e.c + at * e.fan_in, f.n * e.fan_in)


cdef void weight_grad_lines(const Step* step, Frame* f) noexcept nogil:
    """Add a block of samples to lines of dW."""
    cdef Equation* e = <Equation*> f.run.more
    cdef Py_ssize_t at = f.block_start * e.kernels.itemsize
    e.kernels.weight_grad(e.out, e.second, e.a + at * e.fan_in, e.b + at * e.fan_out, f.n,
                          e.fan_in, e.fan_out, False, f.block_start > 0, f.first, f.count,
                          f.scratch)


# ---- arguments that fit as they are -----------------------------------------------------

cdef inline bint in_place_or_apart(object out, object array) noexcept:
    """Whether `out` can be written: it is writable, and the array itself or apart from it."""
    return cnp.PyArray_ISWRITEABLE(out) and (data(out) == data(array) or apart(out, array))


cdef bint step_fits(object delta_next, object W_next, object h) noexcept:
    cdef int ndim, kind
    if not real(h):
        return False
    ndim, kind = cnp.PyArray_NDIM(h), cnp.PyArray_TYPE(h)
    return (ready(delta_next, kind) and cnp.PyArray_NDIM(delta_next) == ndim
            and (ndim == 1
                 or ndim == 2 and cnp.PyArray_DIM(delta_next, 0) == cnp.PyArray_DIM(h, 0))
            and shaped(W_next, kind, 2, cnp.PyArray_DIM(h, ndim - 1),
                       cnp.PyArray_DIM(delta_next, ndim - 1)))


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
    given = z
    if not real(z):
        z = _arguments.real_array("z", z)
    result = new_like(z) if out is None else out
    if out is not None and not (z is given and alike(out, z) and in_place_or_apart(out, z)):
        _arguments.output("out", out, z.shape, z.dtype, {"z": given}, in_place=("z",))
    cdef Equation e = equation(kernels_of(z), result, None, z)
    e.activation = SIGMOID
    over_elements(activate_elements, &e, cnp.PyArray_SIZE(z))
    return scalar_or_array(result) if out is None else out


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
    given = (grad, h)
    cdef bint fit = real(grad) and alike(h, grad)
    if not fit:
        grad = _arguments.real_array("grad", grad)
        h = _arguments.real_array("h", h, shape=grad.shape)
        grad, h = _arguments.as_dtype([grad, h], _arguments.common_dtype(grad, h))
    result = new_like(grad) if out is None else out
    if out is not None and not (fit and alike(out, grad) and in_place_or_apart(out, grad)
                                and apart(out, h)):
        _arguments.output("out", out, grad.shape, grad.dtype, {"grad": given[0], "h": given[1]},
                          in_place=("grad",))
    cdef Equation e = equation(kernels_of(grad), result, None, grad, h)
    over_elements(multiply_by_slope, &e, cnp.PyArray_SIZE(grad))
    return scalar_or_array(result) if out is None else out


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
    given = (delta_next, W_next, h)
    cdef bint fit = step_fits(delta_next, W_next, h)
    if not fit:
        delta_next = _arguments.samples_or_one("delta_next", delta_next, "n_next")
        W_next = _arguments.real_array("W_next", W_next, shape=("n_here", delta_next.shape[-1]))
        h = _arguments.real_array("h", h, shape=(*delta_next.shape[:-1], W_next.shape[0]))
        delta_next, W_next, h = _arguments.as_dtype(
            [delta_next, W_next, h], _arguments.common_dtype(delta_next, W_next, h))
    if out is None:
        out = new_like(h)
    elif not (fit and alike(out, h) and writable(out, delta_next, W_next, h)):
        _arguments.output("out", out, h.shape, h.dtype,
                          dict(zip(("delta_next", "W_next", "h"), given)))
    cdef Equation e = equation(kernels_of(h), out, None, delta_next, W_next, h)
    cdef Py_ssize_t n = cnp.PyArray_DIM(h, 0) if cnp.PyArray_NDIM(h) == 2 else 1
    e.fan_in, e.fan_out = cnp.PyArray_DIM(W_next, 0), cnp.PyArray_DIM(W_next, 1)
    if n == 0 or e.fan_in == 0:         # no element to compute
        return out
    over_samples(delta_columns, ROWS, &e, n, e.fan_in, e.fan_out)
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
    if not (real(h_prev) and cnp.PyArray_NDIM(h_prev) == 2
            and ready(delta, cnp.PyArray_TYPE(h_prev)) and cnp.PyArray_NDIM(delta) == 2
            and cnp.PyArray_DIM(delta, 0) == cnp.PyArray_DIM(h_prev, 0)):
        h_prev = _arguments.real_array("h_prev", h_prev, shape=("n_samples", "fan_in"))
        delta = _arguments.real_array("delta", delta, shape=(h_prev.shape[0], "fan_out"))
        h_prev, delta = _arguments.as_dtype([h_prev, delta], _arguments.common_dtype(h_prev, delta))
    cdef Py_ssize_t n = cnp.PyArray_DIM(h_prev, 0), lines
    cdef Py_ssize_t fan_in = cnp.PyArray_DIM(h_prev, 1), fan_out = cnp.PyArray_DIM(delta, 1)
    dW = new_matrix(fan_in, fan_out, cnp.PyArray_TYPE(delta))
    db = new_vector(fan_out, cnp.PyArray_TYPE(delta))
    cdef Equation e = equation(kernels_of(delta), dW, db, h_prev, delta)
    e.fan_in, e.fan_out = fan_in, fan_out
    if fan_out == 0:                    # as in `delta_step`
        return dW, db
    lines = 1 if fan_out == 1 else fan_in               # of dW in memory
    over_samples(weight_grad_lines, LINES, &e, n, lines, fan_in if lines == 1 else fan_out)
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
    cdef Activation number = activation_number(activation)
    if not real(z):
        z = _arguments.real_array("z", z)
    h, slope = new_like(z), new_like(z)
    cdef Equation e = equation(kernels_of(z), h, slope, z)
    e.activation = number
    over_elements(activate_elements, &e, cnp.PyArray_SIZE(z))
    return scalar_or_array(h), scalar_or_array(slope)


# Version 0.1.0 had these here, and its pickles of a function name the module.
backprop = _layers.backprop
bce_with_logits = _logit_losses.bce_with_logits
softmax_with_logits = _logit_losses.softmax_with_logits
squared_error = _logit_losses.squared_error
poisson_with_logits = _logit_losses.poisson_with_logits

explain(sigmoid, sigmoid_backward, delta_step, weight_grad, activate)
