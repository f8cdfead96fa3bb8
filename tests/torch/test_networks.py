"""Networks become modules of PyTorch's and modules networks: the weights are copied, to the bit."""

import copy
import re

import numpy as np
import pytest

import fastbp

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import KINDS, close, same, sequential  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from fastbp.torch import from_torch, fuse, to_torch  # noqa: E402

SIZES = (3, 5, 4, 2)
LOSSES = ["bce", "softmax", "squared_error", "poisson"]
CRITERIA = {"bce": nn.BCEWithLogitsLoss, "softmax": nn.CrossEntropyLoss,
            "squared_error": nn.MSELoss, "poisson": nn.PoissonNLLLoss}
X = np.random.default_rng(0).normal(size=(7, 3))


def network(loss="bce", activation=("tanh", "relu"), dtype="float64", sizes=SIZES):
    net = fastbp.MLP(sizes, activation=activation, loss=loss, dtype=dtype, seed=0)
    net.params[:] += np.random.default_rng(1).normal(size=net.n_params)
    return net


def bits(net):
    """Every bit is the same, those of NaNs too."""
    return net.params.tobytes()


def bits_of(module):
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


# ---- modules of networks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [*KINDS, ("tanh", "relu"), ("identity", "sigmoid")], ids=str)
def test_module_of_a_network(activation, dtype):
    net = network(activation=activation, dtype=dtype)
    module = to_torch(net)
    assert type(module) is nn.Sequential
    names = (activation,) * 2 if isinstance(activation, str) else activation
    assert [type(child) for child in module] == [
        nn.Linear, KINDS[names[0]], nn.Linear, KINDS[names[1]], nn.Linear]
    state = module.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]
    for i, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        weight, bias = state[f"{2 * i}.weight"], state[f"{2 * i}.bias"]
        assert weight.dtype == bias.dtype == getattr(torch, dtype) and weight.is_contiguous()
        np.testing.assert_array_equal(weight.numpy().T, W)
        np.testing.assert_array_equal(bias.numpy(), b)
    assert all(type(p) is nn.Parameter and p.requires_grad for p in module.parameters())
    rows = torch.from_numpy(X.astype(dtype))
    np.testing.assert_array_equal(fuse(module)(rows).detach().numpy(), net.logits(X))
    if dtype == "float64":
        close([module(rows).detach()], [torch.from_numpy(net.logits(X))])
    module[0].weight.data.zero_()
    assert net.weights[0].all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_that_is_named_is_the_networks(loss):
    """Of sums over samples, but for the half of a squared error."""
    net = network(loss)
    y = np.random.default_rng(2).integers(0, 2, (7, 2)).astype(float)
    if loss == "softmax":
        y = y[:, 0].astype(int)
    criterion = CRITERIA[loss](reduction="sum")
    assert type(criterion).__name__ in to_torch.__doc__
    value = criterion(to_torch(net)(torch.from_numpy(X)), torch.from_numpy(y))
    expected = net.loss_value(X, y) * (2 if loss == "squared_error" else 1)
    close([value.detach()], [torch.tensor(expected, dtype=torch.float64)])


def test_it_takes_no_random_numbers_and_no_default():
    net, state = network(), torch.random.get_rng_state()
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with torch.device("meta"):
            module = to_torch(net)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(state, torch.random.get_rng_state())
    assert {(p.device.type, p.dtype) for p in module.parameters()} == {("cpu", torch.float64)}
    same(module.state_dict().values(), to_torch(net).state_dict().values())


def test_what_is_no_network():
    with pytest.raises(TypeError, match="net is of type Population; it should be a fastbp.MLP"):
        to_torch(fastbp.Population(2, [2, 1], seeds=0))


# ---- networks of modules


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", [*KINDS, ("tanh", "relu")], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [SIZES, (3, 2)], ids=str)
def test_there_and_back(loss, activation, dtype, sizes):
    if len(sizes) == 2:
        activation = "sigmoid"
    net = network(loss, activation, dtype, sizes)
    net.params[:4] = [np.inf, -0.0, np.nan, np.finfo(dtype).smallest_subnormal]
    for module in (to_torch(net), fuse(to_torch(net))):
        again = from_torch(module, loss)
        assert repr(again) == repr(net) and bits(again) == bits(net)
        again.params[:] = 0
        assert bits_of(module) == bits_of(to_torch(net))


@pytest.mark.parametrize("activations", [["sigmoid", "tanh", "identity"],
                                         ["relu", "relu", "sigmoid"]], ids=str)
