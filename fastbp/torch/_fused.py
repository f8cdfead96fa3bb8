"""The fused module: one native call forward, one back, or one for loss and gradients.

A fused module is the Sequential it was made from, the same children under the same names, so its
parameters are shared and never copied: the weight (fan_out, fan_in) of a Linear is what `Layers`
reads with layout="oi". A forward pass with a backward pass to come has its own Layers until its
graph is freed, so any number of passes may wait for their backward.

It computes on the CPU, in float32 and float64. Where only PyTorch can compute, the children do. It
does not know optimisers. The memory is in `_binding`, the graph in `_passes`, losses in `_losses`.
"""

import operator
import warnings
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from fastbp import _arguments
from fastbp.torch._binding import Binding
from fastbp.torch._children import check_gain, has_hooks, layers_of
from fastbp.torch._passes import apply, apply_direct
from fastbp.torch._tensors import TENSORS

_is_leaf = operator.attrgetter("is_leaf")

# the leaf of a graph without parameters
with torch.inference_mode(False):
    _ANCHOR = torch.zeros((), dtype=torch.float32, device="cpu", requires_grad=True)


class FusedSequential(nn.Sequential):
    """The nn.Sequential that `fuse` makes: forward and backward are one native call each.

    Children, parameters and the keys of its state_dict are those of the module that was fused. It
    computes as its children would, one by one, inside the tools of PyTorch that trace or transform
    what is computed, while a child has hooks or another forward, and with parameters that
    fastbp cannot read; docs/torch.md has the list.

    `direct` says who fills the parameters' .grad: autograd, or the backward pass by itself.
    """

    direct = False

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items()
                if name not in ("_binding", "_warned")}

    def __prepare_scriptable__(self):
        return nn.Sequential(OrderedDict(self._modules)).train(self.training)

    def _bound(self):
        binding = self.__dict__.get("_binding")
        if binding is None or not binding.is_current(self._modules):
            binding = self.__dict__["_binding"] = Binding(self)
        return binding

    def _warn(self, reason):
        """Say once that the children compute, where nothing of PyTorch asked for it."""
        if reason is not None and "_warned" not in self.__dict__:
            self.__dict__["_warned"] = True
            # to the caller of the module: two frames above `forward` are nn.Module's
            warnings.warn(f"{reason}: PyTorch computes this fused module, child after child, which "
                          "is slower (docs/torch.md, When the children compute)", RuntimeWarning,
                          stacklevel=5)

    def forward(self, X: Tensor) -> Tensor:
        """h_L (..., n_outputs) of X (..., n_features), both in the dtype of the parameters.

        Raises TypeError for another dtype or device, ValueError for a shape that does not fit.
        """
        if torch.compiler.is_compiling() or type(X) not in TENSORS:
            return super().forward(X)
        try:
            binding = self._bound()
        except TypeError as error:          # there are other children now
            self._warn(str(error))
            return super().forward(X)
        call = binding.call(X)
        if call is None:
            self._warn(binding.reason)
            return super().forward(X)
        if torch.is_grad_enabled():
            if call.trained and self.direct and all(map(_is_leaf, call.params)):
                return apply_direct(call, X, _ANCHOR)
            if call.trained or X.requires_grad:
                return apply(call, X, *call.params)
        return call.infer()


# ---- what can be fused

AS_SEQUENTIAL = ": write its layers as nn.Sequential(nn.Linear(...), nn.Tanh(), ...)"


def fuse(module: nn.Module, *, direct: bool = False) -> nn.Module:
    """One native call for a Sequential of Linear and activations, or for each inside a module.

    Parameters
    ----------
    module : torch.nn.Module
        An nn.Sequential of Linear, Sigmoid, Tanh, ReLU and Identity, which stays as it is; or a
        module that has some inside, which are replaced there, except a Linear without an
        activation, which gains nothing.
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
        For an argument that is not a module, or has nothing that can be fused; it says why.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is of type {type(module).__name__}; it should be an nn.Module")
    direct = _arguments.boolean("direct", direct)
    found, reasons = {}, []
    fused = _fused(module, found, reasons, direct, given=True)
    if not found:
        raise TypeError("module has no nn.Sequential that can be fused"
                        + ("".join(f"; {reason}" for reason in reasons[:3]) or AS_SEQUENTIAL))
    for each in found.values():
        each.direct = direct
    return module if fused is None else fused


def _fused(module, found, reasons, direct, given=False):
    """The FusedSequential for a module, or None once those below it are in their places.

    `found` has one for each Sequential, `reasons` says why the others have none.
    """
    if module in found or isinstance(module, FusedSequential):
        return found.setdefault(module, module)
    if type(module) is nn.Sequential:
        try:
            layers = layers_of(module)
            if has_hooks(module, *module):
                raise TypeError("it or a child has hooks, which should be on the fused module")
            if not (direct or given):
                check_gain(*layers)
            fused = found[module] = FusedSequential(OrderedDict(module._modules))
            fused.training = module.training
            return fused
        except TypeError as error:
            reasons.append(f"of an nn.Sequential of {len(module)}: {error}")
    for name, child in module._modules.items():
        fused = None if child is None else _fused(child, found, reasons, direct)
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
        For arguments that do not fit, and for a loss that fastbp does not have; for a .grad that
        overlaps a parameter or the .grad of another.
    """
    return _at_once("loss_and_grad_", module, X, y, loss, reduction, sample_weight, accumulate)


