"""Where the kernels cannot compute what the children of a fused module can, the children do, to the
bit: other dtypes, autocast, other strides. What that costs is told once for each module.

(Weights that are computed and children that are exchanged are in test_children.py, tools of
PyTorch in test_tools.py.)
"""

import copy
import re
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, gradients, same, sequential  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402
from tests.torch.test_hooks import unfused  # noqa: E402

CALLED = pytest.mark.parametrize("called", [False, True])
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")       # `told` sees them


def layers(dtype=torch.float32):
    return sequential((3, 5, 4, 2), ["tanh", "sigmoid", "identity"], dtype)


def told(call):
    """The RuntimeWarnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught if issubclass(each.category, RuntimeWarning)]


def near(a, b):
    """float32, of order 1: sums of at most 5 products through three layers round less than 2^6
    times by 2^-24 each."""
    assert a.dtype == b.dtype == torch.float32
    assert (a - b).abs().max() <= 2.0**-18 * max(1.0, b.abs().max().item())


def as_children(fused, X, g):
    """Forward and backward give what the children give, to the bit."""
    same(gradients(fused, X, g), gradients(unfused(fused), X, g))
    with torch.no_grad():
        same([fused(X)], [unfused(fused)(X)])


# ---- other dtypes and devices


@CALLED
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64,
                                   torch.complex128], ids=str)
def test_parameters_of_another_dtype(dtype, called):
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    if called:
        fused(X)
    fused.to(dtype)
    as_children(fused, X.to(dtype), g.to(dtype))
    with pytest.raises(TypeError, match=f"weight is {dtype}"):
        loss_and_grad_(fused, X.to(dtype), g.to(dtype), nn.MSELoss())
    fused.to(torch.float32)
    native = fuse(copy.deepcopy(unfused(fused)))
    same(gradients(fused, X, g), gradients(native, X, g))


@CALLED
def test_parameters_on_the_meta_device(called):
    fused, X = fuse(layers()), batch(4)[0].float()
    if called:
        fused(X)
    fused.to("meta")
    for x in (X.to("meta"), X.to("meta").reshape(2, 2, 3)):
        h = fused(x)
        assert h.is_meta and h.shape == (*x.shape[:-1], 2)
        h.sum().backward()
        assert all(p.grad.is_meta for p in fused.parameters())
    with pytest.raises(TypeError, match="weight is .*meta"):
        loss_and_grad_(fused, X, X[:, :2], nn.MSELoss())
    fused.to_empty(device="cpu").load_state_dict(layers().state_dict())
    fused.zero_grad()
    near(fused(X), layers()(X))


@CALLED
@pytest.mark.parametrize("change", [lambda m: m[0].double(), lambda m: m[4].half(),
                                    lambda m: setattr(m[2], "bias", nn.Parameter(
                                        m[2].bias.detach().double()))], ids=["0", "4", "bias"])
def test_parameters_of_several_dtypes(change, called):
    """PyTorch's own error, since the children have one."""
    fused, X = fuse(layers()), batch(4)[0].float()
    if called:
        fused(X)
    change(fused)
    with pytest.raises(RuntimeError, match="dtype"):
        unfused(fused)(X)
    with pytest.raises((TypeError, RuntimeError), match="dtype|every parameter should be"):
        fused(X)


