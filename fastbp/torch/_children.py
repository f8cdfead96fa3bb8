"""The children of a Sequential: which can be fused, and whether they are as PyTorch made them, so
that a native call computes the same.
"""

import inspect

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as modules
from torch.nn.utils import parametrize

from fastbp import _arguments

ACTIVATIONS = {getattr(nn, activation.torch): name
               for name, activation in _arguments.ACTIVATIONS.items() if activation.torch}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = [getattr(modules, f"_global{hooks}") for hooks in HOOKS]


def layers_of(children):
    """The Linears among a Sequential's children, and the name of each one's activation."""
    linears, activations = [], []
    for i, child in enumerate(children):
        kind = parametrize.type_before_parametrizations(child)
        if kind is nn.Linear:
            if not (child.in_features and child.out_features):
                raise TypeError(f"child {i} is {child!r}, which has no units")
            linears.append(child)
            activations.append("identity")
        elif kind in ACTIVATIONS and linears and activations[-1] == "identity":
            activations[-1] = ACTIVATIONS[kind]
        elif kind is not nn.Identity:
            names = ", ".join(kind.__name__ for kind in ACTIVATIONS)
            hint = (": leave out a Dropout that does nothing, under eval() or with p=0"
                    if isinstance(child, nn.Dropout) else "")
            raise TypeError(f"child {i} is {child!r}; it should be a Linear, or one of {names} "
                            f"after a Linear{hint}")
    if not linears:
        raise TypeError("there is no Linear in it")
    for before, after in zip(linears, linears[1:], strict=False):
        if before.out_features != after.in_features:
            raise TypeError(f"{before!r} is followed by {after!r}, which it does not fit")
    return linears, activations


def check_gain(linears, activations):
    """Raise for a block that PyTorch computes as quickly, whatever its size and its batch.

    A lone Linear is one operation of PyTorch's, with a node of C++ in the graph; our node is one of
    Python. `python bench/fuse_blocks.py` measures both; docs/torch.md has the figures, of blocks.
    """
    if len(linears) == 1 and activations == ["identity"]:
        raise TypeError(f"{linears[0]!r} alone is as fast without fastbp; given by itself, or with "
                        "direct=True, it is fused")


# ---- hooks


def hooks_of(*modules):
    """The dicts that hold the hooks of calls."""
    return [getattr(module, hooks) for module in modules for hooks in HOOKS]


def has_hooks(*modules):
    """Whether a call of one of them calls a hook, other than those that remake a weight before it.

    `nn.utils.weight_norm`, `spectral_norm` and `prune` work by such hooks, and can be undone.
    """
    return any(not type(hook).__module__.startswith("torch.nn.utils.")
               for hooks in hooks_of(*modules) for hook in hooks.values())


# ---- what is called


def _as_made(kind):
    """The forward that a class of PyTorch came with; "replaced" if it has another by now."""
    forward = kind.__dict__["forward"]
    made = inspect.isfunction(forward) and forward.__code__.co_filename == inspect.getfile(kind)
    return forward if made else "replaced"


# (owner, name, value); a class of PyTorch's has no `__call__` or `_call_impl` but nn.Module's
_CALLS = [(nn.Module, "__call__", nn.Module.__call__),
          (nn.Module, "_call_impl", nn.Module._call_impl),
          (nn.Sequential, "forward", _as_made(nn.Sequential))]
_CALLS += [(kind, name, value) for kind in (nn.Linear, *ACTIVATIONS) for name, value in
           (("forward", _as_made(kind)), ("__call__", None), ("_call_impl", None))]
_FUNCTIONS = {nn.Linear: [(functional, "linear")], nn.Sigmoid: [(torch, "sigmoid")],
              nn.Tanh: [(torch, "tanh")], nn.ReLU: [(functional, "relu")], nn.Identity: []}
_CALLS += [(owner, name, getattr(owner, name))
           for functions in _FUNCTIONS.values() for owner, name in functions]


def calls_of(children):
    """(owner, name, value) of all that the children call, as PyTorch made it; None: not there."""
    kinds = {parametrize.type_before_parametrizations(child) for child in children}
    owners = [nn.Module, nn.Sequential, *kinds]
    functions = [each for kind in kinds for each in _FUNCTIONS[kind]]
    return [(owner, name, value) for owner, name, value in _CALLS
            if owner in owners or (owner, name) in functions]
