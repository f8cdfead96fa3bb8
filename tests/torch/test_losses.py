"""loss_and_grad_ of fastbp.torch: fastbp's losses to the bit, PyTorch's losses as PyTorch has them;
what happens to .grad; and training on two processes."""

import re
import subprocess
import sys

import pytest
from places import IMPORTED

import fastbp

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, same, sequential  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402


def targets(kind, n, n_outputs, seed=2):
    options = {"device": "cpu", "generator": torch.Generator("cpu").manual_seed(seed)}
    if kind == "classes":
        return torch.randint(n_outputs, (n,), **options)
    y = torch.rand(n, n_outputs, dtype=torch.float64, **options)
    return y / y.sum(1, keepdim=True) if kind == "probabilities" else y


def grads(module):
    return [p.grad for p in module.parameters()]


# ---- losses


@pytest.mark.parametrize(("name", "loss", "kind"), [
    ("bce", "bce", "unit"), ("cross_entropy", "softmax", "classes"),
    ("softmax", "softmax", "probabilities"), ("squared_error", "squared_error", "unit"),
    ("poisson", "poisson", "unit")])
@pytest.mark.parametrize("reduction", [None, "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_by_name_are_those_of_a_network(name, loss, kind, reduction, weighted, dtype, isa):
    sizes, dtype = (3, 5, 4, 2), getattr(torch, dtype)
    module = sequential(sizes, dtype=dtype)
    X, y = batch(40, sizes, dtype)[0], targets(kind, 40, 2)
    weight = torch.rand(40, device="cpu") if weighted else None
    value = loss_and_grad_(fuse(module), X, y, name, reduction=reduction, sample_weight=weight)
    net = fastbp.MLP(sizes, loss=loss, dtype=str(dtype).removeprefix("torch."))
    params = list(module.parameters())
    for W, b, p, q in zip(net.weights, net.biases, params[::2], params[1::2], strict=True):
        W[:], b[:] = p.detach().numpy().T, q.detach().numpy()
    assert value == net.backprop(X.numpy(), y.numpy(), reduction=reduction or "mean",
                                 sample_weight=None if weight is None else weight.numpy())
    expected = [torch.from_numpy(a.T.copy()) for pair in
                zip(net.weight_grads, net.bias_grads, strict=True) for a in pair]
    same([p.grad for p in params], expected)


W3 = torch.tensor([0.5, 3.0, 1.0]).double()
CRITERIA = [
    (nn.BCEWithLogitsLoss(), "unit"), (nn.BCEWithLogitsLoss(pos_weight=W3), "unit"),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0)), "unit"), (nn.BCELoss(), "unit"),
    (nn.CrossEntropyLoss(), "classes"), (nn.CrossEntropyLoss(), "probabilities"),
    (nn.CrossEntropyLoss(weight=W3), "classes"),
    (nn.CrossEntropyLoss(label_smoothing=0.1), "classes"),
    (nn.CrossEntropyLoss(label_smoothing=0.1), "probabilities"),
    (nn.MSELoss(), "unit"), (nn.PoissonNLLLoss(), "unit")]