@pytest.mark.parametrize("of_X", [torch.float16, torch.bfloat16, torch.float32, torch.float64,
                                  torch.int64, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("of_parameters", [torch.float32, torch.float64], ids=str)
def test_an_X_of_another_dtype(of_X, of_parameters):
    """Without autocast it is an error, as in PyTorch."""
    fused, X = fuse(layers(of_parameters)), torch.ones(4, 3, dtype=of_X)
    if of_X is of_parameters:
        fused(X)
        return
    with pytest.raises(RuntimeError):
        unfused(fused)(X)
    for x in (X, X[0], X[None]):
        with pytest.raises((TypeError, RuntimeError), match=rf"X is {of_X}|dtype"):
            fused(x)


# ---- autocast


@CALLED
@pytest.mark.parametrize("of_X", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_another_X_under_autocast(dtype, of_X, called):
    """What the Sequential gives, also where that is PyTorch's error."""
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    if called:
        fused(X)
    outcomes = []
    for each in (unfused(fused), fused):
        with torch.autocast("cpu", dtype=dtype):
            try:
                h = each(X.to(of_X))
            except RuntimeError as error:
                outcomes.append(str(error))
                continue
        each.zero_grad()
        h.backward(g.to(h.dtype))
        outcomes.append([h.detach(), *(p.grad for p in each.parameters())])
    if isinstance(outcomes[0], str):
        assert outcomes[1] == outcomes[0]
    else:
        same(*outcomes)


def test_the_same_X_under_autocast():
    """autocast does not reach inside: the numbers are those without it."""
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    expected = gradients(fused, X, g)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(fused, X, g)
        assert got[0].dtype == torch.float32
    same(got, expected)


def test_between_layers_under_autocast():
    """What comes from a Linear under autocast has its dtype, which a Sequential takes."""
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0), layers(), nn.Linear(2, 1))
    twin = copy.deepcopy(module)
    fuse(module)
    X, results = batch(4)[0].float(), []
    for each in (module, twin):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = each(X).float().square().sum()
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in each.parameters())])
    same(*results)


# ---- strides


@CALLED
@pytest.mark.parametrize("slot", [(0, "weight"), (0, "bias"), (2, "weight"), (4, "bias")])
def test_parameters_that_are_not_contiguous(slot, called):
    """The children compute with them; made contiguous, they are read by the kernels again."""
    (i, name), (X, g) = slot, (a.float() for a in batch(4))
    fused = fuse(layers())
    if called:
        fused(X)
    p, native = getattr(fused[i], name), fuse(layers())
    kept = p.data
    p.data = kept.mT.contiguous().mT if kept.dim() > 1 else kept.repeat_interleave(2)[::2]
    as_children(fused, X, g)
    p.data = kept
    same(gradients(fused, X, g), gradients(native, X, g))


# ---- what is told


def strided(fused):
    fused[2].weight.data = fused[2].weight.data.mT.contiguous().mT


def negative(fused):
    fused[2].bias.data = torch._neg_view(fused[2].bias.data)


def zero(fused):
    fused[2].bias.data = torch._efficientzerotensor((4,))


@pytest.mark.parametrize(("change", "dtype", "word"), [
    (strided, torch.float32, "contiguous"), (negative, torch.float32, "a bias .*negative bit"),
    (zero, torch.float32, "a bias .*without memory"), (nn.Module.half, torch.float16, "float16"),
    (nn.Module.bfloat16, torch.bfloat16, "bfloat16"),
    (lambda m: m.to(torch.complex64), torch.complex64, "complex64")],
    ids=["strided", "negative", "zero", "half", "bfloat16", "complex"])
def test_a_fallback_that_was_not_asked_for_is_told_once(change, dtype, word):
    """Once for each module, with the reason."""
    X = batch(4)[0].to(dtype)
    for _ in range(2):
        fused = fuse(layers())
        change(fused)
        with torch.no_grad():
            messages = told(lambda fused=fused: fused(X))
        assert len(messages) == 1 and re.search(word, messages[0])
        assert not told(lambda fused=fused: [fused(X).abs().sum().backward() for _ in range(3)])
    fused = fuse(layers())
    assert not told(lambda: fused(X.float() if not dtype.is_complex else X.real))


def test_what_is_told_names_the_line_of_the_call():
    """By it Python's filters tell one call from another."""
    modules, X = [fuse(layers()), fuse(layers())], batch(4)[0].float()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for fused in modules:
            strided(fused)
        modules[0](X)
        modules[1](X)
    assert [each.filename for each in caught] == [__file__] * 2
    assert caught[0].lineno + 1 == caught[1].lineno


def test_an_error_that_a_warning_becomes_is_none_twice():
    """With warnings as errors the module computes from the next call on."""
    fused, X = fuse(layers()), batch(4)[0].float()
    strided(fused)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="contiguous"):
            fused(X)
        same([fused(X)], [unfused(fused)(X)])


def test_native_calls_are_silent():
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    for x, out in ((X, g), (X.mT.contiguous().mT, g), (X.reshape(2, 2, 3), g.reshape(2, 2, 2))):
        assert not told(lambda x=x, out=out: gradients(fused, x, out))
    assert not told(lambda: loss_and_grad_(fused, X, g, nn.MSELoss()))
