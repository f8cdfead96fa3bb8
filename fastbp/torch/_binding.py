"""What the calls of one fused module need: its layers, their memory, Layers to compute in.

Memory is handed over by address. Addresses, shapes and dtypes of the parameters are read at each
call; where one is new, each tensor's device, layout and storage are checked before anything reads
there.
"""

import operator
from threading import Lock

import torch
from torch import nn

from fastbp._unchecked import UncheckedLayers

ACTIVATIONS = {nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.ReLU: "relu", nn.Identity: "identity"}
DTYPES = {torch.float32: "float32", torch.float64: "float64"}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PLAIN = (torch.Tensor, nn.Parameter)    # a subclass has operations of its own

_address = torch.Tensor.data_ptr
_is_contiguous = torch.Tensor.is_contiguous
_shape = operator.attrgetter("shape")
_dtype = operator.attrgetter("dtype")


def layers_of(children):
    """The Linears among a Sequential's children, and the name of each one's activation."""
    linears, activations = [], []
    for i, child in enumerate(children):
        kind = type(child)
        if kind is nn.Linear:
            linears.append(child)
            activations.append("identity")
        elif kind in ACTIVATIONS and linears and activations[-1] == "identity":
            activations[-1] = ACTIVATIONS[kind]
        elif kind is not nn.Identity:
            names = ", ".join(kind.__name__ for kind in ACTIVATIONS)
            raise TypeError(f"child {i} is {child!r}; it should be a Linear, or one of {names} "
                            "after a Linear")
    if not linears:
        raise TypeError("there is no Linear in it")
    for before, after in zip(linears, linears[1:], strict=False):
        if before.out_features != after.in_features:
            raise TypeError(f"{before!r} is followed by {after!r}, which it does not fit")
    return linears, activations


def hooks_of(*modules):
    """The dicts that hold the hooks of calls."""
    return [getattr(module, hooks) for module in modules for hooks in HOOKS]


