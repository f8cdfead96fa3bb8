"""PyTorch modules on fastbp's kernels: one native call forward, one back.

    from fastbp.torch import fuse, loss_and_grad_

    model = fuse(model)                             # stays in the graph
    loss = loss_and_grad_(model, X, y, criterion)   # or the loss and every .grad in one call

docs/torch.md says what can be fused, and what a call costs.
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError("fastbp.torch needs PyTorch: pip install 'fastbp[torch]'") from error

from fastbp.torch._fused import FusedSequential, fuse, loss_and_grad_

__all__ = ["FusedSequential", "fuse", "loss_and_grad_"]
