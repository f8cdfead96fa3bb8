"""A pass of a fused module reads the numbers that PyTorch reads, whatever the default device and
dtype are, whatever mode is on, whatever bits and strides a tensor has.

(Memory that is not there is in test_storage.py, what `loss_and_grad_` reads in
test_memory_of_losses.py, what it writes in test_grads.py.)
"""

from itertools import product

import pytest
from apart import apart

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, gradients, sequential  # noqa: E402
from tensors import CONTEXTS, SLOTS, VALUES, WAYS, copied, eager, raised  # noqa: E402
from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.testing._internal.two_tensor import TwoTensor  # noqa: E402

from fastbp.torch import fuse  # noqa: E402

FLAT = {"sgn": lambda h: torch.sgn(h).sum(), "a multiple": lambda h: (2 * torch.sgn(h)).sum(),
        "sgn and more": lambda h: torch.sgn(h).sum() + h.sum()}
N = pytest.mark.parametrize("n", [4, 300])


# ---- defaults, and modes


@apart
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("direct", [True, False])
def test_a_first_call_under_other_defaults(context, bias, direct):
    module = sequential((3, 5, 1), bias=bias)
    X, g = batch(4, (3, 1))
    expected = eager(module, X, g)
    fused = fuse(module, direct=direct)
    with CONTEXTS[context](), torch.no_grad():
        close([fused(X)], expected[:1])
    fused = fuse(nn.Sequential(*module), direct=direct)
    with CONTEXTS[context]():
        X = X.requires_grad_()
        fused(X).backward(g)
    close([X.grad, *(p.grad for p in fused.parameters())], expected[1:])
    fused.requires_grad_(False)
    close([torch.autograd.grad(fused(X), X, g)[0]], expected[1:2])


@apart
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("bias", [True, False])
def test_other_dtypes_of_a_module_under_other_defaults(context, bias):
    """What a Binding makes for a dtype, it makes again when the parameters' dtype changes."""
    fused = fuse(sequential(bias=bias).float())
    X, g = batch(4)
    fused(X.float())
    with CONTEXTS[context]():
        fused.double()
        got = gradients(fused, X, g)
    close(got, eager(fused, X, g))


@apart
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_fake_tensors(bias, before):
    """As nn.Sequential: fake where the mode may have real tensors, else its error; then as ever."""
    module = sequential((3, 1), bias=bias)
    fused, X, g = fuse(module), *batch(4, (3, 1))
    expected = eager(module, X, g)
    if before:
        fused(X)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for x in (X, mode.from_tensor(X)):
            h = fused(x)
            assert type(h) is FakeTensor and h.shape == (4, 1) and h.requires_grad
            with torch.no_grad():
                assert type(fused(x)) is FakeTensor
    strict = FakeTensorMode()
    fake = strict.from_tensor(X)
    assert raised(lambda: fused(fake)) is raised(lambda: module(fake)) is not None
    with strict:
        for x in (X, fake):
            assert raised(lambda x=x: fused(x)) is raised(lambda x=x: module(x)) is not None
    close(gradients(fused, X, g), expected)


@apart
def test_a_module_of_fake_parameters():
    with FakeTensorMode() as mode:
        module = sequential()
        fused, X = fuse(module), mode.from_tensor(torch.ones(4, 3, dtype=torch.float64))
        h = fused(X)
        h.sum().backward()
    assert type(h) is FakeTensor and h.shape == (4, 2)
    assert all(type(p.grad) is FakeTensor and p.grad.shape == p.shape for p in fused.parameters())
    real = batch(4)[0]
    assert raised(lambda: fused(real)) is raised(lambda: module(real)) is not None


@apart
def test_a_mode_that_counts_sees_what_it_sees_of_a_sequential():
    from torch.utils.flop_counter import FlopCounterMode

    module, (X, _) = sequential(), batch(4)
    counts = []
    for each in (module, fuse(module)):
        with FlopCounterMode(display=False) as counter:
            each(X).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


# ---- tensors that are not what their address says


@apart
@N
@pytest.mark.parametrize("way", VALUES)
def test_any_X_and_gradient_of_the_output(way, n):
    module = sequential()
    X, g = batch(n)
    for x, out in ((WAYS[way](X), g), (X, WAYS[way](g)), (WAYS[way](X), WAYS[way](g))):
        expected = eager(module, x, out)
        fused = fuse(module)
        with torch.no_grad():
            close([fused(x)], expected[:1])
        leaf = x.detach().requires_grad_()      # and not cloned: the tensor itself
        h = fused(leaf)
        close([h.detach(), *torch.autograd.grad(h, [leaf, *fused.parameters()], out)], expected)
        h = fuse(nn.Sequential(*module), direct=True)(x)
        h.backward(out)
        close([p.grad for p in module.parameters()], expected[2:])
        module.zero_grad()


@apart
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("loss", FLAT)
def test_gradients_that_autograd_does_not_fill(loss, direct):
    module, loss, X = sequential(), FLAT[loss], batch(300)[0].requires_grad_()
    twin, leaf = copied(module), X.detach().clone().requires_grad_()
    loss(twin(leaf)).backward()
    fused = fuse(module, direct=direct)
    loss(fused(X)).backward()
    close([X.grad, *(p.grad for p in fused.parameters())],
          [leaf.grad, *(p.grad for p in twin.parameters())])


