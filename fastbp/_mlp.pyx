"""`MLP`: the recursion bound to one flat parameter vector and a loss.

A method checks its arguments, takes the network, and hands over to a pass of `_engine`; what a
network holds is in `_network`.
"""

import numpy as np

from fastbp import _arguments
from fastbp._calls import explain
from fastbp._copies import new, restore
from fastbp._network import MEMORY
from fastbp._network import Objective as _Objective

cimport numpy as cnp

from fastbp._engine.arrays cimport data, filled, new_float, new_matrix, shaped, writable
from fastbp._engine.gradient cimport forward_all, loss_and_gradient
from fastbp._engine.network cimport Workspace, bind_flat
from fastbp._engine.team cimport release
from fastbp._fitting cimport Fitting
from fastbp._kernels.table cimport IDENTITY
from fastbp._network cimport Objective
from fastbp._problem cimport Problem

cnp.import_array()


cdef class MLP(Fitting):
    """MLP(layer_sizes, *, activation='sigmoid', loss='bce', dtype='float32', seed=None, \
    n_threads=None, pos_weight=None, class_weight=None, label_smoothing=0.0)\n--\n
    A multilayer perceptron: hidden layers, and outputs that suit the loss (E1, E2).

    Parameters
    ----------
    layer_sizes : sequence of int
        Width of the input, of each hidden layer, and of the output; at least two.
    activation : {"sigmoid", "tanh", "relu", "identity"} or sequence of these
        Of all hidden layers, or one for each, in their order. The attribute `activation` is the
        name, or a tuple of them where they differ; names that are all the same are the one name.
    loss : {"bce", "softmax", "squared_error", "poisson"}
        Summed over outputs, in nats: binary cross-entropy of sigmoid outputs; cross-entropy of
        softmax outputs; half the squared error of outputs z_L; h - y log h of outputs h = e^z.
    dtype : {"float32", "float64"}
        Of parameters, gradient and arithmetic.
    seed : int, numpy.random.Generator, BitGenerator or None
        For the initial parameters: W uniform in +-sqrt(6 / (fan_in + fan_out)), b = 0. None
        takes fresh entropy.
    n_threads : int or None
        Threads of a call, at most 256, and one for each row or for 64 units of the widest layer;
        None leaves the number to the work and to `get_num_threads`. The result does not depend on
        it.
    pos_weight : float or (n_outputs,) array, optional
        "bce": multiplies the part y log h of each output's loss.
    class_weight : dict or sequence, optional
        What a sample of each class counts, beside its `sample_weight`: n_outputs numbers for
        "softmax", two for "bce" of one output; probabilities count in proportion. A dict has
        classes 0, 1, ... as keys, a missing one counts 1. "mean" divides by the sum.
    label_smoothing : float
        In [0, 1), for "bce" and "softmax": the target is (1 - label_smoothing) y
        + label_smoothing / K of K classes, which are 2 for "bce".

    Attributes
    ----------
    params, grad : (n_params,) ndarray
        W_1.ravel(), b_1, W_2.ravel(), ...: writable in place; grad is what the last
        `backprop` wrote.
    weights, weight_grads : tuples of (fan_in, fan_out) ndarrays
        Views into the two: ``net.weights[0][...] = W`` writes one.
    biases, bias_grads : tuples of (fan_out,) ndarrays
        Views into the two.

    Raises
    ------
    ValueError
        For sizes below 1, fewer than two of them, sizes whose product overflows, and names
        that are not listed here; options of another loss, "softmax" of one output.
    MemoryError
        When the parameters do not fit.
    """

    # ---- forward

    cdef object _forward(self, X, out, bint logits):
        given = X
        X = self._X(X)
        cdef Py_ssize_t n = cnp.PyArray_DIM(X, 0)
        if out is None:
            out = new_matrix(n, self.n_outputs, self.typenum)
        elif not (shaped(out, self.typenum, 2, n, self.n_outputs) and X is given
                  and writable(out, X, self.params_array)):
            _arguments.output("out", out, (n, self.n_outputs), self.dtype,
                              {"X": given, "net.params": self.params_array})
        cdef Workspace ws = self.passes.lease()
        try:
            bind_flat(ws, data(self.params_array), NULL)
            forward_all(ws, data(X), data(out), n,
                        IDENTITY if logits else self.measure.output, self.asked)
        finally:
            ws.give_back()
        return out

    def forward(self, X, out=None):
        """E1: outputs h_L, which the loss makes of z_L.

        Parameters
        ----------
        X : (n, n_features) array
            Converted to the network's dtype and layout if need be (a copy).
        out : (n, n_outputs) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n, n_outputs) ndarray

        Raises
        ------
        ValueError, TypeError
            For an argument that does not fit; the message names it.
        MemoryError
            When the workspace cannot be had.
        """
        return self._forward(X, out, False)

    def logits(self, X, out=None):
        """E1: pre-activations z_L of the output layer.

        Parameters
        ----------
        X, out
            As in `forward`.

        Returns
        -------
        (n, n_outputs) ndarray

        Raises
        ------
        ValueError, TypeError, MemoryError
            As `forward`.
        """
        return self._forward(X, out, True)

    # ---- loss and gradient

    def loss_value(self, X, y, *, sample_weight=None, reduction="sum"):
        """E2: the loss, without its gradient.

        Parameters
        ----------
        X, y, sample_weight, reduction
            As in `backprop`.

        Returns
        -------
        float
            In nats.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As `backprop`.
        """
        cdef Problem p = self._problem(X, y, sample_weight, reduction, 0.0)
        cdef Workspace ws = self.passes.lease()
        try:
            bind_flat(ws, data(self.params_array), NULL)
            return loss_and_gradient(ws, &p.batch, p.n, False, p.divisor, 0, self.asked)
        finally:
            ws.give_back()

    def backprop(self, X, y, *, sample_weight=None, reduction="sum", l2=0.0):
        """E1 to E6: the loss, and its gradient into `grad`.

        Parameters
        ----------
        X : (n, n_features) array
        y : (n,) or (n, n_outputs) array
            Targets of any real or bool dtype; (n,) for one output. In [0, 1] for "bce", at least
            0 for "poisson"; for "softmax" (n,) classes 0, 1, ... or (n, n_outputs) probabilities.
        sample_weight : (n,) array, optional
            Not negative; multiplies each sample's loss.
        reduction : {"sum", "mean"}
            "mean" divides loss and gradient by n, or by the sum of `sample_weight`.
        l2 : float
            Adds l2/2 times the sum of W^2 (not b) to the sum, before "mean" divides.

        Returns
        -------
        float
            The loss in nats.

        Raises
        ------
        ValueError
            For shapes that do not fit, targets the loss excludes, negative weights, weights that
            sum to zero or no samples under "mean", an unknown reduction, a negative l2.
        TypeError
            For arrays that are not real numbers.
        MemoryError
            When the workspace cannot be had; the network is as it was.
        RuntimeError
            When a call of this network has not ended, of another thread or around this one, but
            for `forward`, `logits` and `loss_value`.
        KeyboardInterrupt
            On Ctrl-C, within 0.1 s of processor time; `grad` holds nothing of use then.
        """
        cdef Problem p = self._problem(X, y, sample_weight, reduction, l2)
        loss = new_float()
        self._enter()
        try:
            bind_flat(self.workspace, data(self.params_array), data(self.grad_array))
            return filled(loss, loss_and_gradient(self.workspace, &p.batch, p.n, True, p.divisor,
                                                  p.l2, self.asked))
        finally:
            release(&self.busy)

    def error_bound(self, X, y, *, sample_weight=None, reduction="sum", l2=0.0, out=None):
        """How far rounding may have led the gradient of `backprop` from the true one.

        The running error bound of E1 to E6, for each parameter: with the same arguments,
        |grad - true| <= bound, where `true` is E1 to E6 in real arithmetic at the network's params.
        X, y, pos_weight and what a sample counts are what they are in the network's dtype; delta_L
        is h_L - t. It is the worst case, orders of magnitude above the usual error; a relu whose z
        may be on either side of 0, as exactly 0 is, counts as both. It leaves `grad` alone;
        docs/accuracy.md has what it costs.

        Parameters
        ----------
        X, y, sample_weight, reduction, l2
            As in `backprop`.
        out : (n_params,) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n_params,) ndarray
            In the network's dtype and the order of `grad`; infinite where nothing can be said.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `backprop`; `out` holds nothing of use after a MemoryError, nor after Ctrl-C.
        """
        cdef Problem p = self._problem(X, y, sample_weight, reduction, l2)
        if out is None:
            out = np.empty(self.n_params, self.dtype)
        else:
            self._check_out(out, (self.n_params,), X, y, sample_weight)
        self._enter()
        try:
            self._bound(p, data(out))
        finally:
            release(&self.busy)
        return out

    def value_and_grad(self, params, X, y, *, sample_weight=None, reduction="sum", l2=0.0):
        """E1 to E6 at other parameters; `params` and `grad` of the network stay as they are.

        Parameters
        ----------
        params : (n_params,) array
            Converted to the network's dtype.
        X, y, sample_weight, reduction, l2
            As in `backprop`.

        Returns
        -------
        loss : float
        grad : (n_params,) ndarray
            A new array in the dtype of `params`.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `backprop`; `ValueError` for `params` of another length.
        """
        return self._value_and_grad(params, self._problem(X, y, sample_weight, reduction, l2), None)

    def objective(self, X, y, *, sample_weight=None, reduction="sum", l2=0.0, memory=MEMORY):
        """The loss as a function of the parameters, for `scipy.optimize.minimize`.

        Parameters
        ----------
        X, y, sample_weight, reduction, l2
            As in `backprop`; converted once.
        memory : int
            Bytes that `hessp` may keep of the batch, as in `linearize`.

        Returns
        -------
        callable
            f(params) -> (float, ndarray), for ``minimize(f, net.params, jac=True)``; and
            f.hessp(params, v), the Hessian times v, for its ``hessp=f.hessp``.

        Raises
        ------
        ValueError, TypeError
            As `backprop`.
        """
        cdef Objective f = Objective.__new__(Objective)
        f.problem = self._problem(X, y, sample_weight, reduction, l2)
        f.net, f.memory = self, _arguments.byte_count("memory", memory)
        return f


explain(MLP)


# ---- names in pickles of version 0.1.0 --------------------------------------------------

def _new_objective(kind, checksum, state):
    return new(kind)


_restore = restore
globals().update({"Objective": _Objective, "__pyx_unpickle_Objective": _new_objective})
