"""Promise: no edge of a shape is special. Where products and sums are exact, results are equal.

Entries are small integers, or those times a power of two, so that every partial sum fits the
significand and float arithmetic is integer arithmetic: E1, E5 and E6 are compared with NumPy's, in
float64, for equality. Each size below stands in each place of each product at least once.
"""

import math

import numpy as np
import pytest

import fastbp

# 1 to 17: vectors of 2 to 16 lanes and tiles of 1 to 14 rows, each ± 1; then panels of 2 to 5
# vectors ± 1, the thresholds of packing (64, 128), the block of 256 rows or terms, two of them.
VECTORS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17]
PANELS = [23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 79, 80, 81, 97, 127, 128, 129]
BLOCKS = [255, 256, 257, 511, 512, 513]
SIZES = VECTORS + PANELS + BLOCKS

LARGEST = 90  # 513 * 90 * 90 * 3 < 2**24: the sums, and those times the 3 of 3/16
MAX_MULTIPLY_ADDS = 1 << 21  # of one case; the partners of a large size are chosen smaller


def shapes(rounds):
    """(n, fan_in, fan_out) with every size in every place, partners drawn at random."""
    rng, drawn = np.random.default_rng(21), set()
    for _ in range(rounds):
        for place in range(3):
            for size in SIZES:
                partners = [1, 1]
                while math.prod(partners) * size > MAX_MULTIPLY_ADDS or partners == [1, 1]:
                    partners = rng.choice(SIZES, 2).tolist()
                drawn.add((*partners[:place], size, *partners[place:]))
    return sorted(drawn)


# Several blocks of rows and of terms, both sides packed, and widths that are no multiple of any.
LARGE = [(257, 257, 257), (513, 65, 129), (129, 513, 65), (65, 129, 513), (513, 257, 130)]
# A single output (or input) has products of its own shape: every size beside it.
SINGLE = [(n, k, 1) for n in SIZES for k in (3, 65)] + [(37, k, 1) for k in SIZES]
SHAPES = shapes(3) + LARGE + SINGLE + [(n, 1, 7) for n in SIZES]


def test_shapes_hold_every_size_in_every_place():
    for place in range(3):
        assert {shape[place] for shape in SHAPES} >= set(SIZES)


def integers(rng, *shape):
    """In float64, whose products are quick: those of int64 would take most of these tests' time."""
    return rng.integers(-LARGEST, LARGEST + 1, shape).astype(np.float64)


def assert_equal(actual, exact, what, *shape):
    assert actual.shape == exact.shape, (what, shape)
    wrong = np.argwhere(actual.astype(np.float64) != exact)
    assert not wrong.size, (
        f"{what} of (n, fan_in, fan_out) = {shape}: {len(wrong)} elements differ, first at "
        f"{wrong[0].tolist()}: {actual[tuple(wrong[0])]} is not {exact[tuple(wrong[0])]}")


@pytest.fixture
def rng():
    return np.random.default_rng(22)


# ---- the equation functions


def test_weight_grad(isa, dtype, rng):
    for n, fan_in, fan_out in SHAPES:
        h, delta = integers(rng, n, fan_in), integers(rng, n, fan_out)
        dW, db = fastbp.weight_grad(h.astype(dtype), delta.astype(dtype))
        assert_equal(dW, h.T @ delta, "dW", n, fan_in, fan_out)
        assert_equal(db, delta.sum(axis=0), "db", n, fan_in, fan_out)


def test_delta_step(isa, dtype, rng):
    """h in quarters: h (1 − h) is 0, 3/16 or 1/4."""
    for n, fan_in, fan_out in SHAPES:
        delta, W = integers(rng, n, fan_out), integers(rng, fan_in, fan_out)
        h = rng.integers(0, 5, (n, fan_in))
        got = fastbp.delta_step(delta.astype(dtype), W.astype(dtype), (h / 4).astype(dtype))
        assert_equal(16 * got, delta @ W.T * (h * (4 - h)), "delta", n, fan_in, fan_out)


# ---- the networks


def single_layer(fan_in, fan_out, W, b, dtype):
    net = fastbp.MLP([fan_in, fan_out], dtype=dtype, seed=0)
    net.weights[0][...], net.biases[0][...] = W, b
    return net


