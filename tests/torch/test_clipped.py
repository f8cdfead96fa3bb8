"""clipped_loss_and_grad_ of fastbp.torch: the gradient of each sample, which torch.func has in
float64, clipped and added up; noise as of `MLP.clipped_backprop`; what counts otherwise is refused.
"""

import numpy as np
import oracle
import pytest

import fastbp
from fastbp import _random
from fastbp._twin.error_bound import clipped_sum
from fastbp._twin.rounding import LIBRARY
from tests.exactness.test_per_sample import rounding

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, same, sequential  # noqa: E402
from torch import nn  # noqa: E402
from torch.func import functional_call, grad, vmap  # noqa: E402

from fastbp.torch import clipped_loss_and_grad_, fuse  # noqa: E402
from tests.torch.test_losses import CRITERIA, grads, targets  # noqa: E402

SIZES = (4, 6, 5, 3)
N = 30


def per_sample(module, X, y, loss):
    """[(n, ...)] of torch.func: `loss` of one sample, a batch of its own."""
    params = {name: p.detach() for name, p in module.named_parameters()}

    def one(params, x, t):
        return loss(functional_call(module, params, x[None]), t[None])

    found = vmap(grad(one), in_dims=(None, 0, 0))(params, X, y)
    return [found[name] for name, _ in module.named_parameters()]


def expected(module, X, y, loss, max_norm, mean):
    each = per_sample(module, X, y, loss)
    norms = sum(g.flatten(1).square().sum(1) for g in each).sqrt()
    factors = (max_norm / norms).clamp(max=1) / (len(X) if mean else 1)
    return norms, [torch.einsum("i,i...->...", factors, g) for g in each]


# BCELoss divides h - y by h (1 - h), and multiplies with it again: four roundings more.
PYTORCH = LIBRARY._replace(delta=LIBRARY.delta + 4)
U = 2.0**-53
NAMES = {"BCEWithLogitsLoss": "bce", "BCELoss": "bce", "CrossEntropyLoss": "softmax",
         "MSELoss": "squared_error", "PoissonNLLLoss": "poisson"}


def bounded(module, X, y, criterion):
    """Exact loss and gradient, and the bound of either, of X and y by one of PyTorch's losses.

    The loss is fastbp's times a factor. PyTorch multiplies each delta with it, which counts as a
    weight of the samples, and has rounded it, which all numbers have in common: u.
    """
    linears = [child for child in module if isinstance(child, nn.Linear)]
    name, n_outputs, t = NAMES[type(criterion).__name__], SIZES[-1], y.numpy()
    factor = 2 if name == "squared_error" else 1
    if criterion.reduction == "mean":
        factor /= len(X) * (1 if name == "softmax" else n_outputs)
    weight = np.full(len(X), float(factor))
    if name == "softmax" and criterion.weight is not None:
        weight *= criterion.weight.numpy()[t]
    options = {"pos_weight": getattr(criterion, "pos_weight", None),
               "label_smoothing": getattr(criterion, "label_smoothing", 0.0)}
    if options["pos_weight"] is not None:
        options["pos_weight"] = options["pos_weight"].numpy()
    exact, off = oracle.error_bound(
        [each.weight.detach().numpy().T for each in linears],
        [each.bias.detach().numpy() for each in linears], X.numpy(), t, u=U, rounding=PYTORCH,
        activation=["tanh", "relu"], loss=name, sample_weight=weight, **options)
    g = exact.flat()
    return exact.loss, off.loss + 2 * U * abs(exact.loss), g, off.flat() + U * np.abs(g)


def flat(grads):
    """W_1, b_1, ... of PyTorch's (fan_out, fan_in) in the order of fastbp's."""
    return np.concatenate([g.numpy().T.ravel() for g in grads])


def assert_apart(one, other, bound):
    """Both are within the bound of the true values."""
    assert (np.abs(np.asarray(one, np.longdouble) - np.asarray(other)) <= 2 * bound).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("criterion, kind", CRITERIA)
