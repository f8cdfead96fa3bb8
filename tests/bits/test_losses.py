"""Promise: the bits of each activation and loss depend on no thread, batch, address or way to call.

L0, L1 and L2 of a gradient, an epoch and the passes of `Layers`; L3 is in the digests of
test_bits.py, which has larger shapes of sigmoid units and binary cross-entropy.
"""

import numpy as np
from all_pairs import all_pairs
from bits import (
    EVERY_KIND,
    THREADS,
    moved,
    name_of,
    network_of,
    recursion,
    same_bits,
    sample_weights,
)

import fastbp
from fastbp import _random

CRITERIA = {"bce": fastbp.bce_with_logits, "softmax": fastbp.softmax_with_logits,
            "squared_error": fastbp.squared_error, "poisson": fastbp.poisson_with_logits}


def layers_of(kind, sizes, dtype, *, output=None, **options):
    """`Layers` with one activation everywhere, but for an output that has another."""
    activations = [kind[0]] * (len(sizes) - 2) + [output or kind[0]]
    return fastbp.Layers(sizes, activations, dtype=dtype, **options)


def everything(kind, dtype, n_threads=1, place=np.array):
    """Results of all that splits its work: arrays and floats. `place` copies every argument."""
    sizes, n = (33, 65, 17, 5), 520         # three blocks of rows
    activation, loss, options = kind
    net, X, y = network_of(*kind, sizes, n, dtype)
    X, y, w = place(X), place(y), place(sample_weights(np.random.PCG64(n), n, dtype))
    net.n_threads = n_threads
    found = [net.backprop(X, y, sample_weight=w, reduction="mean", l2=0.125), net.grad.copy(),
             net.loss_value(X, y), net.logits(X), net.forward(X, out=place(net.forward(X)))]
    weights, biases = ([place(a) for a in arrays] for arrays in (net.weights, net.biases))
    layers = layers_of(kind, sizes, dtype, n_threads=n_threads)
    found += recursion(layers, weights, biases, X, place)
    dW, db = ([place(a) for a in arrays] for arrays in (net.weights, net.biases))
    layers = layers_of(kind, sizes, dtype, output="identity", n_threads=n_threads)
    found += [layers.loss_and_grad(weights, biases, X, y, dW, db, loss=loss, sample_weight=w,
                                   **options), *dW, *db]
    opt = fastbp.Adam(0.01)
    for _ in range(2):
        found.append(net.train_epoch(X, y, opt, batch_size=300, rng=1, sample_weight=w))
    return [*found, net.params, net.grad]


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_number_of_threads(isa, dtype, kind):
    expected = everything(kind, dtype)
    try:
        fastbp.set_num_threads(max(THREADS))
        for threads in THREADS:
            assert all(map(same_bits, everything(kind, dtype, threads), expected)), threads
    finally:
        fastbp.set_num_threads(None)


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_alignment_and_repetition(isa, dtype, kind):
    expected = everything(kind, dtype)
    size = np.dtype(dtype).itemsize
    for offset in (size, 32 + size, 64 - size):
        found = everything(kind, dtype, place=lambda a, offset=offset: moved(a, offset))
        assert all(map(same_bits, found, expected)), offset


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_rows_of_a_sample(isa, dtype, kind):
    """z, h, δ_L and ∂L/∂X, through δ of every layer, whatever rows come along and in what order."""
    sizes, n = (30, 17, 9, 5), 600
    activation, loss, options = kind
    net, X, y = network_of(*kind, sizes, n, dtype)
    w = sample_weights(np.random.PCG64(n), n, dtype)
    layers = layers_of(kind, sizes, dtype)

    def results(rows):
        z = net.logits(X[rows])
        h, dX, *_ = recursion(layers, net.weights, net.biases, X[rows])
        _, delta = CRITERIA[loss](z, y[rows], w[rows], **options)
        return z, net.forward(X[rows]), delta, h, dX

    whole = results(slice(None))
    order = _random.permutation(n, _random.raw_bits(1, n - 1))
    assert all(map(same_bits, results(order), [a[order] for a in whole]))
    for size in (1, 2, 7, 13, 16, 255, 257):
        for start in (0, 1, 255, n - 1) if size < 3 else range(0, n, max(size, 60)):
            part = slice(start, start + size)
            assert all(map(same_bits, results(part), [a[part] for a in whole])), part


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_every_way_to_a_gradient(isa, dtype, kind):
    """And both layouts of weights in `Layers`."""
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
        layers = layers_of(kind, [7, 19, 5], dtype, layout=layout)
        h, dX, *grads = recursion(layers, [turn(W) for W in net.weights], net.biases, X)
        results.append([h, dX, *map(turn, grads[:2]), *grads[2:]])
    assert all(map(same_bits, *results))


@all_pairs("isa", "dtype", kind=EVERY_KIND, size=["7", "64", "300"], ids=name_of)
def test_epoch_is_a_sequence_of_steps(isa, dtype, kind, size):
    n, size = 301, int(size)
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
