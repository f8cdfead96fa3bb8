"""loss_and_grad_ leaves the right gradient in .grad, whatever became of that since the last call.

(Memory that .grad shares with what is read is in test_overlap.py.)
"""

import ctypes

import numpy as np
import pytest
from apart import apart

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, sequential  # noqa: E402
from tensors import WAYS, copied, plain  # noqa: E402
from torch import nn  # noqa: E402
from torch.testing._internal.two_tensor import TwoTensor  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402


def eager(module, X, y):
    """The gradients of the mean squared error, of plain copies."""
    module = copied(module)
    nn.MSELoss()(module(plain(X)), plain(y)).backward()
    return [p.grad for p in module.parameters()]


def case(n, sizes=(4, 4, 3)):
    """A module with gradients of other rows, their own or one's own; and rows."""
    module = fuse(sequential(sizes))
    X, y = batch(n, sizes)
    return module, X, y


def with_gradients(module, X, y, made):
    if made == "here":
        loss_and_grad_(module, 2 * X, y, nn.MSELoss())
    else:
        for p in module.parameters():
            p.grad = torch.full_like(p, 7.0)


MADE = pytest.mark.parametrize("made", ["here", "elsewhere"])


def changed(fused, X, y, made, p, change):
    """Whether .grad could be changed: memory of NumPy's has no other size."""
    with_gradients(fused, X, y, made)
    try:
        change(p)
    except RuntimeError as error:
        assert made == "here" and "not resizable" in str(error)
        with_gradients(fused, X, y, "elsewhere")
        change(p)


def right(fused, expected):
    """Every .grad; one of a narrower dtype is off by its rounding."""
    for p, grad in zip(fused.parameters(), expected, strict=True):
        if p.grad.dtype == grad.dtype:
            close([p.grad], [grad])
        else:
            assert p.grad.shape == p.shape
            assert (p.grad - grad).abs().max() <= torch.finfo(p.grad.dtype).eps * grad.abs().max()

# ---- what became of .grad


def in_memory_of_its_own(change):
    def changed(p):
        p.grad.data = change(p.grad.data)
    return changed


def replaced(change):
    def changed(p):
        p.grad = change(p.grad)
    return changed


def with_a_graph(p):
    p.grad = p.grad * torch.ones((), dtype=p.dtype, requires_grad=True)


def regrown(p):
    storage = p.grad.untyped_storage()
    nbytes = storage.nbytes()
    storage.resize_(0)
    storage.resize_(nbytes)


# These hold numbers that can be written over.
WRITABLE = {
    "transposed in place": lambda p: p.grad.t_(),
    "of other strides": lambda p: p.grad.as_strided_(p.shape, p.grad.stride()[::-1]),
    "other memory": in_memory_of_its_own(torch.clone),
    "set to other memory": lambda p: p.grad.set_(torch.zeros_like(p)),
    "transposed memory": in_memory_of_its_own(WAYS["transposed"]),
    "at an offset": in_memory_of_its_own(WAYS["at an offset"]),
    "strided": in_memory_of_its_own(WAYS["strided"]),
    "negative": in_memory_of_its_own(torch._neg_view),
    "another, negative": replaced(torch._neg_view),
    "another, conjugate": replaced(WAYS["imaginary part of a conjugate"]),
    "another, strided": replaced(WAYS["strided"]),
    "trained": lambda p: p.grad.requires_grad_(),
    "with a graph": with_a_graph,
    "a view": replaced(lambda a: torch.stack([a, a])[1]),
    "a view of itself": replaced(lambda a: a.view_as(a)),
    "memory gone and back": regrown,
}
# These cannot be, or PyTorch would not.
OTHERS = {
    "zero": replaced(WAYS["zero"]),
    "inference": replaced(WAYS["inference"]),
    "expanded": replaced(WAYS["expanded"]),
    "expanded in place": lambda p: p.grad.as_strided_(p.shape, (0,) * p.dim()),
    "overlapping itself": lambda p: p.grad.as_strided_(p.shape, (1,) * p.dim()),
    "sparse": replaced(torch.Tensor.to_sparse),
    "float32": in_memory_of_its_own(torch.Tensor.float),
    "half": in_memory_of_its_own(torch.Tensor.half),
    "of another shape": lambda p: p.grad.resize_(1),
    "transposed, not square": lambda p: p.grad.data.set_(
        torch.zeros(p.shape[::-1], dtype=p.dtype)),
    "with an axis more": lambda p: p.grad.unsqueeze_(0),
    "two tensors": replaced(lambda a: TwoTensor(a, a.clone())),
    "memory gone": lambda p: p.grad.untyped_storage().resize_(0),
    "memory shrunk": lambda p: p.grad.untyped_storage().resize_(p.grad.nbytes - 8),
}
SLOTS = {"weight": (0, "weight"), "last weight": (2, "weight"), "bias": (0, "bias")}


@apart
@MADE
@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("change", WRITABLE)
def test_a_gradient_that_can_be_written(change, slot, made):
    """It is written, where it lies; and afterwards is as `zero_grad` leaves it, without a graph."""
    i, name = SLOTS[slot]
    for n in (4, 300):
        fused, X, y = case(n, (4, 4, 4))    # square, so that a transpose has the shape
        p, expected = getattr(fused[i], name), eager(fused, X, y)
        changed(fused, X, y, made, p, WRITABLE[change])
        kept = p.grad
        for _ in range(2):
            loss_and_grad_(fused, X, y, nn.MSELoss())
            assert p.grad is kept or change == "with a graph"
            right(fused, expected)
            assert not any(p.grad.requires_grad for p in fused.parameters())


