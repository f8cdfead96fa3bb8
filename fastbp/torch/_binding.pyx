"""The binding of a fused module: its children as they are now, and the calls on their memory.

A `Binding` belongs to the children of one module. In each call the parameters are looked up and
every tensor passes the gate (`_gate`), since any of them can have become another since the last. A
`Call` is one forward pass and its way back: operands, and `Layers` that are its own until its graph
is freed. `loss_and_grad` has neither graph nor call, and writes where .grad is.

Shapes are (n, n_features) for X, (fan_out, fan_in) and (fan_out,) for W and b, as in nn.Linear.
"""

from threading import RLock

import numpy as np
import torch

from fastbp import _arguments, _random
from fastbp.torch import _children, _losses, _tensors

cimport numpy as cnp

from fastbp._layers cimport any_divisor
from fastbp._unchecked cimport UncheckedLayers
from fastbp.torch._gate cimport FITS, OPAQUE, SUBCLASS, Fault, View, as_array, look
from fastbp.torch._gradients cimport Destination, Memory
from fastbp.torch._parameters cimport Operands, Parameters
from fastbp.torch._watch cimport Children, is_watched

cnp.import_array()

cdef object Tensor = torch.Tensor
cdef object from_numpy = torch.from_numpy
cdef object version_of = torch.Tensor._version.__get__
cdef object is_inference = torch.Tensor.is_inference
cdef object storage_of = torch.Tensor.untyped_storage
cdef object wants_grad = torch.Tensor.requires_grad.__get__

cdef dict DTYPES = {cnp.NPY_FLOAT32: torch.float32, cnp.NPY_FLOAT64: torch.float64}
cdef dict NAMES = {cnp.NPY_FLOAT32: "float32", cnp.NPY_FLOAT64: "float64"}


cdef class Recursion:
    """`Layers` of one dtype, for the passes of one module."""
    cdef object dtype
    cdef int typenum
    cdef list sizes, activations
    cdef list free                      # (Layers, lock) that no pass has
    cdef UncheckedLayers one_pass       # for passes that keep nothing
    cdef UncheckedLayers logits         # for losses of z_L
    cdef Memory memory                  # of gradients of losses

    def __init__(self, list sizes, list activations, int typenum, list present, list names):
        self.dtype, self.typenum, self.free = DTYPES[typenum], typenum, []
        self.sizes, self.activations = sizes, activations
        self.one_pass = self.new_layers(activations)
        self.logits = self.new_layers([*activations[:-1], "identity"])
        self.memory = Memory(present, self.logits.new_grads(), names)

    cdef UncheckedLayers new_layers(self, list activations):
        return UncheckedLayers(self.sizes, activations, dtype=NAMES[self.typenum], layout="oi")


