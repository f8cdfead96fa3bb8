"""Tensors that cannot be read by their address: a copy that can, or an error."""

import os
from threading import RLock

import numpy as np
import torch

from fastbp.torch import _gate

TENSORS = (torch.Tensor, torch.nn.Parameter)      # a subclass may redefine operations

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

# Threads may go back over graphs of one module at once; a fork leaves the others behind.
_giving = RLock()
if hasattr(os, "register_at_fork"):     # not on Windows
    os.register_at_fork(after_in_child=_giving._at_fork_reinit)


def readable(name, tensor):
    """The tensor if it can be read by its address, else a copy of its values that can.

    Raises TypeError for a tensor that is not dense on the CPU, ValueError for one whose storage
    has become too small.
    """
    if type(tensor) not in TENSORS:
        raise TypeError(f"{name} is of type {type(tensor).__name__}; it should be a Tensor")
    if tensor.is_nested or tensor.is_quantized:
        kind = "nested" if tensor.is_nested else "quantized"
        raise TypeError(f"{name} is a {kind} tensor; it should be a dense one of numbers")
    if tensor.layout is not torch.strided:
        raise TypeError(f"{name} is of layout {tensor.layout}; it should be torch.strided")
    if not tensor.is_cpu:
        raise TypeError(f"{name} is {tensor.dtype} on {tensor.device}; it should be on the CPU")
    if _gate.fits(tensor):
        return tensor
    check_storage(name, tensor)
    with torch.no_grad():
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").copy_(tensor)


def check_storage(name, tensor):
    """Raise for a tensor that reaches past the end of its storage, which can be resized below it.

    Not every operation of PyTorch checks that; some read there.
    """
    if tensor.numel() == 0 or tensor._is_zerotensor():      # these have no memory
        return
    last = sum((size - 1) * stride
               for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last + 1) * tensor.itemsize
    held = tensor.untyped_storage().nbytes()
    if held < needed:
        raise ValueError(f"{name} has a storage of {held} bytes; it should have {needed}")


def array(name, tensor):
    """A tensor's values as an ndarray, of the same memory where that can be read."""
    tensor = readable(name, tensor)
    try:
        return tensor.detach().numpy()
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"{name} is {tensor.dtype} on {tensor.device}; it should be of a dtype "
                        "that NumPy has") from error


def is_plain(p, held):
    """Whether a .grad that is held can be written by PyTorch, element by element, to be p's."""
    return (type(held) in TENSORS and held.layout is torch.strided and held.shape == p.shape
            and held.device == p.device and not held._is_zerotensor()
            and (torch.is_inference_mode_enabled() or not held.is_inference())
            and not _overlaps_itself(held) and _is_whole(held))


def _overlaps_itself(tensor):
    """Whether two elements may be at one address: each stride should step over all lesser ones."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += (size - 1) * stride
    return False


def _is_whole(tensor):
    try:
        check_storage("grad", tensor)
    except ValueError:
        return False
    return True


def refuse_overlap(name, other):
    """Raise for a .grad that shares memory with a parameter, or with that of another."""
    raise ValueError(f"the grad of {name} overlaps {other}; it should have memory of its own")


def check_apart(names, params):
    """`refuse_overlap` for any .grad that is dense, whatever its strides: number by number."""
    read = [(name, _memory(p)) for name, p in zip(names, params, strict=True)
            if not p._is_zerotensor()]
    seen = []
    for i, p in enumerate(params):
        if not p.requires_grad or p.grad is None or not is_plain(p, p.grad) or any(
                p is params[j] for j, _ in seen):
            continue
        grad = _memory(p.grad)
        for name, array in read:
            if _overlap(grad, array):
                refuse_overlap(names[i], name)
        for j, other in seen:
            if _overlap(grad, other):
                refuse_overlap(names[i], f"the grad of {names[j]}")
        seen.append((i, grad))


def _memory(tensor):
    """The memory of a dense tensor as an ndarray of integers: NumPy has no bfloat16."""
    tensor = tensor.detach()
    return (torch._neg_view(tensor) if tensor.is_neg() else tensor).view(
        _INTEGERS[tensor.itemsize]).numpy()


def _overlap(a, b):
    """Whether the arrays share an element; a search that takes too long counts as yes."""
    return np.may_share_memory(a, b) and np.may_share_memory(a, b, max_work=1000)


def give(p, grad, add):
    """Write a gradient into the tensor that .grad holds, or replace it if it cannot be written."""
    with _giving:
        held = p.grad
        if held is None or not is_plain(p, held):
            if held is not None and add:
                # a sum that can be changed outside of inference mode too
                with torch.inference_mode(False), torch.set_grad_enabled(torch.is_grad_enabled()):
                    grad = grad + held      # in this order held may be sparse
            p.grad = grad
            return
        with torch.no_grad():
            if add:
                held += grad
                return
            if held.grad_fn is not None:        # as zero_grad does
                held.detach_()
            held.requires_grad_(False).copy_(grad)
