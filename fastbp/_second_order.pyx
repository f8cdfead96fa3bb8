"""Products of a network's Hessian, and of its Gauss-Newton part, with a vector (E8, E9)."""

from fastbp import _arguments
from fastbp._calls import explain

cimport numpy as cnp

from fastbp._engine.arrays cimport new_vector, shaped, writable
from fastbp._problem cimport Problem

cnp.import_array()


cdef class SecondOrder(PerSample):

    cdef object _along(self, X, y, v, sample_weight, reduction, l2, out, bint gauss_newton):
        cdef Problem p = self._problem(X, y, sample_weight, reduction, l2)
        given = v
        if not shaped(v, self.typenum, 1, 0, self.n_params):
            v = _arguments.real_array("v", v, self.dtype, shape=(self.n_params,))
        if out is None:
            out = new_vector(self.n_params, self.typenum)
        elif not (shaped(out, self.typenum, 1, 0, self.n_params) and X is p.X and y is p.y
                  and sample_weight is p.sample_weight and v is given
                  and writable(out, X, y, sample_weight)
                  and writable(out, v, self.params_array, self.grad_array)):
            _arguments.output("out", out, (self.n_params,), self.dtype,
                              {"X": X, "y": y, "sample_weight": sample_weight, "v": given,
                               "net.params": self.params_array, "net.grad": self.grad_array})
        self._product(self.params_array, p, v, out, gauss_newton)
        return out

    def hvp(self, X, y, v, *, sample_weight=None, reduction="sum", l2=0.0, out=None):
        """E8: the Hessian of the loss by the parameters, times v (Pearlmutter's R-operator).

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
        return self._along(X, y, v, sample_weight, reduction, l2, out, False)

    def gnvp(self, X, y, v, *, sample_weight=None, reduction="sum", l2=0.0, out=None):
        """E9: the Gauss-Newton matrix J^T H J times v.

        J is the Jacobian of z_L by the parameters, H the Hessian of the loss by z_L. The matrix is
        never indefinite, and equal to the Hessian for a network of one layer.

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
        return self._along(X, y, v, sample_weight, reduction, l2, out, True)


explain(SecondOrder)