@pytest.mark.parametrize(("criterion", "kind"), CRITERIA, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_pytorch(criterion, kind, reduction):
    """Loss and gradients, for three outputs, where a mean over them counts."""
    last = "sigmoid" if isinstance(criterion, nn.BCELoss) else "identity"
    module = sequential((3, 5, 3), ["tanh", last])
    X, y = batch(20)[0], targets(kind, 20, 3)
    criterion.reduction = reduction
    value = loss_and_grad_(fuse(module), X, y, criterion)
    got = grads(module)
    module.zero_grad()
    expected = criterion(module(X), y)
    expected.backward()
    close([torch.tensor(value, dtype=torch.float64, device="cpu")], [expected.detach()])
    close(got, grads(module))


def test_one_output_takes_a_vector():
    module = sequential((3, 5, 1))
    X, y = batch(20)[0], targets("unit", 20, 1)
    for loss in ("bce", nn.MSELoss()):
        fused = fuse(module)
        assert loss_and_grad_(fused, X, y, loss) == loss_and_grad_(fused, X, y[:, 0], loss)


@pytest.mark.parametrize(("loss", "options", "words"), [
    ("hinge", {}, "loss is 'hinge'; it should be one of 'bce'"), (None, {}, "loss is None"),
    (nn.MSELoss, {}, r"the class MSELoss; it should be an instance, nn.MSELoss\(\)"),
    (nn.L1Loss(), {}, "loss is of type L1Loss; it should be one of BCEWithLogitsLoss"),
    (nn.MSELoss(reduction="none"), {}, "reduction='none'"),
    (nn.BCEWithLogitsLoss(weight=W3), {}, "weight"),
    (nn.CrossEntropyLoss(ignore_index=1), {}, "ignore_index=1"),
    (nn.CrossEntropyLoss(weight=W3), {}, "weight"),
    (nn.PoissonNLLLoss(full=True), {}, "full=True"),
    (nn.PoissonNLLLoss(log_input=False), {}, "log_input=False"),
    (nn.MSELoss(), {"reduction": "sum"}, "MSELoss has its own"),
    (nn.MSELoss(), {"sample_weight": torch.ones(4)}, "MSELoss has its own"),
    ("bce", {"reduction": "none"}, "reduction is 'none'"),
    ("bce", {"sample_weight": torch.ones(3)}, "sample_weight has shape"),
    (nn.BCELoss(), {}, "ends in 'identity'; under this loss it should end in 'sigmoid'")], ids=str)
def test_what_cannot_be_had(loss, options, words):
    X, y = batch(4)[0], targets("probabilities", 4, 3)
    with pytest.raises((TypeError, ValueError), match=words):
        loss_and_grad_(fuse(sequential((3, 5, 3))), X, y, loss, **options)


class Wrapper(nn.Module):
    def __init__(self, *modules):
        super().__init__()
        self.net, self.others = modules[0], nn.ModuleList(modules[1:])


@pytest.mark.parametrize(("module", "words"), [
    (sequential(), "FusedSequential: write model = fuse(module) once, before the loop"),
    (Wrapper(nn.Linear(3, 1)), "FusedSequential: write its layers as nn.Sequential(nn.Linear(...)"),
    (Wrapper(sequential()), ", which fuse(module) puts in the place of each nn.Sequential inside"),
    (fuse(Wrapper(sequential())), "FusedSequential: its .net is one"),
    (fuse(nn.Sequential(sequential(), sequential())), ", of which it has 2 (0, 1): put the child"),
    (len, "module is of type builtin_function_or_method; it should be a FusedSequential")])
def test_how_a_fused_module_comes_about(module, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        loss_and_grad_(module, batch(4)[0], targets("unit", 4, 1))


def test_other_refusals():
    fused, (X, y) = fuse(sequential((3, 5, 1))), (batch(4)[0], targets("unit", 4, 1))
    for arguments, words in (((sequential(), X, y), "module is of type Sequential"),
                             ((fused, X.numpy(), y), "X is of type ndarray"),
                             ((fused, X, y.numpy()), "y is of type ndarray"),
                             ((fused, X.half(), y), "X is torch.float16"),
                             ((fused, X[:, :2], y), "X has shape"),
                             ((fused, X, y[:3]), "y has shape"), ((fused, X, 2 * y + 1), "y has"),
                             ((fused, X[:0], y[:0]), "X has no samples"),
                             ((fused, X[:0], y[:0], nn.MSELoss()), "X has no samples"),
                             ((fuse(sequential(activations=["tanh"] * 3)), X, y, "squared_error"),
                              "ends in 'tanh'")):
        with pytest.raises((TypeError, ValueError), match=words):
            loss_and_grad_(*arguments)
    assert all(grad is None for grad in grads(fused))


# ---- .grad


def test_where_gradients_go():
    """As after zero_grad and backward: fresh where .grad is None, else the memory that is there."""
    fused = fuse(sequential((3, 5, 1)))
    X, y = batch(20)[0], targets("unit", 20, 1)
    loss_and_grad_(fused, X, y)
    first = grads(fused)
    expected = [grad.clone() for grad in first]
    loss_and_grad_(fused, 2 * X, y)
    assert all(a is b for a, b in zip(grads(fused), first, strict=True))
    assert not torch.equal(first[0], expected[0])
    fused.zero_grad()
    loss_and_grad_(fused, X, y)
    assert not torch.equal(first[0], expected[0])       # a step that someone kept
    same(grads(fused), expected)
    for p in fused.parameters():
        p.grad = torch.full_like(p, torch.nan)
    foreign = grads(fused)
    loss_and_grad_(fused, X, y)
    same(foreign, expected)
    assert all(a is b for a, b in zip(grads(fused), foreign, strict=True))


def test_accumulation():
    fused = fuse(sequential((3, 5, 1)))
    X, y = batch(20)[0], targets("unit", 20, 1)
    loss_and_grad_(fused, X, y, accumulate=True)
    expected = [grad.clone() for grad in grads(fused)]
    loss_and_grad_(fused, X, y, accumulate=True)
    same(grads(fused), [2 * grad for grad in expected])
    loss_and_grad_(fused, X, y)
    same(grads(fused), expected)


def test_frozen_tied_and_absent_parameters():
    linear, last = sequential((3, 3))[0], sequential((3, 1), bias=False)[0]
    module = nn.Sequential(linear, nn.Tanh(), linear, nn.Tanh(), last)
    fused, criterion = fuse(module), nn.BCEWithLogitsLoss()
    X, y = batch(20)[0], targets("unit", 20, 1)
    for frozen in ((), (linear.bias,), (last.weight,)):
        for p in module.parameters():
            p.requires_grad_(all(p is not q for q in frozen))
        for _ in range(2):                              # without gradients, and with
            value = loss_and_grad_(fused, X, y, criterion)
            got = [None if grad is None else grad.clone() for grad in grads(module)]
        module.zero_grad()
        criterion(module(X), y).backward()
        assert [grad is None for grad in got] == [grad is None for grad in grads(module)]
        close([grad for grad in got if grad is not None],
              [grad for grad in grads(module) if grad is not None])
        assert isinstance(value, float)
        module.zero_grad()


def test_a_sigmoid_at_the_end():
    """"bce" is of the logits: the same with the Sigmoid as without, exact where it is 0 or 1."""
    with_it, without = sequential((3, 5, 1), ["tanh", "sigmoid"]), sequential((3, 5, 1))
    without = nn.Sequential(*without[:1], nn.Tanh(), without[2])
    X, y = batch(20)[0], targets("unit", 20, 1)
    for module in (with_it, without):
        with torch.no_grad():
            module[2].weight.mul_(1e4)
    assert with_it(X).max() == 1
    assert loss_and_grad_(fuse(with_it), X, y) == loss_and_grad_(fuse(without), X, y)
    same(grads(with_it), grads(without))


# ---- two processes

WORKER = """
import os
import sys
import torch
import torch.distributed as dist
from torch import nn
from tests.torch.test_losses import WRAPPED, train

rank, world, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
results = [train(lambda fused: nn.parallel.DistributedDataParallel(fused, **options), rank, world)
           for options in WRAPPED]
if rank == 0:
    torch.save(results, sys.argv[4])
dist.barrier()
os._exit(0)     # threads of the group may still run, and PyTorch's end then aborts now and then
"""
WRAPPED = ({}, {"gradient_as_bucket_view": True})      # options of DistributedDataParallel


def train(wrap, rank, world):
    """The parameters after ten steps on every `world`-th row from that of the rank on."""
    model = wrap(fuse(sequential((3, 5, 1), seed=rank)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, eps=0.1)
    X, y = batch(40)[0], targets("unit", 40, 1)
    for _ in range(10):
        optimizer.zero_grad()
        rows = slice(rank, None, world)
        nn.functional.binary_cross_entropy_with_logits(model(X[rows]), y[rows]).backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def test_two_processes_train_as_one(tmp_path):
    """Each on half of every batch; all start from the parameters of the first."""
    code, out = f"import sys\nsys.path[:0] = {IMPORTED}\n{WORKER}", tmp_path / "params.pt"
    running = [subprocess.Popen([sys.executable, "-c", code, str(rank), "2",
                                 str(tmp_path / "store"), str(out)],
                                stderr=subprocess.PIPE, text=True) for rank in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    alone = train(lambda fused: fused, 0, 1)
    for together in torch.load(out):
        close(together, alone)
