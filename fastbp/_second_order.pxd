from fastbp._engine.tangent cimport Tangent
from fastbp._per_sample cimport PerSample


cdef class SecondOrder(PerSample):
    """The products of an `MLP` with its Hessian; only `MLP` is made."""
    cdef Tangent tangent                # made by the first product

    # the product at `params`, flat and of the network's dtype
    cdef object _product(self, params, v, p, out, bint gauss_newton)