cdef class Call:
    """A forward pass and its way back: h_L of X, then the gradients of X and of the parameters."""
    cdef readonly Binding binding
    cdef Recursion recursion
    cdef Operands operands
    cdef object X, source               # as it is read; as it came
    cdef View view                      # of X
    cdef Py_ssize_t n
    cdef tuple room                     # Layers and its lock, between a forward pass and its end
    cdef bint goes_back                 # now
    cdef list versions                  # of `source` and each parameter
    cdef list pinned                    # storages of X and each W: no other tensor's addresses

    @property
    def params(self):
        return self.operands.params

    @property
    def trained(self):
        """Whether a parameter requires a gradient."""
        return self.operands.trained

    def __del__(self):
        if self.room is not None:
            self.recursion.free.append(self.room)

    cdef object outputs(self, h):
        """h_L (n, n_outputs) as a tensor with the leading axes of X."""
        cdef Py_ssize_t axis
        if self.view.ndim != 2:
            shape = [self.view.shape[axis] for axis in range(self.view.ndim - 1)]
            h = h.reshape((*shape, self.recursion.sizes[-1]))
        return from_numpy(h)

    def infer(self):
        """E1: h_L; nothing is kept."""
        return self.outputs(self.recursion.one_pass.forward_at(
            self.operands.addresses, <Py_ssize_t> self.view.data, self.n, False))

    def forward(self):
        """E1: h_L; keeps what `backward` needs."""
        cdef Recursion recursion = self.recursion
        cdef Py_ssize_t i
        try:
            self.room = recursion.free.pop()
        except IndexError:
            self.room = recursion.new_layers(recursion.activations), RLock()
        self.versions, self.pinned = self.read_versions(), [storage_of(self.X)]
        for i, p in enumerate(self.operands.params):
            if self.operands.views[i].ndim == 2:
                self.pinned.append(storage_of(p))
        return self.outputs((<UncheckedLayers> self.room[0]).forward_at(
            self.operands.addresses, <Py_ssize_t> self.view.data, self.n, True))

    cdef list read_versions(self):
        cdef list versions = [version_of(self.source)]
        cdef Py_ssize_t i
        for i, p in enumerate(self.operands.params):
            # a bias may be an inference tensor, which has none
            versions.append(None if self.operands.views[i].ndim == 1 and is_inference(p)
                            else version_of(p))
        return versions

    def check_unchanged(self, bint biases):
        """X and every W are read again: they must be where they were, and as they were.

        So must every b, where h is computed again.
        """
        cdef View view
        cdef Py_ssize_t i
        cdef list versions = self.read_versions()
        cdef bint same = (look(self.X, &view) == FITS and view.data == self.view.data
                          and versions[0] == self.versions[0])
        for i, p in enumerate(self.operands.params):
            if biases or self.operands.views[i].ndim == 2:
                same = (same and look(p, &view) == FITS
                        and view.data == self.operands.views[i].data
                        and versions[i + 1] == self.versions[i + 1])
        if not same:
            raise RuntimeError(f"X{', a bias' * biases} or a weight of a fused module was modified "
                               "in place between its forward pass and the backward pass, which "
                               "needs it as it was")

    def backward(self, grad_output, bint wants_X, list wanted):
        """E5, E6: dL/dX and the gradients of the parameters, None for what is not wanted.

        `grad_output` is dL/dh_L. None in place of all where it is a tensor that only operations of
        PyTorch can read, and within another call of this.
        """
        cdef View view
        cdef Fault fault = look(grad_output, &view)
        cdef Recursion recursion = self.recursion
        if fault == SUBCLASS or fault == OPAQUE or view.typenum != recursion.typenum:
            return None
        if fault != FITS:
            grad_output = _tensors.readable("grad_output", grad_output)
            look(grad_output, &view)
        if view.size != self.n * <Py_ssize_t> recursion.sizes[-1]:
            raise ValueError(f"grad_output has shape {tuple(grad_output.shape)}; it should have "
                             "that of the output")
        layers, lock = self.room
        with lock:                      # threads may go back over one graph at once
            if self.goes_back:          # and a handler of signals within this thread's pass
                return None
            self.goes_back = True
            try:
                dX, grads = (<UncheckedLayers> layers).backward_at(
                    self.operands.addresses, <Py_ssize_t> self.view.data, <Py_ssize_t> view.data,
                    self.n, wants_X, any(wanted))
            finally:
                self.goes_back = False
        if dX is not None:
            dX = from_numpy(dX if self.view.ndim == 2 else dX.reshape(tuple(self.source.shape)))
        if grads is None:
            return dX, [None] * len(wanted)
        return dX, [from_numpy(a) if want else None
                    for a, want in zip(self.binding.parameters.of_present(grads), wanted)]