def test_logits(isa, dtype, rng):
    for n, fan_in, fan_out in SHAPES:
        X, W, b = integers(rng, n, fan_in), integers(rng, fan_in, fan_out), integers(rng, fan_out)
        net = single_layer(fan_in, fan_out, W, b, dtype)
        assert_equal(net.logits(X.astype(dtype)), X @ W + b, "z", n, fan_in, fan_out)


def test_backprop_at_zero_parameters(isa, dtype, rng):
    """z = 0 and f = 1/2: 4 δ = w (2 − 4 y) for y in quarters, so dW is exact over all blocks."""
    for n, fan_in, fan_out in SHAPES:
        X, quarters = integers(rng, n, fan_in), rng.integers(0, 5, (n, fan_out))
        w = rng.integers(0, 5, n)
        net = single_layer(fan_in, fan_out, 0, 0, dtype)
        delta = w[:, None] * (2 - quarters)
        net.backprop(X.astype(dtype), (quarters / 4).astype(dtype), sample_weight=w)
        assert_equal(4 * net.weight_grads[0], X.T @ delta, "dW", n, fan_in, fan_out)
        assert_equal(4 * net.bias_grads[0], delta.sum(axis=0), "db", n, fan_in, fan_out)


@pytest.mark.parametrize("layout", ["io", "oi"])
def test_layers(isa, dtype, layout, rng):
    """h = σ(X W + b); with W = 0, dW = Xᵀ grad / 4; with X = 0, dX = grad Wᵀ / 4."""
    for n, fan_in, fan_out in SHAPES[::2]:
        shape = n, fan_in, fan_out
        X, W, b = integers(rng, n, fan_in), integers(rng, fan_in, fan_out), integers(rng, fan_out)
        grad = integers(rng, n, fan_out)
        x, w, bias, g = (a.astype(dtype) for a in (X, W, b, grad))
        zero_bias = np.zeros(fan_out, dtype)
        stored = np.ascontiguousarray(w if layout == "io" else w.T)
        dW, db, dX = np.empty_like(stored), np.empty_like(bias), np.empty_like(x)
        layers = fastbp.Layers([fan_in, fan_out], ["sigmoid"], dtype=dtype, layout=layout)

        h = layers.forward([stored], [bias], x)
        assert_equal(h, fastbp.sigmoid((X @ W + b).astype(dtype)), "h", *shape)

        layers.forward([np.zeros_like(stored)], [zero_bias], x)
        layers.backward(g, [dW], [db], dX)
        assert_equal(4 * (dW if layout == "io" else dW.T), X.T @ grad, "dW", *shape)
        assert_equal(4 * db, grad.sum(axis=0), "db", *shape)
        assert_equal(dX, np.zeros_like(X), "dX", *shape)

        layers.forward([stored], [zero_bias], np.zeros_like(x))
        layers.backward(g, [dW], [db], dX)
        assert_equal(4 * dX, grad @ W.T, "dX", *shape)
        assert_equal(dW, np.zeros_like(stored, np.int64), "dW", *shape)


def integer_gradient(weights, biases, X, y, w, is_relu):
    """2 L under squared error, outputs, [dW_1 …], [db_1 …] (E1 to E6), the largest sum: int64."""
    inputs, slopes, largest = [X], [], 0
    for W, b in zip(weights, biases, strict=True):
        z = inputs[-1] @ W + b
        largest = max(largest, (abs(inputs[-1]) @ abs(W) + abs(b)).max())
        inputs.append(np.maximum(z, 0) if is_relu else z)
        slopes.append(z > 0 if is_relu else np.ones_like(z))
    delta, dW, db = w * (z - y), [], []
    for W, h, slope in zip(weights[::-1], inputs[-2::-1], [*slopes[-2::-1], None], strict=True):
        dW.insert(0, h.T @ delta)
        db.insert(0, delta.sum(axis=0))
        largest = max(largest, (abs(h.T) @ abs(delta)).max(), abs(delta).sum(axis=0).max())
        if slope is not None:
            largest = max(largest, (abs(delta) @ abs(W.T)).max())
            delta = delta @ W.T * slope
    return np.sum(w * (z - y)**2), z, dW, db, largest


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("sizes, n", [
    ((1, 1, 1), 1), ((3, 5, 2), 7), ((17, 9, 1), 300), ((33, 17, 9, 3), 65), ((8, 16, 31, 2), 257),
    ((2, 7, 6, 5, 4), 33), ((65, 3, 64, 1), 13)])
