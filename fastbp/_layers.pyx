"""The recursion over arrays that the caller owns: `Layers`, in either weight layout; `backprop`.

`Layers` is made for one architecture and keeps its activations from call to call. `backprop` is one
call for arrays of any dtype, over layers that are made for it, or kept from a similar call.
"""

from numbers import Real

from fastbp import _arguments
from fastbp._arguments import ACTIVATIONS, OUTPUTS
from fastbp._calls import explain
from fastbp._copies import restore

cimport numpy as cnp

from fastbp._arrays cimport (
    CachedLayers, LayerArrays, cached_layers, in_one_dtype, listed, new_layers,
)
from fastbp._engine.arrays cimport data, filled, new_float, new_like, new_matrix
from fastbp._engine.backward cimport backward_all
from fastbp._engine.gradient cimport forward_all, loss_and_gradient
from fastbp._engine.network cimport Architecture, Workspace, bind_arrays, bind_grad_arrays
from fastbp._engine.plan cimport asked_threads
from fastbp._engine.team cimport acquire, release
from fastbp._kernels.table cimport IDENTITY, Activation
from fastbp._loss cimport loss_named
from fastbp._problem cimport divisor_of, new_problem

cnp.import_array()

_restore = restore      # its name in pickles of version 0.1.0


cdef Activation activation_number(object name) except *:
    if type(name) is not str or name not in ACTIVATIONS:
        name = _arguments.choice("activation", name, ACTIVATIONS)
    return <Activation> <int> OUTPUTS[name]


cdef dict NAMES = {name: name for name in ACTIVATIONS}      # the very str by any equal one


cdef object hidden_of(activation, list weights, list biases):
    """A name of NAMES, or a tuple of names that are not all the same."""
    if type(activation) is not str or activation not in NAMES:
        _arguments.layer_lists(weights, biases)
        activation = _arguments.hidden_activations(activation, len(weights) - 1)
    return activation if type(activation) is tuple else NAMES[activation]


cdef double any_divisor(reduction) except -1:
    if isinstance(reduction, Real):
        return _arguments.positive("reduction", reduction)
    return divisor_of(reduction)