def clipped_loss_and_grad_(module: FusedSequential, X: Tensor, y: Tensor, max_norm: float,
                           loss: str | nn.Module = "bce", *, reduction: str | None = None,
                           sample_weight: Tensor | None = None, noise_multiplier: float = 0.0,
                           rng: np.random.Generator | np.random.BitGenerator | None = None,
                           accumulate: bool = False) -> tuple[float, Tensor]:
    """`loss_and_grad_` of DP-SGD: the gradient of each sample clipped to a norm, then noise.

    .grad gets the sum of min(1, max_norm / ||g_i||) g_i and of noise_multiplier max_norm times
    normal numbers, "mean" being divided by n. g_i is by all parameters, each of which should be
    trained, come once, and have its bias.

    Parameters
    ----------
    module, X, y, loss, accumulate
        As for `loss_and_grad_`. The loss of a sample is what PyTorch's, or fastbp's, is of a batch
        of that sample alone.
    max_norm : float
        Above 0; with infinity nothing is clipped.
    reduction : {"mean", "sum"}, optional
        Of a loss by name; "mean" by default, of n samples, whatever they weigh.
    sample_weight : (n,) torch.Tensor, optional
        For a loss by name; multiplies a sample's loss before its gradient is clipped.
    noise_multiplier : float
        At least 0. Above 0, its product with `max_norm` is a number of the parameters' dtype.
    rng : numpy.random.Generator, BitGenerator or None
        Source of the noise (N6), not used without it; None takes fresh entropy, an int is refused.
        The parameters take the normal numbers in their order, each as it lies in memory.

    Returns
    -------
    loss : float
        Neither clipped nor with noise.
    norms : (n,) torch.Tensor
        ||g_i|| before clipping.

    Raises
    ------
    TypeError, ValueError
        As for `loss_and_grad_`; for parameters that are frozen, tied or missing; for a norm that is
        infinite or NaN: .grad then holds nothing of use, or what it held.
    """
    max_norm = _arguments.limit("max_norm", max_norm)
    clipping = max_norm, *_arguments.noise(noise_multiplier, rng)
    return _at_once("clipped_loss_and_grad_", module, X, y, loss, reduction, sample_weight,
                    accumulate, clipping)


def _at_once(name, module, X, y, loss, reduction, sample_weight, accumulate, clipping=None):
    if not isinstance(module, FusedSequential):
        raise TypeError(f"module is of type {type(module).__name__}; it should be a "
                        f"FusedSequential{_advice(module)}")
    binding = module._bound()
    value = binding.loss_and_grad(X, y, loss, reduction, sample_weight,
                                  _arguments.boolean("accumulate", accumulate), clipping)
    if value is None and binding.reason is None:
        raise RuntimeError(f"{name} is one native call, which no tool of PyTorch can trace "
                           "or transform: take module(X) and backward()")
    if value is None:
        raise TypeError(f"{binding.reason}; {name} reads every weight and bias of a Linear "
                        "by itself: take module(X) and backward()")
    return value


def _advice(module):
    """The end of a message: how to make a FusedSequential from another module."""
    if not isinstance(module, nn.Module):
        return ""
    inside = [name for name, each in module.named_modules() if isinstance(each, FusedSequential)]
    if len(inside) == 1:
        return f": its .{inside[0]} is one"
    if inside:
        return (f", of which it has {len(inside)} ({', '.join(inside[:3])}): put the children of "
                "all into one nn.Sequential, and fuse that")
    if type(module) is nn.Sequential:
        return ": write model = fuse(module) once, before the loop"
    if any(type(each) is nn.Sequential for each in module.modules()):
        return ", which fuse(module) puts in the place of each nn.Sequential inside: give that one"
    return AS_SEQUENTIAL + ", and model = fuse(module) once, before the loop"
