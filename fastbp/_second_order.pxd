from fastbp._per_sample cimport PerSample


cdef class SecondOrder(PerSample):
    """The products of an `MLP` with its Hessian; only `MLP` is made."""

    # the arguments of `hvp` and `gnvp`, checked, and the product
    cdef object _along(self, X, y, v, sample_weight, reduction, l2, out, bint gauss_newton)