cdef class Layers(Copied):
    """Layers(layer_sizes, activations, *, dtype='float32', layout='io', n_threads=None)\n--\n
    The recursion E1, E5, E6 over arrays that the caller owns.

    Parameters
    ----------
    layer_sizes : sequence of int
        Width of the input, of each hidden layer, and of the output; at least two.
    activations : sequence of str
        One per layer, the output's included: "sigmoid", "tanh", "relu", "identity".
    dtype : {"float32", "float64"}
        Of every array.
    layout : {"io", "oi"}
        Weights as (fan_in, fan_out), or as (fan_out, fan_in).
    n_threads : int or None
        Threads of a call, at most 256, and one for each row or for 64 units of the widest layer;
        None leaves the number to the work and to `get_num_threads`. The result does not depend on
        it.

    Raises
    ------
    ValueError
        For sizes below 1, unknown names, or a wrong number of activations.

    Notes
    -----
    `forward` keeps the activations of the whole batch for `backward`, and refers to X, weights
    and biases: they must not change in between. One object serves one thread at a time; a
    second pass before the first one's `backward` needs an object of its own.
    """

    def __init__(self, *args, **options):
        self._initialise(*args, **options)

    def _initialise(self, layer_sizes, activations, *, dtype="float32", layout="io",
                    n_threads=None):
        if self.workspace is not None:
            raise RuntimeError("this Layers is initialised already; make another")
        self.layer_sizes = _arguments.layer_sizes(layer_sizes)
        self.activations = _arguments.activations(activations, len(self.layer_sizes) - 1)
        self.dtype = _arguments.real_dtype(dtype)
        self.layout = _arguments.choice("layout", layout, ("io", "oi"))
        self.n_threads = n_threads
        self.architecture = Architecture(
            self.layer_sizes, [ACTIVATIONS[name].number for name in self.activations],
            self.dtype.itemsize, self.layout == "oi")
        self.arrays = LayerArrays(self.architecture, self.dtype)
        self.passes = Workspace(self.architecture, False, True)
        self.workspace = Workspace(self.architecture, True)

    cdef int _check_made(self) except -1:
        if self.workspace is None:
            raise RuntimeError("Layers.__init__ was not called")
        return 0

    def __repr__(self):
        self._check_made()
        return (f"Layers({list(self.layer_sizes)}, {list(self.activations)}, "
                f"dtype={self.dtype.name!r}, layout={self.layout!r})")

    cdef tuple own(self):
        self._check_made()
        return (self.layer_sizes, self.activations, self.dtype.name, self.layout, self.n_threads)

    cdef int remake(self, tuple own) except -1:
        layer_sizes, activations, dtype, layout, n_threads = own
        _arguments.n_threads(n_threads)
        if self.workspace is None or self.own()[:4] != own[:4]:     # __init__ refuses a second time
            Layers.__init__(self, layer_sizes, activations, dtype=dtype, layout=layout)
        self.n_threads = n_threads
        return 0

    @property
    def n_threads(self):
        """The number of threads of a call, or None to leave it to the work; writable."""
        return self.asked or None

    @n_threads.setter
    def n_threads(self, value):
        self.asked = asked_threads(_arguments.n_threads(value))

    @property
    def workspace_bytes(self):
        """Bytes kept for the last batch of `forward`, and scratch; ``keep=False`` keeps none."""
        return 0 if self.workspace is None else self.workspace.nbytes

    cdef int _enter(self) except -1:
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("Layers"))
        return 0

    # ---- passes

    def forward(self, weights, biases, X, *, keep=True):
        """E1: outputs h_L of a batch; keeps what `backward` needs.

        Parameters
        ----------
        weights, biases : sequences of ndarray
            One W (in the layout of the constructor) and one b (fan_out,) per layer.
        X : (n, layer_sizes[0]) array
        keep : bool
            False: keep nothing, and leave what an earlier pass kept. Several threads may be in
            such a pass at once.

        Returns
        -------
        (n, layer_sizes[-1]) ndarray

        Raises
        ------
        ValueError, TypeError
            For shapes and dtypes that do not fit; the message names the argument.
        MemoryError
            When the activations of the batch do not fit.
        RuntimeError
            When a call of this object has not ended.
        """
        given = (listed("weights", weights), listed("biases", biases), X)
        held = self._held(given)
        cdef Workspace passes
        if keep is not True and not _arguments.boolean("keep", keep):
            passes = self.passes.lease()
            try:
                return self._forward(passes, held)
            finally:
                passes.give_back()
        self._enter()
        try:
            self.held = None            # if this fails, `backward` has no pass to go back over
            out = self._forward(self.workspace, held)
            self.given, self.held = given, held
            return out
        finally:
            release(&self.busy)

    cdef tuple _held(self, tuple given):
        self._check_made()
        weights, biases, X = given
        weights, biases, X = self.arrays.inputs(weights, biases, X)
        return weights, biases, X[:]        # a view: no other thread can change its shape

    cdef object _forward(self, Workspace ws, tuple held):
        weights, biases, X = held
        cdef Py_ssize_t n = cnp.PyArray_DIM(X, 0)
        out = new_matrix(n, ws.shape.sizes[ws.shape.n_layers], self.arrays.typenum)
        bind_arrays(ws, weights, biases)
        self._pass(ws, data(X), data(out), n)
        return out

    cdef int _pass(self, Workspace ws, const char* X, char* out, Py_ssize_t n) except -1:
        return forward_all(ws, X, out, n, IDENTITY, self.asked)

    def backward(self, grad_output, weight_grads, bias_grads, input_grad=None):
        """E5 and E6: gradients of the last `forward` from dL/dh_L, into the arrays given.

        Parameters
        ----------
        grad_output : (n, layer_sizes[-1]) array
            dL/dh_L.
        weight_grads, bias_grads : sequences of ndarray, or None
            One per layer, like the weights and biases; overwritten. Both None: E5 alone.
        input_grad : (n, layer_sizes[0]) ndarray, optional
            Overwritten with dL/dX.

        Raises
        ------
        RuntimeError
            Before any `forward`, or when a call of this object has not ended.
        ValueError, TypeError
            For arrays that do not fit, overlap an input, or cannot be written.
        """
        if weight_grads is not None or bias_grads is not None:
            weight_grads = listed("weight_grads", weight_grads)
            bias_grads = listed("bias_grads", bias_grads)
        self._enter()
        try:
            self._backward(grad_output, weight_grads, bias_grads, input_grad)
        finally:
            release(&self.busy)

    cdef int _backward(self, grad_output, list dW, list db, dX) except -1:
        cdef Workspace ws = self.workspace
        if self.held is None:
            raise RuntimeError("backward needs a forward pass before it")
        weights, biases, X = self.given
        others = {"X": X, "grad_output": grad_output}       # the caller's own arrays
        X = self.held[2]
        cdef Py_ssize_t n = cnp.PyArray_DIM(X, 0)
        if not self.arrays.fits(grad_output, 2, n, ws.shape.sizes[ws.shape.n_layers], False):
            grad_output = _arguments.real_array("grad_output", grad_output, self.dtype,
                                                shape=(n, self.layer_sizes[-1]))
        self.arrays.check_outputs(dW, db, dX, n, (weights, biases, others))
        bind_grad_arrays(ws, dW, db)
        return backward_all(ws, data(X), data(grad_output), data(dX), n, self.asked)

    def loss_and_grad(self, weights, biases, X, y, weight_grads, bias_grads, *, loss="bce",
                      sample_weight=None, reduction="sum", pos_weight=None, class_weight=None,
                      label_smoothing=0.0):
        """E1 to E6: the loss of the last layer's z, and its gradients into the arrays given.

        The last activation is "identity": the loss brings the output that goes with it. What a
        `forward` kept is lost.

        Parameters
        ----------
        weights, biases, X
            As in `forward`.
        y, loss, sample_weight, pos_weight, class_weight, label_smoothing
            As in `MLP` and its `backprop`.
        weight_grads, bias_grads : sequences of ndarray
            One per layer, like the weights and biases; overwritten.
        reduction : {"sum", "mean"} or float
            A number divides the sum, and its gradients.

        Returns
        -------
        float
            In nats.

        Raises
        ------
        ValueError, TypeError
            For arguments that do not fit; the message names the argument.
        MemoryError
            When the workspace cannot be had.
        RuntimeError
            When a call of this object has not ended.
        """
        given = (listed("weights", weights), listed("biases", biases), X)
        held = self._held(given)
        dW = listed("weight_grads", weight_grads)
        db = listed("bias_grads", bias_grads)
        cdef double divisor = any_divisor(reduction)
        others = {"X": X, "y": y}
        if sample_weight is not None:
            others["sample_weight"] = sample_weight
        weights, biases, X = held
        self._enter()
        try:
            self.held = None            # other weights will be bound below
            self._choose_loss(loss, pos_weight, class_weight, label_smoothing)
            self.arrays.check_outputs(dW, db, None, -1, (given[0], given[1], others))
            bind_arrays(self.workspace, weights, biases)
            bind_grad_arrays(self.workspace, dW, db)
            return self._loss_and_grad(
                new_problem(self.measure, X, y, sample_weight, divisor, 0, ()))
        finally:
            release(&self.busy)

    cdef int _choose_loss(self, loss, pos_weight, class_weight, label_smoothing) except -1:
        _arguments.last_activation(self.activations)
        self.measure = loss_named(loss, self.layer_sizes[-1], self.dtype, pos_weight, class_weight,
                                  label_smoothing)
        return 0

    cdef object _loss_and_grad(self, Problem p):
        result = new_float()
        return filled(result, loss_and_gradient(self.workspace, &p.batch, p.n, True, p.divisor, 0,
                                                self.asked))


