"""What stands on derivatives of derivatives works through a fused module as through nn.Sequential:
with `create_graph` the children compute.

(Many gradients at once, and the transforms of torch.func, are in test_transforms.py.)
"""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, gradients, same, sequential  # noqa: E402
from torch import nn  # noqa: E402
from torch.autograd import grad, gradcheck, gradgradcheck  # noqa: E402

from fastbp.torch import fuse  # noqa: E402

SIZES = (3, 5, 4, 2)
BIAS = pytest.mark.parametrize("bias", [True, False])


def pair(sizes=SIZES, bias=True):
    """A smooth module, and it fused: they share parameters."""
    module = sequential(sizes, ["tanh", "sigmoid", "tanh"][:len(sizes) - 2] + ["identity"],
                        bias=bias)
    return module, fuse(module)


def leaf(n=4, sizes=SIZES):
    return batch(n, sizes)[0].requires_grad_()


def agree(values, fused, module):
    """``values(module)``, a sequence of tensors, is the same of both, and not all zero."""
    got, expected = [*values(fused)], [*values(module)]
    close([a.detach() for a in got], [a.detach() for a in expected])
    assert all(a.abs().max() > 0 for a in expected)


# ---- create_graph


@BIAS
@pytest.mark.parametrize("activations", [
    ["tanh", "sigmoid", "identity"], ["sigmoid", "tanh", "sigmoid"], ["relu", "identity", "tanh"]],
    ids=str)
def test_gradgradcheck(activations, bias):
    """Gradients by X and every parameter, against finite differences."""
    fused = fuse(sequential(SIZES, activations, bias=bias))
    inputs = (leaf(), *fused.parameters())
    assert gradcheck(lambda X, *params: fused(X), inputs)
    assert gradgradcheck(lambda X, *params: fused(X), inputs, batch(4)[1].requires_grad_())


@pytest.mark.parametrize("n", [0, 1, 4, 300])
def test_first_derivatives_are_the_same_with_a_graph_of_them(n):
    module, fused = pair()
    X, g = leaf(n), batch(n)[1]
    inputs = [X, *fused.parameters()]
    with_graph = grad(fused(X), inputs, g, create_graph=True)
    assert all(a.requires_grad for a in with_graph[:-1])    # that of the last bias is Σ g
    expected = grad(module(X), inputs, g)
    if n:
        close([a.detach() for a in with_graph], expected)
        same(grad(fused(X), inputs, g), gradients(fused, X, g)[1:])
    else:
        assert [a.shape for a in with_graph] == [a.shape for a in expected]


@pytest.mark.parametrize("wanted", ["X", "parameters", "both"])
def test_double_backward(wanted):
    """The gradient of the square of the gradient, which also goes to the gradient that came in."""
    module, fused = pair()
    X = leaf() if wanted != "parameters" else batch(4)[0]
    params = [*fused.parameters()]
    inputs = {"X": [X], "parameters": params, "both": [X, *params]}[wanted]
    g = batch(4)[1].requires_grad_()

    def values(each):
        first = grad(each(X), inputs, g, create_graph=True)
        return grad(sum((a * a).sum() for a in first), [g, *inputs[:-1]])   # the last bias has none

    agree(values, fused, module)


def test_third_derivatives():
    module, fused = pair((1, 5, 4, 1))
    x = leaf(6, (1, 1))

    def values(each):
        y = each(x)
        for _ in range(3):
            y, = grad(y.sum(), x, create_graph=True)
        return [y, *grad(y.square().sum(), [p for p in each.parameters() if p.dim() == 2])]

    agree(values, fused, module)


def test_a_gradient_penalty():
    """WGAN-GP: (‖∂D/∂X‖ − 1)² beside the loss of the outputs, into .grad."""
    module, fused = pair((3, 5, 4, 1))
    X = batch(20)[0]

    def values(each):
        each.zero_grad()
        rows = X.clone().requires_grad_()
        score = each(rows)
        slope, = grad(score.sum(), rows, create_graph=True)
        (score.mean() + 10 * (slope.norm(dim=1) - 1).square().mean()).backward()
        return [rows.grad, *(p.grad.clone() for p in each.parameters())]

    agree(values, fused, module)


