"""Children of a fused module whose weights are computed (parametrisations, norms, pruning), and
children of other kinds that were set in their place: the children compute, to the bit.
"""

import copy

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, gradients, same  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

from fastbp.torch import fuse, loss_and_grad_  # noqa: E402
from tests.torch.test_fallback import CALLED, as_children, layers, near  # noqa: E402
from tests.torch.test_hooks import unfused  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::RuntimeWarning")

# ---- weights that are computed

OLD = {"weight_norm": nn.utils.weight_norm, "spectral_norm": nn.utils.spectral_norm}
NEW = {"weight_norm": parametrizations.weight_norm, "spectral_norm": parametrizations.spectral_norm,
       "orthogonal": parametrizations.orthogonal,
       "registered": lambda m: parametrize.register_parametrization(m, "weight", nn.Tanh()),
       "registered for the bias": lambda m: parametrize.register_parametrization(
           m, "bias", nn.Tanh())}
COMPUTED = ([("old " + name, change) for name, change in OLD.items()]
            + [("new " + name, change) for name, change in NEW.items()])
COMPUTED = pytest.mark.parametrize("change", [change for _, change in COMPUTED],
                                   ids=[name for name, _ in COMPUTED])


def in_the_same_state(a, b, X, g):
    """Two copies, since some change a buffer at each call."""
    for _ in range(2):
        same(gradients(a, X, g), gradients(b, X, g))
        assert len([*a.parameters()]) == len([*b.parameters()])
    a.eval()
    b.eval()
    same(gradients(a, X, g), gradients(b, X, g))


def changed(module, change):
    """The same random vectors for each module."""
    torch.manual_seed(0)
    change(module[0])
    change(module[4])
    return module


@COMPUTED
@CALLED
@pytest.mark.parametrize("direct", [False, True])
def test_weights_that_are_computed_after_fusing(change, called, direct):
    fused, (X, g) = fuse(layers(), direct=direct), (a.float() for a in batch(4))
    if called:
        fused(X)
    changed(fused, change)
    twin = changed(layers(), change)
    in_the_same_state(fused, twin, X, g)
    fused(X).backward(g)
    twin(X).backward(g)
    same([p.grad for p in fused.parameters()], [p.grad for p in twin.parameters()])
    for target in (fuse(layers()), layers()):
        changed(target, change).load_state_dict(fused.state_dict())
        same([target.eval()(X)], [fused.eval()(X)])


@COMPUTED
def test_weights_that_are_computed_before_fusing(change):
    X, g = (a.float() for a in batch(4))
    fused = fuse(changed(layers(), change))
    in_the_same_state(fused, changed(layers(), change), X, g)
    larger, twin = (nn.Sequential(nn.Dropout(0.0), changed(layers(), change)) for _ in range(2))
    in_the_same_state(fuse(larger), twin, X, g)


@COMPUTED
@CALLED
def test_a_refusal_of_loss_and_grad(change, called):
    """A module with computed weights: its gradient is not that of the parameters."""
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    if called:
        loss_and_grad_(fused, X, g, nn.MSELoss())
        fused.zero_grad()
    change(fused[2])
    with pytest.raises(TypeError, match="weight|parametri|hook"):
        loss_and_grad_(fused, X, g, nn.MSELoss())
    assert all(p.grad is None for p in fused.parameters())


@pytest.mark.parametrize("kind", ["old weight_norm", "old spectral_norm", "new weight_norm"])
def test_weights_that_were_computed(kind):
    """Taken off again, the weight is a Parameter, and one native call computes."""
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    fused(X)
    if kind == "new weight_norm":
        parametrizations.weight_norm(fused[0])
        fused(X)
        parametrize.remove_parametrizations(fused[0], "weight")
    else:
        name = kind.split()[1]
        OLD[name](fused[0])
        fused(X)
        getattr(nn.utils, f"remove_{name}")(fused[0])
    native = fuse(nn.Sequential(*copy.deepcopy(unfused(fused))))
    assert type(fused[0].weight) is nn.Parameter
    got, expected = gradients(fused, X, g), gradients(native, X, g)
    same(sorted(got, key=lambda a: a.shape), sorted(expected, key=lambda a: a.shape))


