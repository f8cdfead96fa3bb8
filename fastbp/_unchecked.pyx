"""Passes of `Layers` over inputs that are given by address, for integrations.

Making an array of another library's tensor costs more than a pass of a small network. The caller
vouches for each address: contiguous memory of the dtype and the size, alive until the call ends.
Those of the parameters are a list, W_1, b_1, W_2, b_2, ..., and so are those of the gradients of a
loss; what a pass computes is in new arrays.
"""

from fastbp import _arguments

cimport numpy as cnp

from fastbp._engine.arrays cimport data
from fastbp._engine.backward cimport backward_all
from fastbp._engine.network cimport Workspace, bind_addresses
from fastbp._engine.per_sample cimport (
    Samples, blank_samples, clipped_gradient, draws_of,
)
from fastbp._engine.plan cimport Shape
from fastbp._engine.team cimport release
from fastbp._layers cimport Layers
from fastbp._problem cimport Problem, problem_at

cnp.import_array()


cdef class UncheckedLayers(Layers):
    """The constructor is that of Layers; one object serves one thread at a time."""

    cpdef list new_grads(self):
        """Memory for dW_1, db_1, dW_2, ..., in the layout of the weights."""
        self._check_made()
        cdef const Shape* s = self.workspace.shape
        cdef Py_ssize_t l
        cdef list grads = []
        for l in range(s.n_layers):
            if s.transposed:
                grads.append(self._empty(2, s.sizes[l + 1], s.sizes[l]))
            else:
                grads.append(self._empty(2, s.sizes[l], s.sizes[l + 1]))
            grads.append(self._empty(1, s.sizes[l + 1], 0))
        return grads

    cdef int check_addresses(self, str name, list given) except -1:
        self._check_made()
        if len(given) != 2 * self.workspace.shape.n_layers:
            raise _arguments.addresses(name, len(given), 2 * self.workspace.shape.n_layers)
        return 0

    cdef object _empty(self, int ndim, Py_ssize_t rows, Py_ssize_t columns):
        cdef cnp.npy_intp[2] shape = [rows, columns]
        return cnp.PyArray_EMPTY(ndim, shape, self.arrays.typenum, 0)

    cpdef object forward_at(self, list params, Py_ssize_t X, Py_ssize_t n, bint keep):
        """E1: h_L (n, n_outputs)."""
        cdef Workspace ws = self.workspace
        self.check_addresses("params", params)
        out = self._empty(2, n, ws.shape.sizes[ws.shape.n_layers])
        ws = ws if keep else self.passes.lease()
        try:
            bind_addresses(ws, params, None)
            self._pass(ws, <char*> X, data(out), n)
        finally:
            if not keep:
                ws.give_back()
        return out

    cpdef tuple backward_at(self, list params, Py_ssize_t X, Py_ssize_t grad_output, Py_ssize_t n,
                            bint wants_X, bint wants_params):
        """E5, E6 after a `forward_at` of the same arguments with `keep`.

        Gives dL/dX and [dW_1, db_1, ...], each None unless it is wanted.
        """
        cdef Workspace ws = self.workspace
        self.check_addresses("params", params)
        dX = self._empty(2, n, ws.shape.sizes[0]) if wants_X else None
        grads = self.new_grads() if wants_params else None
        bind_addresses(ws, params, None if grads is None else
                       [<Py_ssize_t> data(grad) for grad in grads])
        backward_all(ws, <char*> X, <char*> grad_output, data(dX), n, self.asked)
        return dX, grads

    cpdef object loss_and_grad_at(self, list params, Py_ssize_t X, Py_ssize_t n, y, list grads,
                                  loss, sample_weight=None, double divisor=1, pos_weight=None,
                                  class_weight=None, label_smoothing=0.0):
        """`loss_and_grad` into the addresses `grads`; y and the options are checked.

        The divisor is 0 for "mean".
        """
        self.check_addresses("params", params)
        self.check_addresses("grads", grads)
        self._enter()
        try:
            self._choose_loss(loss, pos_weight, class_weight, label_smoothing)
            bind_addresses(self.workspace, params, grads)
            return self._loss_and_grad(
                problem_at(self.measure, <char*> X, n, y, sample_weight, divisor))
        finally:
            release(&self.busy)

    cpdef object clipped_loss_and_grad_at(self, list params, Py_ssize_t X, Py_ssize_t n, y,
                                          list grads, norms, double max_norm, double deviation, raw,
                                          loss, sample_weight=None, double divisor=1,
                                          pos_weight=None, class_weight=None, label_smoothing=0.0):
        """The same of clipped gradients, with their norms, and with noise of `draws` raw draws."""
        cdef Samples samples = blank_samples()
        cdef Problem p
        samples.norms, samples.max_norm, samples.deviation = data(norms), max_norm, deviation
        samples.raw = <const unsigned long long*> data(raw)
        self.check_addresses("params", params)
        self.check_addresses("grads", grads)
        self._enter()
        try:
            self._choose_loss(loss, pos_weight, class_weight, label_smoothing)
            bind_addresses(self.workspace, params, grads)
            p = problem_at(self.measure, <char*> X, n, y, sample_weight, 1)
            return clipped_gradient(self.workspace, &p.batch, &samples, n, divisor, self.asked)
        finally:
            release(&self.busy)

    cpdef Py_ssize_t draws(self) except -1:
        """Raw draws for the noise of one gradient."""
        self._check_made()
        return draws_of(self.workspace.shape)
