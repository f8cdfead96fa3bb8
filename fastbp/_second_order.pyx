"""Products of a network's Hessian, and of its Gauss-Newton part, with a vector (E8, E9).

A `Linearization` is the loss of a batch at one point of the parameters. Its first pass is that of a
gradient; it keeps h, act'(z) and delta of every row where they fit the memory allowed, so that E8
and E9 begin with what is known. Where they do not, each product computes them again. It takes the
network for its passes, and reads nothing that a user can write.
"""

import numpy as np

from fastbp import _arguments
from fastbp._calls import explain
from fastbp._network import MEMORY, aligned_copy

cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize

from fastbp._engine.arrays cimport apart, new_vector, shaped, writable
from fastbp._problem cimport Problem, read_again, restored

cnp.import_array()


cdef object new_locked(Py_ssize_t size, dtype):
    """A vector that its maker fills by address; users cannot write to it, since it is bytes."""
    return np.frombuffer(PyBytes_FromStringAndSize(NULL, size * dtype.itemsize), dtype)


cdef class SecondOrder(PerSample):

    cdef object _along(self, params, Problem p, X, y, sample_weight, v, out, bint gauss_newton,
                       Kept kept):
        direction = v
        if not shaped(v, self.typenum, 1, 0, self.n_params):
            direction = _arguments.flat_vector("v", v, self.n_params, self.dtype)
        if out is None:
            out = new_vector(self.n_params, self.typenum)
        elif not (direction is v and shaped(out, self.typenum, 1, 0, self.n_params)
                  and apart(out, v) and (
                      self._apart(out, p, X, y, sample_weight) if X is not None
                      else writable(out, self.params_array, self.grad_array))):
            self._check_out(out, (self.n_params,), X, y, sample_weight, v)
        self._product(params, p, direction, out, gauss_newton, kept)
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
        return self._along(self.params_array,
                           self._problem(X, y, sample_weight, reduction, l2),
                           X, y, sample_weight, v, out, False, None)

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
        return self._along(self.params_array,
                           self._problem(X, y, sample_weight, reduction, l2),
                           X, y, sample_weight, v, out, True, None)

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
        cdef Linearization made = Linearization.__new__(Linearization)
        made._take(self, read_again(p, self.measure), self.params_array, most)
        return made


cdef class Linearization(Copied):
    """A loss at one point of the parameters, to second order; made by `MLP.linearize`.

    It takes the network for its passes: while a call of either has not ended, another gets a
    `RuntimeError`.

    Attributes
    ----------
    params : (n_params,) ndarray
        The point; a copy that cannot be written.
    loss : float
        In nats: what `backprop` returns there.
    grad : (n_params,) ndarray
        What `backprop` writes there; it cannot be written.
    kept : bool
        Whether h, act'(z) and delta of the batch are kept.
    nbytes : int
        Of these, with the room of a pass; 0 if they are not.
    hessian, gauss_newton : scipy.sparse.linalg.LinearOperator
        `hvp` and `gnvp` as symmetric operators of the network's dtype, which are copied and
        pickled with the linearization. ImportError without SciPy.
    """

    cdef int _take(self, SecondOrder net, Problem p, params, double memory) except -1:
        grad = new_locked(net.n_params, net.dtype)
        cdef Kept room = net._room(p.n, memory)
        if not room.values.whole:
            params = aligned_copy(params)
        cdef double loss = net._gradient(params, p, grad, room)
        if room.values.whole:
            params = room.at                # a copy of its own, which it knows without a look
        self.problem, self.point, self.room, self.memory = p, params, room, memory
        self.value, self.slope = loss, grad
        self.net = net                      # from now on it is made
        return 0

    cdef int _check_made(self) except -1:
        if self.net is None:
            raise RuntimeError("this linearization has no network; it should be made by "
                               "MLP.linearize")
        return 0

    cdef tuple own(self):
        self._check_made()
        cdef Problem p = self.problem
        weights = None if p.sample_weight is None else p.sample_weight.copy()
        return (p.X.copy(), p.y.copy(), weights, p.divisor == 0, p.l2, self.net, self.point.copy(),
                int(self.memory))

    cdef int remake(self, tuple own) except -1:
        X, y, sample_weight, mean, l2, net, params, memory = own
        cdef SecondOrder of = <SecondOrder?> net
        of._check_made()
        params = _arguments.flat_vector("params", params, of.n_params, of.dtype)
        mean = _arguments.boolean("mean", mean)
        return self._take(of, restored(X, y, sample_weight, mean, l2, of.measure,
                                       of.shape.sizes[0]), params,
                          _arguments.byte_count("memory", memory))

    @property
    def params(self):
        self._check_made()
        return np.frombuffer(self.point.tobytes(), self.net.dtype)

    @property
    def loss(self):
        self._check_made()
        return self.value

    @property
    def grad(self):
        self._check_made()
        return self.slope

    @property
    def kept(self):
        self._check_made()
        return self.room.values.whole

    @property
    def nbytes(self):
        return self.room.values.nbytes if self.kept else 0

    cdef object _product(self, v, out, bint gauss_newton):
        self._check_made()
        return self.net._along(self.point, self.problem, None, None, None, v, out, gauss_newton,
                               self.room)

    def hvp(self, v, out=None):
        """E8: the Hessian times v; the bits of `MLP.hvp` at `params`.

        Parameters
        ----------
        v : (n_params,) array
            Converted to the network's dtype.
        out : (n_params,) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned. It overlaps neither v
            nor `params` and `grad` of the network, which the point does not read.

        Returns
        -------
        (n_params,) ndarray
            Of the network's dtype.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError, KeyboardInterrupt
            As `MLP.hvp`.
        """
        return self._product(v, out, False)

    def gnvp(self, v, out=None):
        """E9: the Gauss-Newton matrix times v; the bits of `MLP.gnvp` at `params`.

        Parameters
        ----------
        v, out
            As in `hvp`.

        Returns
        -------
        (n_params,) ndarray
            As `hvp`.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError, KeyboardInterrupt
            As `MLP.gnvp`.
        """
        return self._product(v, out, True)

    @property
    def hessian(self):
        self._check_made()
        from fastbp._operators import Symmetric
        return Symmetric(self.hvp, self.net.n_params, self.net.dtype)

    @property
    def gauss_newton(self):
        self._check_made()
        from fastbp._operators import Symmetric
        return Symmetric(self.gnvp, self.net.n_params, self.net.dtype)

    def __repr__(self):
        self._check_made()
        return (f"<Linearization of {self.net!r}: {self.problem.n} samples, loss {self.value:.6g}, "
                f"{self.nbytes} bytes kept>")


explain(SecondOrder, Linearization)
