"""`Layers`: the recursion over arrays that the caller owns, in either weight layout."""

import numpy as np

from fastbp import _checks
from fastbp._recursion import ACTIVATIONS, IN_USE

cimport numpy as cnp
from libc.string cimport memcpy

from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._kernels.table cimport IDENTITY
from fastbp._native cimport data
from fastbp._recursion cimport (
    asked_threads, carry_out, descend, forward_all, threads_for, weight_gradients,
)
from fastbp._team cimport Seat, acquire, do_phase, release, share
from fastbp._workspace cimport BLOCK, Architecture, Buffers, Shape, Sweep, Workspace

cnp.import_array()

ctypedef struct Backward:       # the task of `backward_of_thread` and its phases
    Sweep* sweep
    const char* X
    const char* grad_output
    char* input_grad
    Py_ssize_t n
    Py_ssize_t row                  # of the block, its first
    Py_ssize_t rows


cdef class Layers:
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
        Threads of a call, at most one for each row and 256 in all; None leaves the number to
        the work and to `get_num_threads`. The result does not depend on it.

    Raises
    ------
    ValueError
        For sizes below 1, unknown names, or a wrong number of activations.

    Notes
    -----
    `forward` keeps the activations of the whole batch for `backward`, and refers to X, weights
    and biases: they must not change in between. One object serves one thread at a time.
    """

    cdef readonly tuple layer_sizes, activations
    cdef readonly object dtype
    cdef readonly str layout
    cdef Workspace workspace
    cdef object X, weights, biases      # of the last forward, converted
    cdef dict given                     # the same, as they came
    cdef Py_ssize_t n
    cdef int asked, busy

    def __init__(self, layer_sizes, activations, *, dtype="float32", layout="io", n_threads=None):
        self.layer_sizes = _checks.layer_sizes(layer_sizes)
        if self.workspace is not None:
            raise RuntimeError("this Layers is initialised already; make another")
        activations = [activations] if isinstance(activations, str) else (
            _checks.sequence("activations", activations))
        if len(activations) != len(self.layer_sizes) - 1:
            raise ValueError(f"activations is {activations!r}; it should list one name for each "
                             f"of the {len(self.layer_sizes) - 1} layers")
        self.activations = tuple(
            _checks.choice("activations", name, tuple(ACTIVATIONS)) for name in activations)
        self.dtype = _checks.real_dtype(dtype)
        self.layout = _checks.choice("layout", layout, ("io", "oi"))
        self.n_threads = n_threads
        self.workspace = Workspace(
            Architecture(self.layer_sizes, [ACTIVATIONS[name] for name in self.activations],
                         self.dtype.itemsize, self.layout == "oi"), True)

    def __repr__(self):
        return (f"Layers({list(self.layer_sizes)}, {list(self.activations)}, "
                f"dtype={self.dtype.name!r}, layout={self.layout!r})")

    def __reduce__(self):
        return _build_layers, (self.layer_sizes, self.activations, self.dtype.name, self.layout,
                               self.n_threads)

    @property
    def n_threads(self):
        """Threads of a call, or None; writable."""
        return self.asked or None

    @n_threads.setter
    def n_threads(self, value):
        self.asked = asked_threads(_checks.n_threads(value))

    @property
    def workspace_bytes(self):
        """Bytes held for the batch that `forward` saw and for scratch."""
        return 0 if self.workspace is None else self.workspace.nbytes

    def _layer_shapes(self):
        pairs = zip(self.layer_sizes, self.layer_sizes[1:])
        return [(i, o) if self.layout == "io" else (o, i) for i, o in pairs]

    def _inputs(self, name, arrays, shapes, given):
        arrays = _checks.sequence(name, arrays)
        if len(arrays) != len(shapes):
            raise ValueError(f"{name} has {len(arrays)} arrays; it should have {len(shapes)}")
        given.update((f"{name}[{i}]", a) for i, a in enumerate(arrays))
        return [_checks.real_array(f"{name}[{i}]", a, self.dtype, shape=shape)
                for i, (a, shape) in enumerate(zip(arrays, shapes))]

    def _outputs(self, name, arrays, shapes, inputs):
        arrays = _checks.sequence(name, arrays)
        if len(arrays) != len(shapes):
            raise ValueError(f"{name} has {len(arrays)} arrays; it should have {len(shapes)}")
        for i, (a, shape) in enumerate(zip(arrays, shapes)):
            if a is None:
                raise TypeError(f"{name}[{i}] is None; it should be an ndarray to write to")
            inputs[f"{name}[{i}]"] = _checks.output(f"{name}[{i}]", a, shape, self.dtype, inputs)
        return arrays

    def forward(self, weights, biases, X):
        """E1: outputs h_L of a batch; keeps what `backward` needs.

        Parameters
        ----------
        weights, biases : sequences of ndarray
            One W (in the layout of the constructor) and one b (fan_out,) per layer.
        X : (n, layer_sizes[0]) array

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
            When another thread is inside this object.
        """
        if acquire(&self.busy):
            raise RuntimeError(IN_USE.format("Layers"))
        try:
            return self._forward(weights, biases, X)
        finally:
            release(&self.busy)

    def _forward(self, weights, biases, X):
        cdef Workspace ws = self.workspace
        if ws is None:
            raise RuntimeError("Layers.__init__ was not called")
        given = {"X": X}
        shapes = self._layer_shapes()
        weights = self._inputs("weights", weights, shapes, given)
        biases = self._inputs("biases", biases, [(o,) for o in self.layer_sizes[1:]], given)
        X = _checks.real_array("X", X, self.dtype, shape=("n_samples", self.layer_sizes[0]))
        cdef Py_ssize_t n = X.shape[0], l
        out = np.empty((n, self.layer_sizes[-1]), self.dtype)
        self.X = None                       # a failure from here on leaves nothing to go back over
        ws.reserve(max(n, 1), threads_for(ws.shape, n, 2, self.asked))    # for `backward`
        for l in range(ws.shape.n_layers):
            ws.sweep.layers[l].W = data(weights[l])
            ws.sweep.layers[l].b = data(biases[l])
        forward_all(ws, data(X), data(out), n, IDENTITY, self.asked)
        self.X, self.weights, self.biases, self.given, self.n = X, weights, biases, given, n
        return out

    def backward(self, grad_output, weight_grads, bias_grads, input_grad=None):
        """E5 and E6: gradients of the last `forward` from dL/dh_L, into the arrays given.

        Parameters
        ----------
        grad_output : (n, layer_sizes[-1]) array
            dL/dh_L.
        weight_grads, bias_grads : sequences of ndarray
            One per layer, like the weights and biases; overwritten.
        input_grad : (n, layer_sizes[0]) ndarray, optional
            Overwritten with dL/dX.

        Raises
        ------
        RuntimeError
            Before any `forward`, or when another thread is inside this object.
        ValueError, TypeError
            For arrays that do not fit, overlap an input, or cannot be written.
        """
        if acquire(&self.busy):
            raise RuntimeError(IN_USE.format("Layers"))
        try:
            self._backward(grad_output, weight_grads, bias_grads, input_grad)
        finally:
            release(&self.busy)

    def _backward(self, grad_output, weight_grads, bias_grads, input_grad):
        cdef Workspace ws = self.workspace
        if self.X is None:
            raise RuntimeError("backward needs a forward pass before it")
        inputs = {**self.given, "grad_output": grad_output}     # what no output may overlap
        grad_output = _checks.real_array("grad_output", grad_output, self.dtype,
                                         shape=(self.n, self.layer_sizes[-1]))
        dW = self._outputs("weight_grads", weight_grads, self._layer_shapes(), inputs)
        db = self._outputs("bias_grads", bias_grads, [(o,) for o in self.layer_sizes[1:]], inputs)
        cdef char* dX = NULL
        if input_grad is not None:
            input_grad = _checks.output("input_grad", input_grad, (self.n, self.layer_sizes[0]),
                                        self.dtype, inputs)
            dX = data(input_grad)
        cdef Py_ssize_t l
        for l in range(ws.shape.n_layers):
            ws.sweep.layers[l].dW = data(dW[l])
            ws.sweep.layers[l].db = data(db[l])
        cdef Backward task = Backward(&ws.sweep, data(self.X), data(grad_output), dX, self.n, 0, 0)
        cdef int threads = min(ws.threads, threads_for(ws.shape, self.n, 2, self.asked))
        carry_out(&ws.sweep, backward_of_thread, &task, threads)


cdef void backward_of_thread(void* task, Seat* seat) noexcept nogil:
    """delta_L = dL/dh_L * act'(z_L) and E5, then E6, block after block."""
    cdef Backward t = (<Backward*> task)[0]
    cdef Py_ssize_t block = <Py_ssize_t> BLOCK * t.sweep.meeting.parts, i
    cdef float_mode mode = enter_float_mode()
    for i in range(max(1, (t.n + block - 1) // block)):
        t.row = i * block
        t.rows = min(block, t.n - t.row)
        if (do_phase(&t.sweep.meeting, seat, delta_part, &t)
                or do_phase(&t.sweep.meeting, seat, weights_part, &t)):
            break
    leave_float_mode(mode)


cdef void delta_part(void* task, const Seat* seat) noexcept nogil:
    cdef Backward* t = <Backward*> task
    cdef const Shape* s = t.sweep.shape
    cdef Py_ssize_t features = s.sizes[0] * s.itemsize
    cdef Py_ssize_t outputs = s.sizes[s.n_layers] * s.itemsize
    cdef Py_ssize_t at = share(t.rows, seat.part, t.sweep.meeting.parts), row = t.row + at
    cdef Py_ssize_t n = share(t.rows, seat.part + 1, t.sweep.meeting.parts) - at
    cdef Buffers* last = &t.sweep.layers[s.n_layers - 1]
    if last.dh == NULL:                     # h_L = z_L
        memcpy(last.delta + at * outputs, t.grad_output + row * outputs, n * outputs)
    else:
        s.kernels.multiply(last.delta + at * outputs, t.grad_output + row * outputs,
                           last.dh + row * outputs, n * s.sizes[s.n_layers])
    descend(t.sweep, seat, row, at, n,
            t.input_grad + row * features if t.input_grad != NULL else NULL)


cdef void weights_part(void* task, const Seat* seat) noexcept nogil:
    cdef Backward* t = <Backward*> task
    cdef const Shape* s = t.sweep.shape
    weight_gradients(t.sweep, seat, t.X + t.row * s.sizes[0] * s.itemsize, t.row, t.rows, t.row > 0)


def _build_layers(layer_sizes, activations, dtype, layout, n_threads):
    return Layers(layer_sizes, activations, dtype=dtype, layout=layout, n_threads=n_threads)
