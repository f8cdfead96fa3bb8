"""`MLP.input_grad` and `MLP.jacobian`, and their twins: shapes, `out=`, refusals, what they leave
alone, and memory. How exact they are is in exactness/test_input_grads.py.
"""

import tracemalloc

import numpy as np
import pytest
from bits import same_bits
from calling import ends_in_time, takes_signals
from errors import KINDS, OUTPUTS, half, refused

from fastbp import MLP, Layers, reference

SIZES, N = (3, 5, 4, 2), 6
SHAPES = {"input_grad": (N, 3), "params": (N, 2, 54), "input": (N, 2, 3)}


def network(dtype="float32", **options):
    return MLP(SIZES, dtype=dtype, seed=0, **options)


def compute(net, what, X, y=None, **options):
    """dX, or a Jacobian by `what`."""
    if what == "input_grad":
        return net.input_grad(X, half(N, 2) if y is None else y, **options)
    return net.jacobian(X, wrt=what, **options)


def twin(net, what, X, **options):
    arrays = net.weights, net.biases, X
    if what == "input_grad":
        return reference.input_grad(*arrays, half(N, 2), **options)
    return reference.jacobian(*arrays, wrt=what, **options)


each = pytest.mark.parametrize("what", SHAPES)
FACES = pytest.mark.parametrize("face", [compute, twin], ids=["fast", "reference"])


@each
def test_results_and_what_stays(what, dtype):
    net, X = network(dtype), half(N, 3, dtype=dtype)
    before = net.params.copy(), net.grad.copy()
    found = compute(net, what, X)
    assert found.shape == SHAPES[what] and found.dtype == dtype and found.flags.c_contiguous
    assert all(map(same_bits, (net.params, net.grad), before))
    assert not np.shares_memory(found, compute(net, what, X))
    for given in (X[::-1][::-1], np.asfortranarray(X), X.astype(X.dtype.newbyteorder()),
                  X.tolist()):
        assert same_bits(compute(net, what, given), found)


