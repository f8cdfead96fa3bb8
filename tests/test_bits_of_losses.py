"""Promise: the bits of every activation and loss depend on no thread, batch or way to call them.

As test_bits.py has it for sigmoid units and binary cross-entropy; L3 is in its digests.
"""

import numpy as np
import pytest
from bits import KINDS, name_of, network_of, same_bits, sample_weights

import fastbp
from fastbp import _random

each_kind = pytest.mark.parametrize("kind", KINDS, ids=name_of)


@each_kind
def test_number_of_threads(isa, dtype, kind):
    sizes, n = (64, 129, 65, 5), 700
    net, X, y = network_of(*kind, sizes, n, dtype)
    w = sample_weights(np.random.PCG64(n), n, dtype)
    net.n_threads = 1
    loss, outputs = net.backprop(X, y, sample_weight=w), net.forward(X)
    grad = net.grad.copy()
    try:
        fastbp.set_num_threads(3)
        for threads in (2, 3, 1):
            net.n_threads = threads
            net.grad[:] = np.nan
            assert same_bits(net.backprop(X, y, sample_weight=w), loss)
            assert same_bits(net.grad, grad) and same_bits(net.forward(X), outputs)
    finally:
        fastbp.set_num_threads(None)


@each_kind
def test_outputs_of_a_sample(isa, dtype, kind):
    net, X, _ = network_of(*kind, (30, 17, 9, 5), 600, dtype)
    z, h = net.logits(X), net.forward(X)
    order = _random.permutation(600, _random.raw_bits(1, 599))
    assert same_bits(net.forward(X[order]), h[order])
    for size in (1, 7, 13, 255, 257):
        for start in (0, 1, 599) if size == 1 else range(0, 600, size):
            part = slice(start, start + size)
            assert same_bits(net.logits(X[part]), z[part])
            assert same_bits(net.forward(X[part]), h[part])


@each_kind
def test_every_way_to_a_gradient(isa, dtype, kind):
    """And both layouts of weights in `Layers`, which has every activation but no loss."""
    activation, loss, options = kind
    net, X, y = network_of(*kind, (7, 19, 5), 300, dtype)
    w = sample_weights(np.random.PCG64(300), 300, dtype)
    for more in ({}, {"sample_weight": w}, {"sample_weight": w, "reduction": "mean"}):
        value = net.backprop(X, y, **more)
        assert same_bits(net.loss_value(X, y, **more), value)
        own, dW, db = fastbp.backprop(net.weights, net.biases, X, y, activation=activation,
                                      loss=loss, **options, **more)
        assert same_bits(own, value)
        assert all(map(same_bits, [*dW, *db], [*net.weight_grads, *net.bias_grads]))
        at, grad = net.value_and_grad(net.params.copy(), X, y, **more)
        assert same_bits(at, value) and same_bits(grad, net.grad)
    results = []
    for layout, turn in (("io", np.asarray), ("oi", lambda W: np.ascontiguousarray(W.T))):
        layers = fastbp.Layers([7, 19, 5], [activation] * 2, dtype=dtype, layout=layout)
        weights = [turn(W) for W in net.weights]
        dW, dX = [np.empty_like(W) for W in weights], np.empty_like(X)
        db = [np.empty_like(b) for b in net.biases]
        h = layers.forward(weights, net.biases, X)
        layers.backward(h / 2, dW, db, dX)
        results.append([h, dX, *db, *(turn(g) if layout == "oi" else g for g in dW)])
    assert all(map(same_bits, *results))


@each_kind
@pytest.mark.parametrize("size", [7, 64, 300])
def test_epoch_is_a_sequence_of_steps(isa, dtype, kind, size):
    n = 301
    net, X, y = network_of(*kind, (6, 19, 5), n, dtype)
    steps, order = network_of(*kind, (6, 19, 5), n, dtype)[0], (np.arange(n) * 7 + 3) % (n - 1)
    w = sample_weights(np.random.PCG64(n), n, dtype)
    epoch_opt, step_opt = fastbp.Adam(0.01), fastbp.Adam(0.01)
    net.train_epoch(X, y, epoch_opt, batch_size=size, order=order, sample_weight=w, l2=0.125)
    for start in range(0, n, size):
        rows = order[start:start + size]
        steps.backprop(X[rows], y[rows], sample_weight=w[rows], reduction="mean", l2=0.125)
        step_opt.step(steps.params, steps.grad)
    assert same_bits(net.params, steps.params) and same_bits(net.grad, steps.grad)