@apart
@MADE
@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("change", OTHERS)
def test_a_gradient_that_cannot_be_written(change, slot, made):
    """A new one comes in its place."""
    i, name = SLOTS[slot]
    for n in (4, 300):
        fused, X, y = case(n)
        p, expected = getattr(fused[i], name), eager(fused, X, y)
        changed(fused, X, y, made, p, OTHERS[change])
        loss_and_grad_(fused, X, y, nn.MSELoss())
        right(fused, expected)


@apart
@MADE
@pytest.mark.parametrize("change", ["negative", "strided", "transposed memory", "other memory",
                                    "memory gone and back", "trained"])
def test_what_is_added_to_such_a_gradient(change, made):
    fused, X, y = case(300, (4, 4, 4))
    expected = eager(fused, X, y)
    changed(fused, X, y, made, fused[0].weight, WRITABLE[change])
    with torch.no_grad():
        for p in fused.parameters():
            p.grad.copy_(torch.ones_like(p))
    loss_and_grad_(fused, X, y, nn.MSELoss(), accumulate=True)
    close([p.grad for p in fused.parameters()], [1 + grad for grad in expected])


@apart
@MADE
def test_a_refused_call_leaves_all_gradients(made):
    """y that does not fit, by its shape or its type."""
    fused, X, y = case(300)
    with_gradients(fused, X, y, made)
    before = [p.grad.clone() for p in fused.parameters()]
    with pytest.raises(ValueError, match="^y has shape"):
        loss_and_grad_(fused, X, y[:7], nn.MSELoss())
    with pytest.raises(TypeError, match="^y is "):
        loss_and_grad_(fused, X, None, nn.MSELoss())
    close([p.grad for p in fused.parameters()], before)


HOLDS = {"tensor": lambda grad: grad, "detached": torch.Tensor.detach,
         "view": lambda grad: grad[1:], "storage": torch.Tensor.untyped_storage,
         "typed storage": torch.Tensor.storage, "array": torch.Tensor.numpy,
         "array by DLPack": np.from_dlpack,
         "buffer": lambda grad: memoryview(grad.numpy()),
         "graph": lambda grad: (grad * torch.ones(4, requires_grad=True, dtype=grad.dtype)).sum()}


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("hold", HOLDS)
def test_memory_of_a_gradient_that_is_held(hold):
    """After zero_grad it is taken again if nobody has it in any way, and left to who has."""
    fused, X, y = case(20)
    p = fused[0].bias

    def step():
        fused.zero_grad()
        loss_and_grad_(fused, X, y, nn.MSELoss())
        return p.grad.data_ptr()

    at = step()
    assert step() == at
    holder = HOLDS[hold](p.grad)
    before = plain(p.grad)
    X *= 2
    assert step() != at
    fused.zero_grad()
    loss_and_grad_(fused, X, y, nn.MSELoss())
    memory = np.ctypeslib.as_array(ctypes.cast(at, ctypes.POINTER(ctypes.c_double)), (4,))
    assert np.array_equal(memory, before.numpy())
    del holder


@apart
def test_a_gradient_of_a_wider_dtype():
    """`grad_dtype` lets .grad have another dtype than the parameter: it gets the numbers."""
    fused, X, y = case(300)
    expected = eager(fused, X, y)
    fused[0].weight.grad_dtype = torch.float32
    fused[0].weight.grad = torch.zeros(4, 4)
    for _ in range(2):
        loss_and_grad_(fused, X, y, nn.MSELoss())
        assert fused[0].weight.grad.dtype == torch.float32
        right(fused, expected)


# ---- inference mode


@apart
@pytest.mark.parametrize("bias", [True, False])
def test_a_gradient_that_inference_mode_left(bias):
    """It is like any other afterwards: written, added to, stepped with."""
    fused = fuse(sequential((4, 4, 3), bias=bias))
    X, y = batch(9, (4, 3))
    expected = eager(fused, X, y)
    with torch.inference_mode():
        loss_and_grad_(fused, 2 * X, y, nn.MSELoss())
        loss_and_grad_(fused, X, y, nn.MSELoss())
    assert not any(p.grad.is_inference() for p in fused.parameters())
    close([p.grad for p in fused.parameters()], expected)
    nn.MSELoss()(fused(X), y).backward()
    close([p.grad for p in fused.parameters()], [2 * grad for grad in expected])
    loss_and_grad_(fused, X, y, nn.MSELoss(), accumulate=True)
    close([p.grad for p in fused.parameters()], [3 * grad for grad in expected])
    loss_and_grad_(fused, X, y, nn.MSELoss())
    torch.nn.utils.clip_grad_norm_(fused.parameters(), 1.0)
    before = [p.detach().clone() for p in fused.parameters()]
    torch.optim.SGD(fused.parameters(), lr=0.1, momentum=0.9).step()
    assert not any(map(torch.equal, before, fused.parameters()))
    fused.zero_grad(set_to_none=False)
    assert all(p.grad.abs().max() == 0 for p in fused.parameters())


@apart
@MADE
def test_inference_mode_writes_over_other_gradients(made):
    fused, X, y = case(300)
    expected = eager(fused, X, y)
    with_gradients(fused, X, y, made)
    kept = [p.grad for p in fused.parameters()]
    with torch.inference_mode():
        loss_and_grad_(fused, X, y, nn.MSELoss())
    assert all(p.grad is grad for p, grad in zip(fused.parameters(), kept, strict=True))
    close(kept, expected)
