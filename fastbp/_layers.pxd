from fastbp._arrays cimport LayerArrays
from fastbp._copies cimport Copied
from fastbp._engine.network cimport Architecture, Workspace
from fastbp._engine.team cimport Flag
from fastbp._kernels.table cimport Activation
from fastbp._loss cimport Loss
from fastbp._problem cimport Problem

# The number of an activation, by its name; or an error that lists the names
cdef Activation activation_number(object name) except *
# 1 for "sum", 0 for "mean", or a number itself
cdef double any_divisor(reduction) except -1


cdef class Layers(Copied):
    cdef readonly tuple layer_sizes, activations
    cdef readonly object dtype
    cdef readonly str layout
    cdef Architecture architecture
    cdef LayerArrays arrays
    cdef Workspace workspace
    cdef Workspace passes           # leased by passes that keep nothing
    cdef Loss measure               # the loss of the last `loss_and_grad`
    cdef tuple given                # weights, biases, X of the last forward: the caller's arrays
    cdef tuple held                 # the same, converted where the kernels need it
    cdef int asked
    cdef Flag busy

    cdef int _check_made(self) except -1
    cdef int _enter(self) except -1
    cdef tuple _held(self, tuple given)
    cdef object _forward(self, Workspace ws, tuple held)
    cdef int _pass(self, Workspace ws, const char* X, char* out, Py_ssize_t n) except -1
    cdef int _backward(self, grad_output, list dW, list db, dX) except -1
    cdef int _choose_loss(self, loss, pos_weight, class_weight, label_smoothing) except -1
    cdef object _loss_and_grad(self, Problem p)