@pytest.mark.parametrize("fused", [False, True])
def test_back_and_there(activations, fused):
    module = sequential(SIZES, activations)
    net = from_torch(fuse(module) if fused else module, "bce")
    assert net.activation in (tuple(activations[:-1]), activations[0])
    h = module(torch.from_numpy(X)).detach()
    if activations[-1] == "identity":
        h = torch.sigmoid(h)
    close([torch.from_numpy(net.forward(X))], [h])
    same([p for p in to_torch(net).parameters()], [p for p in module.parameters()])


def test_a_state_dict_goes_both_ways():
    """By way of a module of the shape."""
    net, other = network(), network("softmax")
    other.params[:] *= 2
    module = to_torch(net)
    module.load_state_dict(to_torch(other).state_dict())
    net.params = from_torch(module, net.loss).params
    assert bits(net) == bits(other) and net.loss == "bce"


def test_cross_entropy_is_a_name_of_softmax():
    assert from_torch(sequential(), "cross_entropy").loss == "softmax"


def test_a_linear_without_a_bias():
    module = sequential(bias=False)
    net = from_torch(module, "squared_error")
    assert not any(b.any() for b in net.biases)
    close([torch.from_numpy(net.forward(X))], [module(torch.from_numpy(X)).detach()])


def test_parameters_of_any_layout():
    module = sequential()
    expected = bits(from_torch(module, "bce"))
    with torch.no_grad():
        module[0].weight.data = module[0].weight.data.T.contiguous().T
        module[2].bias.data = torch.stack([module[2].bias.data] * 2, dim=1)[:, 0]
    assert not (module[0].weight.is_contiguous() or module[2].bias.is_contiguous())
    module.requires_grad_(False)
    assert bits(from_torch(module, "bce")) == expected
    with torch.inference_mode():
        assert bits(from_torch(to_torch(from_torch(module, "bce")), "bce")) == expected
    around = nn.Sequential(nn.Identity(), *module[:2], nn.Identity(), *module[2:], nn.Identity())
    assert bits(from_torch(around, "bce")) == expected


def changed(change):
    module = sequential()
    change(module)
    return module


class Own(nn.Sequential):
    pass


@pytest.mark.parametrize(("module", "error", "words"), [
    (nn.Linear(2, 1), TypeError, "module is of type Linear; it should be an nn.Sequential of "),
    (Own(nn.Linear(2, 1)), TypeError, "module is of type Own; it should be an nn.Sequential"),
    (nn.Sequential(), TypeError, "there is no Linear in it"),
    (nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Linear(2, 1)), TypeError,
     "child 1 is GELU(approximate='none'); it should be a Linear, or one of Sigmoid, Tanh, ReLU"),
    (nn.Sequential(nn.ReLU(), nn.Linear(2, 1)), TypeError, "child 0 is ReLU()"),
    (nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 1)), TypeError, "Linear(in_features=2, out_feat"),
    (sequential(dtype=torch.float16), TypeError, "0.weight is float16; it should be float32 or fl"),
    (sequential(dtype=torch.bfloat16), TypeError, "0.weight is bfloat16; it should be float32 or"),
    (changed(lambda m: m[2].float()), TypeError,
     "2.weight is float32; it should be float64, as those before it"),
    (sequential().to("meta"), TypeError, "0.weight is torch.float64 on meta; it should be on the "),
    (changed(lambda m: m[1].register_forward_hook(print)), TypeError, "module or a child has h"),
    (changed(lambda m: m.register_forward_pre_hook(print)), TypeError, "module or a child has h"),
    (changed(lambda m: setattr(m[0], "forward", abs)), TypeError, "child 0 has a forward of its"),
    (changed(lambda m: setattr(m, "forward", abs)), TypeError, "module has a forward of its own"),
    (changed(lambda m: parametrizations.weight_norm(m[2])), TypeError,
     "child 2 computes its weight in each call; it should be a parameter"),
    (changed(lambda m: prune.l1_unstructured(m[0], "bias", amount=1)), TypeError,
     "child 0 computes its bias in each call; it should be a parameter"),
    (sequential(activations=["relu", "relu", "tanh"]), ValueError,
     "the module ends in 'tanh'; under this loss it should end in 'identity'")])
def test_modules_that_are_no_network(module, error, words):
    with pytest.raises(error, match="^" + re.escape(words)):
        from_torch(module, "bce")


