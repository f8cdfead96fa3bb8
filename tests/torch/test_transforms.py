"""Many gradients at once, torch.autograd.functional and torch.func work through a fused module as
through nn.Sequential.
"""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, sequential  # noqa: E402
from torch import nn  # noqa: E402
from torch.autograd import functional, grad  # noqa: E402

from fastbp.torch import fuse  # noqa: E402
from tests.torch.test_derivatives import agree, leaf, pair  # noqa: E402

# ---- torch.autograd.functional, and many gradients at once


@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize("create_graph", [False, True])
def test_jacobian(vectorize, create_graph):
    module, fused = pair()
    X = batch(4)[0]
    agree(lambda each: [functional.jacobian(each, X, vectorize=vectorize,
                                            create_graph=create_graph)], fused, module)


@pytest.mark.parametrize("vectorize", [False, True])
def test_hessian(vectorize):
    module, fused = pair((3, 5, 4, 1))
    X = batch(4)[0]
    agree(lambda each: [functional.hessian(lambda x: each(x).square().sum(), X,
                                           vectorize=vectorize)], fused, module)
    if vectorize:
        agree(lambda each: [functional.hessian(
            lambda x: each(x).square().sum(), X, vectorize=True,
            outer_jacobian_strategy="forward-mode")], fused, module)


@pytest.mark.parametrize("name", ["vjp", "jvp", "hvp", "vhp"])
def test_products(name):
    module, fused = pair((3, 5, 4, 1))
    X = batch(4)[0]
    v = torch.ones(4, 1, dtype=X.dtype) if name == "vjp" else torch.ones_like(X)

    def values(each):
        function = each if name in ("vjp", "jvp") else lambda x: each(x).square().sum()
        return getattr(functional, name)(function, X, v)

    agree(values, fused, module)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("n", [4, 300])
def test_gradients_of_a_batch(n, create_graph):
    """`is_grads_batched`: one gradient for each of a stack of gradients of the output."""
    module, fused = pair()
    X = leaf(n)
    stack = torch.stack([batch(n, seed=seed)[1] for seed in range(3)])
    inputs = [X, *fused.parameters()]
    agree(lambda each: grad(each(X), inputs, stack, is_grads_batched=True,
                            create_graph=create_graph), fused, module)
    close(grad(fused(X), inputs, stack, is_grads_batched=True),
          [torch.stack(each) for each in zip(*(grad(fused(X), inputs, g) for g in stack),
                                             strict=True)])


# ---- torch.func


TRANSFORMS = {
    "jacrev": lambda f, X: torch.func.jacrev(f)(X), "jacfwd": lambda f, X: torch.func.jacfwd(f)(X),
    "hessian": lambda f, X: torch.func.hessian(lambda x: f(x).square().sum())(X),
    "grad of grad": lambda f, X: torch.func.grad(
        lambda x: torch.func.grad(lambda z: f(z).square().sum())(x).square().sum())(X),
    "vjp": lambda f, X: torch.func.vjp(f, X)[1](torch.ones(4, 2, dtype=X.dtype))[0],
    "jvp of grad": lambda f, X: torch.func.jvp(
        torch.func.grad(lambda x: f(x).square().sum()), (X,), (torch.ones_like(X),))[1],
    "vmap of grad": lambda f, X: torch.func.vmap(
        torch.func.grad(lambda x: f(x).square().sum()))(X),
    "vmap": lambda f, X: torch.func.vmap(f)(torch.stack([X, 2 * X])),
    "linearize": lambda f, X: torch.func.linearize(f, X)[1](torch.ones_like(X)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_functions(name):
    module, fused = pair()
    X = batch(4)[0]
    agree(lambda each: [TRANSFORMS[name](each, X)], fused, module)


def test_gradients_of_each_sample():
    module, fused = pair()
    X, y = batch(6)

    def values(each):
        def loss(params, x, t):
            return (torch.func.functional_call(each, params, (x[None],)) - t).square().sum()

        params = {name: p.detach() for name, p in each.named_parameters()}
        return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(params, X, y).values()

    agree(values, fused, module)


def test_an_ensemble():
    fused = [fuse(sequential(seed=seed)) for seed in range(3)]
    params, buffers = torch.func.stack_module_state(fused)
    X = batch(4)[0]
    out = torch.func.vmap(lambda p, b, x: torch.func.functional_call(fused[0], (p, b), (x,)),
                          in_dims=(0, 0, None))(params, buffers, X)
    close([out.detach()], [torch.stack([each(X) for each in fused]).detach()])


@pytest.mark.parametrize("direct", [False, True])
def test_parameters_that_are_computed(direct):
    """functional_call without a transform: the gradient goes on to where they are from."""
    module, _ = pair()
    fused = fuse(nn.Sequential(*module), direct=direct)
    X, g = batch(4)

    def values(each):
        scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        params = {name: scale * p.detach() for name, p in each.named_parameters()}
        torch.func.functional_call(each, params, (X,)).backward(g)
        return [scale.grad]

    agree(values, fused, module)


def test_derivatives_in_both_directions_give_no_warning():
    """They were asked for by a tool of PyTorch."""
    _, fused = pair((3, 5, 4, 1))
    X = leaf()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        grad(fused(X).sum(), X, create_graph=True)
        torch.func.vmap(fused)(X.detach())
        functional.jacobian(fused, X.detach(), vectorize=True)
        torch.func.jvp(fused, (X.detach(),), (X.detach(),))