class Binding:
    """The layers of a Sequential as they are now, and where their parameters lie."""

    def __init__(self, module):
        linears, self.activations = layers_of(module)
        self.sizes = [linears[0].in_features, *(linear.out_features for linear in linears)]
        self.modules, self.children = module._modules, tuple(module._modules.values())
        self.hooks = hooks_of(*self.children)
        slots = [(linear._parameters, name) for linear in linears for name in ("weight", "bias")]
        self.present = [name == "weight" or held[name] is not None for held, name in slots]
        self.slots = [slot for slot, there in zip(slots, self.present, strict=True) if there]
        self.absent = [slot for slot, there in zip(slots, self.present, strict=True) if not there]
        shapes = [shape for i, o in zip(self.sizes, self.sizes[1:], strict=False)
                  for shape in ((o, i), (o,))]
        self.shapes = [shape for shape, there in zip(shapes, self.present, strict=True) if there]
        # what a backward pass reads again, of X and these parameters: X and every W
        self.read_again = operator.itemgetter(
            0, *(i for i, (_, name) in enumerate(self.slots, 1) if name == "weight"))
        self.anchor = torch.zeros((), requires_grad=True)   # the leaf of a graph without parameters
        self.dtype = self.checked = None    # and the memory of the tensors that were looked at

    def start(self, dtype):
        self.dtype = dtype
        self.zeros = torch.zeros(max(self.sizes), dtype=dtype)      # the b that are absent
        self.free = []                              # Layers that no pass has
        self.one_pass = self.new_layers()           # for passes that keep nothing
        self.logits = self.new_layers(logits=True)
        self.last = None                            # the Grads of the last `loss_and_grad_`

    def new_layers(self, logits=False):
        activations = [*self.activations[:-1], "identity"] if logits else self.activations
        return UncheckedLayers(self.sizes, activations, dtype=DTYPES[self.dtype], layout="oi")

    def is_current(self):
        """Whether the module has the children, and they the parameters, that it had."""
        return tuple(self.modules.values()) == self.children and not (
            self.absent and any(held[name] is not None for held, name in self.absent))

    def params(self):
        """The parameters, and the address of every W and b."""
        try:
            params = [held[name] for held, name in self.slots]
            addresses = [*map(_address, params)]
            memory = [*addresses, *map(_shape, params), *map(_dtype, params)]
        except (KeyError, TypeError):
            raise TypeError("a Linear of the fused module has no weight or bias of its own any "
                            "more; nn.Sequential(*fused) computes with what it has") from None
        if memory != self.checked or not all(map(_is_contiguous, params)):
            self.check(params)
            self.checked = memory
        if self.absent:
            given = iter(addresses)
            addresses = [next(given) if there else self.zeros.data_ptr() for there in self.present]
        return params, addresses

    def check(self, params):
        """Raise for a parameter that cannot be read by its address; they have one dtype."""
        dtype = params[0].dtype
        for (_, name), p, shape in zip(self.slots, params, self.shapes, strict=True):
            if (type(p) not in PLAIN or dtype not in DTYPES or p.dtype is not dtype
                    or not p.is_cpu):
                raise TypeError(f"a {name} is {p.dtype} on {p.device}; every parameter should be "
                                "float32, or every one float64, on the CPU")
            if p.shape != shape or not p.is_contiguous():
                raise ValueError(f"a {name} has shape {tuple(p.shape)} and strides {p.stride()}; "
                                 f"it should have shape {shape} and be contiguous")
            if p.untyped_storage().nbytes() < p.nbytes:
                raise ValueError(f"a {name} has a storage of {p.untyped_storage().nbytes()} bytes; "
                                 f"it should have {p.nbytes}")
        if dtype is not self.dtype:
            self.start(dtype)

    def input(self, X):
        """X (n, n_features), contiguous, so that it can be read by its address."""
        if X.dtype is not self.dtype or not X.is_cpu:
            raise TypeError(f"X is {X.dtype} on {X.device}; it should be {self.dtype} on the CPU, "
                            "as the parameters are")
        if X.layout is not torch.strided:
            raise TypeError(f"X is of layout {X.layout}; it should be torch.strided")
        if X.dim() != 2 or X.shape[1] != self.sizes[0]:
            raise ValueError(f"X has shape {tuple(X.shape)}; it should have shape "
                             f"(n_samples, {self.sizes[0]})")
        X = X.contiguous().resolve_neg()
        held = X.untyped_storage().nbytes() - X.storage_offset() * X.itemsize
        if held < X.nbytes:
            raise ValueError(f"X has a storage of {held} bytes; it should have {X.nbytes}")
        return X

    def tensors(self, grads, wanted):
        """The gradients of the parameters that are there, as tensors; None of one not wanted."""
        if self.absent:
            grads = [a for a, there in zip(grads, self.present, strict=True) if there]
        if all(wanted):
            return [*map(torch.from_numpy, grads)]
        return [torch.from_numpy(a) if want else None
                for a, want in zip(grads, wanted, strict=True)]


class Grads:
    """Gradients that a `loss_and_grad_` wrote: arrays, and tensors of the same memory."""

    def __init__(self, binding, wanted):
        self.wanted, self.arrays = wanted, binding.logits.new_grads()
        self.tensors = binding.tensors(self.arrays, wanted)     # None of a frozen parameter
        self.addresses = self.now()

    def now(self):
        return [0 if grad is None else _address(grad) for grad in self.tensors]

    def is_held(self, params, wanted):
        """Whether .grad of each parameter is still this tensor, of this memory."""
        return (wanted == self.wanted and self.now() == self.addresses
                and [*map(id, self.tensors)] == [id(p.grad) for p in params])


class Lease:
    """A Layers that one forward pass has to itself, as long as its graph is there."""

    __slots__ = ("free", "layers", "lock")

    def __init__(self, binding):
        self.free, self.lock = binding.free, Lock()
        try:
            self.layers = self.free.pop()
        except IndexError:
            self.layers = binding.new_layers()

    def __del__(self):
        self.free.append(self.layers)
