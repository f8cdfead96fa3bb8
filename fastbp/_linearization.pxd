from fastbp._copies cimport Copied
from fastbp._network cimport Kept, Network
from fastbp._problem cimport Problem


cdef class Linearization(Copied):
    cdef Network net
    cdef Problem problem                    # whose arrays are its own
    cdef Kept room
    cdef object point                       # the parameters; no caller has this array
    cdef readonly object grad
    cdef readonly double loss
    cdef double memory

    cdef int _take(self, Network net, Problem p, params, double memory) except -1
    cdef int _check_made(self) except -1
    cdef object _along(self, v, out, bint gauss_newton)

cdef Linearization new_linearization(Network net, Problem p, double memory)
