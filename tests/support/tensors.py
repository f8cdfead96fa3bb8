"""Tensors whose numbers are not what their data pointer, sizes and dtype say; no test is here.

`WAYS` make a tensor of a plain one: of the same numbers, but for "zero" and "expanded", which
`plain` makes plain again. `shrunk` ones have less memory than they need.
"""

import contextlib

import torch
from modules import gradients
from torch import nn

SLOTS = [(0, "weight"), (0, "bias"), (2, "weight"), (2, "bias")]    # of `sequential()`'s kind


def offset(a):
    flat = a.new_ones(a.numel() + 12)
    flat[5:5 + a.numel()] = a.flatten()
    return flat[5:5 + a.numel()].view(a.shape)


def strided(a):
    return a.repeat_interleave(2, -1)[..., ::2]


def transposed(a):
    return a.mT.contiguous().mT if a.dim() > 1 else strided(a)


def inference(a):
    with torch.inference_mode():
        return a.clone()


def conjugate(a):
    return torch.complex(torch.zeros_like(a), -a).conj().imag


WAYS = {
    "negative": lambda a: torch._neg_view(-a),
    "imaginary part of a conjugate": conjugate,
    "zero": lambda a: torch._efficientzerotensor(a.shape, dtype=a.dtype),
    "at an offset": offset,
    "strided": strided,
    "transposed": transposed,
    "expanded": lambda a: a[:1].expand(a.shape),
    "inference": inference,
}
VALUES = [way for way in WAYS if way != "inference"]    # PyTorch saves no inference tensors

SHRUNK = ["to nothing", "to less", "at an offset", "strided"]


def shrunk(a, how):
    """A tensor of a's shape whose storage lacks its last number, or all."""
    a = {"at an offset": offset, "strided": strided}.get(how, torch.clone)(a)
    numbers = {"to nothing": 0, "at an offset": a.numel(), "strided": 2 * a.numel() - 2}
    a.untyped_storage().resize_(numbers.get(how, a.numel() - 1) * a.itemsize)
    return a


def plain(a):
    """The numbers of a tensor, as its operations give them, in memory of their own."""
    return (a.detach() * 1).resolve_neg().contiguous().clone()


@contextlib.contextmanager
def default_device(device):
    before = torch.get_default_device()
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(before if before != torch.device("cpu") else None)


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


CONTEXTS = {
    "set_default_device": lambda: default_device("meta"),
    "torch.device": lambda: torch.device("meta"),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype float16": lambda: default_dtype(torch.float16),
}


def copied(module):
    """nn.Sequential of the same children's kinds with plain copies of the parameters."""
    children = []
    for child in module:
        if isinstance(child, nn.Linear):
            with torch.device("cpu"):
                twin = nn.Linear(child.in_features, child.out_features, child.bias is not None)
            twin.weight = nn.Parameter(plain(child.weight), child.weight.requires_grad)
            if child.bias is not None:
                twin.bias = nn.Parameter(plain(child.bias), child.bias.requires_grad)
            child = twin
        children.append(child)
    return nn.Sequential(*children)


def eager(module, X, g):
    """The output, and the gradients of X and the parameters, that PyTorch gives."""
    return gradients(copied(module), plain(X), plain(g))


def raised(call):
    """The type of the error that a call ends in, and None of one that ends well."""
    try:
        call()
    except Exception as error:
        return type(error)
