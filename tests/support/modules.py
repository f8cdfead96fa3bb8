"""Modules to fuse, batches for them, and what their results are compared by; no test is here."""

from itertools import pairwise

import torch
from torch import nn

KINDS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "identity": nn.Identity}
SIZES = (3, 5, 4, 2)


def sequential(sizes=SIZES, activations=None, dtype=torch.float64, seed=0, bias=True):
    """Its weights are of order 1, so that no unit is idle."""
    torch.manual_seed(seed)
    activations = activations or ["sigmoid"] * (len(sizes) - 2) + ["identity"]
    children = []
    for (i, o), name in zip(pairwise(sizes), activations, strict=True):
        children.append(nn.Linear(i, o, bias=bias, dtype=dtype, device="cpu"))
        nn.init.normal_(children[-1].weight)
        if name != "identity":
            children.append(KINDS[name]())
    return nn.Sequential(*children)


def batch(n, sizes=SIZES, dtype=torch.float64, seed=1):
    options = {"dtype": dtype, "device": "cpu",
               "generator": torch.Generator("cpu").manual_seed(seed)}
    return torch.randn(n, sizes[0], **options), torch.randn(n, sizes[-1], **options)


def gradients(module, X, g):
    """The output, and the gradients of X and of the parameters that require one."""
    X = X.detach().clone().requires_grad_()
    params = [p for p in module.parameters() if p.requires_grad]
    h = module(X)
    return [h.detach(), *torch.autograd.grad(h, [X, *params], g)]


def close(a, b):
    """In float64, within 2^-40 of the largest: sums of under 2^10 products of order 1, each within
    2^-53, through four layers, come to 2^-41; a wrong formula is off by more than 2^-10."""
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype == torch.float64 and x.shape == y.shape
        assert (x - y).abs().max() <= 2.0**-40 * max(1.0, y.abs().max().item())


def same(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype and torch.equal(x, y)