def test_networks_of_integers(isa, dtype, rng, activation, sizes, n):
    """Parameters of −1, 0 and 1, no unit of which rounds: relu, identity and squared error."""
    shapes = list(zip(sizes, sizes[1:], strict=False))
    weights, biases = ([rng.integers(-1, 2, shape) for shape in of]
                       for of in (shapes, sizes[1:]))
    X, y = rng.integers(-1, 2, (n, sizes[0])), rng.integers(-9, 10, (n, sizes[-1]))
    w = rng.integers(0, 3, (n, 1))
    twice_L, z, dW, db, largest = integer_gradient(weights, biases, X, y, w, activation == "relu")
    assert largest < 2**24 and twice_L < 2**24, "float32 would round"
    net = fastbp.MLP(sizes, activation=activation, loss="squared_error", dtype=dtype, seed=0)
    for own, given in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
        own[...] = given
    assert 2 * net.backprop(X, y, sample_weight=w[:, 0]) == twice_L
    for i, (got, exact) in enumerate(zip(
            [*net.weight_grads, *net.bias_grads], [*dW, *db], strict=True)):
        assert np.array_equal(got, exact), f"gradient {i} of {sizes}"
    assert np.array_equal(net.forward(X), z)


# ---- no rows, and large and tiny units


@pytest.mark.parametrize("fan_in, fan_out", [(1, 1), (3, 1), (1, 17), (16, 16), (257, 65)])
def test_no_rows(isa, dtype, fan_in, fan_out):
    X, delta = np.empty((0, fan_in), dtype), np.empty((0, fan_out), dtype)
    dW, db = fastbp.weight_grad(X, delta)
    assert_equal(dW, np.zeros((fan_in, fan_out)), "dW", 0, fan_in, fan_out)
    assert_equal(db, np.zeros(fan_out), "db", 0, fan_in, fan_out)
    W = np.ones((fan_in, fan_out), dtype)
    assert fastbp.delta_step(delta, W, X).shape == (0, fan_in)
    net = single_layer(fan_in, fan_out, 1, 1, dtype)
    net.grad[:] = np.nan
    assert net.logits(X).shape == net.forward(X).shape == (0, fan_out)
    assert net.backprop(X, delta) == 0
    assert not net.grad.any()
    layers = fastbp.Layers([fan_in, fan_out], ["sigmoid"], dtype=dtype)
    assert layers.forward([W], [W[0]], X).shape == (0, fan_out)
    dW[:], db[:] = np.nan, np.nan
    layers.backward(delta, [dW], [db], X.copy())
    assert not dW.any() and not db.any()


@pytest.mark.parametrize("n_layers", [2, 5])
def test_no_rows_of_a_deep_network(isa, dtype, n_layers):
    net = fastbp.MLP([3] * (n_layers + 1), dtype=dtype, seed=0)
    net.grad[:] = np.nan
    assert net.backprop(np.empty((0, 3), dtype), np.empty((0, 3), dtype)) == 0
    assert not net.grad.any()


def test_no_terms(isa, dtype):
    """An empty sum is +0, not −0."""
    empty = np.empty((5, 0), dtype)
    delta = fastbp.delta_step(empty, np.empty((3, 0), dtype), np.full((5, 3), 0.5, dtype))
    assert not delta.any() and not np.signbit(delta).any()
    dW, db = fastbp.weight_grad(empty, np.ones((5, 2), dtype))
    assert dW.shape == (0, 2) and db.tolist() == [5, 5]


@pytest.mark.parametrize("n, fan_in, fan_out", [(257, 33, 17), (14, 129, 1), (65, 2, 64)])
def test_powers_of_two_only_shift(isa, dtype, n, fan_in, fan_out, rng):
    """Down to subnormal terms: 2^−s A and 2^−t B give 2^−(s + t) A B, nothing flushed to zero."""
    h, delta = integers(rng, n, fan_in), integers(rng, n, fan_out)
    exponent = np.finfo(dtype).minexp - np.finfo(dtype).nmant  # of the least subnormal
    for s in (-40, 40, -exponent // 2):
        A, B = (np.ldexp(x.astype(dtype), -s) for x in (h, delta))
        dW, _ = fastbp.weight_grad(A, B)
        exact = np.ldexp((h.T @ delta).astype(dtype), -2 * s)
        assert np.array_equal(np.ldexp(exact, 2 * s), h.T @ delta)
        assert_equal(dW, exact.astype(np.float64), f"dW / 4**{s}", n, fan_in, fan_out)
