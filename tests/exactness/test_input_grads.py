"""Promise: `input_grad` and `jacobian` lie inside running error bounds, for every loss, activation,
dtype and variant; so do their twins in NumPy. The values that are bounded are those of a complex
step, which knows no recursion.
"""

import input_bounds as bounds
import numpy as np
import oracle
import pytest
from all_pairs import all_pairs

import fastbp
from fastbp import _arguments, reference
from fastbp._twin import mathematics
from tests.exactness.test_gradient_bound import ACTIVATIONS, KINDS, MIXED, U, case_of, network

OF_WRT = [(of, wrt) for of in ("output", "logits") for wrt in ("params", "input")]
SEEDS = (0, 1)


def kind_name(kind):
    return "-".join(kind)


def inputs(kind, seed, dtype):
    """A network, its batch of at most 40, and what `backprop` takes besides."""
    c = case_of(*kind, seed, dtype)
    options = {name: value for name, value in c.options.items() if name != "reduction"}
    if "sample_weight" in options:
        options["sample_weight"] = options["sample_weight"][:40]
    return c.weights, c.biases, c.X[:40], c.y[:40], options


def made(weights, biases, dtype, options):
    return network(weights, biases, dtype, **{
        name: value for name, value in options.items() if name != "sample_weight"})


@all_pairs("isa", "dtype", kind=KINDS, seed=SEEDS, ids=str)
def test_input_grad(isa, dtype, kind, seed):
    weights, biases, X, y, options = inputs(kind, seed, dtype)
    exact, bound = bounds.input_grad(weights, biases, X, y, u=U[dtype], **options)
    dX = made(weights, biases, dtype, options).input_grad(
        X, y, sample_weight=options.get("sample_weight"))
    assert dX.dtype == dtype
    oracle.assert_within(dX, exact, bound, "dX")


@all_pairs("dtype", kind=KINDS, seed=SEEDS, ids=str)
def test_twin_of_input_grad(dtype, kind, seed):
    weights, biases, X, y, options = inputs(kind, seed, dtype)
    exact, bound = bounds.input_grad(weights, biases, X, y, u=U[dtype], rounding=oracle.NUMPY,
                                     **options)
    dX = reference.input_grad(weights, biases, X, y, **options)
    assert dX.dtype == dtype
    oracle.assert_within(dX, exact, bound, "dX")


SIZES = [(7, 20, 3, 4), (33, 5), (2, 8, 8, 1), (70, 130, 2), (3, 2, 300), (600, 9, 5, 3)]


def moderate(sizes, n, dtype, seed=0):
    rng = np.random.default_rng(seed)
    weights, biases = oracle.random_network(rng, sizes, dtype)
    return weights, biases, rng.standard_normal((n, sizes[0])).astype(dtype)


def options_of(kind, sizes):
    """Mixed layers have all activations in turn."""
    activation, loss = kind
    if activation == MIXED:
        activation = [ACTIVATIONS[l % len(ACTIVATIONS)] for l in range(1, len(sizes) - 1)]
    return {"activation": activation, "loss": loss}


@all_pairs("isa", "dtype", kind=KINDS, sizes=SIZES, of_wrt=OF_WRT, ids=str)
def test_jacobian(isa, dtype, kind, sizes, of_wrt):
    """300 outputs are more rows than a block has; two threads share 130 units by columns, and of
    600 inputs the last product alone."""
    if kind[1] == "softmax" and sizes[-1] == 1:
        sizes = (2, 8, 8, 2)
    weights, biases, X = moderate(sizes, 3 if sizes[-1] > 100 else 9, dtype)
    options = dict(zip(("of", "wrt"), of_wrt, strict=True))
    exact, bound = bounds.jacobian(weights, biases, X, u=U[dtype], **options,
                                   **options_of(kind, sizes))
    net = network(weights, biases, dtype, **options_of(kind, sizes))
    for n_threads in (1, 2):
        net.n_threads = n_threads
        J = net.jacobian(X, **options)
        assert J.dtype == dtype
        oracle.assert_within(J, exact, bound, "J")


@all_pairs("dtype", kind=KINDS, sizes=SIZES[:3], of_wrt=OF_WRT, ids=str)
def test_twin_of_jacobian(dtype, kind, sizes, of_wrt):
    if kind[1] == "softmax" and sizes[-1] == 1:
        sizes = (2, 8, 8, 2)
    weights, biases, X = moderate(sizes, 5, dtype)
    options = dict(zip(("of", "wrt"), of_wrt, strict=True))
    exact, bound = bounds.jacobian(weights, biases, X, u=U[dtype], rounding=oracle.NUMPY, **options,
                                   **options_of(kind, sizes))
    J = reference.jacobian(weights, biases, X, **options, **options_of(kind, sizes))
    assert J.dtype == dtype
    oracle.assert_within(J, exact, bound, "J")


# ---- a complex step: Im f(x + ih)/h


STEP = np.longdouble(2.0**-100)     # h^2 is below every roundoff
# The step makes the same sums in complex longdouble: at most four real products and sums for each
# of the recursion's, so that its error is at most 8 times the bound of that format, whose unit is
# 2^-11 of float64's or smaller. (Where longdouble is float64, the bound would be 8 times its own.)
PART = 2.0**-8
needs_longdouble = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63,
                                      reason="longdouble is no wider than float64")


