"""Any tensors for a fused module: what the same numbers give as contiguous tensors, or an error
that leaves every parameter and gradient as it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SIZES, WIDTHS, memory_of

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402

DTYPES = [torch.float32, torch.float64] * 4 + [
    torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
FEWER = settings(settings(), max_examples=max(10, settings().max_examples // 2))
LAYOUTS = {"contiguous": torch.clone, "transposed": lambda a: a.mT.contiguous().mT,
           "strided": lambda a: a.repeat_interleave(2, -1)[..., ::2],
           "offset": lambda a: torch.cat([a.new_zeros(1), a.flatten()])[1:].reshape(a.shape),
           "expanded": lambda a: a[:1].expand(a.shape) if len(a) else a,
           "trained": lambda a: a.clone().requires_grad_(a.is_floating_point()),
           "sparse": torch.Tensor.to_sparse, "conjugate": torch.conj,
           "negative": lambda a: torch._neg_view(a) if not a.dtype == torch.bool else a}


@st.composite
def tensors(draw, shape, dtypes=DTYPES):
    if draw(st.integers(0, 9)) == 0:
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = np.asarray(rng.integers(0, 3, shape) / 2)
    plain = torch.from_numpy(values).to(draw(st.sampled_from(dtypes)))
    layout = draw(st.sampled_from(["contiguous"] * 9 + [*LAYOUTS]))
    if len(shape) < 2:
        layout = "contiguous"
    return LAYOUTS[layout](plain)


def dense(tensor):
    return tensor.detach().to_dense().resolve_conj().resolve_neg().contiguous()


@st.composite
def modules(draw):
    torch.manual_seed(0)
    sizes = draw(st.lists(WIDTHS, min_size=2, max_size=4))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    children = [child for i, o in zip(sizes, sizes[1:], strict=False)
                for child in (nn.Linear(i, o, bias=draw(st.booleans()), dtype=dtype),
                              draw(st.sampled_from([nn.Sigmoid, nn.Tanh, nn.ReLU]))())]
    return fuse(nn.Sequential(*children[:-1]), direct=draw(st.booleans())), sizes, dtype


def state(module):
    return memory_of(*(p.detach().numpy() for p in module.parameters())), [
        None if p.grad is None else p.grad.numpy().tobytes() for p in module.parameters()]


@FEWER
@given(st.data())
def test_any_rows(data):
    module, sizes, dtype = data.draw(modules())
    X = data.draw(tensors((data.draw(SIZES), sizes[0])))
    before = state(module)
    try:
        h = module(X)
    except (TypeError, ValueError) as error:
        fits = X.dtype == dtype and X.dim() > 0 and X.shape[-1] == sizes[0]
        assert "X " in str(error) and not (fits and X.layout == torch.strided)
    else:
        assert h.dtype == dtype and h.shape == (*X.shape[:-1], sizes[-1])
        torch.testing.assert_close(h, module(dense(X)), rtol=0, atol=0)
    assert state(module) == before


@FEWER
@given(st.data())
def test_any_loss(data):
    module, sizes, dtype = data.draw(modules())
    n = data.draw(SIZES)
    X, y = data.draw(tensors((n, sizes[0]))), data.draw(tensors((n, sizes[-1])))
    w = data.draw(st.none() | tensors((n,)))
    loss = data.draw(st.sampled_from(["bce", "squared_error", "poisson", nn.MSELoss(), "x", None,
                                      nn.BCEWithLogitsLoss(), nn.L1Loss()]))
    given = {"sample_weight": w} if isinstance(loss, str) else {}
    before = state(module)
    try:
        value = loss_and_grad_(module, X, y, loss, **given)
    except (TypeError, ValueError):
        assert state(module) == before
        return
    grads = [p.grad.clone() for p in module.parameters()]
    assert state(module)[0] == before[0]
    given = {name: None if a is None else dense(a) for name, a in given.items()}
    module.zero_grad()
    assert loss_and_grad_(module, dense(X), dense(y), loss, **given) == value
    for p, grad in zip(module.parameters(), grads, strict=True):
        assert torch.equal(p.grad, grad)
