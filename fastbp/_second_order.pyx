"""Products of a network's Hessian, and of its Gauss-Newton part, with a vector (E8, E9)."""

from fastbp import _arguments
from fastbp._calls import explain
from fastbp._network import MEMORY

cimport numpy as cnp

from fastbp._engine.arrays cimport new_vector, shaped, writable
from fastbp._linearization cimport new_linearization
from fastbp._problem cimport Problem, read_again

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
        self._product(self.params_array, p, v, out, gauss_newton, None)
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
        ValueError, TypeError, MemoryError, RuntimeError, KeyboardInterrupt
            As `backprop`; for v of another length, and for an `out` that does not fit or overlaps
            an argument. `out` holds nothing of use after Ctrl-C.
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

    def linearize(self, X, y, *, sample_weight=None, reduction="sum", l2=0.0, memory=MEMORY):
        """The loss at the parameters of now, with products of its Hessian that cost less.

        The `Linearization` keeps h, act'(z) and delta of the batch, so that a product needs fewer
        passes over it than `hvp` or `gnvp` of the network, whose bits it has. Its parameters,
        X, y and sample_weight are copies: it stays what it is when they change.

        Parameters
        ----------
        X, y, sample_weight, reduction, l2
            As in `backprop`.
        memory : int
            Bytes that it may keep of the batch. Where h, act'(z) and delta need more, it keeps none
            of them, and every product computes them again.

        Returns
        -------
        Linearization
            With `loss`, a float; `grad` and `params`, read-only (n_params,) arrays; `hvp(v,
            out=None)` and `gnvp(v, out=None)`; `hessian` and `gauss_newton`, both as a
            `scipy.sparse.linalg.LinearOperator`; `kept`, a bool, and `nbytes`.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError, KeyboardInterrupt
            As `backprop`; `ValueError` for a negative `memory`.
        """
        cdef double most = _arguments.byte_count("memory", memory)
        cdef Problem p = self._problem(X, y, sample_weight, reduction, l2)
        p.X, p.y = p.X.copy(), p.y.copy()
        p.sample_weight = None if p.sample_weight is None else p.sample_weight.copy()
        return new_linearization(self, read_again(p, self.measure), most)


explain(SecondOrder)
