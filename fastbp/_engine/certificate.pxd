from fastbp._engine.network cimport Architecture, Workspace
from fastbp._engine.plan cimport Activation, Batch, Shape

ctypedef struct Length:         # of the sums of a product
    double gamma
    double scale                # a sum with that gamma, none negative, is above its true value then
    double lost                 # to underflows, in units of the least normal number


cdef class Certificate:
    """The memory for error bounds of one network's gradients, beside that of the gradients."""
    cdef const Shape* shape
    cdef Length* lengths        # n_layers + 1: of each width
    cdef Workspace errors       # e_h, e_h', e_delta
    cdef char* memory
    cdef char* columns          # |W| of each layer of one unit, at most the units and the input
    cdef char* biases           # (units,)     what |b| and underflows add to e_z
    cdef char* inputs           # (block, n_features)     |X|
    cdef char* operand          # (block, widest layer)   of the product that is next
    cdef Py_ssize_t nbytes, block

    cdef int reserve(self, Py_ssize_t block, int threads) except -1
    cdef void bind(self, Workspace values) noexcept nogil
    # The bound of what `loss_and_gradient` computes with the same arguments; `values` is bound to
    # params and, as grad, to the bound
    cdef int write(self, Workspace values, const Batch* batch, Activation output, Py_ssize_t n,
                   double divisor, double l2, int asked) except -1
