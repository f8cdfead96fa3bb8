"""fastbp.torch: a fused module is the Sequential it was made from, for PyTorch and its tools."""

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, gradients, same, sequential  # noqa: E402
from torch import nn  # noqa: E402

from fastbp.torch import FusedSequential, fuse, loss_and_grad_  # noqa: E402

# ---- a module like any other


def test_state_dict_and_parameters():
    """The very parameters, under the very names, in both directions and into another fused one."""
    module = sequential()
    fused = fuse(module)
    assert [*map(id, fused.parameters())] == [*map(id, module.parameters())]
    assert list(fused.state_dict()) == list(module.state_dict())
    assert fused.training and not fuse(module.eval()).training
    X = batch(4)[0]
    for target in (sequential(seed=7), fuse(sequential(seed=8))):
        target(X)
        target.load_state_dict(fused.state_dict())
        assert torch.equal(fuse(target)(X), fused(X))
    target = fuse(sequential(seed=9))
    target(X)
    target.load_state_dict(fused.state_dict(), assign=True)
    assert torch.equal(target(X), fused(X))
    fused.load_state_dict(sequential(seed=7).state_dict())
    close([module(X).detach()], [sequential(seed=7)(X).detach()])


@pytest.mark.parametrize("again", [
    copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), copy.copy,
    lambda m: torch.load(saved(m), weights_only=False)])
def test_copies(again):
    fused = fuse(sequential())
    X, g = batch(4)
    fused(X).backward(g)
    twin = again(fused)
    assert type(twin) is FusedSequential and repr(twin) == repr(fused)
    same(gradients(twin, X, g), gradients(fused, X, g))
    shared = again is copy.copy
    with torch.no_grad():
        twin[0].weight.zero_()
    assert torch.equal(twin(X), fused(X)) == shared


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return file


def test_no_grad_and_frozen_parameters():
    module = sequential()
    fused = fuse(module)
    X, g = batch(300)
    with torch.no_grad():
        assert not fused(X).requires_grad
    with torch.inference_mode():
        assert torch.equal(fused(X), fused(X.clone()))
    module[0].requires_grad_(False)
    close(gradients(fused, X, g), gradients(module, X, g))
    fused(X).backward(g)
    assert module[0].weight.grad is None and module[2].weight.grad is not None
    module.requires_grad_(False)
    assert not fused(X).requires_grad
    close(gradients(fused, X, g), gradients(module, X, g))


def test_tied_parameters():
    linear, other = sequential((3, 3))[0], sequential((3, 3), seed=1)[0]
    other.weight = linear.weight
    module = nn.Sequential(linear, nn.Tanh(), linear, nn.Tanh(), other)
    X, g = batch(5, (3, 3))
    assert list(fuse(module).state_dict()) == list(module.state_dict())
    close(gradients(fuse(module), X, g), gradients(module, X, g))


def test_edits_of_a_fused_module():
    """What is edited counts from the next call on, in memory of its own or not."""
    fused = fuse(sequential())
    X = batch(4)[0]
    edits = [lambda: fused.__setitem__(1, nn.ReLU()), lambda: fused.append(nn.Tanh()),
             lambda: setattr(fused[0], "weight", nn.Parameter(fused[0].weight.data.clone() * 2)),
             lambda: setattr(fused[0].weight, "data", fused[0].weight.data * 2),
             lambda: fused.__setitem__(0, sequential((3, 5), bias=False)[0]),
             lambda: setattr(fused[0], "bias", nn.Parameter(fused[0].weight.data[:, 0] * 2))]
    for edit in edits:
        before = fused(X).detach()
        edit()
        close([fused(X).detach()], [nn.Sequential(*fused)(X).detach()])
        assert not torch.equal(fused(X), before)
    fused[1] = nn.Softmax(dim=1)
    with pytest.warns(RuntimeWarning, match=r"child 1 is Softmax\(dim=1\)"):
        close([fused(X).detach()], [nn.Sequential(*fused)(X).detach()])
    with pytest.raises(TypeError, match=r"child 1 is Softmax\(dim=1\)"):
        loss_and_grad_(fused, X, batch(4)[1], "squared_error")


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_in_another_dict(bias):
    """`__setstate__` gives a Linear the very dict of parameters that another has."""
    fused, X = fuse(nn.Sequential(nn.Linear(3, 4, bias=bias), nn.Tanh())), torch.ones(2, 3)
    fused(X)
    other = nn.Linear(3, 4)
    fused[0].__setstate__(other.__dict__.copy())
    assert torch.equal(fused(X), fuse(nn.Sequential(other, nn.Tanh()))(X))


