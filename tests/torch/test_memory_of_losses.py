"""loss_and_grad_ reads the numbers of X, y and every weight that PyTorch reads; or raises, with the
name of what it cannot read, and leaves .grad as it was.
"""

import pytest
from apart import apart

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, sequential  # noqa: E402
from tensors import CONTEXTS, SHRUNK, SLOTS, WAYS, copied, plain, shrunk  # noqa: E402
from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.testing._internal.two_tensor import TwoTensor  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402

SIZES = (3, 5, 3)


def tensors(n):
    """Positive and of order 1, so that each may be a target or a weight, and none is idle."""
    generator = torch.Generator().manual_seed(3)
    return {name: 0.25 + torch.rand(shape, dtype=torch.float64, generator=generator) / 2
            for name, shape in (("y", (n, 3)), ("sample_weight", (n,)), ("pos_weight", (3,)),
                                ("weight", (3,)))
            } | {"X": batch(n)[0], "classes": torch.arange(n) % 3}


# What one tensor has a part in: loss_and_grad_'s arguments, and PyTorch's of the same loss.
def squared_error(t):
    return (t["X"], t["y"], nn.MSELoss()), {}, lambda h: nn.MSELoss()(h, t["y"])


def weighted(t):
    weight = t["sample_weight"]
    return ((t["X"], t["y"], "squared_error"), {"sample_weight": weight},
            lambda h: (weight[:, None] * (h - t["y"]) ** 2).sum() / 2 / weight.sum())


def bce(t):
    criterion = nn.BCEWithLogitsLoss(pos_weight=t["pos_weight"])
    return (t["X"], t["y"], criterion), {}, lambda h: criterion(h, t["y"])


def cross_entropy(t):
    criterion, y = nn.CrossEntropyLoss(weight=t["weight"]), t["classes"]
    return (t["X"], y, criterion), {}, lambda h: criterion(h, y)


LOSSES = {"X": squared_error, "y": squared_error, "sample_weight": weighted, "pos_weight": bce,
          "weight": cross_entropy}
NAMES = pytest.mark.parametrize("name", LOSSES)


def expected(module, loss, t):
    """The loss and every gradient, as PyTorch computes them of plain copies."""
    module, t = copied(module), {name: plain(a) for name, a in t.items()}
    (X, *_), _, criterion = loss(t)
    value = criterion(module(X))
    return [value.detach(), *torch.autograd.grad(value, [*module.parameters()])]


def got(fused, loss, t):
    arguments, options, _ = loss(t)
    value = loss_and_grad_(fused, *arguments, **options)
    assert type(value) is float
    return [torch.tensor(value, dtype=torch.float64, device="cpu"),
            *(p.grad for p in fused.parameters())]


def refused(call, fused, name):
    """It raises, names what it is about, and no gradient is there or has changed."""
    before = [None if p.grad is None else p.grad.clone() for p in fused.parameters()]
    with pytest.raises((TypeError, ValueError, RuntimeError), match=name):
        call()
    for p, grad in zip(fused.parameters(), before, strict=True):
        assert p.grad is None if grad is None else torch.equal(p.grad, grad)


# ---- defaults, and modes


@apart
@NAMES
@pytest.mark.parametrize("context", [*CONTEXTS, "inference_mode", "no_grad"])
@pytest.mark.parametrize("bias", [True, False])
def test_under_other_defaults(name, context, bias):
    """A first call, and one that finds gradients; where .grad is None, and is of another's."""
    module, t = sequential(SIZES, bias=bias), tensors(300)
    want = expected(module, LOSSES[name], t)
    for foreign in (False, True):
        fused = fuse(nn.Sequential(*module))
        for p in fused.parameters():
            p.grad = torch.full_like(p, torch.nan) if foreign else None
        with CONTEXTS.get(context, getattr(torch, context, None))():
            close(got(fused, LOSSES[name], t), want)
            close(got(fused, LOSSES[name], t), want)
        close(got(fused, LOSSES[name], t), want)


@apart
def test_fake_tensors():
    """A call that must read real numbers cannot be had of fake ones, nor while all are to be fake;
    what was refused then works after it."""
    fused, t = fuse(sequential(SIZES, bias=False)), tensors(4)
    want = expected(fused, squared_error, t)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for name in ("X", "y"):
        fake = t | {name: mode.from_tensor(t[name])}
        refused(lambda fake=fake: got(fused, squared_error, fake), fused, f"^{name} is ")
    fake = t | {"sample_weight": mode.from_tensor(t["sample_weight"])}
    refused(lambda: got(fused, weighted, fake), fused, "^sample_weight is ")
    with mode:
        before = [None if p.grad is None else p.grad for p in fused.parameters()]
        with pytest.raises((TypeError, RuntimeError)):
            loss_and_grad_(fused, t["X"], t["y"], nn.MSELoss())
        assert [p.grad for p in fused.parameters()] == before
        module = fuse(sequential(SIZES))
    refused(lambda: got(module, squared_error, t), module, "weight")
    close(got(fused, squared_error, t), want)


