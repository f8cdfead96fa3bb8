"""Promise L1: any number of threads gives the bits of one.

Asked for by number, threads are used even where the work is too small or the CPUs are too few for
them, which mixes their order as nothing else does. What else there is to threads is in
safety/test_threads.py.
"""

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import EVERY_KIND, THREADS, everything, name_of, network, same_bits, samples
from record import needs_fma, recorded, training_digests

import fastbp
from fastbp import MLP, SGD, Adam, Layers

MORE = (2, 3, 5, 16)
NETWORKS = [  # sizes, batch: no, one, fewer and more samples than threads; one block and several
    ((3, 1), 0), ((2, 8, 8, 1), 1), ((5, 7, 3), 2), ((30, 64, 1), 37), ((9, 1, 4, 1), 300),
    ((17, 33, 129, 5), 700), ((100, 65, 1), 1300), ((16, 4096, 3), 300),
    ((8, 1500, 1), 512), ((3, 196, 117), 1361),     # chunks of E6 in a block of two parts alone
    # few rows, whose products the threads share by columns: whole 64 and what is left of them
    ((200, 300, 130, 3), 1), ((130, 260, 1), 4), ((600, 520, 100, 10), 5), ((64, 128), 1),
]


def test_number_of_threads(isa, dtype):
    sizes, n = (100, 129, 65, 1), 700
    net, X, y = network(sizes, n, dtype)
    net.backprop(X, y)
    try:
        for threads in THREADS:
            fastbp.set_num_threads(threads)
            other = fastbp.MLP(sizes, dtype=dtype, seed=0, n_threads=threads)
            other.params[:] = net.params
            other.backprop(X, y)
            assert same_bits(other.grad, net.grad)
            assert same_bits(other.forward(X), net.forward(X))
    finally:
        fastbp.set_num_threads(None)


@needs_fma
def test_training_with_threads(isa, dtype):
    """Ten epochs each, to the recorded digests."""
    expected = recorded()[f"10 epochs {dtype}"]
    for threads in THREADS:
        assert training_digests(dtype, threads) == expected, threads


@all_pairs("isa", "dtype", kind=EVERY_KIND, threads=THREADS,
           ids=lambda value: str(value) if isinstance(value, int) else name_of(value))
def test_number_of_threads_of_every_kind(isa, dtype, kind, threads):
    expected = everything(kind, dtype)
    try:
        fastbp.set_num_threads(max(THREADS))
        assert all(map(same_bits, everything(kind, dtype, threads), expected))
    finally:
        fastbp.set_num_threads(None)


@all_pairs("isa", "dtype", network=NETWORKS, threads=MORE)
def test_gradient(isa, dtype, network, threads):
    sizes, n = network
    X, y, w = samples(sizes, n, dtype)

    def results(threads):
        net = MLP(sizes, dtype=dtype, seed=0, n_threads=threads)
        loss = net.backprop(X, y, sample_weight=w, l2=0.5)
        point = net.linearize(X, y, sample_weight=w, l2=0.5)
        return (loss, net.grad.copy(), net.forward(X), net.logits(X), net.loss_value(X, y),
                *net.value_and_grad(net.params, X, y), net.hvp(X, y, net.params[::-1].copy()),
                net.gnvp(X, y, net.params[::-1].copy(), sample_weight=w, l2=0.5),
                net.input_grad(X, y, sample_weight=w), net.jacobian(X[:70], wrt="input"),
                net.jacobian(X[:2]), point.hvp(net.params[::-1]), point.gnvp(net.params[::-1]))

    assert all(map(same_bits, results(threads), results(1)))


@all_pairs("isa", "dtype", network=NETWORKS, layout=["io", "oi"], threads=MORE)
def test_layers(isa, dtype, network, layout, threads):
    sizes, n = network
    X, y, _ = samples(sizes, n, dtype)
    net = MLP(sizes, dtype=dtype, seed=0)
    weights = [W if layout == "io" else np.ascontiguousarray(W.T) for W in net.weights]

    def results(threads):
        layers = Layers(sizes, ["sigmoid"] * (len(sizes) - 1), dtype=dtype, layout=layout,
                        n_threads=threads)
        h = layers.forward(weights, net.biases, X)
        grads = [np.full_like(a, np.nan) for a in (*weights, *net.biases, X)]
        count = len(weights)
        layers.backward(y - h, grads[:count], grads[count:-1], grads[-1])
        return h, *grads

    assert all(map(same_bits, results(threads), results(1)))