def test_to_another_dtype_and_back():
    """Between forward and backward it is a change like any other."""
    fused = fuse(sequential())
    X, g = batch(4)
    expected = gradients(fused, X, g)
    wide = fused(X)
    same(gradients(fused.float(), X.float(), g.float()),
         gradients(fuse(sequential().float()), X.float(), g.float()))
    with pytest.raises(RuntimeError, match="modified in place"):
        wide.backward(g)
    fused.load_state_dict(sequential().state_dict())
    fused.double()
    assert fused(X).dtype == torch.float64
    close(gradients(fuse(sequential()), X, g), expected)


def test_hooks():
    """The module's own run as of any module; while a child has one, the children compute."""
    fused, seen = fuse(sequential()), []
    X, g = batch(4)
    expected = gradients(fused, X, g)
    handle = fused.register_forward_hook(lambda module, args, h: seen.append(h))
    h = fused(X)
    assert seen == [h]
    handle.remove()
    handle = fused[0].register_forward_hook(lambda module, args, z: seen.append(z.shape))
    close(gradients(fused, X, g), expected)
    assert seen[1:] == [(4, 5)]
    handle.remove()
    same(gradients(fused, X, g), expected)
    fused[0].weight.register_hook(lambda grad: 2 * grad)
    fused(X).backward(g)
    same([fused[0].weight.grad], [2 * expected[2]])


# ---- what is fused


class Larger(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = sequential((3, 5, 3))
        self.more = nn.ModuleList([nn.Sequential(sequential((3, 4, 3)), nn.Softmax(dim=1))])
        self.again = self.body
        self.nothing = None

    def forward(self, X):
        return self.again(self.more[0](self.body(X)))


def test_sequentials_inside_a_module():
    module = Larger()
    twin = copy.deepcopy(module)
    assert fuse(module) is module
    assert type(module.body) is FusedSequential and module.again is module.body
    assert type(module.more[0]) is nn.Sequential and type(module.more[0][0]) is FusedSequential
    assert list(module.state_dict()) == list(twin.state_dict())
    X, g = batch(5, (3, 3))
    close(gradients(module, X, g), gradients(twin, X, g))
    assert fuse(module) is module


def test_a_lone_linear_is_fused_where_that_was_asked_for():
    """Inside a larger module it gains nothing, and stays."""
    def larger():
        return nn.ModuleList([nn.Sequential(nn.Linear(3, 3)), sequential((3, 3), ["tanh"])])

    module = fuse(larger())
    assert [type(child) for child in module] == [nn.Sequential, FusedSequential]
    assert all(type(child) is FusedSequential for child in fuse(larger(), direct=True))
    assert type(fuse(nn.Sequential(nn.Linear(3, 3)))) is FusedSequential
    with pytest.raises(TypeError, match="alone is as fast without fastbp"):
        fuse(nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.Identity())]))


def test_identities_and_a_fused_module_are_fused():
    module = sequential()
    fused = fuse(nn.Sequential(nn.Identity(), *module, nn.Identity()))
    X, g = batch(5)
    same(gradients(fused, X, g), gradients(fuse(module), X, g))
    assert fuse(fused) is fused


