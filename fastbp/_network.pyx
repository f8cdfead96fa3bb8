"""The state of a network, and the hand-over of checked arguments to the passes of the engine.

The parameters lie in one vector, W_1.ravel(), b_1, W_2.ravel(), ..., and so does the gradient, so
that an optimiser step is one kernel call. `MLP` has the public methods. `Objective` is the loss of
a network as a function of its parameters.

A `Kept` holds what passes at one point have in common, so that only the first computes it.
"""

import numpy as np

from fastbp import _arguments, _random
from fastbp._arguments import ACTIVATIONS
from fastbp._calls import explain
from fastbp._copies import OWN

cimport numpy as cnp
from libc.string cimport memcmp

from fastbp._engine.arrays cimport data, new_vector, shaped, writable
from fastbp._engine.gradient cimport loss_and_gradient
from fastbp._engine.network cimport bind_flat
from fastbp._engine.plan cimport BLOCK_ROWS, asked_threads, threads_for
from fastbp._engine.tangent cimport PRODUCTS
from fastbp._engine.team cimport acquire, release
from fastbp._kernels.table cimport IDENTITY
from fastbp._problem cimport apart_from, checked_l2, divisor_of, new_problem, read_again, restored

cnp.import_array()

CACHE_LINE = 64
MEMORY = 2**30          # bytes that may be kept of a batch at one point, unless a call says so


def aligned_zeros(size, dtype):
    """Zeros that start at a cache line: a load of W that straddles two lines takes longer."""
    roomy = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    return roomy[-roomy.ctypes.data % CACHE_LINE:][:size * dtype.itemsize].view(dtype)


def aligned_copy(array):
    copy = aligned_zeros(array.size, array.dtype)
    copy[:] = array
    return copy


cdef class Kept:
    cdef bint is_at(self, params) noexcept:
        """Whether these are the parameters, to the bit: NaN is NaN."""
        return self.at is not None and (self.at is params or memcmp(
            data(self.at), data(params), cnp.PyArray_NBYTES(params)) == 0)

    cdef object leave_for(self, params):
        self.at = None
        return aligned_copy(params) if self.values.whole else params

    cdef void arrive(self, params) noexcept:
        if self.values.whole:
            self.at = params


