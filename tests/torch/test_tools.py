"""Tools of PyTorch that trace, script, export, exchange or copy modules take a fused one for the
nn.Sequential that it is, and get a program of its children, which computes for other rows too.
"""

import io
import sys
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from all_pairs import all_pairs  # noqa: E402
from modules import batch, close, gradients, same, sequential  # noqa: E402
from torch import nn  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

from fastbp.torch import FusedSequential, fuse, loss_and_grad_  # noqa: E402

CALLED = pytest.mark.parametrize("called", [False, True])
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Larger(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.last = body, nn.Linear(2, 1, dtype=torch.float64)

    def forward(self, X):
        return self.last(torch.relu(self.body(X)))


def layers():
    return sequential((3, 5, 4, 2), ["tanh", "sigmoid", "identity"])


def saved(program):
    file = io.BytesIO()
    torch.jit.save(program, file)
    file.seek(0)
    return torch.jit.load(file)


TOOLS = {
    "script": lambda m, X: torch.jit.script(m),
    "script, saved": lambda m, X: saved(torch.jit.script(m)),
    "script, frozen": lambda m, X: torch.jit.freeze(torch.jit.script(m.eval())),
    "trace": lambda m, X: torch.jit.trace(m, X),
    "trace, saved": lambda m, X: saved(torch.jit.trace(m, X)),
    "export": lambda m, X: torch.export.export(m, (X,)).module(),
    "export, not strict": lambda m, X: torch.export.export(m, (X,), strict=False).module(),
    "export, any rows": lambda m, X: torch.export.export(
        m, (X,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},)).module(),
    "symbolic_trace": lambda m, X: torch.fx.symbolic_trace(m),
    "make_fx": lambda m, X: make_fx(m)(X),
    "make_fx, fake": lambda m, X: make_fx(
        m, tracing_mode="fake", _allow_non_fake_inputs=True)(X),
    "make_fx, symbolic": lambda m, X: make_fx(
        m, tracing_mode="symbolic", _allow_non_fake_inputs=True)(X),
    "make_fx, pre-dispatch": lambda m, X: make_fx(m, pre_dispatch=True)(X),
    "compile": lambda m, X: torch.compile(m, backend="eager", fullgraph=True),
    "compile, aot": lambda m, X: torch.compile(m, backend="aot_eager", fullgraph=True),
}


@all_pairs(tool=TOOLS, where=["alone", "inside"], called=[False, True])
def test_programs(tool, where, called):
    """For rows that the tool did not see; without a word; and the module computes as before."""
    torch._dynamo.reset()
    fused = fuse(layers())
    torch.manual_seed(5)
    module = fused if where == "alone" else Larger(fused)
    X, Y = batch(4)[0], batch(4, seed=9)[0]
    if called:
        module(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with torch.no_grad() if called else torch.enable_grad():
            program = TOOLS[tool](module, X)
            got = program(Y).detach()
    close([got], [module(Y).detach()])
    g = torch.ones_like(got)
    twin = nn.Sequential(*fused) if where == "alone" else Larger(nn.Sequential(*fused))
    twin.load_state_dict(module.state_dict())
    close(gradients(module, Y, g), gradients(twin, Y, g))


@pytest.mark.parametrize("tool", ["script", "trace", "symbolic_trace", "compile", "compile, aot"])
def test_programs_have_gradients(tool):
    torch._dynamo.reset()
    fused, (X, g) = fuse(layers()), batch(4)
    program = TOOLS[tool](fused, X)
    close(gradients(program, X, g), gradients(fused, X, g))


def test_a_scripted_module_has_the_names_of_a_sequential():
    fused = fuse(layers())
    script, expected = torch.jit.script(fused), torch.jit.script(nn.Sequential(*fused))
    assert list(script.state_dict()) == list(expected.state_dict())
    assert str(script.graph) == str(expected.graph)
    with torch.no_grad():
        fused[0].weight.mul_(2)
    same([script(batch(4)[0])], [expected(batch(4)[0])])
    assert script.training and not torch.jit.script(fused.eval()).training
    assert not fused.training and fused(batch(4)[0]).requires_grad


def test_no_constant_of_a_call_is_in_a_program():
    """The rows and the outputs of the tracing are nowhere in it; only operations and parameters."""
    fused, X = fuse(layers()), batch(4)[0]
    program = make_fx(fused)(X)
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"aten.addmm.default", "aten.tanh.default", "aten.sigmoid.default"} <= targets


