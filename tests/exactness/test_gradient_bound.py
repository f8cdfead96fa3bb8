"""Promise: every element of z, h, δ, dW, db lies inside the running error bound of oracle.py.

Random networks, saturated ones too, on every variant; then each equation function against its own
few-term bound, and the node-by-node sums E7. Gradients that are wrong in the ways gradients usually
are fall outside: test_bound.py. `pytest -s` prints how much of a bound is used.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np
import oracle
import pytest
from all_pairs import all_pairs

import fastbp
from fastbp import _arguments
from fastbp._arguments.descriptors import COUNTS, REAL

U = {"float32": 2.0**-24, "float64": 2.0**-53}
TINY = {"float32": 2.0**-149, "float64": 2.0**-1074}
WIDE = {"float32": np.float64, "float64": np.longdouble}
LAPACK_RATIO = 0.03  # measured; any variant and dtype


# ---- whole networks


class Case(NamedTuple):
    weights: list
    biases: list
    X: object
    y: object
    options: dict
    exact: oracle.Quantities
    bound: oracle.Quantities


# Beside the random ones: no sample, no hidden layer, one unit everywhere, full and ragged blocks.
SHAPES = {
    -1: ((4, 3, 1), 0), -2: ((7, 2), 0), -3: ((300, 1), 600), -4: ((1, 1, 1, 1, 1, 1, 1), 5),
    -5: ((257, 300, 3), 257), -6: ((2, 8, 8, 1), 1), -7: ((16, 256, 16), 512), -8: ((5, 5), 256),
}
SEEDS = [*SHAPES, *range(40)]


def random_shape(rng):
    n_layers = rng.integers(1, 7)
    sizes = np.exp(rng.uniform(0, np.log(301), n_layers + 1)).astype(int)
    return tuple(map(int, sizes)), int(np.exp(rng.uniform(0, np.log(601))))


def random_targets(rng, loss, n, n_outputs):
    """y, and what modifies the loss: half of the classes hard, half of the options there."""
    described = _arguments.LOSSES[loss]
    if described.targets is REAL:
        return rng.standard_normal((n, n_outputs)), {}
    if described.targets is COUNTS:
        return rng.poisson(2, (n, n_outputs)), {}
    options = {}
    if "label_smoothing" in described.options and rng.random() < 0.5:
        options["label_smoothing"] = rng.choice([1e-6, 0.1, 0.5])
    if "pos_weight" in described.options and rng.random() < 0.5:
        options["pos_weight"] = 10 ** rng.uniform(-2, 2, n_outputs)
    if described.is_distribution and rng.random() < 0.5:
        return rng.integers(0, n_outputs, n), options
    y = rng.random((n, n_outputs))
    return (y.round() if described.labels else y / y.sum(axis=1, keepdims=True)), options


@functools.cache
def case(seed, dtype):
    """A sigmoid network under "bce", its batch and what the oracle says; for every variant."""
    rng = np.random.default_rng(abs(seed) + (1000 if seed < 0 else 0))
    sizes, n = SHAPES.get(seed) or random_shape(rng)
    scale = rng.choice([1.0, 1.0, 1.0, 10.0, 200.0])  # from 10 on many units saturate
    weights, biases = oracle.random_network(rng, sizes, dtype, scale)
    X = (rng.standard_normal((n, sizes[0])) * rng.choice([1.0, 1.0, 5.0])).astype(dtype)
    y = rng.random((n, sizes[-1]))
    y = (y.round() if rng.random() < 0.6 else y).astype(dtype)
    options = {"reduction": "mean" if n and rng.random() < 0.5 else "sum"}
    if rng.random() < 0.5:
        options["sample_weight"] = (rng.random(n) * 3).astype(dtype)
    return Case(weights, biases, X, y, options,
                *oracle.error_bound(weights, biases, X, y, **options, u=U[dtype]))


ACTIVATIONS, LOSSES = tuple(_arguments.ACTIVATIONS), tuple(_arguments.LOSSES)
MIXED = "mixed"         # any of them in each hidden layer
KINDS = tuple(itertools.product((*ACTIVATIONS, MIXED), LOSSES))
SATURATING = ("sigmoid", "tanh"), ("bce", "softmax")  # scaled up, nothing overflows


@functools.cache
def case_of(activation, loss, seed, dtype):
    """The same for any activation and loss, with up to 16 outputs."""
    rng = np.random.default_rng([seed, (*ACTIVATIONS, MIXED).index(activation), LOSSES.index(loss)])
    sizes, n = random_shape(rng)
    sizes = (*sizes[:-1], int(rng.integers(1 + _arguments.LOSSES[loss].is_distribution, 17)))
    saturates = activation in SATURATING[0] and loss in SATURATING[1]
    scale = rng.choice([1.0, 1.0, 10.0, 200.0]) if saturates else 1.0
    weights, biases = oracle.random_network(rng, sizes, dtype, scale)
    X = (rng.standard_normal((n, sizes[0])) * rng.choice([1.0, 3.0])).astype(dtype)
    y, options = random_targets(rng, loss, n, sizes[-1])
    if activation == MIXED:
        activation = [str(name) for name in rng.choice(ACTIVATIONS, len(sizes) - 2)]
    options |= {"activation": activation, "loss": loss, "reduction": rng.choice(["sum", "mean"])}
    if rng.random() < 0.5:
        options["sample_weight"] = (rng.random(n) * 3).astype(dtype)
    y = y.astype(dtype)
    return Case(weights, biases, X, y, options,
                *oracle.error_bound(weights, biases, X, y, **options, u=U[dtype]))


def network(weights, biases, dtype, **options):
    net = fastbp.MLP([weights[0].shape[0], *map(len, biases)], dtype=dtype, seed=0, **options)
    for own, given in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
        own[...] = given
    return net


def assert_gradient(loss, dW, db, c):
    """The largest part of a bound that was used, all being within."""
    used = oracle.assert_within(loss, c.exact.loss, c.bound.loss, "loss").of_bound
    for name, grads in (("dW", dW), ("db", db)):
        for i, (g, x, e) in enumerate(zip(
                grads, getattr(c.exact, name), getattr(c.bound, name), strict=True)):
            used = max(used, oracle.assert_within(g, x, e, f"{name}_{i + 1}").of_bound)
    return used


@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_of_a_random_network(isa, dtype, seed):
    c = case(seed, dtype)
    net = network(c.weights, c.biases, dtype)
    loss = net.backprop(c.X, c.y, **c.options)
    used = assert_gradient(loss, net.weight_grads, net.bias_grads, c)
    print(f"{net.layer_sizes} n={len(c.X)} {dtype} {isa}: {used:.3f} of the bound")


@all_pairs("isa", "dtype", kind=KINDS, seed=range(8))
def test_gradient_of_any_random_network(isa, dtype, kind, seed):
    activation, loss = kind
    c = case_of(activation, loss, seed, dtype)
    used = assert_gradient(*fastbp.backprop(c.weights, c.biases, c.X, c.y, **c.options), c)
    sizes = [len(W) for W in c.weights], c.y.shape
    print(f"{activation} {loss} {sizes} {dtype} {isa}: {used:.3f} of the bound")
    net = network(c.weights, c.biases, dtype, activation=c.options["activation"], loss=loss)
    oracle.assert_within(net.logits(c.X), c.exact.z[-1], c.bound.z[-1], "z_L")
    oracle.assert_within(net.forward(c.X), c.exact.h[-1], c.bound.h[-1], "h_L")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_z_h_and_delta_of_a_random_network(isa, dtype, seed):
    """z_l and h_l as outputs of the network cut off at l; δ_l as db_l of a single sample."""
    c = case(seed, dtype)
    for i in range(len(c.weights)):
        cut = network(c.weights[:i + 1], c.biases[:i + 1], dtype)
        oracle.assert_within(cut.logits(c.X), c.exact.z[i], c.bound.z[i], f"z_{i + 1}")
        oracle.assert_within(cut.forward(c.X), c.exact.h[i], c.bound.h[i], f"h_{i + 1}")
    w = c.options.get("sample_weight")
    net = network(c.weights, c.biases, dtype)
    for row in {0, len(c.X) // 2, len(c.X) - 1} if len(c.X) else ():
        one = slice(row, row + 1)
        net.backprop(c.X[one], c.y[one], sample_weight=None if w is None else w[one])
        for i, db in enumerate(net.bias_grads):
            oracle.assert_within(db, c.exact.delta[i][row], c.bound.delta[i][row], f"δ_{i + 1}")


def test_gradient_is_the_node_form_of_the_derivation(isa, dtype):
    rng = np.random.default_rng(11)
    for sizes, n in (((2, 3, 2, 1), 4), ((1, 1, 1, 1), 3), ((3, 2, 4, 1), 2)):
        weights, biases = oracle.random_network(rng, sizes, dtype, 2.0)
        X = rng.standard_normal((n, sizes[0])).astype(dtype)
        y = rng.random(n).round().astype(dtype)
        net = network(weights, biases, dtype)
        net.backprop(X, y)
        _, bound = oracle.error_bound(weights, biases, X, y, u=U[dtype])
        oracle.assert_within(net.weight_grads[0], oracle.node_form_gradient(weights, biases, X, y),
                             bound.dW[0], f"dW_1 of {sizes}")


@pytest.mark.parametrize("z", ["-0x1.00aa98p-16", "-0x1.fdf2d2895aa2dp-16", "0x1.63f5fp-5"])
def test_loss_of_a_positive_that_counts_thrice(isa, dtype, z):
    """Next to nothing of the bound is e_z's: what is left are the roundings of the loss."""
    arguments = [np.ones((1, 1), dtype)], [np.zeros(1, dtype)]
    X, y = np.array([[float.fromhex(z)]], dtype), np.ones((1, 1), dtype)
    loss, *_ = fastbp.backprop(*arguments, X, y, pos_weight=3.0)
    exact, bound = oracle.error_bound(*arguments, X, y, pos_weight=3.0, u=U[dtype])
    oracle.assert_within(np.array(loss, dtype), exact.loss, bound.loss, "loss")


