"""What a population computes at its parameters: outputs, losses, gradients."""

import numpy as np

from fastbp import _arguments

from fastbp._crew cimport Crew, JointPass
from fastbp._engine.arrays cimport data
from fastbp._engine.network cimport DIVIDED, GRADIENT, LOSS, OUTPUTS
from fastbp._engine.population cimport Member, Result, add_all_outputs, add_gradients
from fastbp._engine.team cimport release
from fastbp._given cimport Given, new_given
from fastbp._kernels.table cimport IDENTITY
from fastbp._problem cimport apart_from, divisor_of


cdef class Evaluation(Members):
    # ---- outputs

    cdef object _forward(self, X, out, Activation output):
        self._check_made()
        given = X
        X = apart_from(_arguments.inputs(X, self.dtype, self.n_members, self.net.n_features),
                       self.written)
        cdef Py_ssize_t n = X.shape[X.ndim - 2], k, itemsize = self.dtype.itemsize
        cdef Py_ssize_t step = n * self.net.n_features * itemsize if X.ndim == 3 else 0
        cdef Py_ssize_t size = n * self.net.n_outputs * itemsize
        shape = (self.n_members, n, self.net.n_outputs)
        if out is None:
            out = np.empty(shape, self.dtype)
        else:
            _arguments.output("out", out, shape, self.dtype,
                              {"X": given, "population.params": self.params_array})
        rows = np.arange(n, dtype=np.intp)
        cdef Crew crew = Crew(self.net, self.output_spaces, self.n_members)
        cdef Member* member
        for k in range(self.n_members):
            member = crew.add(k, self.params_of(k), NULL, n, n)
            member.X, member.order = data(X) + k * step, <const Py_ssize_t*> data(rows)
            member.output = data(out) + k * size
        crew.call.output_activation = output
        crew.plan(OUTPUTS, add_all_outputs, 1)
        self._carry_out(crew)
        return out

    def forward(self, X, out=None):
        """E1: outputs h_L of every network.

        Parameters
        ----------
        X : (n, n_features) or (n_networks, n, n_features) array
            For all networks, or for each. Converted to the dtype and layout if need be (a copy).
        out : (n_networks, n, n_outputs) ndarray, optional
            Of the population's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n_networks, n, n_outputs) ndarray

        Raises
        ------
        ValueError, TypeError
            For an argument that does not fit; the message names it.
        MemoryError
            When the memory cannot be had.
        RuntimeError
            When another thread is in a call of this population.
        """
        self._check_made()
        return self._forward(X, out, self.net.measure.output)

    def logits(self, X, out=None):
        """E1: pre-activations z_L of every network's outputs.

        Parameters
        ----------
        X, out
            As in `forward`.

        Returns
        -------
        (n_networks, n, n_outputs) ndarray

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `forward`.
        """
        return self._forward(X, out, IDENTITY)

    # ---- loss and gradient

    cdef object _loss(self, X, y, reduction, sample_weight, l2, bint gradient):
        self._check_made()
        cdef double divisor = divisor_of(reduction)
        penalties = _arguments.each_number("l2", l2, self.n_members, _arguments.non_negative)
        cdef Given given = new_given(self.net, self.n_members, self.written, X, y, sample_weight,
                                     divisor == 0)
        rows = [np.arange(given.n, dtype=np.intp)] * self.n_members
        return self._losses(given, rows, divisor, penalties, gradient, range(self.n_members))

    cdef object _losses(self, Given given, list rows, double divisor, penalties, bint gradient,
                        numbers):
        losses = np.full(self.n_members, np.nan)
        cdef Result* results = <Result*> data(losses)
        cdef int key = GRADIENT if gradient else LOSS
        cdef Py_ssize_t k, i
        cdef Crew crew = Crew(self.net, self.gradient_spaces, len(numbers))
        cdef Member* member
        if divisor != 1 and gradient:
            key += DIVIDED
        for k in numbers:
            member = crew.add(k, self.params_of(k), self.grad_of(k) if gradient else NULL,
                              rows[k].size, rows[k].size)
            crew.read(member, given, k)
            member.order = <const Py_ssize_t*> data(rows[k])
            member.l2, member.divisor = penalties[k], divisor
        crew.call.batch, crew.call.criterion = given.batch, self.net.measure.number
        crew.plan(key, add_gradients, 3 if gradient else 1)
        self._carry_out(crew)
        for i in range(crew.count):
            results[crew.members[i].number].loss = crew.members[i].loss
        return losses

    cdef int _carry_out(self, Crew crew) except -1:
        self._enter()
        try:
            JointPass([crew], self.net.asked).carry_out()
        finally:
            release(&self.busy)
        return 0

    def loss_value(self, X, y, *, sample_weight=None, reduction="sum"):
        """E2: the loss of every network.

        Parameters
        ----------
        X : (n, n_features) or (n_networks, n, n_features) array
        y : array
            As in `MLP.loss_value`, for all networks; or (n_networks, ...) with those of each. A
            shape that fits both, of n_networks samples, is for all.
        reduction : {"sum", "mean"}
            "mean" divides by the sum of the weights.
        sample_weight : (n,) or (n_networks, n) array, optional
            At least 0.

        Returns
        -------
        (n_networks,) ndarray of float64
            In nats.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `forward`; for targets out of range, and weights that sum to 0 under "mean".
        """
        return self._loss(X, y, reduction, sample_weight, 0.0, False)

    def backprop(self, X, y, *, sample_weight=None, reduction="sum", l2=0.0):
        """E1 to E6: the loss of every network, and its gradient into `grad`.

        Parameters
        ----------
        X, y, sample_weight, reduction
            As in `loss_value`.
        l2 : float or (n_networks,) array
            Adds l2/2 times the sum of the squared weights; at least 0.

        Returns
        -------
        (n_networks,) ndarray of float64
            In nats.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `loss_value`.
        """
        return self._loss(X, y, reduction, sample_weight, l2, True)
