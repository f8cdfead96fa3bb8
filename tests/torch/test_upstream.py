"""PyTorch's own inputs for its modules, `torch.testing._internal.common_modules.module_db`: those
of Linear and the activations through a fused module, of the losses through `loss_and_grad_`.

What each of fused and eager may be off by, u being the unit roundoff, γ(k) = k u/(1 − k u): z of k
products and a bias by e_z = γ(k + 1) (|X| |W|ᵀ + |b|) in any order of sums; an activation moves
with z by at most its slope, 1, and that by at most 1 (max |tanh″| < 0.8), and both round by a few
u. relu's slope jumps at 0, so that no bound holds where |z| ≤ e_z, and no input of theirs is there.
"""

import itertools

import pytest
from apart import apart

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
ACTIVATIONS = {"nothing": None, "Identity": nn.Identity, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh,
               "ReLU": nn.ReLU}
ROUNDINGS = 8   # of an activation and its slope: each function is within 4 ulp on either side
LOSSES = (nn.BCEWithLogitsLoss, nn.BCELoss, nn.CrossEntropyLoss, nn.MSELoss, nn.PoissonNLLLoss)


def inputs_of(kind, dtype):
    """PyTorch's inputs for a class: (its description, the module, the arguments of forward).

    The import makes Hypothesis' profile and other settings PyTorch's, so that it stays in the
    process of `apart`."""
    from torch.testing._internal import common_modules

    info, = (each for each in common_modules.module_db if each.module_cls is kind)
    torch.manual_seed(0)
    for training in (True, False):
        for each in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True,
                                            training=training):
            made, given = each.constructor_input, each.forward_input
            module = kind(*made.args, **made.kwargs).train(training)
            for tensor in itertools.chain(module.parameters(), module.buffers()):
                tensor.data = tensor.data.to(dtype)
            yield f"{kind.__name__} {each.desc}", module, (*given.args, *given.kwargs.values())


def gamma(k, dtype):
    u = torch.finfo(dtype).eps / 2
    return k * u / (1 - k * u)


def within(bound, got, expected):
    """Within the bound on either side of what is exact."""
    assert got.dtype == expected.dtype and got.shape == expected.shape
    off = (got.double() - expected.double()).abs()
    assert (off <= 2 * bound.double()).all(), (off.max(), bound.max())


def passes(module, X, g):
    X = X.detach().clone().requires_grad_()
    h = module(X)
    return [h.detach(), *torch.autograd.grad(h, [X, *module.parameters()], g)]


def bounds(linear, activation, X, g):
    """What the output and the gradients of X, W and b are off by, each of the two sides."""
    dtype, u = X.dtype, torch.finfo(X.dtype).eps / 2
    with torch.no_grad():
        X, g = (a.reshape(-1, a.shape[-1]).double() for a in (X, g))
        W, b = linear.weight.double(), linear.bias
        b = torch.zeros(len(W)).double() if b is None else b.double()
        n, (outputs, k) = len(X), W.shape
        z = X @ W.T + b
        e_z = gamma(k + 1, dtype) * (X.abs() @ W.abs().T + b.abs())
        if activation is nn.ReLU:
            assert ((z.abs() > e_z) | (e_z == 0)).all()
        slope, e_slope = (1.0, 0 * z) if activation in (None, nn.Identity) else (
            1.0, (0 * z if activation is nn.ReLU else e_z + ROUNDINGS * u))
        h = z if activation is None else activation()(z)
        e_h = e_z * slope + ROUNDINGS * u * h.abs()
        delta = g.abs()                                   # |δ| ≤ |g| · slope
        e_delta = delta * (e_slope + u)
        e_X = gamma(outputs, dtype) * (delta @ W.abs()) + e_delta @ W.abs()
        e_W = gamma(n, dtype) * (delta.T @ X.abs()) + e_delta.T @ X.abs()
        e_b = (gamma(n, dtype) * delta + e_delta).sum(0)
        tiny = 4 * torch.finfo(dtype).tiny                # products that underflow
    return [e + tiny for e in ([e_h, e_X, e_W, e_b] if linear.bias is not None
                               else [e_h, e_X, e_W])]


def agree(linear, activation, X, g):
    """Forward and gradients of Linear and activation: fused, eager; with and without a graph."""
    module = nn.Sequential(linear, *([activation()] if activation else []))
    fused = fuse(module).train(module.training)
    got, expected = passes(fused, X, g), passes(module, X, g)
    for bound, a, b in zip(bounds(linear, activation, X, g), got, expected, strict=True):
        within(bound.reshape(a.shape), a, b)
    with torch.no_grad():
        assert torch.equal(fused(X), got[0])