# ---- one equation each


def gamma(K, u):
    """The bound of a chain of K products in blocks of 256 (contract N1)."""
    n = min(K, oracle.KC) + -(-K // oracle.KC) + 1
    return n * u / (1 - n * u)


def wide(*arrays):
    return [a.astype(WIDE[a.dtype.name]) for a in arrays]


def with_own_rounding(bound, dtype):
    """The reference's sums round as well, in a unit that is 2**29 or 2**11 times smaller."""
    return bound.astype(np.float64) * (1 + float(np.finfo(WIDE[dtype]).eps) / U[dtype])


SIZES = list(itertools.islice(itertools.product((1, 3, 17, 64, 300), repeat=3), 0, None, 7))


@all_pairs("isa", "dtype", sizes=SIZES)
def test_weight_grad(isa, dtype, sizes):
    n, fan_in, fan_out = sizes
    rng = np.random.default_rng(n + fan_in)
    h = rng.random((n, fan_in)).astype(dtype)
    delta = (rng.standard_normal((n, fan_out)) * 10.0 ** rng.uniform(-6, 3)).astype(dtype)
    dW, db = fastbp.weight_grad(h, delta)
    H, D = wide(h, delta)
    for got, left, what in ((dW, H, "dW"), (db[None], np.ones((n, 1), H.dtype), "db")):
        e = gamma(n, U[dtype]) * (np.abs(left.T) @ np.abs(D)) + (n + 2) * TINY[dtype]
        oracle.assert_within(got, left.T @ D, with_own_rounding(e, dtype), what)


@all_pairs("isa", "dtype", sizes=SIZES)
def test_delta_step(isa, dtype, sizes):
    """g = δ Wᵀ is a product; 1 − h, h (1 − h) and g h (1 − h) round once each."""
    n, here, above = sizes
    rng = np.random.default_rng(n * here)
    u, tiny = U[dtype], TINY[dtype]
    delta = rng.standard_normal((n, above)).astype(dtype)
    W = rng.standard_normal((here, above)).astype(dtype)
    h = rng.random((n, here)).astype(dtype)
    D, V, H = wide(delta, W, h)
    g, slope = D @ V.T, H * (1 - H)
    e_g = gamma(above, u) * (np.abs(D) @ np.abs(V.T)) + (above + 2) * tiny
    e_slope = 2 * u * (1 + u) * slope + tiny
    size, e = (np.abs(g) + e_g) * (slope + e_slope), e_g * slope + (np.abs(g) + e_g) * e_slope
    oracle.assert_within(fastbp.delta_step(delta, W, h), g * slope,
                         with_own_rounding(e + u * size + tiny, dtype), "delta")


def test_sigmoid_backward(isa, dtype):
    """Three roundings: 1 − h, h (1 − h), and the product with grad."""
    rng = np.random.default_rng(12)
    u, tiny = U[dtype], TINY[dtype]
    grad = (rng.standard_normal(4001) * 10.0 ** rng.uniform(-30, 30, 4001)).astype(dtype)
    h = np.concatenate([rng.random(2001), 2.0 ** rng.uniform(-140, 0, 2000)]).astype(dtype)
    G, H = wide(grad, h)
    e = gamma(1, u) * np.abs(G * H * (1 - H)) + tiny * (np.abs(G) + 1)  # γ(1) has three u
    oracle.assert_within(fastbp.sigmoid_backward(grad, h), G * H * (1 - H),
                         with_own_rounding(e, dtype), "grad h (1 - h)")


@pytest.mark.parametrize("n, n_outputs", [(1, 1), (7, 1), (300, 1), (513, 3), (1000, 17)])
@pytest.mark.parametrize("weighted", [False, True])
def test_bce_with_logits(isa, dtype, n, n_outputs, weighted):
    """Every term is within 2 ulp and none is negative: so is the sum, but for float64 rounding."""
    rng = np.random.default_rng(n + weighted)
    u, tiny = U[dtype], TINY[dtype]
    z = (rng.standard_normal((n, n_outputs)) * 10.0 ** rng.uniform(-1, 2)).astype(dtype)
    y = rng.random((n, n_outputs)).round().astype(dtype)
    w = (rng.random(n) * 4).astype(dtype) if weighted else np.ones(n, dtype)
    loss, delta = fastbp.bce_with_logits(z, y, w if weighted else None)
    Z, Y, weight = wide(z, y, w[:, None])
    e = np.exp(-np.abs(Z))
    q = e / (1 + e)
    exact = weight * np.where(Y == 1, -np.where(Z < 0, 1 - q, q), np.where(Z < 0, q, 1 - q))
    c = oracle.FASTBP.delta + 1  # and the weight
    oracle.assert_within(delta, exact, with_own_rounding(
        c * u * (1 + c * u) * np.abs(exact) + (weight + 1) * tiny, dtype), "delta")
    terms = weight * (np.log1p(e) + np.where((Z > 0) == (Y == 0), np.abs(Z), 0))
    total = terms.sum()
    bound = (oracle.FASTBP.loss * u + (z.size + 1) * 2.0**-53) * total + 2 * tiny * weight.sum()
    oracle.assert_within(loss, total, with_own_rounding(bound, dtype), "loss")


def test_errors_of_products_have_not_doubled(isa, dtype):
    """max |error| / (u √K |A| |B|) of one fixed product: an alarm well inside the bound."""
    rng = np.random.default_rng(14)
    h, delta = (rng.uniform(-1, 1, (1000, width)).astype(dtype) for width in (64, 33))
    dW, _ = fastbp.weight_grad(h, delta)
    H, D = wide(h, delta)
    e = with_own_rounding(gamma(1000, U[dtype]) * (np.abs(H.T) @ np.abs(D)), dtype)
    worst = oracle.assert_within(dW, H.T @ D, e, "dW", (h.T, delta, U[dtype]))
    print(f"{dtype} {isa}: {worst.lapack:.4f} of u √K |A| |B|")
    assert worst.lapack <= 2 * LAPACK_RATIO
