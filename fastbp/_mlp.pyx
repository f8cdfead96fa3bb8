"""`MLP`: the recursion bound to one flat parameter vector and a loss; the native epoch.

The parameters lie in one vector, W_1.ravel(), b_1, W_2.ravel(), ..., and so does the
gradient, so that an optimiser step is one kernel call. The passes themselves are in `_engine`.
"""

import numpy as np

from fastbp import _arguments, _random
from fastbp._arguments import ACTIVATIONS
from fastbp._calls import explain
from fastbp._copies import OWN, new, restore

cimport numpy as cnp

from fastbp._copies cimport Copied
from fastbp._engine.arrays cimport data, filled, new_float, new_matrix, shaped, writable
from fastbp._engine.certificate cimport Certificate
from fastbp._engine.epoch cimport BatchLoss, enter_epoch, run_epoch
from fastbp._engine.gradient cimport forward_all, loss_and_gradient
from fastbp._engine.memory cimport Memory, put_back
from fastbp._engine.network cimport Architecture, Workspace, bind_flat
from fastbp._engine.plan cimport Batch, Pass, Shape, asked_threads
from fastbp._engine.samples cimport permutation
from fastbp._engine.team cimport acquire, release
from fastbp._kernels.table cimport IDENTITY
from fastbp._loss cimport Loss
from fastbp._optim cimport Optimizer
from fastbp._problem cimport (
    Problem, apart_from, divisor_of, new_problem, penalty, read_again,
)

cnp.import_array()

CACHE_LINE = 64
_restore = restore      # its name in pickles of version 0.1.0


def aligned_zeros(size, dtype):
    """A vector that starts a line of the cache: vectors of W across two cost up to 6 %."""
    memory = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    return memory[-memory.ctypes.data % CACHE_LINE:][:size * dtype.itemsize].view(dtype)


cdef class Objective(Copied):
    """f(params) -> (loss, gradient) of one network on one data set; see `MLP.objective`."""
    cdef MLP net
    cdef Problem problem

    def __call__(self, *args, **named):
        if len(args) == 1 and not named:
            return self.at(args[0])
        return self._at(*args, **named)

    def _at(self, params):
        return self.at(params)

    cdef object at(self, params):
        self._check_made()
        self.net._check_made()
        return self.net._value_and_grad(params, read_again(self.problem, self.net.measure))

    cdef int _check_made(self) except -1:
        if self.net is None:
            raise RuntimeError("this objective has no network; it should be made by MLP.objective")
        return 0

    cdef tuple own(self):
        self._check_made()
        cdef Problem p = self.problem
        return p.X, p.l2, p.divisor == 0, p.n, self.net, p.sample_weight, p.y

    cdef int remake(self, tuple own) except -1:
        """Its class weights are in `sample_weight` already."""
        X, l2, mean, n, net, sample_weight, y = own
        cdef Problem p = Problem.__new__(Problem)
        p.X, p.y, p.sample_weight, p.n = X, y, sample_weight, n
        p.divisor, p.l2 = 0 if mean else 1, l2
        self.net, self.problem = net, p
        return 0

    def __setstate__(self, state):
        if type(state) is tuple and len(state) == 7:    # that of version 0.1.0
            state = {OWN: state}
        Copied.__setstate__(self, state)


vars(Objective)["_at"].__qualname__ = "f"       # what errors call it


def _new_objective(kind, checksum, state):
    return new(kind)


globals()["__pyx_unpickle_Objective"] = _new_objective  # its name in pickles of version 0.1.0


# ---- the network ------------------------------------------------------------------------

