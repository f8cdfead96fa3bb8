"""`MLP.input_grad` and `MLP.jacobian` beside PyTorch's autograd in float64 (torch.func)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
import input_bounds as bounds  # noqa: E402
import oracle  # noqa: E402
from bits import of_layers  # noqa: E402
from torch import func  # noqa: E402

import fastbp  # noqa: E402

U = 2.0**-53
SIZES = (4, 7, 5, 3)
# PyTorch's derivatives are h(1 - h) and 1 - h^2 with the rounding error of h, which relative to
# 1 - h is at most e^|z| larger. Here |z| < 3, and there are three layers of it: below 2^7 in all,
# of bounds that hold for any order of sums.
SLACK = 2**7
ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
               "identity": lambda z: z}
NAMES = [*ACTIVATIONS, ["tanh", "relu"]]    # of all hidden layers, or of each
OUTPUTS = {"bce": torch.sigmoid, "softmax": lambda z: torch.softmax(z, -1),
           "squared_error": lambda z: z, "poisson": torch.exp}
LOSSES = {"bce": lambda z, y: torch.nn.functional.binary_cross_entropy_with_logits(
              z, y, reduction="sum"),
          "softmax": lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="sum"),
          "squared_error": lambda z, y: ((z - y)**2).sum() / 2,
          "poisson": lambda z, y: (z.exp() - y * z).sum()}


def problem(loss):
    rng = np.random.default_rng(0)
    weights, biases = oracle.random_network(rng, SIZES, "float64", 0.5)
    y = rng.integers(0, 3, 6) if loss == "softmax" else rng.integers(0, 2, (6, 3)).astype(float)
    return weights, biases, rng.uniform(-1, 1, (6, 4)), y


def network(weights, biases, **options):
    net = fastbp.MLP(SIZES, dtype="float64", seed=0, **options)
    for own, given in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
        own[...] = given
    h = problem(options["loss"])[2]
    for W, b, name in zip(weights, biases, of_layers(options["activation"], 3), strict=True):
        z = h @ W + b
        assert np.abs(z).max() < 3
        h = fastbp.activate(z, name)[0]
    return net


def logits(params, x, activation):
    """z_L of one sample, of the flat parameters."""
    at, h = 0, x
    for fan_in, fan_out, name in zip(SIZES, SIZES[1:], of_layers(activation, 3), strict=False):
        W = params[at:at + fan_in * fan_out].reshape(fan_in, fan_out)
        at += fan_in * fan_out
        z = h @ W + params[at:at + fan_out]
        at += fan_out
        h = ACTIVATIONS[name](z)
    return z


@pytest.mark.parametrize("activation", NAMES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_input_grad(loss, activation):
    weights, biases, X, y = problem(loss)
    options = {"activation": activation, "loss": loss}
    net = network(weights, biases, **options)
    params = torch.from_numpy(net.params.copy())
    target = torch.from_numpy(y)
    expected = func.grad(lambda X: LOSSES[loss](logits(params, X, activation), target))(
        torch.from_numpy(X))
    _, bound = bounds.input_grad(weights, biases, X, y, u=U, rounding=oracle.NUMPY, **options)
    oracle.assert_within(net.input_grad(X, y), expected.numpy(), SLACK * bound, "dX")


@pytest.mark.parametrize("activation", NAMES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("of", ["output", "logits"])
@pytest.mark.parametrize("wrt", ["params", "input"])
def test_jacobian(wrt, of, loss, activation):
    weights, biases, X, _ = problem(loss)
    options = {"activation": activation, "loss": loss}
    net = network(weights, biases, **options)
    params = torch.from_numpy(net.params.copy())
    output = OUTPUTS[loss] if of == "output" else (lambda z: z)
    jacobian = func.jacrev(lambda params, x: output(logits(params, x, activation)),
                           argnums=0 if wrt == "params" else 1)
    expected = func.vmap(jacobian, in_dims=(None, 0))(params, torch.from_numpy(X))
    _, bound = bounds.jacobian(weights, biases, X, u=U, of=of, wrt=wrt, rounding=oracle.NUMPY,
                               **options)
    oracle.assert_within(net.jacobian(X, of=of, wrt=wrt), expected.numpy(), SLACK * bound, "J")
