from fastbp._engine.network cimport Architecture, Workspace
from fastbp._engine.plan cimport Activation, Batch, Shape

cdef enum:
    PRODUCTS = 8            # of a layer's rows in a product with the Hessian, at most


cdef class Tangent:
    """The memory for derivatives of a network's passes along one direction of its parameters."""
    cdef const Shape* shape
    cdef Workspace dots         # h_dot, bend, delta_dot; W, b: the direction; dW, db: the product
    # The product of the Hessian, or of its Gauss-Newton part, with `direction`, into `product`,
    # which are flat. `values` is bound to params; its h, act'(z) and delta may be known
    cdef int write(self, Workspace values, const char* direction, char* product,
                   const Batch* batch, Activation output, Py_ssize_t n, bint gauss_newton,
                   bint known, double divisor, double l2, int asked) except -1