# ---- the same in one call, without an object to keep -------------------------------------

def backprop(weights, biases, X, y, *, activation="sigmoid", loss="bce", sample_weight=None,
             reduction="sum", pos_weight=None, class_weight=None, label_smoothing=0.0):
    """E1 to E6 for arrays of any owner: the bits of `MLP.backprop`.

    Parameters
    ----------
    weights : sequence of (fan_in, fan_out) arrays
    biases : sequence of (fan_out,) arrays
    X : (n, n_features) array
    y : (n,) or (n, n_outputs) array
        Targets, as for `MLP.backprop`.
    activation, loss, pos_weight, class_weight, label_smoothing
        As for `MLP`.
    sample_weight : (n,) array, optional
        Not negative.
    reduction : {"sum", "mean"}
        "mean" divides by n, or by the sum of `sample_weight`.

    Returns
    -------
    loss : float
        In nats.
    weight_grads, bias_grads : lists of ndarrays
        Shaped like weights and biases, in the dtype of the computation: float32 if weights,
        biases and X all are, otherwise float64.

    Raises
    ------
    TypeError, ValueError
        For shapes or dtypes that do not fit, targets the loss excludes, negative weights, no
        samples or weights that sum to zero under "mean", names and options that do not fit.
    MemoryError
        When the workspace cannot be had.
    """
    cdef double divisor = divisor_of(reduction)
    cdef list W = listed("weights", weights), b = listed("biases", biases)
    cdef object hidden = hidden_of(activation, W, b)
    cdef CachedLayers layers = cached_layers(W, b, X, hidden)
    if layers is None:
        W, b, X = in_one_dtype(W, b, X)
        layers = cached_layers(W, b, X, hidden)
    if layers is None:
        W, b, sizes = _arguments.layer_arrays(W, b)
        X = _arguments.real_array("X", X, shape=("n_samples", sizes[0]))
        dtype = _arguments.common_dtype(*W, X)
        W, b = _arguments.as_dtype(W, dtype), _arguments.as_dtype(b, dtype)
        X = _arguments.converted(X, dtype)
        layers = cached_layers(W, b, X, hidden) or new_layers(sizes, dtype, hidden)
    cdef LayerArrays arrays = layers.arrays
    cdef Workspace ws = None
    cdef Loss measure
    cdef Problem p
    try:
        ws = layers.workspace.lease()
        measure = loss_named(loss, ws.shape.sizes[ws.shape.n_layers], arrays.dtype, pos_weight,
                             class_weight, label_smoothing)
        p = new_problem(measure, X, y, sample_weight, divisor, 0, ())
        dW, db = [new_like(array) for array in W], [new_like(array) for array in b]
        bind_arrays(ws, W, b)
        bind_grad_arrays(ws, dW, db)
        return loss_and_gradient(ws, &p.batch, p.n, True, divisor, 0, 0), dW, db
    finally:
        if ws is not None:
            ws.give_back()
        release(&layers.taken)


explain(Layers, backprop)
