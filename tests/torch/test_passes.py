"""fastbp.torch: a fused module computes what `fastbp.Layers` computes, to the bit, in a graph of
PyTorch. (That it is a module like any other is in test_module.py, losses are in
test_losses.py.)

Where the standard of comparison is PyTorch's own arithmetic, `close` has the bound.
"""

import copy
import gc
import threading

import numpy as np
import pytest

from fastbp import Layers

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import SIZES, batch, close, gradients, same, sequential  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402

DTYPES = pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=str)
ARCHITECTURES = pytest.mark.parametrize(("sizes", "activations"), [
    ((3, 2), ["identity"]), ((3, 1), ["sigmoid"]), (SIZES, ["sigmoid", "sigmoid", "identity"]),
    (SIZES, ["tanh", "relu", "sigmoid"]), (SIZES, ["relu", "identity", "tanh"])])


# ---- values


@DTYPES
@ARCHITECTURES
@pytest.mark.parametrize("n", [0, 1, 3, 300])
def test_same_bits_as_layers(sizes, activations, kind, n):
    module = sequential(sizes, activations, kind)
    X, g = batch(n, sizes, kind)
    h, dX, *grads = gradients(fuse(module), X, g)
    layers = Layers(sizes, activations, dtype=str(kind).removeprefix("torch."), layout="oi")
    params = [p.detach().numpy() for p in module.parameters()]
    expected = [np.empty_like(a) for a in (X.numpy(), *params)]
    out = layers.forward(params[::2], params[1::2], X.numpy())
    layers.backward(g.numpy(), expected[1::2], expected[2::2], expected[0])
    same([h, dX, *grads], map(torch.from_numpy, [out, *expected]))
    with torch.no_grad():
        assert torch.equal(fuse(module)(X), h)


@ARCHITECTURES
@pytest.mark.parametrize("bias", [True, False])
def test_gradcheck(sizes, activations, bias):
    """By X and every parameter, against finite differences, at points away from relu's edge."""
    fused = fuse(sequential(sizes, activations, bias=bias))
    X = batch(4, sizes)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda X, *params: fused(X), (X, *fused.parameters()))


@ARCHITECTURES
@pytest.mark.parametrize("bias", [True, False])
def test_close_to_eager(sizes, activations, bias):
    module = sequential(sizes, activations, bias=bias)
    X, g = batch(50, sizes)
    close(gradients(fuse(module), X, g), gradients(module, X, g))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 4, 3), (2, 0, 3)])
def test_leading_axes(shape):
    module = sequential()
    X = torch.randn(shape, dtype=torch.float64, device="cpu")
    g = torch.randn(*shape[:-1], 2, dtype=torch.float64, device="cpu")
    expected = gradients(module, X, g)
    got = gradients(fuse(module), X, g)
    assert [a.shape for a in got] == [a.shape for a in expected]
    if X.numel():
        close(got, expected)


@pytest.mark.parametrize("change", [
    lambda a: a.T.contiguous().T, lambda a: a.repeat_interleave(2, 1)[:, ::2],
    lambda a: torch.flip(a, [0]).flip([0]), lambda a: torch.complex(a * 0, -a).conj().imag])
def test_any_layout_of_X_and_of_a_gradient(change):
    fused = fuse(sequential())
    X, g = batch(5)
    same(gradients(fused, change(X), change(g)), gradients(fused, X, g))
    h = fused(X)
    same(torch.autograd.grad(h.sum(), list(fused.parameters())),
         gradients(fused, X, torch.ones_like(h))[2:])


def test_inside_a_larger_graph():
    """A module before, a module after, the same module twice, and a loss of PyTorch's."""
    module, other = sequential((3, 5, 3)), sequential((3, 3))[0]
    X = batch(6)[0]

    def grads(middle):
        for p in (*module.parameters(), *other.parameters()):
            p.grad = None
        torch.tanh(other(middle(other(middle(X))))).square().mean().backward()
        return [p.grad for p in (*module.parameters(), *other.parameters())]

    close(grads(fuse(module)), grads(module))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_direct_backward(frozen):
    """.grad and the gradient of X, within a larger graph; the parameters are not in that graph."""
    module = sequential()
    module[0].requires_grad_(not frozen)
    fused = fuse(module, direct=True)
    X, g = batch(300)
    expected = gradients(module, X, g)
    for times in (1, 2):
        X = X.detach().requires_grad_()
        fused(X).backward(g)
        close([X.grad], expected[1:2])
        got = [p.grad for p in module.parameters() if p.requires_grad]
        close(got, [times * a for a in expected[2:]])
    assert (module[0].weight.grad is None) == frozen
    fused.zero_grad()
    fused(X.detach()).backward(g)
    same([2 * p.grad for p in fused.parameters() if p.requires_grad], got)
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        torch.autograd.grad(fused(X), fused[2].weight, g)
    assert fuse(fused) is fused and not fused.direct
    same(gradients(fused, X, g)[2:], [p.grad for p in fused.parameters() if p.requires_grad])
    assert copy.deepcopy(fuse(module, direct=True)).direct


# ---- calls that wait for one another


