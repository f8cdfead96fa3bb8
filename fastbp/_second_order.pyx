"""Products of a network's Hessian, and of its Gauss-Newton part, with a vector."""

import numpy as np

from fastbp import _arguments
from fastbp._calls import explain

from fastbp._engine.arrays cimport data
from fastbp._engine.network cimport bind_flat
from fastbp._engine.team cimport release
from fastbp._problem cimport Problem


cdef class SecondOrder(PerSample):

    cdef object _product(self, params, v, p, out, bint gauss_newton):
        cdef Problem problem = p
        v = _arguments.real_array("v", v, self.dtype, shape=(self.n_params,))
        if out is None:
            out = np.empty(self.n_params, self.dtype)
        else:
            _arguments.output("out", out, (self.n_params,), self.dtype,
                              {"v": v, "X": problem.X, "y": problem.y,
                               "sample_weight": problem.sample_weight, "net.params": params,
                               "net.grad": self.grad_array})
        self._enter()
        try:
            if self.tangent is None:
                self.tangent = Tangent(self.architecture)
            bind_flat(self.workspace, data(params), NULL)
            self.tangent.write(self.workspace, data(v), data(out), &problem.batch,
                               self.measure.output, problem.n, gauss_newton, problem.divisor,
                               problem.l2, self.asked)
        finally:
            release(&self.busy)
        return out

    def hvp(self, X, y, v, *, sample_weight=None, reduction="sum", l2=0.0, out=None):
        """The Hessian of the loss by the parameters, times v (Pearlmutter's R-operator).

        Exact, as `backprop` is: the derivative of E1 to E6 along v. relu has no curvature, at 0
        either. It leaves `grad` alone.

        Parameters
        ----------
        X, y, sample_weight, reduction, l2
            As in `backprop`.
        v : (n_params,) array
            In the order of `params`; converted to the network's dtype.
        out : (n_params,) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n_params,) ndarray
            Of the network's dtype, in nats per unit of a parameter.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `backprop`; `ValueError` for v of another length.
        """
        return self._product(self.params_array, v,
                             self._problem(X, y, sample_weight, reduction, l2), out, False)

    def gnvp(self, X, y, v, *, sample_weight=None, reduction="sum", l2=0.0, out=None):
        """The Gauss-Newton matrix J^T H J times v: H is the loss's Hessian by z_L, J that of z_L.

        It is never indefinite, and equal to the Hessian for a network of one layer.

        Parameters
        ----------
        X, y, v, sample_weight, reduction, l2, out
            As in `hvp`.

        Returns
        -------
        (n_params,) ndarray
            As `hvp`.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `hvp`.
        """
        return self._product(self.params_array, v,
                             self._problem(X, y, sample_weight, reduction, l2), out, True)


explain(SecondOrder)
