from fastbp._problem cimport Problem
from fastbp._training cimport Training


cdef class Fitting(Training):
    """The fits of an `MLP`; only `MLP` is made."""

    # the samples that judge the network, or None
    cdef Problem _held_out(self, Problem p, X, y, sample_weight, validation, rows)
    # the file of a fit, whose other arguments are given
    cdef object _checkpoint(self, path, Problem p, Problem held_out, rows, dict fit)
