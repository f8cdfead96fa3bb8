"""Derivatives for every sample: of the loss by the input, of the outputs by input or parameters.

`MLP` has these methods from here. They check their arguments, take the network and hand over to
passes of `_engine`; neither touches `grad`.
"""

import numpy as np

from fastbp import _arguments
from fastbp._calls import explain

cimport numpy as cnp

from fastbp._engine.arrays cimport data, new_matrix, ready, shaped, writable
from fastbp._engine.gradient cimport input_gradient
from fastbp._engine.jacobian cimport write_jacobian
from fastbp._engine.network cimport bind_flat
from fastbp._engine.plan cimport Batch
from fastbp._engine.team cimport release
from fastbp._kernels.table cimport IDENTITY
from fastbp._problem cimport Problem

cnp.import_array()

cdef str OUTPUT = "output", PARAMS = "params"


cdef class InputGradients(SecondOrder):

    def input_grad(self, X, y, *, sample_weight=None, out=None):
        """E1 to E5: dL/dX = delta_1 W_1^T, the gradient of the loss by every number of the input.

        Row i is that of sample i's loss alone, summed over its outputs, times what the sample
        counts; the bits of a row do not depend on the others. No weight gradient is computed, and
        `grad` stays as it is.

        Parameters
        ----------
        X, y, sample_weight
            As in `backprop`.
        out : (n, n_features) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n, n_features) ndarray
            In nats per unit of X.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `backprop`; `ValueError` or `TypeError` for an `out` that does not fit or overlaps an
            argument.
        KeyboardInterrupt
            On Ctrl-C, within 0.1 s of processor time; `out` holds nothing of use then.
        """
        cdef Problem p = self._problem(X, y, sample_weight, "sum", 0.0)
        if out is None:
            out = new_matrix(p.n, self.n_features, self.typenum)
        elif not (shaped(out, self.typenum, 2, p.n, self.n_features)
                  and self._apart(out, p, X, y, sample_weight)):
            self._check_out(out, (p.n, self.n_features), X, y, sample_weight)
        self._enter()
        try:
            bind_flat(self.workspace, data(self.params_array), NULL)
            input_gradient(self.workspace, &p.batch, data(out), p.n, self.asked)
        finally:
            release(&self.busy)
        return out

    def jacobian(self, X, *, of="output", wrt="params", out=None):
        """E1 to E6 of every output: d output_k / d params, or by the input, for every sample.

        All ways back of a sample go through one product. Besides the result it needs the memory of
        `backprop` and, for each thread, of 256 rows of every layer and of packed panels, however
        many samples and outputs there are. `grad` stays as it is.

        Parameters
        ----------
        X : (n, n_features) array
        of : {"output", "logits"}
            Whose derivative: h_L, with that of sigmoid, exponential or softmax; or z_L.
        wrt : {"params", "input"}
            By what: `params`, in their order; or the sample's own row of X.
        out : (n, n_outputs, n_params) or (n, n_outputs, n_features) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n, n_outputs, n_params) or (n, n_outputs, n_features) ndarray

        Raises
        ------
        ValueError, TypeError
            For an argument that does not fit; the message names it.
        MemoryError, RuntimeError, KeyboardInterrupt
            As `input_grad`.
        """
        given = X
        X = self._X(X)
        cdef Py_ssize_t n = cnp.PyArray_DIM(X, 0)
        cdef bint logits, to_input
        logits = of is not OUTPUT and _arguments.choice("of", of, ("output", "logits")) == "logits"
        to_input = wrt is not PARAMS and _arguments.choice("wrt", wrt,
                                                           ("params", "input")) == "input"
        cdef cnp.npy_intp[3] shape = [n, self.n_outputs,
                                      self.n_features if to_input else self.n_params]
        if out is None:
            out = cnp.PyArray_EMPTY(3, shape, self.typenum, 0)
        elif not (ready(out, self.typenum) and cnp.PyArray_NDIM(out) == 3
                  and cnp.PyArray_CompareLists(cnp.PyArray_DIMS(out), shape, 3)
                  and X is given and writable(out, X, self.params_array, self.grad_array)):
            _arguments.output("out", out, (shape[0], shape[1], shape[2]), self.dtype,
                              {"X": given, "net.params": self.params_array,
                               "net.grad": self.grad_array})
        if self.counts is None:
            self.counts = np.arange(self.n_outputs + 1).astype(self.dtype)
        cdef Batch batch = self.measure.batch(data(X), self.counts, None)
        batch.target.scale, batch.target.shift = 1, 0           # not smoothed: J has no labels
        self._enter()
        try:
            bind_flat(self.workspace, data(self.params_array), NULL)
            write_jacobian(self.workspace, &batch, IDENTITY if logits else self.measure.output,
                           data(self.counts), data(out), to_input, n, self.asked)
        finally:
            release(&self.busy)
        return out


explain(InputGradients)