def test_passes_wait_for_their_backward():
    """Forward passes of several sizes, gone back over in another order, one of them twice."""
    fused = fuse(sequential())
    batches = [batch(n, seed=n) for n in (5, 300, 1, 40)]
    expected = [gradients(fused, X, g)[2:] for X, g in batches]
    outputs = [fused(X) for X, _ in batches]
    with torch.no_grad():
        fused(batches[1][0])
    for i in (2, 0, 3, 1):
        for _ in range(2):
            same(torch.autograd.grad(outputs[i], list(fused.parameters()), batches[i][1],
                                     retain_graph=True), expected[i])


def test_what_a_pass_holds_is_free_when_its_graph_is():
    fused = fuse(sequential())
    X, g = batch(4)
    for _ in range(50):
        fused(X).backward(g)
        fused(X)                                        # and never gone back over
    gc.collect()
    assert len(fused._bound().free) <= 2
    outputs = [fused(X) for _ in range(3)]
    del outputs
    outputs = [fused(X) for _ in range(3)]
    assert len(fused._bound().free) == 0
    del outputs
    assert len(fused._bound().free) == 3


def test_threads_of_ones_own():
    fused = fuse(sequential())
    X, g = batch(64)
    expected, failed = gradients(fused, X, g), []

    def work():
        for _ in range(200):
            got = gradients(fused, X, g)
            if not all(map(torch.equal, got, expected)):
                failed.append(got)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_checkpointing():
    from torch.utils.checkpoint import checkpoint

    fused = fuse(sequential())
    X, g = batch(5)
    expected = gradients(fused, X, g)
    for reentrant in (True, False):
        same(gradients(fused, X, g)[1:], expected[1:])
        X = X.detach().requires_grad_()
        checkpoint(fused, X, use_reentrant=reentrant).backward(g)
        same([X.grad, *(p.grad for p in fused.parameters())], expected[1:])
        fused.zero_grad()


def test_gradients_add_up_and_are_nobody_elses():
    fused = fuse(sequential())
    X, g = batch(5)
    expected = gradients(fused, X, g)[2:]
    fused(X).backward(g)
    kept = [p.grad for p in fused.parameters()]
    fused(X).backward(g)
    same([p.grad for p in fused.parameters()], [2 * a for a in expected])
    assert all(p.grad is a for p, a in zip(fused.parameters(), kept, strict=True))
    fused.zero_grad()
    fused(2 * X).backward(g)
    same(kept, [2 * a for a in expected])


# ---- what is refused


def test_a_change_between_forward_and_backward():
    """As with PyTorch's own layers: of X and the weights, which are read again; not of a bias."""
    module = fuse(sequential())
    X, g = batch(5)

    def replace(p):
        p.data = p.data.clone()

    for change in (lambda p: p.add_(1), lambda p: p.mul_(1), replace):
        for tensor in (X, *(child.weight for child in module if isinstance(child, nn.Linear))):
            h = module(X)
            with torch.no_grad():
                change(tensor)
            with pytest.raises(RuntimeError, match="modified in place"):
                h.backward(g)
    h = module(X)
    with torch.no_grad():
        module[0].bias.add_(1)
    h.backward(g)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.float32])
def test_other_dtypes_of_X(dtype):
    fused = fuse(sequential())
    with pytest.raises(TypeError, match=rf"X is {dtype} on cpu; it should be torch.float64"):
        fused(torch.zeros(2, 3, dtype=dtype))


def test_other_devices_of_X():
    with pytest.raises(TypeError, match="X is torch.float64 on meta"):
        fuse(sequential())(batch(2)[0].to("meta"))


def test_parameters_of_another_shape():
    fused = fuse(sequential((3, 3, 3)))
    X = batch(2, (3, 3))[0]
    fused(X)
    weight = fused[0].weight
    weight.data = weight.data[:2].clone()
    with pytest.raises(ValueError, match=r"weight has shape \(2, 3\); .*have shape \(3, 3\)"):
        fused(X)
    weight.data = torch.eye(3, dtype=torch.float64)
    fused(X)


def test_memory_that_was_taken_away():
    fused, X = fuse(sequential()), batch(2)[0]
    h = fused(X)
    fused[0].weight.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="a weight has a storage of 0 bytes"):
        fused(X)
    with pytest.raises(RuntimeError, match="modified in place"):
        h.sum().backward()
    X.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="X has a storage of 0 bytes"):
        fuse(sequential())(X)


def test_subclasses_and_fake_tensors():
    """A module passes them through its children; a call that must read them refuses."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    class Special(torch.Tensor):
        pass

    fused, (X, y) = fuse(sequential()), batch(4)
    assert type(fused(X.as_subclass(Special))) is Special
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake = mode.from_tensor(X)
    with mode:
        assert fused(fake).shape == (4, 2)
    for other in (fake, X.as_subclass(Special)):
        with pytest.raises(TypeError, match="X is of type .*; it should be a Tensor"):
            loss_and_grad_(fused, other, y)
    with pytest.raises(RuntimeError):
        torch.func.vmap(lambda x: loss_and_grad_(fused, x[None], y[:1]))(X)


@pytest.mark.parametrize("shape", [(), (2,), (5, 4), (2, 5, 1), (0,), (2, 3, 0)])
def test_other_shapes_of_X(shape):
    with pytest.raises(ValueError, match="X has shape"):
        fuse(sequential())(torch.zeros(shape, dtype=torch.float64))