def test_losses_of_pytorch(criterion, kind, reduction):
    """Both are within the running error bound of the true value, twice of which is between them.

    A norm rounds as `test_per_sample.rounding` says of fastbp's, and one of PyTorch's as half a sum
    of all squares in any order, a square and a root. A factor is of a limit and a norm that one of
    both sides has scaled, and is divided by n: 4 u. A loss that is a mean over outputs is one for
    each sample, too.
    """
    last = "sigmoid" if isinstance(criterion, nn.BCELoss) else "identity"
    module = sequential(SIZES, ["tanh", "relu", last])
    loss = with_reduction(criterion, reduction)
    X, y = batch(N, SIZES, torch.float64)[0], targets(kind, N, SIZES[-1])
    if kind == "probabilities":         # whose sum is 1 without a rounding
        y = torch.floor(y * 1024) / 1024
        y[:, -1] = 1 - y[:, :-1].sum(1)
    weighted = getattr(loss, "weight", None) is not None
    if weighted and reduction == "mean":
        with pytest.raises(ValueError, match="reduction='mean'.*reduction should be 'sum'"):
            clipped_loss_and_grad_(fuse(module), X, y, 1.0, loss)
        return
    norms, _ = expected(module, X, y, loss, 1.0, True)
    n_params = sum(p.numel() for p in module.parameters())
    own = max(rounding("float64", SIZES), (n_params / 2 + 2) * U) + 4 * U
    samples = [bounded(module, X[i:i + 1], y[i:i + 1], loss)[2:] for i in range(N)]
    _, off, _, _ = bounded(module, X, y, loss)
    divisor = N if reduction == "mean" else 1
    for max_norm in (float(norms.median()), float("inf")):
        norms, wanted = expected(module, X, y, loss, max_norm, reduction == "mean")
        value, found = clipped_loss_and_grad_(fuse(module), X, y, max_norm, loss)
        bound = clipped_sum(samples, N, max_norm, own, U)
        assert_apart(value, loss(module(X), y).item(), off)
        assert_apart(found, norms, np.array(bound.off_norms))
        assert_apart(flat(grads(module)), flat(wanted), bound.off_total / divisor)
        # A wrong factor is off by more than 2^-10.
        assert (bound.off_total <= 2.0**-30 * np.abs(bound.total).max()).all()


def with_reduction(criterion, reduction):
    criterion = type(criterion)(**{
        name: getattr(criterion, name) for name in
        ("weight", "pos_weight", "label_smoothing") if getattr(criterion, name, None) is not None},
        reduction=reduction)
    return criterion


@pytest.mark.parametrize(("name", "loss", "kind"), [
    ("bce", "bce", "unit"), ("cross_entropy", "softmax", "classes"),
    ("squared_error", "squared_error", "unit"), ("poisson", "poisson", "unit")])
@pytest.mark.parametrize("reduction", [None, "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_by_name_are_those_of_a_network(name, loss, kind, reduction, weighted, dtype, isa):
    """To the bit; of noise, parameter by parameter as W lies here, (fan_out, fan_in)."""
    dtype = getattr(torch, dtype)
    module = sequential(SIZES, dtype=dtype)
    X, y = batch(N, SIZES, dtype)[0], targets(kind, N, SIZES[-1])
    weight = torch.rand(N, device="cpu") if weighted else None
    value, norms = clipped_loss_and_grad_(fuse(module), X, y, 0.25, name, reduction=reduction,
                                          sample_weight=weight)
    net = fastbp.MLP(SIZES, loss=loss, dtype=str(dtype).removeprefix("torch."))
    params = list(module.parameters())
    for W, b, p, q in zip(net.weights, net.biases, params[::2], params[1::2], strict=True):
        W[:], b[:] = p.detach().numpy().T, q.detach().numpy()
    options = {"reduction": reduction or "mean",
               "sample_weight": None if weight is None else weight.numpy()}
    loss, others = net.clipped_backprop(X.numpy(), y.numpy(), 0.25, **options)
    assert value == loss and norms.numpy().tobytes() == others.tobytes()
    wanted = [torch.from_numpy(a.T.copy()) for pair in
              zip(net.weight_grads, net.bias_grads, strict=True) for a in pair]
    same([p.grad for p in params], wanted)


@pytest.mark.parametrize("criterion, divisor, scale", [
    ("sum", 1, 1), (nn.MSELoss(), N * 3 / 2, 3 / 2), (nn.BCEWithLogitsLoss(), N * 3, 3)])
def test_noise(criterion, divisor, scale, dtype):
    """noise_multiplier max_norm z is added to the sum over samples, before the mean."""
    module = sequential(SIZES, dtype=getattr(torch, dtype))
    X, y = batch(N, SIZES, getattr(torch, dtype))[0], targets("unit", N, 3)
    by_name = criterion == "sum"
    call = {"loss": "bce", "reduction": "sum"} if by_name else {"loss": criterion}
    clipped_loss_and_grad_(fuse(module), X, y, 0.5, **call)
    clean = torch.cat([g.flatten() for g in grads(module)]).double()
    clipped_loss_and_grad_(fuse(module), X, y, 0.5, **call, noise_multiplier=2.0,
                           rng=np.random.default_rng(4))
    noisy = torch.cat([g.flatten() for g in grads(module)]).double()
    raw = np.random.PCG64(4).random_raw(len(noisy) + len(noisy) % 2)
    wanted = clean.numpy() + 1.0 * scale * _random.normals(raw)[:len(noisy)] / divisor
    # The sum is rounded with its noise, divided and rounded again, on either side.
    close = 8 * np.finfo(dtype).eps * np.abs(wanted).max()
    np.testing.assert_allclose(noisy.numpy(), wanted, rtol=0, atol=close)


def test_accumulate_adds():
    module = fuse(sequential(SIZES, dtype=torch.float64))
    X, y = batch(N, SIZES, torch.float64)[0], targets("unit", N, 3)
    clipped_loss_and_grad_(module, X, y, 0.5)
    once = [g.clone() for g in grads(module)]
    clipped_loss_and_grad_(module, X, y, 0.5, accumulate=True)
    same(grads(module), [2 * g for g in once])


# ---- what is refused


def without_bias():
    return nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 3)).double()