def test_cached_parametrizations():
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    parametrize.register_parametrization(fused[2], "weight", nn.Tanh())
    with parametrize.cached():
        same([fused(X)], [unfused(fused)(X)])
        fused(X).backward(g)
    assert fused[2].parametrizations.weight.original.grad.abs().max() > 0


# ---- pruning


@CALLED
@pytest.mark.parametrize("method", ["l1_unstructured", "random_structured", "identity"])
def test_pruned_weights(method, called):
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    if called:
        fused(X)
    for name in ("weight", "bias") if method == "l1_unstructured" else ("weight",):
        if method == "identity":
            prune.identity(fused[0], name)
        elif method == "l1_unstructured":
            prune.l1_unstructured(fused[0], name, amount=0.5)
        else:
            prune.random_structured(fused[0], name, amount=0.5, dim=0)
    as_children(fused, X, g)
    before = fused(X).detach()
    prune.remove(fused[0], "weight")
    near(fused(X), before)


def test_pruned_before_it_is_fused():
    """The same numbers, or fuse says why not, and leaves it."""
    module, (X, g) = layers(), (a.float() for a in batch(4))
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    expected = gradients(module, X, g)
    try:
        fused = fuse(module)
    except TypeError as error:
        assert "hooks" in str(error)
        same(gradients(module, X, g), expected)
    else:
        same(gradients(fused, X, g), expected)


# ---- children that are exchanged


@CALLED
@pytest.mark.parametrize("child", [0, 1, 2])
@pytest.mark.parametrize("other", [
    nn.Linear(3, 5, dtype=torch.float64).requires_grad_(False), nn.Softmax(dim=1),
    nn.Dropout(0.0), nn.Sequential(nn.Tanh(), nn.Identity()), nn.PReLU()], ids=str)
def test_a_child_of_another_kind(other, child, called):
    """Set into a fused module: what the children give, or PyTorch's error."""
    fused, (X, g) = fuse(layers()), (a.float() for a in batch(4))
    if called:
        fused(X)
    fused[child] = copy.deepcopy(other)
    try:
        expected = unfused(fused)(X)
    except RuntimeError:
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            fused(X)
    else:
        same([fused(X)], [expected])
        as_children(fused, X, g)


@CALLED
def test_dynamic_quantisation(called):
    """It puts another kind of Linear in the place of each."""
    fused, X = fuse(layers()), batch(4)[0].float()
    if called:
        fused(X)
    quantized = torch.ao.quantization.quantize_dynamic(fused, {nn.Linear}, dtype=torch.qint8)
    expected = torch.ao.quantization.quantize_dynamic(layers(), {nn.Linear}, dtype=torch.qint8)
    assert type(quantized[0]) is not nn.Linear
    same([quantized(X)], [expected(X)])


def test_lazy_modules():
    """fuse refuses one that has no weights yet, and takes it when it has."""
    module, X = nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(2)), torch.ones(4, 3)
    with pytest.raises(TypeError, match="child 0 is LazyLinear"):
        fuse(module)
    expected = module(X)
    near(fuse(module)(X), expected)
    fused = fuse(layers())
    fused[0] = nn.LazyLinear(5)
    assert fused(X).shape == (4, 2) and type(fused[0]) is nn.Linear
    same([fused(X)], [fuse(copy.deepcopy(unfused(fused)))(X)])


@pytest.mark.parametrize("compute", [
    nn.utils.weight_norm, nn.utils.spectral_norm, parametrizations.weight_norm,
    lambda linear: prune.l1_unstructured(linear, "weight", 0.5)])
def test_computed_weights_are_told(compute):
    """Once, though the older ones work by hooks, which by themselves are not told."""
    fused, X = fuse(layers()), batch(4)[0].float()
    compute(fused[2])
    with pytest.warns(RuntimeWarning, match="a Linear has no weight of its own") as told:
        for _ in range(3):
            fused(X)
    assert len([w for w in told if w.category is RuntimeWarning]) == 1
