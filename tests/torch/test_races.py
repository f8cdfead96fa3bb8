"""What happens to a fused module between its passes, or beside one in another thread: parameters
that move, toggle and come back, dicts that are replaced, gradients that someone holds.
"""

import os
import signal
import threading
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, gradients, same, sequential  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402
from tests.torch.test_hooks import unfused  # noqa: E402

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


# ---- dicts that are replaced


@pytest.mark.parametrize("child", [0, 1])
def test_hooks_in_a_dict_that_took_anothers_place(child):
    """Hooks are cleared so by some: `module._forward_hooks = OrderedDict()`."""
    fused, X, seen = fuse(sequential()), batch(4)[0], []
    fused(X)
    fused[child]._forward_hooks = OrderedDict()
    handle = fused[child].register_forward_hook(lambda *_: seen.append(1))
    fused(X)
    handle.remove()
    fused(X)
    assert seen == [1]


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_parameters_in_a_dict_that_took_anothers_place(kind):
    fused, (X, g) = fuse(sequential()), batch(4)
    fused(X)
    loss_and_grad_(fused, X, g, nn.MSELoss())
    linear = fused[0]
    linear._parameters = kind((name, nn.Parameter(2 * p.detach()))
                              for name, p in linear._parameters.items())
    close(gradients(fused, X, g), gradients(unfused(fused), X, g))
    loss_and_grad_(fused, X, g, nn.MSELoss())
    params = [*fused.parameters()]
    close([p.grad for p in params],
          torch.autograd.grad(nn.MSELoss()(unfused(fused)(X), g), params))


# ---- gradients that someone holds, or has changed

HELD = {"tensor": lambda g: g, "view": lambda g: g.view(-1), "detached": torch.Tensor.detach,
        "data": lambda g: g.data, "array": torch.Tensor.numpy,
        "array of a view": lambda g: g.detach().numpy()[:1],
        "storage": torch.Tensor.untyped_storage,
        "capsule": torch.utils.dlpack.to_dlpack,
        "graph": lambda g: (g * torch.ones_like(g, requires_grad=True)).sum()}


@pytest.mark.parametrize("held", HELD)
def test_memory_that_someone_holds(held):
    fused, (X, y) = fuse(sequential()), batch(4)
    loss_and_grad_(fused, X, y, nn.MSELoss())
    W = fused[0].weight
    address, holder = W.grad.data_ptr(), HELD[held](W.grad)
    for _ in range(3):
        fused.zero_grad()
        loss_and_grad_(fused, X, y, nn.MSELoss())
        assert W.grad.data_ptr() != address
    del holder


def marked(g):
    g.mark = 1


def hooked(g):
    g.requires_grad_().register_hook(torch.zeros_like)
    g.requires_grad_(False)


def differentiated(g):
    g.requires_grad_().sum().backward()
    g.requires_grad_(False)


@pytest.mark.parametrize("change", [marked, hooked, differentiated])
def test_a_new_gradient_has_nothing_of_the_last(change):
    fused, (X, y) = fuse(sequential()), batch(4)
    loss_and_grad_(fused, X, y, nn.MSELoss())
    W = fused[0].weight
    change(W.grad)
    fused.zero_grad()
    loss_and_grad_(fused, X, y, nn.MSELoss())
    assert not W.grad.__dict__ and W.grad._backward_hooks is None and W.grad.grad is None


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_gradient_of_inference_mode_is_replaced_outside(accumulate):
    fused, (X, y) = fuse(sequential()), batch(4)
    loss_and_grad_(fused, X, y, nn.MSELoss())
    expected = [p.grad.clone() for p in fused.parameters()]
    for p in fused.parameters():
        with torch.inference_mode():
            p.grad = torch.zeros_like(p)
    loss_and_grad_(fused, X, y, nn.MSELoss(), accumulate=accumulate)
    same([p.grad for p in fused.parameters()], expected)
    torch.nn.utils.clip_grad_norm_(fused.parameters(), 1.0)     # in place


def test_a_sum_within_inference_mode_can_be_changed_outside():
    fused, (X, y) = fuse(sequential()), batch(4)
    loss_and_grad_(fused, X, y, nn.MSELoss())
    expected = fused[0].weight.grad * 2
    fused[0].weight.grad = fused[0].weight.grad.to_sparse()     # which cannot be written in place
    with torch.inference_mode():
        loss_and_grad_(fused, X, y, nn.MSELoss(), accumulate=True)
    close([fused[0].weight.grad], [expected])
    fused.zero_grad(set_to_none=False)


# ---- threads


def test_direct_backwards_of_several_threads_add_up():
    """None of 4 is lost, where without a lock one is in most of a hundred rounds."""
    fused, (X, g) = fuse(sequential((3, 200_000, 1)), direct=True), batch(1, (3, 1))
    fused(X).backward(g)
    expected = [4 * p.grad for p in fused.parameters()]
    for _ in range(60):
        fused.zero_grad()
        start = threading.Barrier(4)

        def back(h, start=start):
            start.wait()
            h.backward(g)

        threads = [threading.Thread(target=back, args=(fused(X),)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        same([p.grad for p in fused.parameters()], expected)


def test_a_handler_of_signals_goes_back_over_the_graph_of_the_pass_it_interrupts():
    """A pass of some tenths of a second looks for signals; the handler's goes through PyTorch."""
    fused = fuse(sequential((500, 1000, 500), ["tanh", "identity"]))
    X = batch(3000, (500, 500))[0].requires_grad_()
    h, found = fused(X).sum(), []

    def handler(*_):
        found.extend(torch.autograd.grad(h, X, retain_graph=True))

    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        expected, = torch.autograd.grad(h, X, retain_graph=True)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found
    close(found, [expected])


# ---- options of losses


@pytest.mark.parametrize("reduction", ["average", "elementwise_mean", ["mean"], None])
def test_a_reduction_that_no_loss_has(reduction):
    """Before and after a call that PyTorch would take."""
    fused, (X, y), loss = fuse(sequential()), batch(4), nn.MSELoss()
    for _ in range(2):
        loss.reduction = reduction
        with pytest.raises(ValueError, match="MSELoss has reduction=.*it should be 'mean' or"):
            loss_and_grad_(fused, X, y, loss)
        loss.reduction = "sum"
        loss_and_grad_(fused, X, y, loss)


def test_an_option_that_cannot_be_hashed():
    fused, X, y = fuse(sequential()), batch(4)[0], torch.tensor([0, 1, 1, 0], device="cpu")
    for name in ("label_smoothing", "ignore_index"):
        loss = nn.CrossEntropyLoss()
        setattr(loss, name, [1])
        with pytest.raises((TypeError, ValueError), match=name):
            loss_and_grad_(fused, X, y, loss)


def test_a_weight_of_a_loss_that_became_a_parameter():
    fused, X, loss = fuse(sequential()), batch(4)[0], nn.BCEWithLogitsLoss()
    y = torch.full((4, 2), 0.5, dtype=X.dtype)
    weight = torch.tensor([2.0, 5.0], dtype=X.dtype)
    plain = loss_and_grad_(fused, X, y, loss)
    wanted = loss_and_grad_(fused, X, y, nn.BCEWithLogitsLoss(pos_weight=weight))
    loss.pos_weight = nn.Parameter(weight, requires_grad=False)
    assert loss_and_grad_(fused, X, y, loss) == wanted != plain
    loss.pos_weight = None
    assert loss_and_grad_(fused, X, y, loss) == plain