def test_the_same_bits_as_layers(dtype):
    """Layers has the recursion with any dL/dh_L; with an identity output that is delta_L."""
    net = MLP(SIZES, loss="squared_error", dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.random((700, 3)).astype(dtype), rng.random((700, 2)).astype(dtype)
    layers = Layers(SIZES, ["sigmoid", "sigmoid", "identity"], dtype=dtype)
    h = layers.forward(net.weights, net.biases, X)
    dX = np.empty_like(X)
    layers.backward(h - y, None, None, dX)
    assert same_bits(net.input_grad(X, y), dX)


def test_weights_and_classes_multiply_the_rows(dtype):
    """A power of two as a weight changes no rounding, so that the bits are equal."""
    X = np.random.default_rng(0).random((N, 3)).astype(dtype)
    y, w = np.array([0, 1, 1, 0, 1, 0]), np.ldexp(1.0, [0, 1, -1, 2, 3, -2])
    net = network(dtype, loss="softmax")
    weighted = network(dtype, loss="softmax", class_weight=[2, 0.5])
    rows, factors = net.input_grad(X, y), np.where(y, 0.5, 2)
    assert same_bits(net.input_grad(X, y, sample_weight=w), (rows * w[:, None]).astype(dtype))
    assert same_bits(weighted.input_grad(X, y, sample_weight=w),
                     (rows * (w * factors)[:, None]).astype(dtype))


@each
def test_the_jacobian_has_no_target(what):
    """Smoothing and weights of classes are the loss's: h_L is what it is."""
    if what == "input_grad":
        return
    X = np.random.default_rng(0).random((N, 3)).astype("f")
    for options in ({"loss": "softmax", "class_weight": [2, 0.5], "label_smoothing": 0.25},
                    {"loss": "bce", "pos_weight": 3, "label_smoothing": 0.5}):
        plain = network(loss=options["loss"])
        assert same_bits(compute(network(**options), what, X), compute(plain, what, X))


@each
@FACES
def test_no_samples(what, face):
    net = network()
    if face is compute:
        found = compute(net, what, np.empty((0, 3), "f"), half(0, 2))
    else:
        arrays = net.weights, net.biases, np.empty((0, 3), "f")
        found = (reference.input_grad(*arrays, np.empty((0, 2))) if what == "input_grad"
                 else reference.jacobian(*arrays, wrt=what))
    assert found.shape == (0, *SHAPES[what][1:])


# ---- out=


@each
@FACES
def test_out(what, face, dtype):
    net, X = network(dtype), half(N, 3, dtype=dtype)
    expected, out = face(net, what, X), np.full(SHAPES[what], np.nan, dtype)
    assert face(net, what, X, out=out) is out
    assert same_bits(out, expected)
    out.fill(np.nan)                    # X is converted, which takes another way
    assert face(net, what, X.astype("float64"), out=out) is out if face is compute else True
    assert face is twin or same_bits(out, expected)


@each
@FACES
@pytest.mark.parametrize("kind", OUTPUTS)
def test_out_that_does_not_fit(what, face, kind, dtype):
    make, error, word = OUTPUTS[kind]
    net, X = network(dtype), half(N, 3, dtype=dtype)
    refused(lambda: face(net, what, X, out=make(SHAPES[what], dtype)), error, "out", word)


@each
@pytest.mark.parametrize("read", ["X", "y", "sample_weight", "net.params", "net.grad"])
def test_out_that_overlaps(what, read):
    """What is read as it is, what is converted, and the network's own vectors."""
    net = MLP((3, 90, 2), seed=0)
    shape = {**SHAPES, "params": (N, 2, net.n_params)}[what]
    for dtype in ("float32", "float64"):
        memory = half(2 * int(np.prod(shape)), dtype=dtype)
        X, y, w = memory[:3 * N].reshape(N, 3), memory[:2 * N].reshape(N, 2), memory[:N]
        out = memory.view("f4")[:np.prod(shape)].reshape(shape)
        given = {"X": half(N, 3, dtype="f"), "y": half(N, 2, dtype="f"),
                 "sample_weight": half(N, dtype="f")}
        if what != "input_grad":
            given = {"X": given["X"], "wrt": what}
        if read.startswith("net."):
            vector = net.params if read == "net.params" else net.grad
            if vector.size < out.size:
                continue
            out = vector[:out.size].reshape(shape)
        elif read not in given:
            continue
        else:
            given[read] = {"X": X, "y": y, "sample_weight": w}[read]
        method = net.input_grad if what == "input_grad" else net.jacobian
        refused(lambda method=method, given=given, out=out: method(**given, out=out), ValueError,
                "out", "overlaps", read)
        assert (memory == 0.5).all()


# ---- refusals


@each
@FACES
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_X(what, face, kind):
    refused(lambda: face(network(), what, KINDS[kind]((N, 3))), TypeError, "X")


@each
@FACES
def test_shapes(what, face):
    refused(lambda: face(network(), what, half(N, 4)), ValueError, "X", "(6, 4)", "(n_samples, 3)")


@FACES
@pytest.mark.parametrize("name", ["of", "wrt"])
@pytest.mark.parametrize("value", ["inputs", "Output", None, 1, ["input"], np.ones(2)])
def test_names(face, name, value):
    jacobian = network().jacobian if face is compute else (
        lambda X, **names: reference.jacobian(network().weights, network().biases, X, **names))
    refused(lambda: jacobian(half(N, 3), **{name: value}), ValueError, f"{name} is", "one of")


def test_targets_and_weights_are_those_of_the_loss():
    net, X = network(), half(N, 3)
    refused(lambda: net.input_grad(X, half(N, 2) * 3), ValueError, "y", "row 0")
    refused(lambda: net.input_grad(X, half(N + 1, 2)), ValueError, "y")
    refused(lambda: net.input_grad(X, half(N, 2), sample_weight=-half(N)), ValueError,
            "sample_weight")
    assert (net.input_grad(X, half(N, 2), sample_weight=np.zeros(N)) == 0).all()


# ---- memory, signals


def test_memory_does_not_grow_with_the_batch():
    """Beside the result, which is NumPy's: a workspace like that of `backprop`."""
    net = MLP((3, 60, 40, 4), seed=0, n_threads=1)
    X = np.zeros((300, 3), "f")
    net.backprop(X, half(300, 4))
    needed = net.workspace_bytes
    long = np.zeros((20_000, 3), "f")
    net.input_grad(long, half(20_000, 4))
    out = np.empty((20_000, 4, 3), "f")
    tracemalloc.start()
    net.jacobian(long, wrt="input", out=out)
    assert net.workspace_bytes == needed and tracemalloc.get_traced_memory()[1] < 1 << 16
    tracemalloc.stop()


def test_more_outputs_than_rows_of_a_block(isa, dtype):
    """256 ways at a time, the last of which come twice: 600 outputs alone, and 250 of them."""
    X = np.random.default_rng(0).random((5, 3)).astype(dtype)
    net = MLP((3, 20, 600), activation="tanh", dtype=dtype, seed=0)
    few = MLP((3, 20, 250), activation="tanh", dtype=dtype, seed=0)
    few.weights[0][...], few.biases[0][...] = net.weights[0], net.biases[0]
    few.weights[1][...] = net.weights[1][:, 300:550]
    for n_threads in (1, 2, 16):
        net.n_threads = n_threads
        assert same_bits(net.jacobian(X, wrt="input")[:, 300:550], few.jacobian(X, wrt="input"))
    first = net.jacobian(X[:1])[:, :, :80]              # by W_1 and b_1, which they share
    assert same_bits(first[:, 300:550], few.jacobian(X[:1])[:, :, :80])


@takes_signals
@pytest.mark.parametrize("what", SHAPES)
def test_ctrl_c(what):
    net = MLP((64, 1024, 512, 20), seed=0, n_threads=1)
    n = 20_000 if what == "input_grad" else 2 if what == "params" else 2000
    X, few = np.ones((n, 64), "f"), np.ones((2, 64), "f")
    expected = compute(net, "input_grad", few, half(2, 20))
    out = np.zeros((n, 20, net.n_params), "f") if what == "params" else None
    ends_in_time(lambda: compute(net, what, X, half(n, 20),
                                 **({} if out is None else {"out": out})), 0.1)
    assert same_bits(compute(net, "input_grad", few, half(2, 20)), expected)