cdef class MLP(Copied):
    """MLP(layer_sizes, *, activation='sigmoid', loss='bce', dtype='float32', seed=None, \
    n_threads=None, pos_weight=None, class_weight=None, label_smoothing=0.0)\n--\n
    A multilayer perceptron: hidden units of one kind, outputs that suit the loss (E1, E2).

    Parameters
    ----------
    layer_sizes : sequence of int
        Width of the input, of each hidden layer, and of the output; at least two.
    activation : {"sigmoid", "tanh", "relu", "identity"}
        Of the hidden layers.
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
        Views into the two.
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

    cdef readonly tuple layer_sizes, weights, biases, weight_grads, bias_grads
    cdef readonly object dtype
    cdef object flat, slope             # the memory of params and grad; users have views of it
    cdef tuple written                  # flat and slope, which a call may write
    cdef object params_view, grad_view  # what users see of it
    cdef readonly str activation
    cdef Loss measure
    cdef readonly Py_ssize_t n_params
    cdef Architecture architecture
    cdef const Shape* shape
    cdef Workspace workspace
    cdef Workspace passes               # lent: of what many threads may do at once
    cdef Certificate certificate        # once a bound was asked for
    cdef Py_ssize_t n_features, n_outputs
    cdef int typenum, asked, busy

    def __init__(self, *args, **options):
        self._initialise(*args, **options)

    def _initialise(self, layer_sizes, *, activation="sigmoid", loss="bce", dtype="float32",
                    seed=None, n_threads=None, pos_weight=None, class_weight=None,
                    label_smoothing=0.0):
        if self.shape != NULL:
            raise RuntimeError("this MLP is initialised already; make another")
        self.layer_sizes = _arguments.layer_sizes(layer_sizes)
        self.activation = _arguments.choice("activation", activation, ACTIVATIONS)
        self.dtype = _arguments.real_dtype(dtype)
        # first of all that is made of the sizes, and not yet touched: refused at once, if at all
        size = sum([(fan_in + 1) * fan_out
                    for fan_in, fan_out in zip(self.layer_sizes, self.layer_sizes[1:])])
        flat, slope = [aligned_zeros(size, self.dtype) for _ in range(2)]
        self.measure = Loss(loss, self.layer_sizes[-1], self.dtype, {
            "pos_weight": pos_weight, "class_weight": class_weight,
            "label_smoothing": label_smoothing})
        self.n_threads = n_threads
        self.typenum = self.dtype.num
        self.n_features, self.n_outputs = self.layer_sizes[0], self.layer_sizes[-1]
        flat[:] = _random.uniform_weights(self.layer_sizes, seed, self.dtype)
        self.params_view, self.grad_view = flat[:], slope[:]
        self.n_params = flat.size
        self.weights, self.biases = self._views(flat)
        self.weight_grads, self.bias_grads = self._views(slope)
        hidden = [ACTIVATIONS[self.activation].number] * (len(self.layer_sizes) - 2)
        self.architecture = Architecture(self.layer_sizes, [*hidden, IDENTITY],
                                         self.dtype.itemsize, False)
        self.workspace = Workspace(self.architecture, True)
        self.passes = Workspace(self.architecture, False, True)
        self.flat, self.slope, self.written = flat, slope, (flat, slope)
        self.shape = &self.architecture.shape

    cdef int _check_made(self) except -1:
        if self.shape == NULL:
            raise RuntimeError("MLP.__init__ was not called")
        return 0

    def _views(self, flat):
        weights, biases, at = [], [], 0
        for fan_in, fan_out in zip(self.layer_sizes, self.layer_sizes[1:]):
            weights.append(flat[at:at + fan_in * fan_out].reshape(fan_in, fan_out))
            at += fan_in * fan_out
            biases.append(flat[at:at + fan_out])
            at += fan_out
        return tuple(weights), tuple(biases)

    def __repr__(self):
        self._check_made()
        options = "".join(f", {name}={value!r}" for name, value in self.measure.options.items())
        return (f"MLP({list(self.layer_sizes)}, activation={self.activation!r}, "
                f"loss={self.loss!r}, dtype={self.dtype.name!r}{options})")

    cdef tuple own(self):
        self._check_made()
        options = {"activation": self.activation, "loss": self.loss, "dtype": self.dtype.name,
                   "n_threads": self.n_threads, "seed": 0, **self.measure.options}
        return self.layer_sizes, options, self.flat[:], self.slope[:]

    cdef int remake(self, tuple own) except -1:
        layer_sizes, options, params, grad = own
        if self.shape == NULL or self.own()[:2] != own[:2]:         # refused, if it is made
            MLP.__init__(self, layer_sizes, **options)
        self.params, self.grad = params, grad
        return 0

    @property
    def loss(self):
        """The name of the loss."""
        self._check_made()
        return self.measure.name

    @property
    def loss_options(self):
        """Those of pos_weight, class_weight, label_smoothing that were given, as a dict."""
        self._check_made()
        return self.measure.options

    @property
    def n_threads(self):
        """Threads of a call, or None; writable."""
        return self.asked or None

    @n_threads.setter
    def n_threads(self, value):
        self.asked = asked_threads(_arguments.n_threads(value))

    @property
    def params(self):
        """The flat parameter vector; assigning to it copies the values in."""
        return self.params_view

    @params.setter
    def params(self, value):
        self._check_made()
        if value is not self.params_view:   # net.params -= step assigns the vector to itself
            self.flat[:] = _arguments.real_array("params", value, self.dtype,
                                                 shape=(self.n_params,))

    @property
    def grad(self):
        """The flat gradient; assigning to it copies the values in."""
        return self.grad_view

    @grad.setter
    def grad(self, value):
        self._check_made()
        if value is not self.grad_view:
            self.slope[:] = _arguments.real_array("grad", value, self.dtype, shape=(self.n_params,))

    @property
    def workspace_bytes(self):
        """Bytes of activations, derivatives, deltas and packed panels held for `backprop`.

        Grows to what 256 rows for each thread need and stays there, however long the batch;
        `error_bound` needs as much again, and |params|. `forward`, `logits` and `loss_value` borrow
        two layers of 256 rows for each thread from the process, which keeps up to 8 MiB of them for
        each of at most 8 calls at once.
        """
        cdef Py_ssize_t nbytes = 0 if self.workspace is None else self.workspace.nbytes
        if self.certificate is not None:
            nbytes += self.certificate.nbytes + self.certificate.errors.nbytes
        return nbytes

    # ---- checked arguments

    cdef object _X(self, X):
        self._check_made()
        if not shaped(X, self.typenum, 2, -1, self.n_features):
            X = _arguments.real_array("X", X, self.dtype, shape=("n_samples", self.n_features))
        return apart_from(X, self.written)

    cdef Problem _problem(self, X, y, sample_weight, reduction, l2):
        """Checked in this order: reduction, l2, X, y, sample_weight."""
        cdef double divisor = divisor_of(reduction), decay = penalty(l2)
        X = self._X(X)
        return new_problem(self.measure, X, y, sample_weight, divisor, decay, self.written)

    cdef int _enter(self) except -1:
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("MLP"))
        return 0

    # ---- forward

    cdef object _forward(self, X, out, bint logits):
        given = X
        X = self._X(X)
        cdef Py_ssize_t n = cnp.PyArray_DIM(X, 0)
        if out is None:
            out = new_matrix(n, self.n_outputs, self.typenum)
        elif not (shaped(out, self.typenum, 2, n, self.n_outputs) and X is given
                  and writable(out, X, self.flat)):
            _arguments.output("out", out, (n, self.n_outputs), self.dtype,
                              {"X": given, "net.params": self.flat})
        cdef Workspace ws = self.passes.lease()
        try:
            bind_flat(ws, data(self.flat), NULL)
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
            bind_flat(ws, data(self.flat), NULL)
            return loss_and_gradient(ws, &p.batch, p.n, False, p.divisor, 0, self.asked)
        finally:
            ws.give_back()

    cdef double _gradient(self, Problem p, char* params, char* grad) except? -1:
        """Loss, and its gradient at `params` into `grad`; the caller holds the network."""
        bind_flat(self.workspace, params, grad)
        return loss_and_gradient(self.workspace, &p.batch, p.n, True, p.divisor, p.l2, self.asked)

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
            When another thread is inside `backprop`, `value_and_grad`, `error_bound` or
            `train_epoch` of this network.
        KeyboardInterrupt
            On Ctrl-C, within 0.1 s of processor time; `grad` holds nothing of use then.
        """
        cdef Problem p = self._problem(X, y, sample_weight, reduction, l2)
        loss = new_float()
        self._enter()
        try:
            return filled(loss, self._gradient(p, data(self.flat), data(self.slope)))
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
        given = {"X": X, "y": y, "sample_weight": sample_weight, "net.params": self.flat,
                 "net.grad": self.slope}
        cdef Problem p = self._problem(X, y, sample_weight, reduction, l2)
        if out is None:
            out = np.empty(self.n_params, self.dtype)
        else:
            _arguments.output("out", out, (self.n_params,), self.dtype, given)
        self._enter()
        try:
            if self.certificate is None:
                self.certificate = Certificate(self.architecture)
            bind_flat(self.workspace, data(self.flat), data(out))
            self.certificate.write(self.workspace, &p.batch, self.measure.output, p.n, p.divisor,
                                   p.l2, self.asked)
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
        return self._value_and_grad(params, self._problem(X, y, sample_weight, reduction, l2))

    cdef object _value_and_grad(self, params, Problem p):
        cdef double loss
        params = _arguments.real_array("params", params, shape=(self.n_params,))
        cdef bint native = cnp.PyArray_TYPE(params) == self.typenum
        at = params if native else _arguments.converted(params, self.dtype)
        grad = np.empty(self.n_params, self.dtype)
        self._enter()
        try:
            loss = self._gradient(p, data(at), data(grad))
        finally:
            release(&self.busy)
        return loss, grad if native else _arguments.converted(grad, params.dtype)

    def objective(self, X, y, *, sample_weight=None, reduction="sum", l2=0.0):
        """The loss as a function of the parameters, for `scipy.optimize.minimize`.

        Parameters
        ----------
        X, y, sample_weight, reduction, l2
            As in `backprop`; converted once.

        Returns
        -------
        callable
            f(params) -> (float, ndarray), for ``minimize(f, net.params, jac=True)``.

        Raises
        ------
        ValueError, TypeError
            As `backprop`.
        """
        cdef Objective f = Objective.__new__(Objective)
        f.problem = self._problem(X, y, sample_weight, reduction, l2)
        f.net = self
        return f

    # ---- epoch

    def train_epoch(self, X, y, optimizer, *, batch_size=32, shuffle=True, order=None, rng=None,
                    sample_weight=None, l2=0.0, batch_losses=None):
        """One pass over the data: for each mini-batch gather, E1 to E6 with "mean", update.

        The same bits as the same sequence of `backprop(..., reduction="mean")` and
        `optimizer.step(net.params, net.grad)`. The GIL is released, unless it takes microseconds.

        Parameters
        ----------
        X, y, sample_weight, l2
            As in `backprop`. A mini-batch whose weights sum to zero makes no step.
        optimizer : SGD or Adam
            Or of a subclass that leaves `step` and the hyper-parameters' properties alone. Its
            state belongs to this network's size and dtype from the first step or epoch on.
        batch_size : int
            The last mini-batch takes what is left.
        shuffle : bool
            A Fisher-Yates permutation from `rng`; otherwise the rows in their order.
        order : (n,) array of int, optional
            Row indices to take instead of shuffling; one may come twice, or not at all.
        rng : int, numpy.random.Generator, BitGenerator or None
            Source of the permutation, unused where there is none. An int gives the same
            permutation at every call: pass a Generator to several epochs.
        batch_losses : (n_batches, 2) ndarray of float64, optional
            C-contiguous; row i is set to the loss of mini-batch i before its update and to its
            penalty, each over the sum of the weights, and left alone if that is zero.

        Returns
        -------
        float
            Sum of the mini-batches' losses, each before its update and with its penalty,
            over the sum of the weights: nats per sample; NaN if that sum is zero.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `backprop`; `TypeError` for an optimizer of another type, or whose `step` is
            its own; `RuntimeError` for one whose `__init__` was not called; `ValueError` for no
            samples, batch_size below 1, an order of another length or with an index outside.
        KeyboardInterrupt
            On Ctrl-C, within 0.1 s of processor time; `params` are those after a whole
            number of steps.
        """
        if not isinstance(optimizer, Optimizer) or (<Optimizer> optimizer).rule.advance == NULL:
            _arguments.refuse_optimizer(optimizer)
        (<Optimizer> optimizer).check_native()
        batch_size = _arguments.count("batch_size", batch_size)
        given = {"X": X, "y": y, "sample_weight": sample_weight, "net.params": self.flat,
                 "net.grad": self.slope}
        cdef Problem p = self._problem(X, y, sample_weight, "mean", l2)
        cdef Py_ssize_t size = min(batch_size, max(p.n, 1))
        if order is not None:
            order = _arguments.order(order, p.n)
        if batch_losses is not None:
            _arguments.output("batch_losses", batch_losses, ((p.n + size - 1) // size, 2), float,
                              given)
        shuffled = _arguments.boolean("shuffle", shuffle) and order is None
        rng = _arguments.bit_generator(rng) if shuffled or rng is not None else None
        loss = new_float()
        self._enter()
        try:
            if shuffled:
                order = permutation(p.n, _random.raw_bits, rng, _random.DRAWS_BETWEEN_SIGNALS)
            return filled(loss, self._epoch(p, order, optimizer, size, batch_losses))
        finally:
            release(&self.busy)

    cdef double _epoch(self, Problem p, order, Optimizer optimizer, Py_ssize_t size,
                       batch_losses) except? -1:
        cdef Workspace ws = self.workspace
        cdef Batch batch = p.batch
        cdef Memory* gathered
        cdef Pass run
        batch.order = <const Py_ssize_t*> data(order)
        gathered = enter_epoch(ws, &run, &batch, p.n, size, p.l2, self.asked)
        try:
            bind_flat(ws, data(self.flat), data(self.slope))
            if acquire(&optimizer.busy):
                raise RuntimeError(_arguments.IN_USE.format("optimizer"))
            try:
                optimizer.prepare(self.n_params, self.dtype)
                return run_epoch(&run, &optimizer.rule, <BatchLoss*> data(batch_losses))
            finally:
                release(&optimizer.busy)
        finally:
            put_back(gathered)


explain(MLP, Objective)
