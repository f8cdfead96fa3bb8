"""`MLP.hvp` and `MLP.gnvp` are what torch.func makes of the same loss in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from bits import network_of  # noqa: E402
from second_order import layers_of, product_bound  # noqa: E402
from torch.func import grad, vjp  # noqa: E402
from torch.nn import functional  # noqa: E402

SIZES, N, L2 = (5, 9, 7, 3), 40, 0.25
ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
               "identity": lambda z: z}
LOSSES = {
    "bce": lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1),
    "softmax": lambda z, y: functional.cross_entropy(z, y, reduction="none"),
    "squared_error": lambda z, y: ((z - y)**2).sum(1) / 2,
    "poisson": lambda z, y: (torch.exp(z) - y * z).sum(1),
}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_torch_func(activation, loss, reduction):
    net, X, y = network_of(activation, loss, {}, SIZES, N, "float64")
    rng = np.random.default_rng(0)
    v, w = rng.standard_normal(net.n_params), rng.random(N)
    inputs, targets, counts = map(torch.from_numpy, (X, y, w))
    params, along = torch.from_numpy(net.params.copy()), torch.from_numpy(v)
    divisor = counts.sum() if reduction == "mean" else 1

    def logits(p):
        weights, biases = layers_of(net, p)
        h = inputs
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            h = ACTIVATIONS[activation](h @ W + b)
        return h @ weights[-1] + biases[-1]

    def counted(z):
        return (LOSSES[loss](z, targets) * counts).sum() / divisor

    def penalty(p):
        return L2 / 2 * sum((W**2).sum() for W in layers_of(net, p)[0]) / divisor

    options = {"sample_weight": w, "reduction": reduction, "l2": L2}
    def derivative(f, at, direction):
        """The derivative of grad f along a direction, in reverse mode twice."""
        return grad(lambda p: (grad(f)(p) * direction).sum())(at)

    hessian = derivative(lambda p: counted(logits(p)) + penalty(p), params, along)
    z, pull_back = vjp(logits, params)
    z_dot = grad(lambda u: (pull_back(u)[0] * along).sum())(torch.zeros_like(z))
    curved = derivative(counted, z.detach(), z_dot)
    gauss_newton = pull_back(curved)[0] + derivative(penalty, params, along)
    for name, expected in (("hvp", hessian), ("gnvp", gauss_newton)):
        # Any order of summation is within 16 times the bound of fastbp's, as `rounding` says.
        bound = product_bound(net, X, y, v, gauss_newton=name == "gnvp", **options)
        assert np.all(np.abs(getattr(net, name)(X, y, v, **options) - expected.numpy())
                      <= 17 * bound), name
