"""Promise: calls that are the same computation give the same bits.

Ways to one gradient, layouts of weights, an epoch and its steps; first of sigmoid units and binary
cross-entropy in many shapes, then of every activation and loss.
"""

import numpy as np
from all_pairs import all_pairs
from bits import (
    EVERY_KIND,
    NETWORKS,
    layers_of,
    name_of,
    network,
    network_of,
    recursion,
    same_bits,
    sample_weights,
    vectors,
)

import fastbp
from fastbp import _random


def test_every_way_to_a_gradient(isa, dtype):
    for sizes, n in NETWORKS[:10]:
        net, X, y = network(sizes, n, dtype)
        w = sample_weights(np.random.PCG64(n), n, dtype)
        for options in ({}, {"sample_weight": w}, {"reduction": "mean"},
                        {"sample_weight": w, "reduction": "mean"}):
            loss = net.backprop(X, y, **options)
            at = net.grad.copy()
            assert same_bits(loss, net.loss_value(X, y, **options))
            loss_of, dW, db = fastbp.backprop(net.weights, net.biases, X, y, **options)
            assert same_bits(loss_of, loss)
            assert all(map(same_bits, dW, net.weight_grads))
            assert all(map(same_bits, db, net.bias_grads))
            for l2 in (0.0, 0.125):
                loss = net.backprop(X, y, l2=l2, **options)
                at = net.grad.copy()
                params, net.grad[:] = net.params.copy(), 7
                net.params[:] = 0
                for result in (net.value_and_grad(params, X, y, l2=l2, **options),
                               net.objective(X, y, l2=l2, **options)(params)):
                    assert same_bits(result[0], loss) and same_bits(result[1], at)
                assert not net.params.any() and np.all(net.grad == 7)
                net.params[:] = params


def test_float64_parameters_of_a_float32_network(isa):
    net, X, y = network((5, 7, 1), 20, "float32")
    params = net.params.astype(np.float64) * (1 + 2.0**-30)  # rounds back
    loss, grad = net.value_and_grad(params, X, y)
    assert same_bits(net.backprop(X, y), loss)
    assert grad.dtype == np.float64 and same_bits(grad, net.grad.astype(np.float64))


def test_layouts_of_layers(isa, dtype):
    """(in, out) and (out, in) weights: the same network, the transposed gradient."""
    for sizes, n in NETWORKS[:12]:
        net, X, _ = network(sizes, n, dtype)
        results = []
        for layout, turn in (("io", np.asarray), ("oi", lambda W: np.ascontiguousarray(W.T))):
            layers = fastbp.Layers(sizes, ["sigmoid"] * (len(sizes) - 1), dtype=dtype,
                                   layout=layout)
            weights = [turn(W) for W in net.weights]
            h, dX, *grads = recursion(layers, weights, net.biases, X)
            dW, db = grads[:len(weights)], grads[len(weights):]
            results.append([h, dX, *db, *(g if layout == "io" else g.T for g in dW)])
        assert all(map(same_bits, *results))
        assert same_bits(results[0][0], net.forward(X))


OPTIMIZERS = {
    "SGD": lambda: fastbp.SGD(0.1),
    "SGD weight_decay": lambda: fastbp.SGD(0.1, weight_decay=0.01),
    "SGD momentum": lambda: fastbp.SGD(0.05, momentum=0.9, weight_decay=0.01),
    "SGD nesterov": lambda: fastbp.SGD(0.05, momentum=0.9, nesterov=True),
    "Adam": lambda: fastbp.Adam(0.01),
    "Adam eps_hat": lambda: fastbp.Adam(0.01, eps_hat=True),
    "AdamW": lambda: fastbp.Adam(0.01, betas=(0.8, 0.99), weight_decay=0.1),
}
EPOCHS = [  # n, batch_size, other options
    (100, 32, {"shuffle": False}),
    (100, 7, {"rng": 3}),
    (97, 97, {"rng": 4, "l2": 0.25}),
    (640, 300, {"rng": 5, "weighted": True}),  # batches of more than one block, the last partial
    (640, 512, {"shuffle": False, "weighted": True, "l2": 0.1}),
    (50, 1000, {"order": True}),
    (65, 16, {"order": True, "weighted": True, "l2": 0.5}),
]


