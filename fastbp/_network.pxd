from fastbp._copies cimport Copied
from fastbp._engine.certificate cimport Certificate
from fastbp._engine.network cimport Architecture, Workspace
from fastbp._engine.plan cimport Shape
from fastbp._engine.tangent cimport Tangent
from fastbp._engine.team cimport Flag
from fastbp._loss cimport Loss
from fastbp._problem cimport Problem


cdef class Kept:
    """h, act'(z) and delta of a batch, if they fit the memory allowed, and at which parameters."""
    cdef Workspace values       # of its own, or that of the network
    cdef object at              # the parameters, or None: nothing is known

    cdef bint is_at(self, params) noexcept
    # A pass at other parameters: those that it should read; and when it has filled the memory
    cdef object leave_for(self, params)
    cdef void arrive(self, params) noexcept


cdef class Network(Copied):
    """What an `MLP` holds between calls, and its own workspace's passes; only `MLP` is made."""
    cdef readonly tuple layer_sizes, weights, biases, weight_grads, bias_grads
    cdef readonly object dtype
    cdef object params_array, grad_array    # users have views of these
    cdef tuple written                      # both of them: a call may write them
    cdef object params_view, grad_view      # what users see
    cdef readonly object activation         # a name, or a tuple with that of each hidden layer
    cdef Loss measure
    cdef readonly Py_ssize_t n_params
    cdef Architecture architecture
    cdef const Shape* shape
    cdef Workspace workspace
    cdef Workspace passes               # leased by calls that several threads may make at once
    cdef Certificate certificate        # made by the first `error_bound`
    cdef Tangent tangent                # made by the first `hvp` or `gnvp`
    cdef Py_ssize_t n_features, n_outputs
    cdef int typenum, asked
    cdef Flag busy

    cdef int _check_made(self) except -1
    # Make these flat arrays, of n_params, its parameters and its gradient
    cdef int _hold(self, params, grad) except -1

    # X as the kernels take it
    cdef object _X(self, X)
    # checked in this order: reduction, l2, X, y, sample_weight
    cdef Problem _problem(self, X, y, sample_weight, reduction, l2)
    # whether X, y and sample_weight were taken as they are, and `out` is memory of its own
    cdef bint _apart(self, out, Problem p, X, y, sample_weight) noexcept
    # refuse an `out` that does not fit, or overlaps those, v, or the network's own
    cdef int _check_out(self, out, tuple shape, X, y, sample_weight, v=*) except -1
    # take the network for this call, which ends with `release(&self.busy)`, or refuse
    cdef int _enter(self) except -1

    # For a caller that has entered: the bound of the gradient's error
    cdef int _bound(self, Problem p, char* out) except -1
    # These enter:
    # the loss at `params`, its gradient into `grad`; both are flat and as the kernels take them.
    # `kept` may be None
    cdef double _gradient(self, params, Problem p, grad, Kept kept) except? -1
    # (loss, gradient) at an array of parameters, which it checks
    cdef object _value_and_grad(self, params, Problem p, Kept kept)
    # the Hessian at `params`, or its Gauss-Newton part, times v, into `out`; all three are flat and
    # as the kernels take them. `kept` may be None
    cdef int _product(self, params, Problem p, v, out, bint gauss_newton, Kept kept) except -1
    # the Hessian at an array of parameters times v, both of which it checks
    cdef object _hessian_at(self, params, Problem p, v, Kept kept)
    # room for n samples, within so many bytes
    cdef Kept _room(self, Py_ssize_t n, double memory)


cdef class Objective(Copied):
    cdef Network net
    cdef Problem problem
    cdef double memory
    cdef Kept kept              # made by the first `hessp`

    cdef object at(self, params)
    cdef Problem _again(self)
    cdef int _check_made(self) except -1