cdef class Network(Copied):
    def __init__(self, *args, **options):
        self._initialise(*args, **options)

    def _initialise(self, layer_sizes, *, activation="sigmoid", loss="bce", dtype="float32",
                    seed=None, n_threads=None, pos_weight=None, class_weight=None,
                    label_smoothing=0.0):
        if self.shape != NULL:
            raise RuntimeError("this MLP is initialised already; make another")
        self.layer_sizes = _arguments.layer_sizes(layer_sizes)
        n_hidden = len(self.layer_sizes) - 2
        self.activation = _arguments.hidden_activations(activation, n_hidden)
        self.dtype = _arguments.real_dtype(dtype)
        # The largest memory comes first, and is not written yet: what cannot fit fails at once.
        size = sum([(fan_in + 1) * fan_out
                    for fan_in, fan_out in zip(self.layer_sizes, self.layer_sizes[1:])])
        params, grad = [aligned_zeros(size, self.dtype) for _ in range(2)]
        self.measure = Loss(loss, self.layer_sizes[-1], self.dtype, {
            "pos_weight": pos_weight, "class_weight": class_weight,
            "label_smoothing": label_smoothing})
        self.n_threads = n_threads
        self.n_features, self.n_outputs = self.layer_sizes[0], self.layer_sizes[-1]
        params[:] = _random.uniform_weights(self.layer_sizes, seed, self.dtype)
        self.n_params, self.typenum = params.size, self.dtype.num
        self._hold(params, grad)
        hidden = [ACTIVATIONS[name].number
                  for name in _arguments.each_activation(self.activation, n_hidden)]
        self.architecture = Architecture(self.layer_sizes, [*hidden, IDENTITY],
                                         self.dtype.itemsize, False)
        self.workspace = Workspace(self.architecture, True)
        self.passes = Workspace(self.architecture, False, True)
        self.shape = &self.architecture.shape

    cdef int _hold(self, params, grad) except -1:
        self.params_view, self.grad_view = params[:], grad[:]
        self.weights, self.biases = self._views(params)
        self.weight_grads, self.bias_grads = self._views(grad)
        self.params_array, self.grad_array, self.written = params, grad, (params, grad)
        return 0

    cdef int _check_made(self) except -1:
        if self.shape == NULL:
            raise RuntimeError("MLP.__init__ was not called")
        return 0

    def _views(self, flat):
        """W and b of each layer in (n_params,), or in (n_networks, n_params)."""
        weights, biases, at, several = [], [], 0, flat.shape[:-1]
        for fan_in, fan_out in zip(self.layer_sizes, self.layer_sizes[1:]):
            end = at + fan_in * fan_out
            weights.append(flat[..., at:end].reshape(*several, fan_in, fan_out))
            at = end + fan_out
            biases.append(flat[..., end:at])
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
        return self.layer_sizes, options, self.params_array[:], self.grad_array[:]

    cdef int remake(self, tuple own) except -1:
        layer_sizes, options, *flat = own
        cdef bint made = self.shape != NULL
        if not made or self.own()[:2] != own[:2]:       # __init__ refuses a second time
            Network.__init__(self, layer_sizes, **<dict?> options)
        try:
            self.params_array[:], self.grad_array[:] = [
                _arguments.real_array(name, vector, self.dtype, shape=(self.n_params,))
                for name, vector in zip(("params", "grad"), flat, strict=True)]
        except BaseException:
            if not made:
                self.shape = NULL
            raise
        return 0

    @property
    def loss(self):
        """The name of the loss."""
        self._check_made()
        return self.measure.name

    @property
    def loss_options(self):
        """The options that were given, as a dict: pos_weight, class_weight, label_smoothing."""
        self._check_made()
        return self.measure.options

    @property
    def n_threads(self):
        """The number of threads of a call, or None to leave it to the work; writable."""
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
            self.params_array[:] = _arguments.flat_vector("params", value, self.n_params,
                                                          self.dtype)

    @property
    def grad(self):
        """The flat gradient; assigning to it copies the values in."""
        return self.grad_view

    @grad.setter
    def grad(self, value):
        self._check_made()
        if value is not self.grad_view:
            self.grad_array[:] = _arguments.flat_vector("grad", value, self.n_params, self.dtype)

    @property
    def workspace_bytes(self):
        """Bytes of activations, derivatives, deltas and packed panels held for `backprop`.

        Grows to what 256 rows for each thread need and stays there, however long the batch;
        `error_bound` needs as much again, and |params|; so do `hvp` and `gnvp`, without |params|.
        `forward`, `logits` and `loss_value` borrow two layers of 256 rows for each thread from the
        process, which keeps up to 8 MiB of them for each of at most 8 calls at once. A
        `Linearization` holds its own, and so does an `objective` from the first `hessp` on.
        """
        cdef Py_ssize_t nbytes = 0 if self.workspace is None else self.workspace.nbytes
        if self.certificate is not None:
            nbytes += self.certificate.nbytes + self.certificate.errors.nbytes
        if self.tangent is not None:
            nbytes += self.tangent.dots.nbytes
        return nbytes

    # ---- checked arguments

    cdef object _X(self, X):
        self._check_made()
        if not shaped(X, self.typenum, 2, -1, self.n_features):
            X = _arguments.real_array("X", X, self.dtype, shape=("n_samples", self.n_features))
        return apart_from(X, self.written)

    cdef Problem _problem(self, X, y, sample_weight, reduction, l2):
        cdef double divisor = divisor_of(reduction), factor = checked_l2(l2)
        X = self._X(X)
        return new_problem(self.measure, X, y, sample_weight, divisor, factor, self.written)

    cdef bint _apart(self, out, Problem p, X, y, sample_weight) noexcept:
        return (p.X is X and p.y is y and p.sample_weight is sample_weight
                and writable(out, p.X, p.y, p.sample_weight)
                and writable(out, self.params_array, self.grad_array))

    cdef int _check_out(self, out, tuple shape, X, y, sample_weight, v=None) except -1:
        _arguments.output("out", out, shape, self.dtype, {
            "X": X, "y": y, "sample_weight": sample_weight, "v": v,
            "net.params": self.params_array, "net.grad": self.grad_array})
        return 0

    cdef int _enter(self) except -1:
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("MLP"))
        return 0

    # ---- passes over the network's own workspace

    cdef double _gradient(self, params, Problem p, grad, Kept kept) except? -1:
        cdef Workspace ws = self.workspace if kept is None else kept.values
        cdef double loss
        self._enter()
        try:
            if kept is not None:
                params = kept.leave_for(params)
            bind_flat(ws, data(params), data(grad))
            loss = loss_and_gradient(ws, &p.batch, p.n, True, p.divisor, p.l2, self.asked)
            if kept is not None:
                kept.arrive(params)
        finally:
            release(&self.busy)
        return loss

    cdef object _value_and_grad(self, params, Problem p, Kept kept):
        params = _arguments.flat_vector("params", params, self.n_params)
        cdef bint native = cnp.PyArray_TYPE(params) == self.typenum
        point = params if native else _arguments.converted(params, self.dtype)
        grad = np.empty(self.n_params, self.dtype)
        loss = self._gradient(point, p, grad, kept)
        return loss, grad if native else _arguments.converted(grad, params.dtype)

    cdef int _product(self, params, Problem p, v, out, bint gauss_newton, Kept kept) except -1:
        cdef Workspace ws = self.workspace if kept is None else kept.values
        cdef bint known
        self._enter()
        try:
            known = kept is not None and kept.is_at(params)
            if kept is not None and not known:
                params = kept.leave_for(params)
            if self.tangent is None:
                self.tangent = Tangent(self.architecture)
            bind_flat(ws, data(params), NULL)
            self.tangent.write(ws, data(v), data(out), &p.batch, self.measure.output, p.n,
                               gauss_newton, known, p.divisor, p.l2, self.asked)
            if kept is not None and not known and not gauss_newton:     # which has no delta
                kept.arrive(params)
        finally:
            release(&self.busy)
        return 0

    cdef object _hessian_at(self, params, Problem p, v, Kept kept):
        params = _arguments.flat_vector("params", params, self.n_params)
        v = _arguments.flat_vector("v", v, self.n_params, self.dtype)
        out = new_vector(self.n_params, self.typenum)
        self._product(_arguments.converted(params, self.dtype), p, v, out, False, kept)
        return _arguments.converted(out, params.dtype)

    cdef Kept _room(self, Py_ssize_t n, double memory):
        cdef int threads = threads_for(self.shape, n, PRODUCTS, self.asked)
        cdef Kept kept = Kept.__new__(Kept)
        kept.values = Workspace(self.architecture, True, False, True)
        if kept.values.needed(max(n, 1), min(max(n, 1), <Py_ssize_t> BLOCK_ROWS * threads),
                              threads) <= memory:
            kept.values.reserve(n, threads)
        else:
            kept.values = self.workspace
        return kept

    cdef int _bound(self, Problem p, char* out) except -1:
        if self.certificate is None:
            self.certificate = Certificate(self.architecture)
        bind_flat(self.workspace, data(self.params_array), out)
        self.certificate.write(self.workspace, &p.batch, self.measure.output, p.n, p.divisor, p.l2,
                               self.asked)
        return 0


