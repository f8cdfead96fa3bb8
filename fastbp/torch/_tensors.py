"""What becomes of a tensor that the gate stops: a copy that can be read, or an error."""

import torch

from fastbp.torch import _gate

PLAIN = (torch.Tensor, torch.nn.Parameter)      # a subclass has operations of its own


def readable(name, tensor):
    """The tensor if it can be read by its address, else a copy of its values that can.

    Raises TypeError for a tensor that is not dense on the CPU, ValueError for one whose storage
    has become too small.
    """
    if not isinstance(tensor, torch.Tensor) or type(tensor) not in PLAIN:
        raise TypeError(f"{name} is of type {type(tensor).__name__}; it should be a Tensor")
    if tensor.is_nested:
        raise TypeError(f"{name} is a nested tensor; it should be a dense one")
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

    PyTorch does not look in every operation, and reads there.
    """
    if tensor.numel() == 0 or tensor._is_zerotensor():      # of which there is no memory
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


def give(p, grad, add):
    """A gradient to what .grad holds, if that is a tensor like the parameter; else in its place."""
    held = p.grad
    if held is None:
        p.grad = grad
        return
    with torch.no_grad():
        if (held.layout is torch.strided and held.shape == p.shape and held.dtype is p.dtype
                and held.device == p.device and type(held) in PLAIN
                and (torch.is_inference_mode_enabled() or not held.is_inference())):
            if add:
                held += grad
            else:
                held.copy_(grad)
        else:
            p.grad = held + grad if add else grad