# ---- modules


@apart
@DTYPES
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_linear(name, dtype):
    """Each of theirs, one axis or two, and with more axes in front; with a bias or without."""
    count = 0
    for _, linear, (X,) in inputs_of(nn.Linear, dtype):
        for rows in (X, X.expand(2, 3, *X.shape), torch.stack([X, -X, X / 8])):
            torch.manual_seed(count)
            g = torch.randn(*rows.shape[:-1], linear.out_features, dtype=dtype)
            agree(linear, ACTIVATIONS[name], rows.detach(), g)
            count += 1
    assert count == 18


@apart
@DTYPES
@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "ReLU"])
def test_activations(name, dtype):
    """Behind a Linear of the identity matrix, which is exact; of theirs, a scalar has no axis for
    a Linear, which both refuse, and gets one."""
    count = 0
    for description, _, (X,) in inputs_of(ACTIVATIONS[name], dtype):
        if X.dim() == 0:
            module = nn.Sequential(nn.Linear(1, 1, dtype=dtype), ACTIVATIONS[name]())
            for each in (module, fuse(module)):
                with pytest.raises((RuntimeError, ValueError)):
                    each(X)
            X = X.reshape(1)
        width = X.shape[-1]
        linear = nn.Linear(width, width, dtype=dtype)
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
        g = torch.ones_like(X.detach(), memory_format=torch.contiguous_format)
        agree(linear, ACTIVATIONS[name], X.detach(), g)
        if name == "ReLU":
            got = fuse(nn.Sequential(linear, nn.ReLU()))(X)
            assert torch.equal(got, X.relu()), description
        count += 1
    assert count >= 6


@apart
@pytest.mark.parametrize("name", ["nothing", "Sigmoid", "Tanh"])
def test_second_derivatives(name):
    """Against finite differences, where they say that they have them."""
    for _, linear, (X,) in inputs_of(nn.Linear, torch.float64):
        module = nn.Sequential(linear, *([ACTIVATIONS[name]()] if name != "nothing" else []))
        X = (X.detach() / 8).requires_grad_()       # not where an activation is flat
        fused, inputs = fuse(module), (X, *module.parameters())
        assert torch.autograd.gradcheck(lambda X, *_, f=fused: f(X), inputs)
        assert torch.autograd.gradgradcheck(lambda X, *_, f=fused: f(X), inputs)


# ---- losses


def rows_of(loss, given, target):
    """Their inputs as rows of outputs: a loss of elements keeps the last axis, a cross-entropy has
    its classes in the second, or the only one."""
    if isinstance(loss, nn.CrossEntropyLoss):
        if given.dim() == 1:
            return given[None], target[None]
        classes = given.shape[1]
        flat = target.reshape(-1) if target.dim() < given.dim() else (
            target.movedim(1, -1).reshape(-1, classes))
        return given.movedim(1, -1).reshape(-1, classes), flat
    shape = (-1, given.shape[-1]) if given.dim() else (1, 1)
    return given.reshape(shape), target.reshape(shape)


def refusals(loss, target):
    """What an error may name, of the options that fastbp has not."""
    weight, kind = getattr(loss, "weight", None), type(loss)
    if loss.reduction == "none":
        yield "reduction='none'"
    if kind in (nn.BCELoss, nn.BCEWithLogitsLoss) and weight is not None:
        yield "weight"
    if kind is nn.CrossEntropyLoss:
        if loss.ignore_index != -100:
            yield "ignore_index=1"
        if weight is not None and (target.dim() > 1 or loss.label_smoothing or weight.min() < 0):
            yield "weight"
    if kind is nn.PoissonNLLLoss and (loss.full or not loss.log_input):
        yield "full=True|log_input=False"


