"""loss_and_grad_ gives what it would if X, y and the weights of samples were copied before the
first number of a .grad is written, though they share memory with it. A .grad that shares memory
with a parameter, or with the .grad of another, is refused: not both could have their numbers.

From 256 rows on a gradient is written while later rows are still to be read.
"""

import pytest
from apart import apart

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, sequential  # noqa: E402
from tensors import copied, plain  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import clipped_loss_and_grad_, fuse, loss_and_grad_  # noqa: E402
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


# ---- a .grad that is not its own


SIZES = (4, 4, 4)


def clipped(fused, X, y, loss, **options):
    return clipped_loss_and_grad_(fused, X, y, 1.0, loss, **options)


def with_buffers(made="elsewhere"):
    """A module whose parameters and .grad are views of one flat tensor, and where each begins."""
    fused = fuse(sequential(SIZES))
    X, y = batch(5, SIZES)
    with_gradients(fused, X, y, made)
    return fused, X, y, dict(fused.named_parameters())


def refused(fused, X, y, name, other, **options):
    """By both functions; nothing is written."""
    before = [(p.detach().clone(), p.grad.clone()) for p in fused.parameters()]
    words = f"the grad of {name} overlaps {other}; it should have memory of its own"
    for call in (loss_and_grad_, clipped):
        for accumulate in (False, True):
            with pytest.raises(ValueError, match=f"^{words}$"):
                call(fused, X, y, nn.MSELoss(), accumulate=accumulate)
    for p, (data, grad) in zip(fused.parameters(), before, strict=True):
        assert torch.equal(p, data) and torch.equal(p.grad, grad)


KEYS = ["0.weight", "0.bias", "2.weight", "2.bias"]


@MADE
@pytest.mark.parametrize("kind", ["weight", "bias"])
@pytest.mark.parametrize(("read", "written"), [(0, 0), (2, 0), (0, 2)])
def test_a_parameter_lies_where_the_gradient_is_written(read, written, kind, made):
    """The call would put the gradient in its place."""
    fused, X, y, params = with_buffers(made)
    params[f"{read}.{kind}"].data = params[f"{written}.{kind}"].grad.data
    refused(fused, X, y, f"{written}.{kind}", f"{read}.{kind}")


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("by", [-15, -1, 0, 1, 15])
def test_a_parameter_overlaps_a_gradient_in_part(by, frozen):
    """One that is frozen would be written, too; side by side they are as good as apart."""
    fused, X, y, params = with_buffers()
    flat = torch.rand(64, dtype=torch.float64)
    params["0.weight"].grad = flat[20:36].view(4, 4)
    params["2.weight"].data = flat[20 + by:36 + by].view(4, 4)
    if frozen:
        params["2.weight"].requires_grad_(False)
        with pytest.raises(ValueError, match=r"the grad of 0\.weight overlaps 2\.weight"):
            loss_and_grad_(fused, X, y, nn.MSELoss())
    else:
        refused(fused, X, y, "0.weight", "2.weight")
    params["2.weight"].data = flat[20 - 16:36 - 16].view(4, 4)
    expected = eager(fused, X, y)
    loss_and_grad_(fused, X, y, nn.MSELoss())
    close([p.grad for p in fused.parameters() if p.requires_grad],
          [g for g in expected if g is not None])


@pytest.mark.parametrize(("first", "second"), [("0.weight", "2.weight"), ("0.bias", "2.bias"),
                                               ("0.weight", "2.bias")])
@pytest.mark.parametrize("by", [0, 1, 3])
def test_two_gradients_share_memory(first, second, by):
    fused, X, y, params = with_buffers()
    flat = torch.rand(64, dtype=torch.float64)
    for name, at in ((first, 16), (second, 16 + by)):
        p = params[name]
        p.grad = flat[at:at + p.numel()].view(p.shape)
    refused(fused, X, y, second, f"the grad of {first}")