# ---- replicas


@pytest.fixture
def replicas(monkeypatch):
    """torch.nn.parallel.replicate, of a module to two devices that are the CPU."""
    replicate = sys.modules["torch.nn.parallel.replicate"]
    monkeypatch.setattr(replicate, "_get_device_index", lambda device, *_: 0)
    monkeypatch.setattr(
        replicate, "_broadcast_coalesced_reshape", lambda tensors, devices, detach=False: [
            [(k + 1) * (t.detach() if detach else t) for t in tensors]
            for k, _ in enumerate(devices)])
    return lambda module: replicate.replicate(module, ["cpu", "cpu"])


@CALLED
@pytest.mark.parametrize("direct", [False, True])
def test_replicas_compute_with_their_own_weights(replicas, called, direct):
    """Tensors that are no parameters and no leaves; gradients go back to the module. (The second
    replica's are twice as large, so that they are told from the first's.)"""
    X, g = batch(4)
    results = []
    for module in (layers(), fuse(layers(), direct=direct)):
        if called:
            module(X).backward(g)
            module.zero_grad()
        outputs = [replica(X) for replica in replicas(module)]
        sum((h * g).sum() for h in outputs).backward()
        results.append([*(h.detach() for h in outputs), *(p.grad for p in module.parameters())])
    close(*results)
    assert not torch.allclose(results[0][0], results[0][1])


def test_a_replica_has_no_gradients_at_once(replicas):
    """Its gradients would be of tensors that nobody has."""
    fused, (X, y) = fuse(layers()), batch(4)
    fused(X)
    replica = replicas(fused)[1]
    with pytest.raises(TypeError, match="weight"):
        loss_and_grad_(replica, X, y, nn.MSELoss())
    assert all(p.grad is None for p in fused.parameters())


# ---- what else looks at modules


def test_modules_that_are_averaged():
    """swa_utils: a deep copy whose parameters are written, then computed with."""
    fused, (X, g) = fuse(layers()), batch(4)
    fused(X)
    averaged = torch.optim.swa_utils.AveragedModel(fused)
    averaged.update_parameters(fused)
    with torch.no_grad():
        for p in fused.parameters():
            p.mul_(3)
    averaged.update_parameters(fused)
    assert type(averaged.module) is FusedSequential
    twin = layers()
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(2)
    close(gradients(averaged, X, g), gradients(twin, X, g))


def test_parameters_that_are_swapped():
    """torch.__future__'s way of module.to(), which exchanges the tensors within the parameters."""
    fused, (X, g) = fuse(layers()), batch(4)
    expected = gradients(fused, X, g)
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        fused.float()
        assert fused(X.float()).dtype == torch.float32
        fused.double().load_state_dict(layers().state_dict())
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
    same(gradients(fused, X, g), expected)


def test_anomaly_mode_and_saved_tensors():
    """Under the contexts of autograd that look at what a pass keeps."""
    fused, (X, g) = fuse(layers()), batch(300)
    expected = gradients(fused, X, g)
    with torch.autograd.detect_anomaly(check_nan=True):
        same(gradients(fused, X, g), expected)
    with torch.autograd.graph.save_on_cpu():
        same(gradients(fused, X, g), expected)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        close(gradients(fused, X, g), expected)
    with torch.profiler.profile() as profile:
        same(gradients(fused, X, g), expected)
    assert len(profile.events())
