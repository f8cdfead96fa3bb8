"""loss_and_grad_ gives what it would if X, y, the weights and the parameters were copied before the
first number of a .grad is written, though they share memory with it.

From 256 rows on a gradient is written while later rows are still to be read.
"""

import pytest
from apart import apart

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, sequential  # noqa: E402
from tensors import copied, plain  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402
from tests.torch.test_grads import MADE, case, eager, with_gradients  # noqa: E402

N = pytest.mark.parametrize("n", [4, 300])


def share(n, made, what):
    """A module, rows, and keywords of a call, of which `what` lies in the memory of a .grad."""
    y = torch.rand(n, 1, dtype=torch.float64)
    sizes = {"X": (3, n, 1), "X and a row": (3, n + 1, 1), "y": (4, n, 1),
             "y of the output": (n, 1)}.get(what, (4, n, 3, 1))
    fused = fuse(sequential(sizes))
    X = batch(n, sizes)[0]
    with_gradients(fused, X, y, made)
    with torch.no_grad():
        for p in fused.parameters():
            p.grad.copy_(torch.rand(p.shape, dtype=p.dtype) + 0.5)
    weight, bias = fused[0].weight.grad, fused[0].bias.grad
    options = {}
    if what.startswith("X"):
        X = weight[1:] if what == "X and a row" else weight
    elif what == "y":
        y = bias[:, None]
    elif what == "y of the output":
        y = weight.view(n, 1)
    elif what == "sample_weight":
        options = {"sample_weight": bias}
    return fused, X, y, options


@apart
@N
@MADE
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("what", ["X", "X and a row", "y", "y of the output", "sample_weight"])
def test_what_is_read_lies_where_the_gradient_is_written(what, n, made, accumulate):
    """As if it had been copied first."""
    fused, X, y, options = share(n, made, what)
    twin = fuse(copied(fused))
    if accumulate:
        for p, q in zip(twin.parameters(), fused.parameters(), strict=True):
            p.grad = plain(q.grad)
    value = loss_and_grad_(twin, X.clone(), y.clone(), "squared_error", accumulate=accumulate,
                           **{name: a.clone() for name, a in options.items()})
    assert value == loss_and_grad_(fused, X, y, "squared_error", accumulate=accumulate, **options)
    close([p.grad for p in fused.parameters()], [p.grad for p in twin.parameters()])


@apart
@N
@MADE
@pytest.mark.parametrize("name", ["pos_weight", "weight"])
def test_weights_of_a_loss_lie_where_the_gradient_is_written(name, n, made):
    fused, X, y = case(n)
    with_gradients(fused, X, y, made)
    with torch.no_grad():
        for p in fused.parameters():
            p.grad.copy_(torch.rand(p.shape, dtype=p.dtype) + 0.5)
    kind, y = {"pos_weight": (nn.BCEWithLogitsLoss, torch.rand(n, 3, dtype=torch.float64)),
               "weight": (nn.CrossEntropyLoss, torch.arange(n) % 3)}[name]
    weight, twin = fused[2].bias.grad, fuse(copied(fused))
    value = loss_and_grad_(twin, X, y, kind(**{name: weight.clone()}))
    assert value == loss_and_grad_(fused, X, y, kind(**{name: weight}))
    close([p.grad for p in fused.parameters()], [p.grad for p in twin.parameters()])


@apart
@N
@MADE
@pytest.mark.parametrize(("read", "written"), [
    ((0, "weight"), (0, "weight")), ((2, "weight"), (0, "weight")), ((0, "weight"), (2, "weight")),
    ((2, "bias"), (0, "bias")), ((0, "bias"), (2, "bias")), ((0, "bias"), (0, "bias"))])
def test_a_parameter_lies_where_the_gradient_is_written(read, written, n, made):
    fused = fuse(sequential((4, 4, 4)))
    X, y = batch(n, (4, 4))
    with_gradients(fused, X, y, made)
    getattr(fused[read[0]], read[1]).data = getattr(fused[written[0]], written[1]).grad.data
    expected = eager(fused, X, y)
    loss_and_grad_(fused, X, y, nn.MSELoss())
    close([p.grad for p in fused.parameters()], expected)


@apart
@N
def test_gradients_in_one_flat_buffer(n):
    """Views that touch and do not overlap, behind what is read: the flat memory of DDP and FSDP."""
    fused, X, y = case(n)
    expected = eager(fused, X, y)
    params = [*fused.parameters()]
    flat = torch.zeros(sum(p.numel() for p in params) + X.numel(), dtype=torch.float64)
    x, start = flat[:X.numel()].view(X.shape).copy_(X), X.numel()
    for p in params:
        p.grad, start = flat[start:start + p.numel()].view(p.shape), start + p.numel()
    for _ in range(2):
        loss_and_grad_(fused, x, y, nn.MSELoss())
        close([p.grad for p in params], expected)
        assert torch.equal(x, X) and torch.equal(
            flat[X.numel():], torch.cat([p.grad.flatten() for p in params]))


@apart
@N
@MADE
def test_an_autograd_pass_reads_where_gradients_are_added(n, made):
    """X in the memory of a .grad, both ways back."""
    for direct in (False, True):
        fused, X, y, _ = share(n, made, "X")
        twin = copied(fused)
        for p, q in zip(twin.parameters(), fused.parameters(), strict=True):
            p.grad = plain(q.grad)
        nn.MSELoss()(twin(X.clone()), y).backward()
        nn.MSELoss()(fuse(nn.Sequential(*fused), direct=direct)(X), y).backward()
        close([p.grad for p in fused.parameters()], [p.grad for p in twin.parameters()])
