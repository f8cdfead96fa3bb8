from fastbp._copies cimport Copied
from fastbp._network cimport Kept
from fastbp._per_sample cimport PerSample
from fastbp._problem cimport Problem


cdef class SecondOrder(PerSample):
    """The products of an `MLP` with its Hessian; only `MLP` is made."""

    # The product along v, which it checks, into `out`, which is new or overlaps neither v nor X, y,
    # sample_weight as the caller has them; these are None where no caller does. `params` are as
    # the kernels take them, `kept` may be None
    cdef object _along(self, params, Problem p, X, y, sample_weight, v, out, bint gauss_newton,
                       Kept kept)


cdef class Linearization(Copied):
    cdef SecondOrder net
    cdef Problem problem                    # whose arrays are its own
    cdef Kept room
    cdef object point                       # the parameters; no caller has this array
    cdef object slope                       # the gradient
    cdef double value, memory

    cdef int _take(self, SecondOrder net, Problem p, params, double memory) except -1
    cdef int _check_made(self) except -1
    cdef object _product(self, v, out, bint gauss_newton)