cdef class Binding:
    """The children of a Sequential, and what computes in their place."""
    cdef readonly list sizes, activations
    cdef Children children
    cdef Parameters parameters
    cdef readonly Recursion recursion   # in the dtype of the last call's parameters
    cdef dict options                   # keywords of losses that have been asked for
    cdef readonly str reason            # why the children computed last, for a warning

    def __init__(self, module):
        linears, self.activations = _children.layers_of(module)
        self.sizes = [linears[0].in_features, *[linear.out_features for linear in linears]]
        names = {child: name for name, child in module._modules.items()}
        self.children = Children(module)
        self.parameters = Parameters(linears, [names[linear] for linear in linears])
        self.options = {}

    @property
    def free(self):
        """(Layers, lock) that no pass has."""
        return self.recursion.free

    def is_current(self, dict modules):
        """Whether these are the children, and they have the parameters, that there were."""
        return self.children.are_those_of(modules) and not self.parameters.has_new_bias()

    def has_bias(self, Py_ssize_t l):
        """Whether layer l, counted from 0, has a bias among the parameters."""
        return self.parameters.present[2 * l + 1]

    cdef Operands operands(self, bint copied):
        """The parameters of a call; None, and a reason or none, where the children compute."""
        cdef Operands found = None
        cdef int typenum
        self.reason = None
        if is_watched():
            return None
        self.reason = self.children.replaced()
        if self.reason is None:
            found = self.parameters.look_up(copied)
            if found is None:
                self.reason = self.parameters.reason
                return None
            typenum = found.views[0].typenum
            if self.recursion is None or self.recursion.typenum != typenum:
                self.recursion = Recursion(self.sizes, self.activations, typenum,
                                           self.parameters.present, self.parameters.names)
        return found

    def call(self, X):
        """A call on X (..., n_features); None, and a reason or none, where the children compute.

        Raises TypeError for another dtype or device, ValueError for a shape that does not fit.
        """
        cdef Call call = Call()
        cdef Fault fault
        self.reason = None
        if self.children.have_hooks():          # those of weight_norm and prune cost speed
            self.reason = self.parameters.lacking()
            return None
        cdef Operands operands = self.operands(False)
        if operands is None:
            return None
        call.binding, call.recursion = self, self.recursion
        call.operands, call.source = operands, X
        fault = look(X, &call.view)
        if fault != FITS and X.is_nested:
            return None
        if (fault != FITS or call.view.typenum != call.recursion.typenum) and (
                X.dtype is not call.recursion.dtype and X.is_floating_point()
                and torch.is_autocast_enabled("cpu")):
            self.reason = f"X is {X.dtype} under autocast"
            return None
        call.X = self.readable_X(X, fault, &call.view)
        if call.view.ndim < 1 or call.view.shape[call.view.ndim - 1] != self.sizes[0]:
            raise self.wrong_shape(X)
        call.n = call.view.size // <Py_ssize_t> self.sizes[0]
        return call

    cdef object readable_X(self, X, Fault fault, View* view):
        """X, or a copy of it that can be read, in the dtype of the parameters; and its view."""
        if fault != FITS or view.typenum != self.recursion.typenum:
            if isinstance(X, Tensor) and X.layout is torch.strided and (
                    X.dtype is not self.recursion.dtype or not X.is_cpu):
                raise TypeError(f"X is {X.dtype} on {X.device}; it should be "
                                f"{self.recursion.dtype} on the CPU, as the parameters are")
            X = _tensors.readable("X", X)
            look(X, view)
        return X

    cdef object wrong_shape(self, X):
        return ValueError(f"X has shape {tuple(X.shape)}; it should have shape "
                          f"(n_samples, {self.sizes[0]})")

    # ---- loss and gradients at once

    def loss_and_grad(self, X, y, loss, reduction, sample_weight, bint accumulate, clipping=None):
        """The loss of a batch, its gradients in .grad; None where PyTorch must compute them.

        With `clipping`, (max_norm, noise_multiplier, bit generator or None), those of the samples
        are clipped and get noise: the loss and the norms.
        """
        cdef View of_X, of_y, of_weight
        cdef Operands operands = self.operands(True)
        if operands is None:
            return None
        if clipping is not None:
            self.check_each_counts(operands.params)
        X = self.readable_X(X, look(X, &of_X), &of_X)
        if of_X.ndim != 2 or of_X.shape[1] != self.sizes[0]:
            raise self.wrong_shape(X)
        cdef dict options = self.options_of(loss, reduction, sample_weight, of_X.shape[0], y)
        y = as_read("y", y, &of_y)
        cdef Destination to = Destination(self.recursion.memory, operands, accumulate)
        to.keep_apart(&of_X)
        to.keep_apart(&of_y)
        weight = options.get("sample_weight")
        if weight is not None:
            weight = as_read("sample_weight", weight, &of_weight)
            to.keep_apart(&of_weight)
        if clipping is not None:
            value = self.clipped(operands, &of_X, y, weight, to.addresses(), options, clipping)
        else:
            value = self.recursion.logits.loss_and_grad_at(
                operands.addresses, <Py_ssize_t> of_X.data, of_X.shape[0], y, to.addresses(),
                options["loss"], weight, options["divisor"], options.get("pos_weight"),
                options.get("class_weight"), options.get("label_smoothing", 0.0))
        to.hand_over()
        return value

    cdef tuple clipped(self, Operands operands, const View* X, y, weight, list grads, dict options,
                       tuple clipping):
        """(loss, norms): the loss of one sample is that of the kernels over `scale`."""
        max_norm, multiplier, source = clipping
        cdef UncheckedLayers layers = self.recursion.logits
        cdef Py_ssize_t n = X.shape[0]
        divisor, scale = _losses.scale_of_samples(options, n)
        norms = np.empty(n, NAMES[self.recursion.typenum])
        deviation = _arguments.deviation(multiplier, max_norm, norms.dtype, scale=scale)
        raw = None if source is None else _random.many_raw_bits(source, layers.draws())
        value = layers.clipped_loss_and_grad_at(
            operands.addresses, <Py_ssize_t> X.data, n, y, grads, norms, max_norm * scale,
            deviation, raw, options["loss"], weight, divisor, options.get("pos_weight"),
            options.get("class_weight"), options.get("label_smoothing", 0.0))
        finite = np.isfinite(norms)
        if not finite.all():
            bad = int(np.argmin(finite))
            _arguments.refuse_norm(bad, norms[bad], norms.dtype)
        return value, from_numpy(norms if scale == 1 else norms / norms.dtype.type(scale))

    cdef int check_each_counts(self, list params) except -1:
        """Refuse parameters that would count otherwise in the norm of a sample than in .grad."""
        if not all(self.parameters.present):
            raise ValueError("a Linear has no bias, which counts in the norm of a sample's "
                             "gradient; it should have one")
        if not all([wants_grad(p) for p in params]):
            raise ValueError("a parameter is frozen, which counts in the norm of a sample's "
                             "gradient; each should require its gradient")
        if len({id(p) for p in params}) < len(params):
            raise ValueError("a parameter is tied to another, which the norm of a sample's "
                             "gradient counts twice; each should come once")
        return 0

    cdef dict options_of(self, loss, reduction, sample_weight, Py_ssize_t n, y):
        """Keywords of the loss; those of the last call if all that they depend on is the same."""
        key = None if sample_weight is not None else plain_key(loss, reduction, n)
        try:
            options = None if key is None else self.options.get(key)
        except TypeError:               # an option that cannot be, nor be hashed
            key = options = None
        if options is None:
            options = _losses.keywords(loss, reduction, sample_weight, n, self.sizes[-1],
                                       self.activations[-1], y)
            options["divisor"] = any_divisor(options["reduction"])
            if key is not None:
                if len(self.options) > 16:
                    self.options = {}
                self.options[key] = options
        return options


cdef object plain_key(loss, reduction, Py_ssize_t n):
    """What decides the keywords of a loss without weights; None of one that has some."""
    if type(loss) is str:
        return (loss, reduction) if reduction is None or type(reduction) is str else None
    if reduction is not None or type(loss) not in _losses.TRANSLATIONS:
        return None
    cdef dict held = loss.__dict__
    if held["_parameters"]:             # a weight that became one
        return None
    for weight in (<dict> held["_buffers"]).values():
        if weight is not None:
            return None
    return (type(loss), n, held.get("reduction"), held.get("label_smoothing"),
            held.get("ignore_index"), held.get("log_input"), held.get("full"))


cdef object as_read(str name, tensor, View* view):
    """A tensor's values as an ndarray, and its memory; of the tensor itself where that can be."""
    if look(tensor, view) == FITS and view.ndim <= 2:
        return as_array(view)
    array = _tensors.array(name, tensor)
    view.data, view.nbytes = <char*> cnp.PyArray_DATA(array), cnp.PyArray_NBYTES(array)
    return array
