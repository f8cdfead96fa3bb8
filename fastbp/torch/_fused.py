"""The fused module: one native call forward, one back, or one for loss and gradients.

A fused module is the Sequential it was made from, the same children under the same names, so its
parameters are shared and never copied: the weight (fan_out, fan_in) of a Linear is what `Layers`
reads with layout="oi". A forward pass that will be gone back over has a Layers to itself until
its graph is freed, so any number of passes may wait for their backward.

It computes on the CPU, in float32 and float64, first derivatives. It knows no optimiser. Memory is
the matter of `_binding`, losses are of `_losses`.
"""

import math
import operator
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from fastbp import _checks
from fastbp.torch import _losses
from fastbp.torch._binding import PLAIN, Binding, Grads, Lease, hooks_of, layers_of

_address = torch.Tensor.data_ptr
_requires_grad = operator.attrgetter("requires_grad")
_version = operator.attrgetter("_version")


# ---- the module


def _forward(ctx, binding, addresses, X, params):
    lease, n = Lease(binding), X.shape[0]
    h = lease.layers.forward_at(addresses, X.data_ptr(), n, True)
    read = binding.read_again((X, *params))
    # a tensor of our own, of the same memory: X.data may be made another
    ctx.kept = binding, lease, addresses, X.detach(), n, read, _state(read)
    return torch.from_numpy(h)


def _backward(ctx, grad_output, wants_X, wanted):
    """dL/dX and the gradients of the parameters that are wanted; None for what is not."""
    if torch.is_grad_enabled():
        raise RuntimeError("a fused module has first derivatives only; for create_graph=True take "
                           "the module that was fused, or nn.Sequential(*fused)")
    binding, lease, addresses, X, n, read, state = ctx.kept
    if _state(read) != state:
        raise RuntimeError("X or a weight of a fused module was modified in place between its "
                           "forward pass and the backward pass, which needs it as it was")
    grad_output = grad_output.contiguous().resolve_neg()
    with lease.lock:                # threads may go back over one graph at once
        dX, grads = lease.layers.backward_at(addresses, X.data_ptr(), grad_output.data_ptr(), n,
                                             wants_X, any(wanted))
    return (None if dX is None else torch.from_numpy(dX),
            [None] * len(wanted) if grads is None else binding.tensors(grads, wanted))


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx, binding, addresses, X, *params):
        return _forward(ctx, binding, addresses, X, params)

    @staticmethod
    def backward(ctx, grad_output):
        _, _, wants_X, *wanted = ctx.needs_input_grad
        dX, grads = _backward(ctx, grad_output, wants_X, wanted)
        return None, None, dX, *grads


class _DirectPass(torch.autograd.Function):
    """The parameters are no inputs of the graph; `anchor` is, so that there is one."""

    @staticmethod
    def forward(ctx, binding, addresses, params, X, anchor):
        ctx.params = params
        return _forward(ctx, binding, addresses, X, params)

    @staticmethod
    def backward(ctx, grad_output):
        wanted = [*map(_requires_grad, ctx.params)]
        dX, grads = _backward(ctx, grad_output, ctx.needs_input_grad[3], wanted)
        _hand_over(ctx.params, grads, accumulate=True)
        return None, None, None, dX, None


def _state(tensors):
    """What an assignment to one of the tensors changes, be it in place or of other memory."""
    return [*map(_version, tensors), *map(_address, tensors)]


# Function.apply less its unwrapping of functorch's tensors, which never come here
_apply = super(torch.autograd.Function, _Pass).apply
_apply_direct = super(torch.autograd.Function, _DirectPass).apply


def _is_native(X):
    """Whether a call computes, and is not one that a tool of PyTorch traces or transforms."""
    return (type(X) in PLAIN and not torch.compiler.is_compiling()
            and not torch._C._is_tracing() and forward_ad._current_level < 0
            and not torch._C._are_functorch_transforms_active())


class FusedSequential(nn.Sequential):
    """The nn.Sequential that `fuse` makes: forward and backward are one native call each.

    Children, parameters and the keys of its state_dict are those of the module that was fused. It
    computes as its children would, one by one, inside torch.compile, torch.jit.trace, the
    transforms of torch.func and forward-mode differentiation, and while a child has hooks.

    `direct` says who fills the parameters' .grad: autograd, or the backward pass by itself.
    """

    direct = False

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_binding"}

    def _bound(self):
        binding = self.__dict__.get("_binding")
        if binding is None or not binding.is_current():
            binding = self.__dict__["_binding"] = Binding(self)
        return binding

    def forward(self, X: Tensor) -> Tensor:
        """h_L (..., n_outputs) of X (..., n_features), both in the dtype of the parameters.

        Raises TypeError for another dtype or device, ValueError for a shape that does not fit.
        """
        if not _is_native(X):
            return super().forward(X)
        binding = self._bound()
        if any(binding.hooks):
            return super().forward(X)
        if X.dim() != 2 and X.dim() > 0 and X.layout is torch.strided:
            h = self.forward(X.reshape(math.prod(X.shape[:-1]), X.shape[-1]))
            return h.reshape(*X.shape[:-1], h.shape[-1])
        params, addresses = binding.params()
        X = binding.input(X)
        if torch.is_grad_enabled():
            trained = any(map(_requires_grad, params))
            if trained and self.direct:
                return _apply_direct(binding, addresses, params, X, binding.anchor)
            if trained or X.requires_grad:
                return _apply(binding, addresses, X, *params)
        return torch.from_numpy(
            binding.one_pass.forward_at(addresses, X.data_ptr(), X.shape[0], False))