def test_one_tensor_is_the_gradient_of_two():
    fused, X, y, params = with_buffers()
    params["2.weight"].grad = params["0.weight"].grad
    refused(fused, X, y, "2.weight", "the grad of 0.weight")


def strided(flat, at):
    return flat[at:at + 32:2].view(4, 4)


def transposed(flat, at):
    return flat[at:at + 16].view(4, 4).t()


def negative(flat, at):
    return torch._neg_view(flat[at:at + 16].view(4, 4))


@pytest.mark.parametrize("make", [strided, transposed, negative])
@pytest.mark.parametrize("of", ["data", "grad"])
@pytest.mark.parametrize("by", [0, 2, -4])
def test_memory_that_no_kernel_writes(make, of, by):
    """PyTorch would, number after number."""
    fused, X, y, params = with_buffers()
    flat = torch.rand(64, dtype=torch.float64)
    params["0.weight"].grad = make(flat, 16)
    there = flat[16 + by:32 + by].view(4, 4)
    if of == "data":
        params["2.weight"].data = there
        refused(fused, X, y, "0.weight", "2.weight")
    else:
        params["2.weight"].grad = there
        refused(fused, X, y, "2.weight", "the grad of 0.weight")


@pytest.mark.parametrize("make", [strided, transposed])
def test_a_parameter_that_is_copied_to_be_read(make):
    fused, X, y, params = with_buffers()
    flat = torch.rand(64, dtype=torch.float64)
    params["0.weight"].data = make(flat, 16)
    params["2.bias"].grad = flat[18:22]
    refused(fused, X, y, "2.bias", "0.weight")


@pytest.mark.parametrize("accumulate", [False, True])
def test_interleaved_memory_is_apart(accumulate):
    """Numbers that alternate, beside a gradient in a dtype that NumPy has not."""
    fused, X, y, params = with_buffers()
    flat = torch.rand(64, dtype=torch.float64)
    params["0.weight"].grad, params["2.weight"].grad = flat[0:32:2].view(4, 4), strided(flat, 1)
    params["0.bias"].grad, params["0.bias"].grad_dtype = None, torch.bfloat16
    params["0.bias"].grad = torch.zeros(4, dtype=torch.bfloat16)
    expected = eager(fused, X, y)
    before = [p.grad.clone() if accumulate else 0 for p in fused.parameters()]
    loss_and_grad_(fused, X, y, nn.MSELoss(), accumulate=accumulate)
    for name, p, held, g in zip(KEYS, fused.parameters(), before, expected, strict=True):
        if name != "0.bias":
            close([p.grad], [held + g])
    assert params["0.weight"].grad.data_ptr() == flat.data_ptr()


def test_a_gradient_that_is_replaced_may_overlap():
    """Of another shape, or overlapping itself: .grad is a new tensor, and nothing is written."""
    fused, X, y, params = with_buffers()
    params["0.weight"].grad = params["2.weight"].detach()[:1].expand(4, 4)
    data, expected = [p.detach().clone() for p in fused.parameters()], eager(fused, X, y)
    loss_and_grad_(fused, X, y, nn.MSELoss())
    close([p.grad for p in fused.parameters()], expected)
    assert all(torch.equal(p, kept) for p, kept in zip(fused.parameters(), data, strict=True))


def test_a_tied_parameter_does_not_overlap_itself():
    module = sequential(SIZES)
    module[2].weight = module[0].weight
    fused, (X, y) = fuse(module), batch(5, SIZES)
    expected = torch.autograd.grad(nn.MSELoss()(module(X), y), [*module.parameters()])
    for p in fused.parameters():
        p.grad = torch.zeros_like(p)
    for _ in range(2):
        loss_and_grad_(fused, X, y, nn.MSELoss())
        close([p.grad for p in fused.parameters()], expected)
    fused[0].weight.grad = fused[0].weight.grad.t().contiguous().t()
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