@pytest.mark.parametrize(("children", "words"), [
    ([nn.Linear(2, 3), nn.Dropout()], "child 1 is Dropout"),
    ([nn.Linear(2, 3), nn.Dropout(0.0).eval()], "leave out a Dropout that does nothing"),
    ([nn.ReLU(), nn.Linear(2, 3)], "child 0 is ReLU"),
    ([nn.Linear(2, 3), nn.ReLU(), nn.Tanh()], "child 2 is Tanh"),
    ([nn.Conv1d(1, 1, 1)], "child 0 is Conv1d"), ([], "no Linear"), ([nn.Identity()], "no Linear"),
    ([nn.Linear(2, 3), nn.Linear(2, 3)], "does not fit")])
def test_what_cannot_be_fused(children, words):
    for module in (nn.Sequential(*children), nn.ModuleList([nn.Sequential(*children)])):
        with pytest.raises(TypeError, match=words):
            fuse(module)


def test_other_refusals_of_fuse():
    with pytest.raises(TypeError, match="module is of type function"):
        fuse(lambda X: X)
    with pytest.raises(TypeError, match="has no nn.Sequential .*: write its layers as nn.Sequent"):
        fuse(nn.Linear(2, 3))
    module = sequential()
    module[0].register_forward_hook(lambda *args: None)
    with pytest.raises(TypeError, match="has hooks"):
        fuse(module)


# ---- PyTorch's tools


def test_transforms_and_tracers_see_the_children():
    fused = fuse(sequential())
    X, g = batch(4)
    expected = fused(X).detach()
    close([torch.func.vmap(fused)(X).detach()], [expected])
    params = dict(fused.named_parameters())

    def loss(params):
        return (torch.func.functional_call(fused, params, (X,)) * g).sum()

    close(torch.func.grad(loss)(params).values(), gradients(fused, X, g)[2:])
    value, tangent = torch.func.jvp(fused, (X,), (torch.ones_like(X),))
    close([value.detach()], [expected])
    assert tangent.abs().min() > 0
    traced = torch.jit.trace(fused, X)
    close([traced(2 * X).detach()], [fused(2 * X).detach()])
    compiled = torch.compile(fused, backend="eager", fullgraph=True)
    close([compiled(X).detach()], [expected])
    close([torch.fx.symbolic_trace(fused)(X).detach()], [expected])


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1, eps=0.1),
    "fused Adam": lambda p: torch.optim.Adam(p, lr=0.1, eps=0.1, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, eps=0.1, foreach=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, eps=0.1),
    "LBFGS": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3)}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("at_once", [False, True])
def test_optimizers(name, at_once):
    """Ten steps, as with the module that was fused. With eps = 0.1 a step is at most 10 lr times as
    far off as the gradient, so ten of them stay within `close`'s bound with its slack of 2^10."""
    X, y = batch(20)
    y, results = (y > 0).double(), []
    criterion = nn.BCEWithLogitsLoss()
    for prepare in (lambda m: m, fuse):
        module = prepare(sequential())
        optimizer = OPTIMIZERS[name](module.parameters())

        def closure(module=module, optimizer=optimizer):
            if at_once and isinstance(module, FusedSequential):
                return loss_and_grad_(module, X, y, criterion)
            optimizer.zero_grad()
            loss = criterion(module(X), y)
            loss.backward()
            return loss

        for _ in range(10):
            optimizer.step(closure)
        results.append([p.detach() for p in module.parameters()])
    close(*results)