# ---- tensors that are not what their address says


@apart
@NAMES
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n", [4, 300])
def test_any_tensor(name, way, n):
    t = tensors(n)
    t[name] = WAYS[way](t[name])
    fused = fuse(sequential(SIZES))
    # a sum that divides, and a pos_weight that should be above 0
    if way == "zero" and name in ("sample_weight", "weight", "pos_weight"):
        refused(lambda: got(fused, LOSSES[name], t), fused, rf"{name}\b")
        return
    want = expected(fused, LOSSES[name], t)
    for _ in range(2):
        close(got(fused, LOSSES[name], t), want)
    fused.zero_grad()
    close(got(fused, LOSSES[name], t), want)


@apart
@NAMES
def test_a_tensor_that_has_a_graph(name):
    """It is a number as any other, and gets no gradient."""
    fused, t = fuse(sequential(SIZES)), tensors(4)
    want = expected(fused, LOSSES[name], t)
    leaf = t[name].clone().requires_grad_()
    for a in (leaf, leaf * 1):
        close(got(fused, LOSSES[name], t | {name: a}), want)
    assert leaf.grad is None


@apart
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("slot", SLOTS)
def test_any_parameter(slot, way):
    (i, name), t = slot, tensors(300)
    for called in (False, True):
        fused = fuse(sequential(SIZES))
        if called:
            got(fused, squared_error, t)
        p = getattr(fused[i], name)
        if way == "inference":
            with torch.inference_mode():
                setattr(fused[i], name, nn.Parameter(p.data.clone()))
        else:
            p.data = WAYS[way](p.data)
        want = expected(fused, squared_error, t)
        close(got(fused, squared_error, t), want)


# ---- memory that is not there


@apart
@NAMES
@pytest.mark.parametrize("how", SHRUNK)
def test_a_shrunk_tensor(name, how):
    t = tensors(300)
    for called in (False, True):
        fused = fuse(sequential(SIZES))
        if called:
            got(fused, LOSSES[name], t)
        small = t | {name: shrunk(t[name], how)}
        refused(lambda small=small, fused=fused: got(fused, LOSSES[name], small), fused,
                f"{name} ")


@apart
@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("how", SHRUNK)
def test_a_shrunk_parameter(slot, how):
    (i, name), t = slot, tensors(4)
    for called in (False, True):
        fused = fuse(sequential(SIZES))
        if called:
            got(fused, squared_error, t)
        p = getattr(fused[i], name)
        kept, want = p.data, expected(fused, squared_error, t)
        p.data = shrunk(kept, how)
        refused(lambda fused=fused: got(fused, squared_error, t), fused, name)
        p.data = kept
        close(got(fused, squared_error, t), want)


# ---- tensors of other kinds

KINDS = {
    "list": lambda a: a.tolist(), "ndarray": lambda a: a.numpy(), "number": lambda a: 0.5,
    "None": lambda a: None, "complex": lambda a: a + 0j, "bfloat16": torch.Tensor.bfloat16,
    "subclass": lambda a: TwoTensor(a, a.clone()), "meta": lambda a: a.to("meta"),
    "sparse": torch.Tensor.to_sparse, "mkldnn": lambda a: a.float().to_mkldnn(),
    "csr": lambda a: a.reshape(-1, a.shape[-1]).to_sparse_csr(),
    "quantized": lambda a: torch.quantize_per_tensor(a.float(), 0.1, 0, torch.quint8),
    "nested": lambda a: torch.nested.nested_tensor([*a]),
    "jagged": lambda a: torch.nested.nested_tensor([*a.reshape(len(a), -1)], layout=torch.jagged),
}


# PyTorch itself takes nothing else as a weight of a loss; no sample_weight is as good as None
NO_TENSORS = [(name, kind) for kind in KINDS for name in LOSSES if name in ("X", "y") or not (
    kind == "None" or name != "sample_weight" and kind in ("list", "ndarray", "number"))]


@apart
@pytest.mark.parametrize(("name", "kind"), NO_TENSORS)
def test_what_is_no_tensor_of_real_numbers(name, kind):
    """A TypeError that says its name; the gradients stay."""
    fused, t = fuse(sequential(SIZES)), tensors(4)
    got(fused, LOSSES[name], t)
    wrong = t | {name: KINDS[kind](t[name])}
    before = [p.grad.clone() for p in fused.parameters()]
    (_, *rest), options, _ = LOSSES[name](t if name == "X" else wrong)
    with pytest.raises(TypeError, match=f"{name} (is|has) "):
        loss_and_grad_(fused, wrong["X"], *rest, **options)
    close([p.grad for p in fused.parameters()], before)