def test_weights_that_were_computed():
    module = sequential()
    expected = copy.deepcopy(module)
    prune.identity(module[0], "weight")
    prune.remove(module[0], "weight")
    assert bits(from_torch(module, "bce")) == bits(from_torch(expected, "bce"))


@pytest.mark.parametrize(("activations", "loss", "words"), [
    (None, "mse", "loss is 'mse'; it should be one of 'bce', 'softmax', "),
    (None, nn.BCELoss(), "the module ends in 'identity'; under this loss it should end in 'sigm"),
    (None, nn.MSELoss(reduction="none"), "MSELoss has reduction='none'; it should be 'mean'"),
    (None, nn.PoissonNLLLoss(full=True), "PoissonNLLLoss has full=True; for a fused module it"),
    (["relu", "relu", "sigmoid"], "softmax",
     "the module ends in 'sigmoid'; under this loss it should end in 'identity'")])
def test_losses_that_do_not_fit(activations, loss, words):
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        from_torch(sequential(activations=activations), loss)


@pytest.mark.parametrize(("loss", "words"), [
    (nn.CrossEntropyLoss, "the class CrossEntropyLoss; it should be an instance, nn.CrossEntr"),
    (nn.L1Loss(), "loss is of type L1Loss; it should be one of BCEWithLogitsLoss, ")], ids=str)
def test_losses_of_other_kinds(loss, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        from_torch(sequential(), loss)


@pytest.mark.parametrize(("criterion", "options"), [
    (nn.BCEWithLogitsLoss(reduction="sum"), {}),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 0.5]), reduction="sum"),
     {"pos_weight": (2.0, 0.5)}),
    (nn.CrossEntropyLoss(weight=torch.tensor([3.0, 0.25], dtype=torch.float64)),
     {"class_weight": (3.0, 0.25)}),
    (nn.CrossEntropyLoss(label_smoothing=0.125), {"label_smoothing": 0.125}),
    (nn.PoissonNLLLoss(reduction="sum"), {}), (nn.MSELoss(reduction="sum"), {})], ids=str)
def test_an_instance_of_a_loss_brings_its_options(criterion, options):
    """What `loss_and_grad_` takes; the value is PyTorch's, but for the half of a squared error."""
    module = sequential()
    net = from_torch(module, criterion)
    assert net.loss_options == options
    y = np.random.default_rng(2).integers(0, 2, (7, 2)).astype(float)
    if net.loss == "softmax":
        y = y[:, 0].astype(int)
    value = criterion(module(torch.from_numpy(X)), torch.from_numpy(y)).detach()
    expected = net.loss_value(X, y, reduction=criterion.reduction)
    half = 2 if net.loss == "squared_error" else 1
    close([value], [torch.tensor(half * expected, dtype=torch.float64)])


def test_an_instance_for_a_module_that_ends_in_a_sigmoid():
    module = sequential(activations=["relu", "relu", "sigmoid"])
    assert bits(from_torch(module, nn.BCELoss())) == bits(from_torch(module, "bce"))
    with pytest.raises(ValueError, match="ends in 'sigmoid'; under this loss it should end in 'i"):
        from_torch(module, nn.BCEWithLogitsLoss())


def nested():
    module = sequential()
    return nn.Sequential(nn.Sequential(module[0], nn.Sequential(module[1])), module[2:4], module[4])


def test_sequentials_of_sequentials_are_one_network():
    expected = bits(from_torch(sequential(), "bce"))
    assert bits(from_torch(nested(), "bce")) == expected
    assert bits(from_torch(fuse(nested()), "bce")) == expected


@pytest.mark.parametrize(("change", "words"), [
    (lambda m: m[0].register_forward_hook(print), "module or a child has hooks"),
    (lambda m: m[0][1][0].register_forward_hook(print), "module or a child has hooks"),
    (lambda m: setattr(m[0], "forward", abs), "child 0 has a forward of its own"),
    (lambda m: setattr(m[0][1][0], "forward", abs), "child 0.1.0 has a forward of its own"),
    (lambda m: prune.l1_unstructured(m[1][0], "bias", amount=1), "child 1.0 computes its bias"),
    (lambda m: m[1].float(), "1.0.weight is float32; it should be float64, as those before it")])
def test_what_is_wrong_inside_a_sequential(change, words):
    module = nested()
    change(module)
    with pytest.raises(TypeError, match="^" + re.escape(words)):
        from_torch(module, "bce")


def test_one_class_has_no_softmax():
    with pytest.raises(ValueError, match="there is 1 output; under loss='softmax'"):
        from_torch(sequential((3, 1), ["identity"]), "softmax")
