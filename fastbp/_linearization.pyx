"""`Linearization`: the loss of a batch at one point of the parameters, to second order.

The first pass is that of a gradient. It keeps h, act'(z) and delta of every row where they fit the
memory allowed, so that E8 and E9 begin with what is known; where they do not, each product computes
them again. It takes the network for its passes, and reads nothing that a user can write.
"""

from fastbp import _arguments
from fastbp._calls import explain
from fastbp._network import aligned_copy

cimport numpy as cnp

from fastbp._engine.arrays cimport new_vector, shaped, writable
from fastbp._problem cimport restored

cnp.import_array()


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
        `hvp` and `gnvp` as symmetric operators of the network's dtype. ImportError without SciPy.
    """

    cdef int _take(self, Network net, Problem p, params, double memory) except -1:
        grad = new_vector(net.n_params, net.typenum)
        self.room = net._room(p.n, memory)
        if not self.room.values.whole:
            params = aligned_copy(params)
        self.loss = net._gradient(params, p, grad, self.room)
        if self.room.values.whole:
            params = self.room.at           # a copy of its own, which it knows without a look
        grad.flags.writeable = False
        self.problem, self.point, self.grad, self.memory = p, params, grad, memory
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
                self.memory)

    cdef int remake(self, tuple own) except -1:
        X, y, sample_weight, mean, l2, net, params, memory = own
        cdef Network of = <Network?> net
        of._check_made()
        params = _arguments.real_array("params", params, of.dtype, shape=(of.n_params,))
        return self._take(of, restored(X, y, sample_weight, mean, l2, of.measure,
                                       of.shape.sizes[0]), params, memory)

    @property
    def params(self):
        self._check_made()
        copy = self.point.copy()
        copy.flags.writeable = False
        return copy

    @property
    def kept(self):
        self._check_made()
        return self.room.values.whole

    @property
    def nbytes(self):
        return self.room.values.nbytes if self.kept else 0

    cdef object _along(self, v, out, bint gauss_newton):
        self._check_made()
        cdef Network net = self.net
        given = v
        if not shaped(v, net.typenum, 1, 0, net.n_params):
            v = _arguments.real_array("v", v, net.dtype, shape=(net.n_params,))
        if out is None:
            out = new_vector(net.n_params, net.typenum)
        elif not (shaped(out, net.typenum, 1, 0, net.n_params) and v is given
                  and writable(out, v)):
            _arguments.output("out", out, (net.n_params,), net.dtype, {"v": given})
        net._product(self.point, self.problem, v, out, gauss_newton, self.room)
        return out

    def hvp(self, v, out=None):
        """E8: the Hessian times v; the bits of `MLP.hvp` at `params`.

        Parameters
        ----------
        v : (n_params,) array
            Converted to the network's dtype.
        out : (n_params,) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n_params,) ndarray
            Of the network's dtype.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError, KeyboardInterrupt
            As `MLP.hvp`.
        """
        return self._along(v, out, False)

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
        return self._along(v, out, True)

    @property
    def hessian(self):
        self._check_made()
        from fastbp._operators import symmetric
        return symmetric(self.hvp, self.net.n_params, self.net.dtype)

    @property
    def gauss_newton(self):
        self._check_made()
        from fastbp._operators import symmetric
        return symmetric(self.gnvp, self.net.n_params, self.net.dtype)

    def __repr__(self):
        self._check_made()
        return (f"<Linearization of {self.net!r}: {self.problem.n} samples, loss {self.loss:.6g}, "
                f"{self.nbytes} bytes kept>")


cdef Linearization new_linearization(Network net, Problem p, double memory):
    cdef Linearization made = Linearization.__new__(Linearization)
    made._take(net, p, net.params_array, memory)
    return made


explain(Linearization)