def along(arrays, axis):
    """The same in complex longdouble with an imaginary step in one number of one array."""
    which, index = axis
    stepped = [np.array(a, np.clongdouble) for a in arrays]
    stepped[which][index] += 1j * STEP
    return stepped


@needs_longdouble
@pytest.mark.parametrize("kind", KINDS, ids=kind_name)
def test_input_grad_by_complex_step(kind):
    weights, biases, X, y, options = inputs(kind, 0, "float64")
    X, y = X[:3, :], y[:3]
    options.pop("sample_weight", None)
    exact, bound = bounds.input_grad(weights, biases, X, y, u=U["float64"], **options)
    loss = _arguments.loss_options(kind[1], biases[-1].size, options.get("pos_weight"), None,
                                   options.get("label_smoothing", 0.0))
    for index in list(np.ndindex(X.shape))[:12]:
        *W_b, X_h = along([*weights, *biases, X], (-1, index))
        W, b = W_b[:len(weights)], W_b[len(weights):]
        z = mathematics.forward(W, b, X_h, options["activation"])[-1]
        value, _ = mathematics.weighted_loss(loss, z, y.astype(np.longdouble))
        off = abs(value.imag / STEP - exact[index])
        assert off <= PART * bound[index]


@needs_longdouble
@pytest.mark.parametrize("kind", KINDS, ids=kind_name)
@pytest.mark.parametrize("of", ["output", "logits"])
def test_jacobian_by_complex_step(kind, of):
    sizes = (3, 4, 2, 3)
    weights, biases, X = moderate(sizes, 2, "float64")
    flat = {"of": of, "u": U["float64"], **options_of(kind, sizes)}
    arrays = [a for pair in zip(weights, biases, strict=True) for a in pair]
    output = _arguments.LOSSES[kind[1]].output if of == "output" else "identity"

    def outputs(*arrays):
        z = mathematics.forward(arrays[:-1:2], arrays[1:-1:2], arrays[-1], flat["activation"])[-1]
        return mathematics.OUTPUTS[output](z).imag / STEP

    exact, bound = bounds.jacobian(weights, biases, X, wrt="params", **flat)
    axes = [(i, index) for i, a in enumerate(arrays) for index in np.ndindex(a.shape)]
    for at, axis in enumerate(axes):
        off = np.abs(outputs(*along([*arrays, X], axis)) - exact[:, :, at])
        assert (off <= PART * bound[:, :, at]).all()
    exact, bound = bounds.jacobian(weights, biases, X, wrt="input", **flat)
    for j in range(X.shape[1]):
        off = np.abs(outputs(*along([*arrays, X], (-1, np.s_[:, j]))) - exact[:, :, j])
        assert (off <= PART * bound[:, :, j]).all()


# ---- equal computations, limits


@pytest.mark.parametrize("kind", KINDS, ids=kind_name)
def test_a_row_by_parameters_is_the_gradient_of_one_output(isa, dtype, kind):
    """With "squared_error" and one sample, delta_L = z - y: row k is the gradient where that is
    e_k. To the bit, but for the signs of zeros."""
    sizes = (7, 20, 3, 4)
    weights, biases, X = moderate(sizes, 1, dtype)
    net = network(weights, biases, dtype, **{**options_of(kind, sizes), "loss": "squared_error"})
    J, z = net.jacobian(X)[0], net.logits(X)
    for k, row in enumerate(J):
        y = z.copy()
        y[0, k] = np.nextafter(z[0, k], -np.inf)
        step = z[0, k] - y[0, k]        # a power of two: it scales every product exactly
        net.backprop(X, y)
        assert np.array_equal(net.grad, row * step)


def test_saturated_units_keep_their_relative_accuracy(isa, dtype):
    """dh/dz of sigmoid and softmax: h(1 - h) from the tails, where 1 - h would be 0."""
    x = np.array([[40.0], [-40.0], [80.0]], dtype)
    net = fastbp.MLP([1, 1], dtype=dtype, seed=0)
    net.params[:] = 1, 0
    exact = oracle.exact_slope(x.astype("float64"))
    error = oracle.ulp_error(net.jacobian(x, wrt="input")[:, 0], exact)
    assert (error <= 8).all()           # twice that of act', for a product with W = 1 rounds once
    soft = fastbp.MLP([1, 2], loss="softmax", dtype=dtype, seed=0)
    soft.params[:] = 1, 0, 0, 0         # z = (x, 0): p_1 = sigma(x)
    J = soft.jacobian(x, wrt="input")[:, :, 0]
    assert (oracle.ulp_error(J[:, :1], exact) <= 16).all()
    assert (oracle.ulp_error(J[:, 1:], -exact) <= 16).all()
    dX = net.input_grad(x, np.ones((3, 1)))     # delta_L = -sigma(-x)
    assert (oracle.ulp_error(dX, -oracle.exact_sigmoid(-x.astype("float64"))) <= 8).all()


