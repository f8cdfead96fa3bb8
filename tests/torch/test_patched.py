"""A fused module computes as nn.Sequential while a method of a child or of its class is replaced:
the numbers are the children's, to the bit; afterwards they are those of one native call again.
"""

import functools

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, gradients, same  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402
from tests.torch.test_hooks import DIRECT, layers, unfused  # noqa: E402


def passes(module, X, g):
    """The output, its gradients, and with a backward() the parameters' .grad."""
    results = gradients(module, X, g)
    module.zero_grad()
    module(X).backward(g)
    return [*results, *(p.grad for p in module.parameters())]


def doubled(forward):
    """A forward that gives twice as much."""
    @functools.wraps(forward)
    def twice(*args, **kwargs):
        return 2 * forward(*args, **kwargs)
    return twice


@DIRECT
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("child", [0, 1, 2, 4])
def test_forward_of_a_child_is_replaced(child, called, direct):
    fused, (X, g) = fuse(layers(), direct=direct), batch(4)
    if called:
        fused(X)
    native = fused(X).detach()
    fused[child].forward = doubled(fused[child].forward)
    if direct:
        fused(X).backward(g)
        same([fused(X), *(p.grad for p in fused.parameters())],
             [unfused(fused)(X), *gradients(unfused(fused), X, g)[2:]])
    else:
        same(passes(fused, X, g), passes(unfused(fused), X, g))
    assert not torch.equal(fused(X), native)
    with pytest.raises(TypeError, match="a forward of its own"):
        loss_and_grad_(fused, X, g, nn.MSELoss())
    del fused[child].forward
    same([fused(X)], [native])


@pytest.mark.parametrize("child", [0, 1])
def test_forward_of_a_child_is_replaced_before_it_is_fused(child):
    module, (X, g) = layers(), batch(4)
    module[child].forward = doubled(module[child].forward)
    expected = gradients(module, X, g)
    same(gradients(fuse(module), X, g), expected)
    larger = nn.ModuleList([module, layers()])
    fuse(larger)
    same(gradients(larger[0], X, g), expected)


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize(("kind", "method"), [
    (nn.Linear, "forward"), (nn.Sigmoid, "forward"), (nn.Tanh, "forward"), (nn.Linear, "__call__"),
    (nn.Tanh, "__call__"), (nn.Module, "__call__"), (nn.Module, "_call_impl"),
    (nn.Sequential, "forward")])
def test_a_method_of_a_class_is_replaced(kind, method, called, monkeypatch):
    """As tools do that trace, count or quantise; the patch is on while the two are compared."""
    fused, (X, g) = fuse(layers()), batch(4)
    if called:
        fused(X)
    original = getattr(kind, method)

    def twice(self, *args, **kwargs):
        factor = 1 if kind is nn.Module and isinstance(self, nn.Sequential) else 2
        return factor * original(self, *args, **kwargs)

    native = gradients(fuse(layers()), X, g)
    with monkeypatch.context() as patch:
        patch.setattr(kind, method, twice, raising=False)
        same(gradients(fused, X, g), gradients(unfused(fused), X, g))
        assert not torch.equal(fused(X), native[0])
    same(gradients(fused, X, g), native)


class Doubled(nn.Linear):
    def forward(self, X):
        return 2 * super().forward(X)


@pytest.mark.parametrize("called", [False, True])
def test_the_class_of_a_child_is_another(called):
    """As parametrisations and fully_shard make it."""
    fused, (X, g) = fuse(layers()), batch(4)
    if called:
        fused(X)
    native = gradients(fused, X, g) if called else None
    fused[2].__class__ = Doubled
    same(gradients(fused, X, g), gradients(unfused(fused), X, g))
    fused[2].__class__ = nn.Linear
    same(gradients(fused, X, g), native or gradients(fuse(layers()), X, g))


def test_a_child_that_is_compiled():
    fused, (X, g) = fuse(layers()), batch(4)
    fused[0].compile(backend="eager")
    close(gradients(fused, X, g), gradients(layers(), X, g))