# ---- what can be fused


def fuse(module: nn.Module, *, direct: bool = False) -> nn.Module:
    """One native call for a Sequential of Linear and activations, or for each inside a module.

    Parameters
    ----------
    module : torch.nn.Module
        An nn.Sequential of Linear, Sigmoid, Tanh, ReLU and Identity, which stays as it is; or a
        module that has some inside, which are replaced there.
    direct : bool
        True: the backward pass adds to the parameters' .grad by itself, which saves autograd a
        node for each. `backward()` and optimisers work as ever; `torch.autograd.grad` with
        respect to a parameter, hooks of parameters and DistributedDataParallel do not.

    Returns
    -------
    torch.nn.Module
        A FusedSequential with the same children, so the same parameters and the same keys in its
        state_dict; or the module that was given.

    Raises
    ------
    TypeError
        For what is no module, and when there is nothing that can be fused: it says why.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is of type {type(module).__name__}; it should be an nn.Module")
    direct = _checks.boolean("direct", direct)
    found, reasons = {}, []
    fused = _fused(module, found, reasons)
    if not found:
        raise TypeError("module has no nn.Sequential that can be fused"
                        + "".join(f"; {reason}" for reason in reasons[:3]))
    for each in found.values():
        each.direct = direct
    return module if fused is None else fused


def _fused(module, found, reasons):
    """The FusedSequential for a module, or None once those below it are in their places.

    `found` has one for each Sequential, `reasons` why there is none for others.
    """
    if module in found or isinstance(module, FusedSequential):
        return found.setdefault(module, module)
    if type(module) is nn.Sequential:
        try:
            layers_of(module)
            if any(hooks_of(module, *module)):
                raise TypeError("it or a child has hooks, which should be on the fused module")
            fused = found[module] = FusedSequential(OrderedDict(module._modules))
            fused.training = module.training
            return fused
        except TypeError as error:
            reasons.append(f"of an nn.Sequential of {len(module)}: {error}")
    for name, child in module._modules.items():
        fused = None if child is None else _fused(child, found, reasons)
        if fused is not None:
            module._modules[name] = fused
    return None


# ---- loss and gradients at once


def loss_and_grad_(module: FusedSequential, X: Tensor, y: Tensor, loss: str | nn.Module = "bce", *,
                   reduction: str | None = None, sample_weight: Tensor | None = None,
                   accumulate: bool = False) -> float:
    """The loss of a batch, its gradients in the parameters' .grad: no graph, one native call.

    Stands for `optimizer.zero_grad()`, forward, loss and `backward()`: what .grad held is
    overwritten in its memory, and where it is None a new tensor takes its place. No hooks of
    modules or parameters are called.

    Parameters
    ----------
    module : FusedSequential
        Ending in a Linear, or for "bce" and nn.BCELoss in a Sigmoid.
    X : (n, n_features) torch.Tensor
    y : (n,) or (n, n_outputs) torch.Tensor
        (n,) for one output, or for classes.
    loss : {"bce", "cross_entropy", "squared_error", "poisson"} or torch.nn.Module
        By name, fastbp's loss: summed over outputs, "mean" divides by n alone, "squared_error"
        has a factor of a half. An nn.BCEWithLogitsLoss, BCELoss, CrossEntropyLoss, MSELoss or
        PoissonNLLLoss is PyTorch's, with its own reduction and weights.
    reduction : {"mean", "sum"}, optional
        Of a loss by name; "mean" by default.
    sample_weight : (n,) torch.Tensor, optional
        For a loss by name; "mean" divides by its sum.
    accumulate : bool
        Add to what .grad holds.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, and for a loss that cannot be had.
    """
    if not isinstance(module, FusedSequential):
        raise TypeError(f"module is of type {type(module).__name__}; it should be a "
                        "FusedSequential, which fuse returns of an nn.Sequential, or puts in its "
                        "place in a larger module")
    for name, value in (("X", X), ("y", y)):
        if type(value) not in PLAIN:
            raise TypeError(f"{name} is of type {type(value).__name__}; it should be a Tensor")
    binding = module._bound()
    params, addresses = binding.params()
    X = binding.input(X)
    n = X.shape[0]
    options = _losses.keywords(loss, reduction, sample_weight, n, binding.sizes[-1],
                               binding.activations[-1], y)
    accumulate = _checks.boolean("accumulate", accumulate)
    y = _losses.as_array("y", y)
    wanted = [*map(_requires_grad, params)]
    last = binding.last
    again = not accumulate and last is not None and last.is_held(params, wanted)
    grads = last if again else Grads(binding, wanted)
    value = binding.logits.loss_and_grad_at(addresses, X.data_ptr(), n, y, grads.arrays, **options)
    if not again:
        _hand_over(params, grads.tensors, accumulate)
        binding.last = grads
    return value


def _hand_over(params, grads, accumulate):
    """Gradients to what .grad holds, or as the tensor it lacks."""
    written = set()
    for p, grad in zip(params, grads, strict=True):
        if grad is None:                                # of a frozen parameter
            if not accumulate:
                p.grad = None
        elif p.grad is None:
            p.grad = grad
        else:
            with torch.no_grad():
                if accumulate or p in written:          # a tied parameter comes again
                    p.grad += grad
                else:
                    p.grad.copy_(grad)
        written.add(p)