def test_other_sizes_in_the_same_memory_are_seen():
    """A parameter whose address stays and whose shape does not is refused, not read past."""
    memory = torch.randn(16)
    fused = fuse(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    fused[0].weight.data = memory.view(4, 4)
    assert fused(torch.ones(2, 4)).shape == (2, 4)
    fused[0].weight.data = memory[:8].view(2, 4)
    for call in (lambda: fused(torch.ones(2, 4)),
                 lambda: fused(torch.ones(2, 4, requires_grad=True))):
        with pytest.raises(ValueError, match="weight has shape"):
            call()


def test_an_input_whose_storage_was_shrunk_is_refused():
    fused = fuse(sequential())
    X, y = batch(4096)[0], torch.ones(4096, 1, dtype=torch.float64)
    X.untyped_storage().resize_(64)
    for call in (lambda: fused(X), lambda: loss_and_grad_(fused, X, y, nn.MSELoss())):
        with pytest.raises(ValueError, match="X has a storage of 64 bytes"):
            call()


def test_the_input_may_be_given_other_memory_before_the_way_back():
    """Backward reads what forward read, whatever X.data has become."""
    fused = fuse(sequential())
    X = batch(8)[0]
    expected = torch.autograd.grad(fused(X).sum(), [*fused.parameters()])
    out = fused(X)
    with pytest.raises(RuntimeError, match="modified in place"):
        X.data = torch.zeros(200_000, X.shape[1])
        out.sum().backward()
    X = batch(8)[0]
    same(torch.autograd.grad(fused(X).sum(), [*fused.parameters()]), expected)


def test_threads_go_back_over_one_graph():
    """As PyTorch allows with retain_graph: every gradient is that of one thread alone."""
    fused, X = fuse(sequential()), batch(64)[0]
    params = [*fused.parameters()]
    out = fused(X)
    expected = torch.autograd.grad(out, params, torch.ones_like(out), retain_graph=True)

    def go_back(_):
        for _ in range(20):
            found = torch.autograd.grad(out, params, torch.ones_like(out), retain_graph=True)
            same(found, expected)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(go_back, range(8)))


def test_a_refused_call_leaves_the_gradient_of_the_other():
    """Two threads in `loss_and_grad_` of one module: one may be refused; the other is right."""
    fused = fuse(nn.Sequential(nn.Linear(256, 512), nn.Tanh(), nn.Linear(512, 1)))
    X, y = torch.randn(2048, 256), torch.rand(2048, 1)
    loss_and_grad_(fused, X, y)
    expected = [p.grad.clone() for p in fused.parameters()]
    outcomes = []

    def call(_):
        try:
            outcomes.append(loss_and_grad_(fused, X, y))
        except RuntimeError as error:
            assert "in use" in str(error)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            fused.zero_grad()
            list(pool.map(call, range(2)))
            same([p.grad for p in fused.parameters()], expected)
    assert outcomes


def test_freezing_and_unfreezing_between_calls_without_zero_grad():
    fused, X, y = fuse(sequential((3, 5, 1))), *batch(9, (3, 1))
    y = torch.sigmoid(y)
    loss_and_grad_(fused, X, y)
    expected = [p.grad.clone() for p in fused.parameters()]
    weight = fused[0].weight
    weight.requires_grad_(False)
    loss_and_grad_(fused, X, y)
    assert weight.grad is None
    weight.requires_grad_(True)
    loss_and_grad_(fused, X, y)
    same([p.grad for p in fused.parameters()], expected)
    weight.grad.data = weight.grad.data / 2         # other memory
    loss_and_grad_(fused, X, y)
    same([p.grad for p in fused.parameters()], expected)


@pytest.mark.parametrize(("name", "change"), [
    ("y", lambda: {"y": torch.ones(4, 1, dtype=torch.bfloat16)}),
    ("sample_weight", lambda: {"sample_weight": [1.0] * 4}),
    ("sample_weight", lambda: {"sample_weight": torch.ones(4, dtype=torch.bfloat16)}),
    ("X", lambda: {"X": torch.ones(4, 3).to_sparse()}),
    ("accumulate", lambda: {"accumulate": "no"}),
])
def test_what_cannot_be_read_is_a_type_error_by_name(name, change):
    fused = fuse(sequential((3, 5, 1)))
    fused.float()
    arguments = {"X": torch.ones(4, 3), "y": torch.ones(4, 1), **change()}
    with pytest.raises(TypeError, match=f"^{name} is "):
        loss_and_grad_(fused, **arguments)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3)])
def test_a_sparse_tensor_is_named(shape):
    with pytest.raises(TypeError, match="^X is of layout torch.sparse_coo"):
        fuse(sequential((3, 5, 1)).float())(torch.ones(shape).to_sparse())
