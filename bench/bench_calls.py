"""The cost of a call around its kernels: one sample through a small network, one small gradient.

The ways of a group do the same arithmetic and give the same bits, which is asserted before they are
timed; their arrays fit as they are. The difference within a group is what is around the kernels.
"""

import numpy as np
import pytest

import fastbp

ACTOR, GRADIENT, BATCH = (4, 64, 64, 2), (30, 32, 16, 1), 32
OUTPUTS = ("forward", "forward into out", "logits into out", "Layers.forward")
GRADIENTS = ("MLP.backprop", "backprop", "Layers.loss_and_grad")


def numbers(shape, dtype):
    return np.random.default_rng(0).uniform(0, 1, shape).astype(dtype)


@pytest.mark.parametrize("way", OUTPUTS)
def test_outputs_of_one_sample(benchmark, way, dtype):
    net = fastbp.MLP(ACTOR, loss="squared_error", dtype=dtype, seed=0)
    layers = fastbp.Layers(ACTOR, ["sigmoid"] * 2 + ["identity"], dtype=dtype)
    X, out = numbers((1, ACTOR[0]), dtype), np.empty((1, ACTOR[-1]), dtype)
    weights, biases = list(net.weights), list(net.biases)
    call = {
        "forward": lambda: net.forward(X),
        "forward into out": lambda: net.forward(X, out=out),
        "logits into out": lambda: net.logits(X, out=out),
        "Layers.forward": lambda: layers.forward(weights, biases, X, keep=False),
    }[way]
    assert call().tobytes() == net.forward(X).tobytes()
    benchmark.group = f"outputs of one sample {dtype}"
    benchmark(call)


@pytest.mark.parametrize("way", GRADIENTS)
def test_gradient_of_a_small_network(benchmark, way, dtype):
    net = fastbp.MLP(GRADIENT, dtype=dtype, seed=0)
    layers = fastbp.Layers(GRADIENT, ["sigmoid"] * 2 + ["identity"], dtype=dtype)
    X, y = numbers((BATCH, GRADIENT[0]), dtype), numbers((BATCH, 1), dtype).round()
    weights, biases = list(net.weights), list(net.biases)
    dW, db = ([np.empty_like(a) for a in arrays] for arrays in (weights, biases))
    call = {
        "MLP.backprop": lambda: net.backprop(X, y),
        "backprop": lambda: fastbp.backprop(weights, biases, X, y)[0],
        "Layers.loss_and_grad": lambda: layers.loss_and_grad(weights, biases, X, y, dW, db),
    }[way]
    assert call() == net.backprop(X, y)
    benchmark.group = f"gradient {dtype}"
    benchmark(call)