def test_a_differential_equation():
    """A PINN: the residual u_t − u_xx + u u_x of a network u(x, t), its loss, and a step."""
    module, fused = pair((2, 5, 4, 1))
    points = batch(20, (2, 1))[0]

    def values(each):
        each.zero_grad()
        x, t = (column[:, None].clone().requires_grad_() for column in points.T)
        u = each(torch.cat([x, t], 1))
        u_x, u_t = grad(u.sum(), [x, t], create_graph=True)
        u_xx, = grad(u_x.sum(), x, create_graph=True)
        residual = u_t - u_xx + u * u_x
        (residual.square().mean() + u.square().mean()).backward()
        return [residual, *(p.grad.clone() for p in each.parameters())]

    agree(values, fused, module)


@pytest.mark.parametrize("direct", [False, True])
def test_an_adapted_step(direct):
    """MAML: the gradient through two inner steps, of the parameters before them."""
    module, _ = pair()
    fused = fuse(nn.Sequential(*module), direct=direct)
    (X, y), (X2, y2) = batch(10), batch(10, seed=5)

    def values(each):
        params = dict(each.named_parameters())
        for _ in range(2):
            loss = (torch.func.functional_call(each, params, (X,)) - y).square().mean()
            steps = grad(loss, [*params.values()], create_graph=True)
            params = {name: p - 0.1 * step
                      for (name, p), step in zip(params.items(), steps, strict=True)}
        loss = (torch.func.functional_call(each, params, (X2,)) - y2).square().mean()
        return [loss, *grad(loss, [*each.parameters()])]

    try:
        agree(values, fused, module)
    except RuntimeError as error:   # as docs/torch.md says of parameters that are in no graph
        assert direct and "used in the graph" in str(error)


def test_backward_with_a_graph_fills_grad():
    """``backward(create_graph=True)``: .grad has a graph, and a second backward() adds."""
    module, fused = pair()
    X, g = batch(4)

    def values(each):
        each.zero_grad()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)    # of a cycle, which zero_grad ends
            each(X).backward(g, create_graph=True)
        first = [p.grad for p in each.parameters()]
        return grad(sum(a.square().sum() for a in first), [*each.parameters()][:-1])

    agree(values, fused, module)
    fused.zero_grad()
    module.zero_grad()


def test_a_direct_module_with_a_graph_of_its_gradient():
    """Right in X and in the parameters' .grad, or refused; never a part of it."""
    module = pair((3, 5, 4, 1))[0]
    X, results = batch(20)[0], []
    for each in (module, fuse(nn.Sequential(*module), direct=True)):
        each.zero_grad()
        rows = X.clone().requires_grad_()
        try:
            slope, = grad(each(rows).sum(), rows, create_graph=True)
            (slope.norm(dim=1) - 1).square().mean().backward()
        except RuntimeError as error:
            assert each is not module and "direct" in str(error)
            return
        results.append([rows.grad, *(torch.zeros_like(p) if p.grad is None else p.grad.clone()
                                     for p in each.parameters())])
    close(*results)


def test_a_change_in_place_before_a_backward_with_a_graph():
    for what in ("X", "weight"):
        _, fused = pair()
        X = leaf()
        h = fused(X * 1 if what == "X" else X)
        with torch.no_grad():
            fused[0].weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified"):
            grad(h.sum(), X, create_graph=True)


def test_what_a_pass_held_is_free_after_a_backward_with_a_graph():
    _, fused = pair()
    X = leaf()
    for _ in range(20):
        grad(fused(X).sum(), X, create_graph=True)[0].sum().backward()
        fused.zero_grad()
    expected = gradients(pair()[0], X, batch(4)[1])
    close(gradients(fused, X, batch(4)[1]), expected)