vars(Network)["_initialise"].__qualname__ = "MLP._initialise"       # its name in errors


# ---- the loss as a function of the parameters -------------------------------------------

cdef class Objective(Copied):
    """f(params) -> (loss, gradient) of one network on one data set; see `MLP.objective`."""
    def __call__(self, *args, **named):
        if len(args) == 1 and not named:
            return self.at(args[0])
        return self._at(*args, **named)

    def _at(self, params):
        return self.at(params)

    cdef object at(self, params):
        self._check_made()
        self.net._check_made()
        return self.net._value_and_grad(params, self._again(), self.kept)

    def hessp(self, params, v):
        """The Hessian of the loss at `params` times v: `MLP.hvp` for SciPy, with the same bits.

        From the first call on the objective keeps h and delta of the last parameters, of `hessp`
        or of the loss, so that products there cost less, and a copy of the samples: what is written
        to X, y or sample_weight later is not read.

        Parameters
        ----------
        params, v : (n_params,) arrays
            Converted to the network's dtype.

        Returns
        -------
        (n_params,) ndarray
            A new array in the dtype of `params`.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `MLP.hvp`.
        """
        self._check_made()
        self.net._check_made()
        cdef Problem p = self._again()
        cdef Kept kept
        if self.kept is None:
            kept = self.net._room(p.n, self.memory)
            if kept.values.whole:           # h and delta belong to these samples
                p.X, p.y = p.X.copy(), p.y.copy()
                p.sample_weight = None if p.sample_weight is None else p.sample_weight.copy()
                self.problem, p = p, read_again(p, self.net.measure)
            self.kept = kept
        return self.net._hessian_at(params, p, v, self.kept)

    cdef Problem _again(self):
        cdef Problem p = self.problem
        if p.loss is None:              # of a state: the network may be made after it
            self.problem = restored(p.X, p.y, p.sample_weight, p.divisor == 0, p.l2,
                                    self.net.measure, self.net.shape.sizes[0])
        return read_again(self.problem, self.net.measure)

    cdef int _check_made(self) except -1:
        if self.net is None:
            raise RuntimeError("this objective has no network; it should be made by MLP.objective")
        return 0

    cdef tuple own(self):
        self._check_made()
        cdef Problem p = self.problem
        return p.X, p.l2, p.divisor == 0, p.n, self.net, p.sample_weight, p.y, int(self.memory)

    cdef int remake(self, tuple own) except -1:
        """The class weights are in `sample_weight` already."""
        X, l2, mean, n, net, sample_weight, y, *memory = own    # 0.1.0 wrote none
        cdef Network of = <Network?> net
        cdef Problem p = Problem.__new__(Problem)
        p.X, p.y, p.sample_weight, p.n = X, y, sample_weight, n
        p.divisor, p.l2 = 0 if _arguments.boolean("mean", mean) else 1, checked_l2(l2)
        if of.shape != NULL:            # else it is checked when the network is made
            p = restored(X, y, sample_weight, mean, l2, of.measure, of.shape.sizes[0])
        self.memory = _arguments.byte_count("memory", *memory or [MEMORY])
        self.net, self.problem, self.kept = of, p, None
        return 0

    def __setstate__(self, state):
        if type(state) is tuple and len(state) == 7:    # as version 0.1.0 wrote it
            state = {OWN: state}
        Copied.__setstate__(self, state)


vars(Objective)["_at"].__qualname__ = "f"       # its name in errors


explain(Objective)
