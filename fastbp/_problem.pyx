"""A checked problem: X, y, sample_weight, n, reduction and l2, for every call that has a loss.

`MLP`, its `objective`, `Layers.loss_and_grad` and `backprop` all make one, and check its arguments
in one order; the engine reads its `batch`.
"""

from fastbp import _arguments

cimport cython
cimport numpy as cnp
from libc.math cimport isfinite

from fastbp._engine.arrays cimport apart, data

cnp.import_array()

cdef str SUM = "sum"


cdef double divisor_of(object reduction) except -1:
    if reduction is SUM:
        return 1
    return 0 if _arguments.choice("reduction", reduction, ("sum", "mean")) == "mean" else 1


cdef double checked_l2(object l2) except -1:
    if type(l2) is float and l2 >= 0 and isfinite(l2):
        return l2
    return _arguments.non_negative("l2", l2)


cdef object apart_from(object array, tuple written):
    for other in written:
        if not apart(array, other):
            return array.copy()
    return array


@cython.freelist(8)
cdef class Problem:
    pass


cdef Problem new_problem(Loss loss, X, y, sample_weight, double divisor, double l2, tuple written):
    cdef Problem p = Problem.__new__(Problem)
    p.loss, p.X, p.n = loss, X, cnp.PyArray_DIM(X, 0)
    p.divisor, p.l2 = divisor, l2
    y = loss.targets(y, p.n)
    p.y = apart_from(y, written)
    sample_weight = loss.weights(sample_weight, p.y, p.n, divisor == 0)
    p.sample_weight = None if sample_weight is None else apart_from(sample_weight, written)
    p.batch = loss.batch(data(p.X), p.y, p.sample_weight)
    return p


cdef Problem problem_at(Loss loss, const char* X, Py_ssize_t n, y, sample_weight, double divisor):
    cdef Problem p = Problem.__new__(Problem)
    p.loss, p.n, p.divisor, p.l2 = loss, n, divisor, 0
    p.y = loss.targets(y, n)
    p.sample_weight = loss.weights(sample_weight, p.y, n, divisor == 0)
    p.batch = loss.batch(X, p.y, p.sample_weight)
    return p


cdef Problem restored(X, y, sample_weight, bint mean, double l2, Loss loss, Py_ssize_t n_features):
    """The class weights are in `sample_weight` already."""
    cdef Problem p = Problem.__new__(Problem)
    p.loss, p.divisor, p.l2 = loss, 0 if mean else 1, checked_l2(l2)
    p.X = _arguments.real_array("X", X, loss.dtype, shape=("n", n_features))
    p.n = cnp.PyArray_DIM(p.X, 0)
    p.y = loss.targets(y, p.n)
    if sample_weight is not None:
        p.sample_weight = _arguments.real_array("sample_weight", sample_weight, loss.dtype,
                                                shape=(p.n,))
    p.batch = loss.batch(data(p.X), p.y, p.sample_weight)
    return p


cdef Problem read_again(Problem kept, Loss loss):
    cdef Problem p = Problem.__new__(Problem)
    p.loss, p.X, p.y, p.sample_weight, p.n = loss, kept.X, kept.y, kept.sample_weight, kept.n
    p.divisor, p.l2 = kept.divisor, kept.l2
    p.batch = loss.batch(data(p.X), p.y, p.sample_weight)
    return p
