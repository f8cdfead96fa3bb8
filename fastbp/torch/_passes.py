"""The graph of a fused module: one node forward, whose way back is one native call.

Where PyTorch itself must see the way back (a second derivative, a batch of gradients), it goes
through the operations of PyTorch, from the same X and parameters.
"""

import torch
from torch.nn import functional

from fastbp.torch._tensors import give

_FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
              "identity": lambda z: z}


class Pass(torch.autograd.Function):
    """h_L of X and the parameters."""

    @staticmethod
    def forward(ctx, call, X, *params):
        ctx.operands = call, X, params
        return call.forward()

    @staticmethod
    def backward(ctx, grad_output):
        _, *wanted = ctx.needs_input_grad
        return None, *_way_back(*ctx.operands, grad_output, wanted)


class DirectPass(torch.autograd.Function):
    """The parameters are not inputs of the graph; `anchor` is its only one."""

    @staticmethod
    def forward(ctx, call, X, anchor):
        ctx.operands = call, X, tuple(call.params)
        ctx.trained = [p.requires_grad for p in call.params]
        return call.forward()

    @staticmethod
    def backward(ctx, grad_output):
        if torch.is_grad_enabled():
            raise RuntimeError("a module that was fused with direct=True has first derivatives "
                               "only; for create_graph=True fuse it without")
        call, X, params = ctx.operands
        # as in autograd: no gradient of a parameter that is frozen, now or in the forward pass
        wanted = [ctx.needs_input_grad[1],
                  *(was and p.requires_grad for was, p in zip(ctx.trained, params, strict=True))]
        dX, *grads = _way_back(call, X, params, grad_output, wanted)
        for p, grad in zip(params, grads, strict=True):
            if grad is not None:
                give(p, grad, True)
        return None, dX, None


# Function.apply less its unwrapping of functorch's tensors, which never come here
apply = super(torch.autograd.Function, Pass).apply
apply_direct = super(torch.autograd.Function, DirectPass).apply


def _way_back(call, X, params, grad_output, wanted):
    """[dL/dX, the gradients of the parameters]; None for what is not wanted."""
    again = torch.is_grad_enabled()
    call.check_unchanged(biases=again)
    if not again:
        found = call.backward(grad_output, wanted[0], wanted[1:])
        if found is not None:
            return [found[0], *found[1]]
        call.check_unchanged(biases=True)
    return _through_pytorch(call, X, params, grad_output, wanted)


def _through_pytorch(call, X, params, grad_output, wanted):
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # separate views: a tied parameter is an input for each of its places
        inputs = [t.view_as(t) for t in (X, *params)]
        h = computed(call.binding, *inputs)
        asked = [t for t, want in zip(inputs, wanted, strict=True) if want]
        grads = iter(torch.autograd.grad(h, asked, grad_output, create_graph=again))
    return [next(grads) if want else None for want in wanted]


def computed(binding, X, *params):
    """h_L (E1) by PyTorch's operations on the parameters that are given."""
    h, given = X, iter(params)
    for l, activation in enumerate(binding.activations):
        W = next(given)
        b = next(given) if binding.has_bias(l) else None
        h = _FUNCTIONS[activation](functional.linear(h, W, b))
    return h
