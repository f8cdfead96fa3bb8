"""Promise: calls that are the same computation give the same bits.

Ways to one gradient, layouts of weights, an epoch and its steps, a shuffle and its order; of
sigmoid units and binary cross-entropy, the other kinds being in test_losses.py.
"""

import numpy as np
from all_pairs import all_pairs
from bits import NETWORKS, network, recursion, same_bits, sample_weights, vectors

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


@all_pairs("dtype", generator=[
    lambda: 7, lambda: np.random.PCG64(7), lambda: np.random.Generator(np.random.PCG64(7)),
    lambda: np.random.Generator(np.random.MT19937(7)), lambda: np.random.Philox(7)],
    n=[1, 2, 3, 255, 1000, _random.DRAWS_BETWEEN_SIGNALS + 1, 70_000])
def test_shuffle_is_the_specified_one(dtype, generator, n):
    net, X, y = network((3, 4, 1), n, dtype)
    start = net.params.copy()
    net.train_epoch(X, y, fastbp.SGD(0.5), batch_size=2, rng=generator())
    shuffled = net.params.copy()
    net.params[:] = start
    order = _random.permutation(n, _random.raw_bits(generator(), n - 1))
    net.train_epoch(X, y, fastbp.SGD(0.5), batch_size=2, order=order)
    assert same_bits(net.params, shuffled)


def test_initial_weights_are_the_specified_ones(dtype):
    """As of one draw of all bits; 300 · 300 weights take two."""
    net = fastbp.MLP([300, 300, 2], seed=7, dtype=dtype)
    bits = _random.raw_bits(7, 300 * 302)
    u = 2.0 * ((bits >> np.uint64(11)) * 2.0**-53) - 1.0
    W_1, W_2 = np.split(u, [300 * 300])
    expected = [W_1 * np.sqrt(6.0 / 600), np.zeros(300), W_2 * np.sqrt(6.0 / 302), np.zeros(2)]
    assert same_bits(net.params, np.concatenate(expected).astype(dtype))


def test_generator_moves_on_between_epochs(dtype):
    """Two epochs of one generator are two permutations, of 2 (n − 1) raw draws in all."""
    net, X, y = network((3, 4, 1), 50, dtype)
    start, rng = net.params.copy(), np.random.default_rng(8)
    opt = fastbp.SGD(0.5)
    for _ in range(2):
        net.train_epoch(X, y, opt, batch_size=2, rng=rng)
    shuffled, net.params[:] = net.params.copy(), start
    for raw in np.split(np.random.PCG64(8).random_raw(98), 2):
        net.train_epoch(X, y, opt, batch_size=2, order=_random.permutation(50, raw))
    assert same_bits(net.params, shuffled)
