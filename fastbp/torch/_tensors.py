"""Tensors that cannot be read by their address: a copy that can, or an error."""

import os
from threading import RLock

import torch

from fastbp.torch import _gate

TENSORS = (torch.Tensor, torch.nn.Parameter)      # a subclass may redefine operations

# Threads may go back over graphs of one module at once; a fork leaves the others behind.
_giving = RLock()
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
