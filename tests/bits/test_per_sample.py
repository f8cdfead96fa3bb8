"""Promise: the norm and the gradient of a sample have the same bits in any batch, at any place, for
any number of threads and on every variant with FMA; a clipped sum for any number of threads.

A row of `per_sample_grads` has those of `backprop` on that sample alone.
"""

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import EVERY_KIND, name_of, network_of, same_bits, sample_weights, samples
from record import FMA_ISAS, needs_fma

from fastbp import MLP
from fastbp._kernels import dispatch

THREADS = (2, 3, 5, 16)
NETWORKS = [  # sizes, batch: no, one and few rows, whose products are shared by columns; blocks
    ((3, 1), 0), ((2, 8, 8, 1), 1), ((5, 7, 3), 2), ((30, 64, 1), 37), ((9, 1, 4, 1), 300),
    ((17, 33, 129, 5), 700), ((100, 65, 1), 1300), ((200, 300, 130, 3), 1), ((130, 260, 1), 4),
    ((600, 520, 100, 10), 5), ((64, 128), 1),
]


def results(net, X, y, w, max_norm=0.25):
    norms = net.per_sample_grad_norms(X, y, sample_weight=w)
    loss, again = net.clipped_backprop(X, y, max_norm, sample_weight=w, reduction="mean"
                                       if len(X) else "sum")
    few = slice(0, 40)
    return norms, again, loss, net.grad.copy(), net.per_sample_grads(X[few], y[few])


@all_pairs("isa", "dtype", network=NETWORKS)
def test_number_of_threads(isa, dtype, network):
    sizes, n = network
    X, y, w = samples(sizes, n, dtype)
    expected = results(MLP(sizes, dtype=dtype, seed=0, n_threads=1), X, y, w)
    for threads in THREADS:
        found = results(MLP(sizes, dtype=dtype, seed=0, n_threads=threads), X, y, w)
        assert all(map(same_bits, found, expected)), threads


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_gradients_are_those_of_each_sample_alone(isa, dtype, kind):
    sizes, n = (30, 17, 9, 5), 300
    net, X, y = network_of(*kind, sizes, n, dtype)
    w = sample_weights(np.random.PCG64(n), n, dtype)
    out = np.full((n, net.n_params), np.nan, dtype)
    grads = net.per_sample_grads(X, y, sample_weight=w, out=out)
    assert grads is out
    for row in (*range(20), 255, 256, n - 1):
        one = slice(row, row + 1)
        net.backprop(X[one], y[one], sample_weight=w[one])
        assert same_bits(net.grad, grads[row])
        assert same_bits(net.per_sample_grad_norms(X[one], y[one], sample_weight=w[one]),
                         net.per_sample_grad_norms(X, y, sample_weight=w)[one])


@pytest.mark.parametrize("sizes", [(2, 8, 8, 1), (64, 1), (257, 33, 5), (3, 9, 129, 7)])
def test_norms_in_any_batch(isa, dtype, sizes):
    X, y, w = samples(sizes, 600, dtype)
    net = MLP(sizes, dtype=dtype, seed=0)
    norms = net.per_sample_grad_norms(X, y, sample_weight=w)
    for size in (1, 2, 3, 4, 5, 7, 255, 256, 257, 599):
        for start in (0, 1, 598) if size == 1 else range(0, 600, max(size, 50)):
            part = slice(start, start + size)
            assert same_bits(net.per_sample_grad_norms(X[part], y[part], sample_weight=w[part]),
                             norms[part])


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_without_a_limit_it_is_backprop(isa, dtype, kind):
    net, X, y = network_of(*kind, (30, 17, 9, 5), 600, dtype)
    w = sample_weights(np.random.PCG64(1), 600, dtype)
    loss = net.backprop(X, y, sample_weight=w)
    grad = net.grad.copy()
    norms = net.per_sample_grad_norms(X, y, sample_weight=w)
    for limit in (np.inf, float(norms.astype("float64").max()) * (1 + 2.0**-20)):
        found, again = net.clipped_backprop(X, y, limit, sample_weight=w)
        assert found == loss and same_bits(net.grad, grad) and same_bits(again, norms)


def test_norms_of_rescued_rows_in_any_place(isa):
    """Rows that are summed with a scale, and their neighbours, have the bits they have alone."""
    rng = np.random.default_rng(0)
    net = MLP((9, 5), loss="squared_error", dtype="float64", seed=0)
    net.params[:] = 0
    scale = 10.0 ** rng.choice([-300, -160, 0, 100, 160], (2, 50, 1))
    X, y = rng.uniform(0.5, 1, (50, 9)) * scale[0], rng.uniform(0.5, 1, (50, 5)) / scale[1]
    norms = net.per_sample_grad_norms(X, y)
    for i in range(50):
        assert same_bits(net.per_sample_grad_norms(X[i:i + 1], y[i:i + 1]), norms[i:i + 1])
    assert same_bits(net.per_sample_grad_norms(X[3:], y[3:]), norms[3:])


def on_every_kind(dtype):
    """Norms, gradients and clipped sums of every kind, and of a network that leaves the range."""
    for kind in EVERY_KIND:
        net, X, y = network_of(*kind, (17, 33, 16, 5), 300, dtype)
        w = sample_weights(np.random.PCG64(300), 300, dtype)
        yield name_of(kind), results(net, X, y, w)
    net, X, y = network_of("identity", "squared_error", {}, (17, 33, 5), 300, dtype)
    for scale in (-100, 60) if dtype == "float32" else (-800, 800):
        yield scale, (net.per_sample_grad_norms(np.ldexp(X, scale), np.ldexp(y, scale)),)


@needs_fma
def test_instruction_sets(isa, dtype):
    found = list(on_every_kind(dtype))
    dispatch.set_isa(FMA_ISAS[-1])
    for (name, a), (_, b) in zip(found, on_every_kind(dtype), strict=True):
        assert all(map(same_bits, a, b)), name