@apart
@pytest.mark.parametrize("way", VALUES)
@pytest.mark.parametrize("slot", SLOTS)
def test_any_parameter(slot, way):
    """Assigned to .data, or another Parameter, before a first call and after it."""
    i, name = slot
    for assign, called, n in product(("data", "Parameter"), (False, True), (4, 300)):
        module, (X, g) = sequential((3, 4, 3)), batch(n, (3, 3))
        fused = fuse(module)
        if called:
            fused(X)
        p = getattr(module[i], name)
        if assign == "data":
            p.data = WAYS[way](p.data)
        else:
            setattr(module[i], name, nn.Parameter(WAYS[way](p.data)))
        expected = eager(module, X, g)
        with torch.no_grad():
            close([fused(X)], expected[:1])
        close(gradients(fused, X, g), expected)


@apart
def test_a_parameter_that_is_turned_while_a_pass_waits():
    """The pass refuses to go back with other numbers than it went forward with."""
    fused, (X, g) = fuse(sequential()), batch(4)
    expected = eager(fused, X, g)
    for turn in (torch._neg_view, lambda a: torch._efficientzerotensor(a.shape, dtype=a.dtype)):
        for child in (fused[0], fused[2]):
            h, kept = fused(X), child.weight.data
            child.weight.data = turn(kept)
            with pytest.raises(RuntimeError, match="modified in place"):
                torch.autograd.grad(h, [*fused.parameters()], g)
            child.weight.data = kept
    close(gradients(fused, X, g), expected)


@apart
@pytest.mark.parametrize("what", ["X", "module", "module in the mode"])
def test_inference_tensors(what):
    """As nn.Sequential: read without a graph, refused where one would keep them."""
    X, g = batch(4)
    module = sequential()
    expected = eager(module, X, g)
    if what == "X":
        X = WAYS["inference"](X)
    else:
        with torch.inference_mode():
            module = sequential()
    fused = fuse(module)
    if what == "module in the mode":
        with torch.inference_mode():
            assert fused(X).is_inference()
            close([fused(X)], expected[:1])
    with torch.no_grad():
        close([fused(X)], expected[:1])
    with pytest.raises(RuntimeError):
        gradients(fused, X, g) if what != "X" else fused(X)


# ---- tensors of other kinds


@apart
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
def test_nested_tensors(layout):
    fused, (X, _) = fuse(sequential(activations=["tanh", "relu", "identity"])), batch(4)
    nested = torch.nested.nested_tensor([X[:1], X[1:]], layout=layout)
    h = fused(nested)
    assert h.is_nested
    close([a.detach() for a in h.unbind()], [copied(fused)(a).detach() for a in (X[:1], X[1:])])


@apart
@pytest.mark.parametrize("what", ["X", "gradient", "parameter"])
def test_tensors_with_operations_of_their_own(what):
    """Tensors of a type without memory, and two with memory."""
    module, (X, g) = sequential(), batch(4)
    expected = eager(module, X, g)
    fused = fuse(module)
    if what == "parameter":
        data = module[0].weight.data
        module[0].weight = nn.Parameter(TwoTensor(data, data.clone()))
    if what == "gradient":
        grads = torch.autograd.grad(fused(X), [*module.parameters()], TwoTensor(g, g.clone()))
        close([getattr(a, "a", a) for a in grads], expected[2:])
    else:
        h = fused(TwoTensor(X, X.clone()) if what == "X" else X)
        assert type(h) is TwoTensor
        close([h.a.detach(), h.b.detach()], [expected[0]] * 2)


@apart
@pytest.mark.parametrize("change", ["to_sparse", "to_sparse_csr", "to_sparse_csc", "to_mkldnn",
                                    "quantized", "complex", "int", "bool", "half"])
def test_X_of_another_kind(change):
    """An error that names it, or what the children give."""
    fused, X = fuse(sequential().float()), batch(4)[0].float()
    x = {"quantized": lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.quint8),
         "complex": lambda: X + 1j}.get(change, lambda: getattr(X, change)())()
    try:
        h = fused(x)
    except (TypeError, RuntimeError) as error:
        word = str(x.layout) if x.layout is not torch.strided else str(x.dtype)
        assert "X is" in str(error) and word in str(error) or type(error) is raised(
            lambda: copied(fused)(x))
    else:
        assert torch.equal(h.to_dense(), copied(fused)(x).to_dense())


@apart
def test_no_rows():
    for shape in ((0, 3), (2, 0, 3), (0, 0, 3)):
        fused = fuse(sequential())
        X = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        h = fused(X)
        assert h.shape == (*shape[:-1], 2)
        h.sum().backward()
        assert X.grad.shape == shape
        assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in fused.parameters())


@apart
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (3, 0, 2)])
def test_layers_without_units(sizes):
    """fuse refuses them; within a larger module they compute as before."""
    children = [nn.Linear(i, o) for i, o in zip(sizes, sizes[1:], strict=False)]
    module = nn.Sequential(*children)
    X = torch.ones(4, sizes[0])
    with pytest.raises(TypeError, match="which has no units"):
        fuse(module)
    larger = nn.ModuleList([nn.Sequential(*children), sequential()])
    fuse(larger)
    assert torch.equal(larger[0](X), module(X))
