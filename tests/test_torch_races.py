"""What happens to a fused module between its passes, or beside one in another thread: parameters
that move, toggle and come back, dicts that are replaced, gradients that someone holds.
"""


import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from test_torch import batch, close, gradients, sequential  # noqa: E402
from test_torch_hooks import unfused  # noqa: E402

from fastbp.torch import fuse  # noqa: E402

# ---- between forward and backward


def test_a_weight_whose_address_comes_back():
    """Memory that `.data =` lets go is not given to another tensor while a pass waits."""
    taken = 0
    for width in range(8, 200, 8):
        fused = fuse(sequential((3, 4, width)))
        X = batch(2)[0].requires_grad_()
        h, W = fused(X), fused[2].weight
        address = W.data_ptr()
        W.data = torch.zeros(1, dtype=W.dtype)
        others = [torch.full((width, 4), 7.0, dtype=W.dtype) for _ in range(20)]
        W.data = next((each for each in others if each.data_ptr() == address), others[0])
        taken += W.data_ptr() == address
        with pytest.raises(RuntimeError, match="modified in place"):
            torch.autograd.grad(h.sum(), X)
    assert not taken


@pytest.mark.parametrize("how", ["in place", "another", "batched"])
def test_a_bias_that_changed_before_the_children_go_back(how):
    """The native way back reads no bias; the one through the children computes h again."""
    module, X = sequential(), batch(4)[0].requires_grad_()
    fused = fuse(module)
    expected = torch.autograd.grad(module(X).sum(), X)
    h, b = fused(X), fused[0].bias
    with torch.no_grad():
        if how == "another":
            b.data = b + 1
        else:
            b += 1
    close(torch.autograd.grad(h.sum(), X, retain_graph=True), expected)
    options = ({"grad_outputs": torch.ones(2, *h.shape, dtype=h.dtype), "is_grads_batched": True}
               if how == "batched" else {"grad_outputs": torch.ones_like(h), "create_graph": True})
    with pytest.raises(RuntimeError, match="a bias or a weight of a fused module was modified"):
        torch.autograd.grad(h, X, **options)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_a_parameter_frozen_in_only_one_of_the_two(direct, trained):
    """As in PyTorch, it gets no gradient."""
    fused, (X, g) = fuse(sequential(), direct=direct), batch(4)
    W = fused[0].weight
    W.requires_grad_(trained)
    h = fused(X)
    W.requires_grad_(not trained)
    h.backward(g)
    assert W.grad is None
    W.requires_grad_()
    expected = gradients(unfused(fused), X, g)[3:]
    close([p.grad for p in [*fused.parameters()][1:]], expected)