def frozen():
    module = sequential(SIZES)
    module[0].bias.requires_grad_(False)
    return module


def tied():
    module = sequential((4, 4, 4, 3))
    module[2].weight = module[0].weight
    return module


@pytest.mark.parametrize("make, word", [(without_bias, "no bias"), (frozen, "frozen"),
                                        (tied, "tied")])
def test_parameters_that_count_otherwise(make, word):
    module = make()
    X, y = batch(N, SIZES)[0], targets("unit", N, 3)
    with pytest.raises(ValueError, match=f"{word}.*should"):
        clipped_loss_and_grad_(fuse(module), X, y, 1.0)
    assert all(g is None for g in grads(module))


@pytest.mark.parametrize("given, kind, word", [
    ({"max_norm": 0}, ValueError, "max_norm"), ({"max_norm": "1"}, TypeError, "max_norm"),
    ({"noise_multiplier": -1}, ValueError, "noise_multiplier"),
    ({"noise_multiplier": 1.0, "rng": 0}, TypeError, "rng is 0"),
    ({"noise_multiplier": 1.0, "rng": torch.Generator()}, TypeError, "type torch._C.Generator"),
    ({"noise_multiplier": 1.0, "max_norm": float("inf")}, ValueError, "finite"),
    ({"module": nn.Linear(2, 2)}, TypeError, "FusedSequential"),
    ({"X": torch.full((N, 4), float("nan"))}, ValueError, "sample 0"),
    ({"X": torch.zeros(0, 4), "y": torch.zeros(0, 3)}, ValueError, "no samples"),
    ({"accumulate": 1}, TypeError, "accumulate")])
def test_arguments(given, kind, word):
    module = fuse(sequential(SIZES, dtype=torch.float32))
    X, y = batch(N, SIZES, torch.float32)[0], targets("unit", N, 3)
    with pytest.raises(kind, match=word):
        clipped_loss_and_grad_(**{"module": module, "X": X, "y": y, "max_norm": 1.0, **given})
    # and the module is as good as before
    clipped_loss_and_grad_(module, X, y, 1.0)


@pytest.mark.parametrize("criterion, scale", [("sum", 1), (nn.MSELoss(), 3 / 2),
                                              (nn.BCEWithLogitsLoss(), 3)])
def test_a_deviation_that_the_dtype_does_not_hold(criterion, scale, dtype):
    """As `MLP.clipped_backprop` refuses it, of the gradients as the kernels have them."""
    module, info = fuse(sequential(SIZES, dtype=getattr(torch, dtype))), np.finfo(dtype)
    X, y = batch(N, SIZES, getattr(torch, dtype))[0], targets("unit", N, 3)
    call = {"loss": "bce", "reduction": "sum"} if scale == 1 else {"loss": criterion}
    least, most = float(info.tiny) / scale, float(info.max) / 16 / scale
    for fits, beyond in ((2 * least, least / 2), (most / 2, 2 * most)):
        rng = np.random.default_rng(0)
        state = rng.bit_generator.state
        with pytest.raises(ValueError, match=f"noise_multiplier is 1.0 and max_norm.*{dtype}"):
            clipped_loss_and_grad_(module, X, y, beyond, **call, noise_multiplier=1.0, rng=rng)
        assert all(g is None for g in grads(module)) and rng.bit_generator.state == state
        clipped_loss_and_grad_(module, X, y, fits, **call, noise_multiplier=1.0, rng=rng)
        assert all(g.isfinite().all() for g in grads(module))
        module.zero_grad()


def test_an_empty_lot_is_noise():
    module = fuse(sequential(SIZES, dtype=torch.float32))
    loss, norms = clipped_loss_and_grad_(module, torch.zeros(0, 4), torch.zeros(0, 3), 1.0,
                                         reduction="sum", noise_multiplier=1.0)
    assert loss == 0 and norms.shape == (0,) and all(g.all() for g in grads(module))