@all_pairs("isa", "dtype", optimizer=OPTIMIZERS, epoch=EPOCHS)
def test_epoch_is_a_sequence_of_steps(isa, dtype, optimizer, epoch):
    n, size, options = epoch
    options, (net, X, y) = dict(options), network((6, 19, 1), n, dtype)
    l2, w, order = options.get("l2", 0.0), None, np.arange(n)
    if options.pop("weighted", False):
        w = options["sample_weight"] = sample_weights(np.random.PCG64(n), n, dtype)
    if "rng" in options:
        order = _random.permutation(n, _random.raw_bits(options["rng"], n - 1))
    if "order" in options:  # a sample may come twice
        order = options["order"] = (np.arange(n) * 7 + 3) % (n - 1)
    epoch_opt, step_opt = OPTIMIZERS[optimizer](), OPTIMIZERS[optimizer]()
    steps = fastbp.MLP(net.layer_sizes, dtype=dtype, seed=0)
    steps.params[:] = net.params
    for _ in range(2):
        found = net.train_epoch(X, y, epoch_opt, batch_size=size, **options)
        loss = weight = 0.0
        for start in range(0, n, size):
            rows = order[start:start + size]
            part = {"l2": l2, "sample_weight": None if w is None else w[rows]}
            loss += steps.value_and_grad(steps.params, X[rows], y[rows], **part)[0]
            weight += len(rows) if w is None else float(w[rows].sum(dtype=np.float64))
            steps.backprop(X[rows], y[rows], reduction="mean", **part)
            step_opt.step(steps.params, steps.grad)
        assert same_bits(net.params, steps.params)
        assert same_bits(net.grad, steps.grad)
        assert same_bits(found, loss / weight)
    assert all(map(same_bits, vectors(epoch_opt), vectors(step_opt)))


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_every_way_to_a_gradient_of_every_kind(isa, dtype, kind):
    """And both layouts of weights in `Layers`."""
    sizes, (_, loss, options) = (7, 19, 9, 5), kind
    net, X, y = network_of(*kind, sizes, 300, dtype)
    w = sample_weights(np.random.PCG64(300), 300, dtype)
    for more in ({}, {"sample_weight": w}, {"sample_weight": w, "reduction": "mean"}):
        value = net.backprop(X, y, **more)
        assert same_bits(net.loss_value(X, y, **more), value)
        own, dW, db = fastbp.backprop(net.weights, net.biases, X, y, loss=loss,
                                      activation=net.activation, **options, **more)
        assert same_bits(own, value)
        assert all(map(same_bits, [*dW, *db], [*net.weight_grads, *net.bias_grads]))
        at, grad = net.value_and_grad(net.params.copy(), X, y, **more)
        assert same_bits(at, value) and same_bits(grad, net.grad)
    results = []
    for layout, turn in (("io", np.asarray), ("oi", lambda W: np.ascontiguousarray(W.T))):
        layers = layers_of(kind, sizes, dtype, layout=layout)
        h, dX, *grads = recursion(layers, [turn(W) for W in net.weights], net.biases, X)
        results.append([h, dX, *map(turn, grads[:3]), *grads[3:]])
    assert all(map(same_bits, *results))


@all_pairs("isa", "dtype", kind=EVERY_KIND, size=["7", "64", "300"], ids=name_of)
def test_epoch_of_every_kind_is_a_sequence_of_steps(isa, dtype, kind, size):
    n, size = 301, int(size)
    net, X, y = network_of(*kind, (6, 19, 9, 5), n, dtype)
    steps, order = network_of(*kind, (6, 19, 9, 5), n, dtype)[0], (np.arange(n) * 7 + 3) % (n - 1)
    w = sample_weights(np.random.PCG64(n), n, dtype)
    epoch_opt, step_opt = fastbp.Adam(0.01), fastbp.Adam(0.01)
    net.train_epoch(X, y, epoch_opt, batch_size=size, order=order, sample_weight=w, l2=0.125)
    for start in range(0, n, size):
        rows = order[start:start + size]
        steps.backprop(X[rows], y[rows], sample_weight=w[rows], reduction="mean", l2=0.125)
        step_opt.step(steps.params, steps.grad)
    assert same_bits(net.params, steps.params) and same_bits(net.grad, steps.grad)
