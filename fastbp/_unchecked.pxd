from fastbp._layers cimport Layers


cdef class UncheckedLayers(Layers):
    # refuse a list that has not two addresses for each layer
    cdef int check_addresses(self, str name, list given) except -1
    cdef object _empty(self, int ndim, Py_ssize_t rows, Py_ssize_t columns)
    cpdef list new_grads(self)
    cpdef object forward_at(self, list params, Py_ssize_t X, Py_ssize_t n, bint keep)
    cpdef tuple backward_at(self, list params, Py_ssize_t X, Py_ssize_t grad_output, Py_ssize_t n,
                            bint wants_X, bint wants_params)
    cpdef object loss_and_grad_at(self, list params, Py_ssize_t X, Py_ssize_t n, y, list grads,
                                  loss, sample_weight=*, double divisor=*, pos_weight=*,
                                  class_weight=*, label_smoothing=*)
    cpdef object clipped_loss_and_grad_at(self, list params, Py_ssize_t X, Py_ssize_t n, y,
                                          list grads, norms, double max_norm, double deviation, raw,
                                          loss, sample_weight=*, double divisor=*, pos_weight=*,
                                          class_weight=*, label_smoothing=*)
    cpdef Py_ssize_t draws(self) except -1