def majorants(loss, z, y):
    """In float64, elementwise: what a term of the loss consists of, and what δ = ∂L/∂z does."""
    z, y, kind = z.double(), y.double() if y.is_floating_point() else y, type(loss)
    divisor = 1.0 if loss.reduction == "sum" else float(len(z))
    if kind is nn.CrossEntropyLoss:
        weight = torch.ones(z.shape[1]).double() if loss.weight is None else loss.weight.double()
        if loss.reduction == "mean" and y.dim() == 1:
            divisor = weight[y].sum().item()
        largest = weight.max() * max(1.0, y.sum(1).max().item() if y.dim() > 1 else 1.0)
        terms = largest * (z.max(1, keepdim=True).values - z + z.shape[1]) * z.shape[1]
        return terms / divisor, 2 * largest / divisor + 0 * z
    divisor = divisor if divisor == 1.0 and loss.reduction == "sum" else divisor * z.shape[1]
    if kind is nn.MSELoss:
        return (z.abs() + y.abs()) ** 2 / divisor, 2 * (z.abs() + y.abs()) / divisor
    if kind is nn.PoissonNLLLoss:
        return (z.exp() + y.abs() * z.abs()) / divisor, (z.exp() + y.abs()) / divisor
    # PyTorch's log(1 − f) of a rounded f is off by u f/(1 − f); their f are at most 0.99
    worst = 100.0 if kind is nn.BCELoss else 1.0
    return (z.abs() + 1 + worst) / divisor, 2 / divisor + 0 * z


def check_loss(loss, z, y):
    """Behind a Linear of the identity matrix, which is exact, and for BCELoss a Sigmoid: the loss,
    and the gradients of W and b, which are δᵀ X and Σ δ. (20 roundings of a term or of δ.)"""
    dtype, width, n = z.dtype, z.shape[1], len(z)
    linear = nn.Linear(width, width, dtype=dtype)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    module = nn.Sequential(linear, *([nn.Sigmoid()] if type(loss) is nn.BCELoss else []))
    fused = fuse(module)
    unknown = "|".join(refusals(loss, y))
    if unknown:
        with pytest.raises(ValueError, match=unknown):
            loss_and_grad_(fused, z, y, loss)
        assert linear.weight.grad is None
        return False
    expected = loss(module(z), y)
    gradients = torch.autograd.grad(expected, [linear.weight, linear.bias])
    value = loss_and_grad_(fused, z, y, loss)
    terms, delta = majorants(loss, z, y)
    off = abs(value - expected.item())
    assert off <= 2 * gamma(terms.numel() + 20, dtype) * terms.sum().item(), off
    within(gamma(n + 20, dtype) * delta.T @ z.double().abs(), linear.weight.grad, gradients[0])
    within(gamma(n + 20, dtype) * delta.sum(0), linear.bias.grad, gradients[1])
    return True


@apart
@DTYPES
@pytest.mark.parametrize("kind", LOSSES)
def test_losses(kind, dtype):
    """Each of their inputs, as rows: equal, or refused for an option that fastbp has not."""
    outcomes = []
    for description, loss, (given, target) in inputs_of(kind, dtype):
        given, target = (a.detach() for a in (given, target))
        if kind is nn.BCELoss:
            given = given.logit()
        try:
            outcomes.append(check_loss(loss, *rows_of(loss, given, target)))
            if kind is nn.CrossEntropyLoss and loss.weight is not None:
                loss.weight.abs_()      # theirs may be negative, which is refused
                outcomes.append(check_loss(loss, *rows_of(loss, given, target)))
        except Exception as error:
            raise AssertionError(description) from error
    assert sum(outcomes) >= 4 and len(outcomes) > sum(outcomes)


@apart
@DTYPES
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_of_other_axes(kind, dtype):
    """Theirs as they are, where they are not rows: refused by the name of what has those axes."""
    for _, loss, (given, target) in inputs_of(kind, dtype):
        if given.dim() == 2 or loss.reduction == "none":
            continue
        width = given.shape[-1] if given.dim() else 1
        linear = nn.Linear(width, width, dtype=dtype)
        fused = fuse(nn.Sequential(linear, *([nn.Sigmoid()] if kind is nn.BCELoss else [])))
        with pytest.raises(ValueError, match="^X has shape"):
            loss_and_grad_(fused, given.detach(), target.detach(), loss)
        assert linear.weight.grad is None


@apart
def test_other_losses_are_refused_by_their_name():
    from torch.testing._internal import common_modules

    fused = fuse(nn.Sequential(nn.Linear(3, 3)))
    names = []
    for info in common_modules.module_db:
        if info.module_cls.__name__.endswith("Loss") and info.module_cls not in LOSSES:
            made = next(iter(info.module_inputs_func(info, device="cpu", dtype=torch.float32,
                                                     requires_grad=False, training=True)))
            loss = info.module_cls(*made.constructor_input.args, **made.constructor_input.kwargs)
            with pytest.raises(TypeError, match=f"loss is of type {type(loss).__name__}; it"):
                loss_and_grad_(fused, torch.ones(2, 3), torch.ones(2, 3), loss)
            names.append(type(loss).__name__)
    assert len(names) >= 12