def test_layers_whose_threads_change_between_forward_and_backward(dtype):
    """delta has room for the blocks of the most threads and the most rows seen together."""
    sizes = (64, 100, 3)
    net = MLP(sizes, dtype=dtype, seed=0)

    def results(layers, n_threads):
        X, y, _ = samples(sizes, 3000, dtype)
        h = layers.forward(net.weights, net.biases, X)
        layers.n_threads = n_threads
        grads = [np.empty_like(a) for a in (*net.weights, *net.biases)]
        layers.backward(y - h, grads[:2], grads[2:])
        return grads

    expected = results(Layers(sizes, ["sigmoid"] * 2, dtype=dtype, n_threads=1), 1)
    layers = Layers(sizes, ["sigmoid"] * 2, dtype=dtype, n_threads=3)
    layers.forward(net.weights, net.biases, np.ones((10, 64)))
    layers.n_threads = 1
    assert all(map(same_bits, results(layers, 3), expected))
    assert layers.n_threads == 3


EPOCHS = [
    {"shuffle": False, "batch_size": 32},
    {"rng": 3, "batch_size": 7},
    {"rng": 4, "batch_size": 600, "l2": 0.25, "weighted": True},
    {"order": np.arange(1000)[::-1] // 2, "batch_size": 1, "weighted": True},
]


@all_pairs("isa", "dtype", make=[lambda: SGD(0.1, momentum=0.9), lambda: Adam(0.01)],
           options=EPOCHS)
def test_epoch(isa, dtype, make, options):
    check_epoch((6, 19, 2), 1000, dtype, make, dict(options))


@all_pairs("isa", "dtype", options=[
    {"rng": 3, "batch_size": 3}, {"shuffle": False, "batch_size": 1, "l2": 0.25, "weighted": True}])
def test_epoch_by_columns(isa, dtype, options):
    check_epoch((200, 390, 130, 2), 20, dtype, lambda: Adam(0.01), dict(options))


@all_pairs("isa", "dtype", n=[1, 6])
def test_certificate_by_columns(isa, dtype, n):
    sizes = (300, 520, 450, 3)
    X, y, w = samples(sizes, n, dtype)

    def bound(threads):
        net = MLP(sizes, activation="tanh", dtype=dtype, seed=0, n_threads=threads)
        return net.error_bound(X, y, sample_weight=w, reduction="mean")

    expected = bound(1)
    for threads in MORE:
        assert same_bits(bound(threads), expected), threads


def check_epoch(sizes, n, dtype, make, options):
    X, y, w = samples(sizes, n, dtype)
    if options.pop("weighted", False):
        w[::3] = 0          # in batches of one, a third makes no step
        options["sample_weight"] = w

    def results(threads):
        net, optimizer = MLP(sizes, dtype=dtype, seed=0, n_threads=threads), make()
        losses = [net.train_epoch(X, y, optimizer, **options) for _ in range(2)]
        return losses, net.params, net.grad, optimizer.t

    expected = results(1)
    for threads in MORE:
        assert all(map(same_bits, results(threads), expected)), threads


@pytest.mark.parametrize("n", [256, 600])
@pytest.mark.parametrize("chosen", [True, False])
def test_a_number_that_changes_while_an_epoch_begins(n, chosen):
    """Python runs between the reservation of memory and the pass: its count is the first one."""
    class Changing(SGD):
        def _check_dtype(self, dtype):
            if chosen:
                net.n_threads = 3
            else:
                fastbp.set_num_threads(3)

    before = fastbp.get_num_threads()
    X = np.random.default_rng(0).standard_normal((n, 300)).astype("float32")
    y, sizes = np.zeros(n), (300, 600, 600, 1)
    twin = MLP(sizes, seed=0, n_threads=1)
    expected = twin.train_epoch(X, y, SGD(), batch_size=n, shuffle=False)
    net = MLP(sizes, seed=0, n_threads=1 if chosen else None)
    fastbp.set_num_threads(1)
    try:
        assert net.train_epoch(X, y, Changing(), batch_size=n, shuffle=False) == expected
    finally:
        fastbp.set_num_threads(before)
    assert same_bits(net.params, twin.params)
