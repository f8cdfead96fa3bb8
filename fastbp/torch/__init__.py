"""PyTorch modules on fastbp's kernels: one native call forward, one back.

    from fastbp.torch import fuse, loss_and_grad_

    model = fuse(model)                             # stays in the graph
    loss = loss_and_grad_(model, X, y, criterion)   # or the loss and every .grad in one call

`to_torch` and `from_torch` copy the weights of a `fastbp.MLP` into a module, and back.
docs/torch.md says what can be fused, and what a call costs.
"""

try:
    from fastbp.torch._fused import (
        FusedSequential,
        clipped_loss_and_grad_,
        fuse,
        loss_and_grad_,
    )
    from fastbp.torch._networks import from_torch, to_torch
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "torch":
        raise
    raise ImportError("fastbp.torch needs PyTorch: pip install 'fastbp[torch]'") from error

__all__ = ["FusedSequential", "clipped_loss_and_grad_", "from_torch", "fuse", "loss_and_grad_",
           "to_torch"]
