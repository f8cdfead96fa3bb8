"""The NumPy reference computes the derivation: it against everything that is not it.

The node-by-node sums of E7, complex-step derivatives, 50-digit arithmetic at saturation, small
integers without rounding; and what it refuses. (Optimizers: test_reference_optimizers.py.) Layers
and batches have at most 256 entries here: up to there γ(K) of `oracle` holds for every order of
summation.
"""

import numpy as np
import pytest
from oracle import (
    NUMPY,
    assert_within,
    error_bound,
    exact_delta,
    exact_loss,
    exact_sigmoid,
    exact_slope,
    node_form_gradient,
    random_network,
)

from fastbp import reference
from fastbp._twin import mathematics

UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
TINY = {np.float32: 2.0**-149, np.float64: 2.0**-1074}  # smallest subnormal numbers
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def problem(seed, sizes, n, dtype, scale=1.0, soft=False):
    """A random network with inputs and labels, all in ``dtype``."""
    rng = np.random.default_rng(seed)
    weights, biases = random_network(rng, sizes, dtype, scale)
    X = rng.standard_normal((n, sizes[0])).astype(dtype)
    y = rng.random((n, sizes[-1])) if soft else rng.integers(0, 2, (n, sizes[-1]))
    return weights, biases, X, y.astype(dtype)


def assert_gradient(got, exact, bound):
    loss, dW, db = got
    assert_within(loss, exact.loss, bound.loss, "loss")
    for k in range(len(dW)):
        assert_within(dW[k], exact.dW[k], bound.dW[k], f"dW[{k}]")
        assert_within(db[k], exact.db[k], bound.db[k], f"db[{k}]")


# ---- the gradient


@dtypes
@pytest.mark.parametrize("scale", [0.5, 4.0])
@pytest.mark.parametrize("soft", [False, True])
def test_first_layer_is_the_node_form(dtype, scale, soft):
    """E7; 50 digits are exact beside the bound, so the bound is all the tolerance."""
    args = problem(1, (3, 5, 4, 1), 6, dtype, scale, soft)
    _, bound = error_bound(*args, u=UNIT[dtype], rounding=NUMPY)
    _, dW, _ = reference.backprop(*args)
    assert_within(dW[0], node_form_gradient(*args), bound.dW[0], "dW[0]")


def complex_step(weights, biases, X, y):
    """Derivatives of the loss by every parameter, Im L(p + ih)/h with h = 1e-200.

    h² underflows beside anything, so that this is differentiation with dual numbers: no step to
    choose, and no cancellation. Evaluated in the widest complex format there is.
    """
    wide = [[a.astype(np.clongdouble) for a in arrays] for arrays in (weights, biases)]
    X, y = X.astype(np.longdouble), y.astype(np.longdouble)
    gradients = [[np.empty(a.shape, np.longdouble) for a in arrays] for arrays in wide]
    for arrays, grads in zip(wide, gradients, strict=True):
        for a, grad in zip(arrays, grads, strict=True):
            for index in np.ndindex(a.shape):
                real, a[index] = a[index], a[index] + 1e-200j
                terms, _ = mathematics.bce_loss(mathematics.forward(*wide, X)[-1], y)
                grad[index] = terms.sum().imag / 1e-200
                a[index] = real
    return gradients


def path_sums(weights, exact, X, y):
    """Σ over all paths from the loss to a parameter of the |product| along the path, per layer."""
    h = [np.abs(X).astype(float), *(a.astype(float) for a in exact.h)]
    path = (1 - y) * h[-1] + y * (1 - h[-1])  # the two parts of δ_L, not their difference
    sums = []
    for W, h_prev in zip(weights[::-1], h[-2::-1], strict=True):
        sums.insert(0, (h_prev.T @ path, path.sum(axis=0)))
        path = path @ np.abs(W).T * h_prev * (1 - h_prev)
    return sums


@dtypes
@pytest.mark.parametrize("sizes", [(3, 1), (2, 4, 1), (3, 5, 4, 1), (2, 3, 4, 3, 2)])
@pytest.mark.parametrize("soft", [False, True])
def test_every_parameter_by_a_complex_step(dtype, sizes, soft):
    args = problem(2, sizes, 5, dtype, 1.0, soft)
    weights, biases, X, y = args
    exact, bound = error_bound(*args, u=UNIT[dtype], rounding=NUMPY)
    _, dW, db = reference.backprop(*args)
    step_dW, step_db = complex_step(*args)
    # The step's own error, with its unit roundoff v: each path to a parameter is a product of
    # factors that pass through at most 2 fan_in + 16 roundings in a layer (a complex product is
    # three, σ of a dual number sixteen) and n · n_outputs in the sum, and whose σ′ are off by
    # expm1(e_z) ≤ 2 e_z each, where e_z scales like v.
    v = np.finfo(np.longdouble).eps / 2
    roundings = sum(2 * fan_in + 16 for fan_in in sizes) + y.size
    roundings += sum(2 * e_z.max() / UNIT[dtype] for e_z in bound.z)
    for k, (of_W, of_b) in enumerate(path_sums(weights, exact, X.astype(float), y.astype(float))):
        own = 2 * roundings * v  # twice, for the terms of second order
        assert_within(dW[k], step_dW[k], bound.dW[k] + own * of_W, f"dW[{k}]")
        assert_within(db[k], step_db[k], bound.db[k] + own * of_b, f"db[{k}]")


@dtypes
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("sizes", "n", "scale"), [
    ((2, 8, 8, 1), 1, 1.0), ((5, 3), 7, 1.0), ((10, 17, 9, 3), 33, 4.0),
    ((30, 64, 64, 1), 256, 0.5), ((6, 6, 6, 6, 6, 2), 19, 30.0), ((4, 8, 1), 12, 1000.0)])
def test_gradient_is_within_its_running_error_bound(
        dtype, reduction, weighted, soft, sizes, n, scale):
    args = problem(3, sizes, n, dtype, scale, soft)
    w = np.random.default_rng(4).random(n).astype(dtype) * 3 if weighted else None
    options = {"sample_weight": w, "reduction": reduction}
    exact, bound = error_bound(*args, **options, u=UNIT[dtype], rounding=NUMPY)
    assert_gradient(reference.backprop(*args, **options), exact, bound)
    z, h = reference.forward(*args[:3])
    assert_within(z, exact.z[-1], bound.z[-1], "z")
    assert_within(h, exact.h[-1], bound.h[-1], "h")


@dtypes
def test_no_samples(dtype):
    weights, biases, X, y = problem(5, (3, 4, 2), 0, dtype)
    loss, dW, db = reference.backprop(weights, biases, X, y)
    assert loss == 0.0
    for grad, param in zip([*dW, *db], [*weights, *biases], strict=True):
        assert grad.shape == param.shape and grad.dtype == dtype and not grad.any()


# ---- the elementwise functions, at saturation and beyond

LOGITS = np.unique(np.concatenate([
    np.linspace(-750, 750, 61), [-745.5, -104.5, -87.5, -37.0, -17.5, 17.5, 37.0, 87.5, 104.5],
    [s * 2.0**k for s in (-1, 1) for k in range(-60, 6, 6)], [0.0]]))


def assert_relative(actual, exact, c, dtype, what):
    """|actual − exact| ≤ c u |exact|, or c tiny where ``exact`` is subnormal."""
    bound = c * (UNIT[dtype] * np.abs(exact).astype(float) + TINY[dtype])
    assert_within(actual, exact, bound, what)


@dtypes
def test_sigmoid_and_its_tails(dtype):
    z = LOGITS.astype(dtype)
    assert_relative(reference.sigmoid(z), exact_sigmoid(z), NUMPY.sigma, dtype, "sigmoid")
    most = np.finfo(dtype).max
    special = np.array([0, np.inf, -np.inf, np.nan, most, -most], dtype)
    np.testing.assert_array_equal(reference.sigmoid(special), [0.5, 1, 0, np.nan, 1, 0])


@dtypes
@pytest.mark.parametrize("y", [0, 1])
def test_loss_and_delta_keep_their_relative_accuracy(dtype, y):
    z = LOGITS.astype(dtype)
    labels = np.full_like(z, y)
    _, delta = reference.bce_with_logits(z, labels)
    assert_relative(delta, exact_delta(z, labels), NUMPY.delta, dtype, "delta")
    losses = np.array([reference.bce_with_logits(z[i:i + 1], labels[:1])[0] for i in range(z.size)])
    assert_relative(losses, exact_loss(z, labels), NUMPY.loss, dtype, "loss")


@dtypes
def test_loss_is_a_python_float_summed_in_float64(dtype):
    z = np.array([2.0**32, 128, 128, 128], dtype)  # σ = 1 and the losses of label 0 are z itself
    loss, _ = reference.bce_with_logits(z, np.zeros_like(z))
    assert type(loss) is float and loss == 2**32 + 384  # float32 would step by 512


@dtypes
@pytest.mark.parametrize("y", [0, 1])
def test_slope_of_a_hidden_unit_keeps_its_relative_accuracy(dtype, y):
    """One unit a layer, W_1 = W_2 = x = 1: db_1 = δ_2 σ′(z) with z exact and z_2 = σ(z)."""
    one, zero = np.ones((1, 1), dtype), np.zeros(1, dtype)
    z = LOGITS.astype(dtype)
    args = [([z[i:i + 1].reshape(1, 1), one], [zero, zero], one, [y]) for i in range(z.size)]
    got = np.array([reference.backprop(*a)[2][0][0] for a in args])
    f_minus_y = exact_delta(exact_sigmoid(z), np.full_like(z, y))
    # σ′ and δ_2; δ_2 again by its argument σ(z) (|d ln δ/dz| ≤ 1, σ ≤ 1); their product
    c = NUMPY.slope + NUMPY.delta + NUMPY.sigma + 1
    assert_relative(got, f_minus_y * exact_slope(z), c, dtype, "db_1")


@dtypes
def test_sigmoid_backward_on_powers_of_two_is_exact(dtype):
    h = np.array([0, 0.25, 0.5, 0.75, 1], dtype)
    grad = np.array([3, -8, 5, 16, 7], dtype)
    expected = np.array([0, -1.5, 1.25, 3, 0], dtype)
    np.testing.assert_array_equal(reference.sigmoid_backward(grad, h), expected, strict=True)
    assert reference.sigmoid_backward(grad, h, out=grad) is grad
    np.testing.assert_array_equal(grad, expected)


@dtypes
@pytest.mark.parametrize(("n", "here", "above"), [(1, 1, 1), (0, 3, 2), (5, 4, 3), (3, 2, 0)])
def test_delta_step_and_weight_grad_on_small_integers_are_exact(dtype, n, here, above):
    """Sums of small integers times powers of two do not round: E5 and E6 hold to the bit."""
    rng = np.random.default_rng(6)
    delta, W = rng.integers(-8, 9, (n, above)), rng.integers(-8, 9, (here, above))
    h = rng.integers(0, 5, (n, here)) / 4
    expected = (np.einsum("ia,ha->ih", delta, W) * h * (1 - h)).astype(dtype)
    delta, W, h = (a.astype(dtype) for a in (delta, W, h))
    np.testing.assert_array_equal(reference.delta_step(delta, W, h), expected, strict=True)
    for i in range(n):
        np.testing.assert_array_equal(
            reference.delta_step(delta[i], W, h[i]), expected[i], strict=True)
    dW, db = reference.weight_grad(h, delta)
    np.testing.assert_array_equal(dW, np.einsum("ih,ia->ha", h, delta).astype(dtype), strict=True)
    np.testing.assert_array_equal(db, delta.sum(axis=0), strict=True)


# ---- shapes, dtypes, and what is refused


def test_sigmoid_of_a_number_is_a_numpy_scalar():
    assert type(reference.sigmoid(0.0)) is np.float64 and reference.sigmoid(0.0) == 0.5
    assert type(reference.sigmoid(np.float32(0))) is np.float32
    assert type(reference.sigmoid_backward(1.0, 0.5)) is np.float64
    out = np.empty(())
    assert reference.sigmoid(0.0, out=out) is out and out == 0.5


@pytest.mark.parametrize("other", [np.float64, np.float16, np.longdouble, np.int8, bool, ">f8"])
def test_float32_with_any_other_dtype_is_float64(other):
    one, more = np.ones((2, 2), np.float32), np.ones((2, 2), other)
    for results in [(reference.sigmoid(more),), (reference.sigmoid_backward(one, more),),
                    (reference.delta_step(one, one, more),), reference.weight_grad(more, one),
                    reference.bce_with_logits(one, more)[1:],
                    *reference.backprop([one], [one[0]], more, one)[1:]]:
        assert all(r.dtype == np.float64 for r in results)
    # labels and weights of samples follow a network
    _, dW, db = reference.backprop([one], [one[0]], one, more, sample_weight=more[0])
    assert dW[0].dtype == db[0].dtype == np.float32


def test_read_only_and_strided_arguments_are_read():
    weights, biases, X, y = problem(8, (4, 3, 1), 6, np.float64)
    loss, dW, _ = reference.backprop(weights, biases, X, y)
    X = np.asfortranarray(X)
    X.flags.writeable = False
    loss2, dW2, _ = reference.backprop(tuple(weights), biases, X, y[:, 0].tolist())
    # the same values converted to the same layout: the same computation
    assert loss2 == loss and (dW2[0] == dW[0]).all()


M, V = np.ones((3, 2)), np.ones(3)
NETWORK = [np.ones((2, 1))], [np.ones(1)]
LOCKED = np.ones((3, 2))
LOCKED.flags.writeable = False


@pytest.mark.parametrize("value", [
    1j * M, np.array([[None]]), np.array([["1"]]), np.ma.array(M), np.array([["2020"]], "M8[Y]")])
@pytest.mark.parametrize("call", [
    lambda a: reference.sigmoid(a), lambda a: reference.sigmoid_backward(M, a),
    lambda a: reference.delta_step(a, M, V), lambda a: reference.weight_grad(M, a),
    lambda a: reference.bce_with_logits(a, M), lambda a: reference.bce_with_logits(M, a),
    lambda a: reference.bce_with_logits(M, M, a), lambda a: reference.backprop(*NETWORK, a, V),
    lambda a: reference.backprop(*NETWORK, M, a), lambda a: reference.backprop([a], [V], M, V),
    lambda a: reference.backprop([M], [a], M, V)])
def test_what_is_not_real_is_a_type_error(call, value):
    with pytest.raises(TypeError, match=r"^\S+ (has dtype|is a masked array of dtype) "):
        call(value)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: reference.sigmoid([[1], [1, 2]]), "^z cannot be read as an array of real numbers"),
    (lambda: reference.sigmoid_backward(M, V),
     r"^h has shape \(3,\); it should have shape \(3, 2\)$"),
    (lambda: reference.delta_step(M, M.T, M),
     r"^W_next has shape \(2, 3\); it should have shape \(n_here, 2\)$"),
    (lambda: reference.delta_step(M, M, V), r"^h .* should have shape \(3, 3\)$"),
    (lambda: reference.delta_step(1.0, M, V), r"^delta_next has shape \(\)"),
    (lambda: reference.weight_grad(M, V), r"^delta .* should have shape \(3, fan_out\)$"),
    (lambda: reference.bce_with_logits(V, M), r"^y has shape \(3, 2\)"),
    (lambda: reference.bce_with_logits(V, V, V[:2]), r"^sample_weight has shape \(2,\)"),
    (lambda: reference.bce_with_logits(V, [0, 1, 1.5]), "^y has 1.5 in row 2"),
    (lambda: reference.bce_with_logits(M, M * np.nan), "^y has nan in row 0"),
    (lambda: reference.bce_with_logits(V, V, [1, -1, 0]), "^sample_weight has -1.0 in row 1"),
    (lambda: reference.backprop(*NETWORK, M.T, V),
     r"^X has shape \(2, 3\); it should have shape \(n_samples, 2\)$"),
    (lambda: reference.backprop(*NETWORK, M, M), r"^y .* should have shape \(3,\) or \(3, 1\)$"),
    (lambda: reference.backprop(*NETWORK, M, -V), "^y has -1.0 in row 0"),
    (lambda: reference.backprop([M, M], [V[:2], V[:2]], V, V),
     r"^weights\[1\] has shape \(3, 2\); it should have shape \(2, fan_out\)$"),
    (lambda: reference.backprop([M], [V], V, V),
     r"^weights look transposed: their shapes are \[\(3, 2\)\]"),
    (lambda: reference.backprop([], [], M, V), "^weights has 0 arrays"),
    (lambda: reference.backprop(*NETWORK, M, V, sample_weight=0 * V, reduction="mean"),
     "^sample_weight sums to 0.0"),
    (lambda: reference.backprop(*NETWORK, M[:0], [], reduction="mean"), "^X has no samples"),
    (lambda: reference.backprop(*NETWORK, M, V, reduction="median"),
     "^reduction is 'median'; it should be one of 'sum', 'mean'$"),
    (lambda: reference.SGD(lr=0), "^lr is 0; it should be a number above 0"),
    (lambda: reference.SGD(momentum=1), r"^momentum is 1; it should be a number in \[0, 1\)$"),
    (lambda: reference.Adam(betas=(0.9, 1.0)), r"^betas\[1\] is 1.0"),
    (lambda: reference.Adam(eps=-1), "^eps is -1"),
    (lambda: reference.SGD().step(V.copy(), M), r"^grad has shape \(3, 2\)"),
    (lambda: reference.SGD().step(LOCKED[0], LOCKED[1]), "^params is not writable"),
])
def test_what_does_not_fit_is_a_value_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("make_out", "error", "message"), [
    (lambda: np.empty((3, 2), np.float32), TypeError, "^out has dtype float32"),
    (lambda: [[0.0] * 2] * 3, TypeError, "^out is of type list"),
    (lambda: np.empty((2, 3)), ValueError, r"^out has shape \(2, 3\)"),
    (lambda: np.empty((2, 3)).T, ValueError, "^out is not C-contiguous"),
    (lambda: LOCKED, ValueError, "^out is not writable"),
])
def test_out_is_written_to_as_it_is_or_refused(make_out, error, message):
    for call in (lambda out: reference.sigmoid(M, out=out),
                 lambda out: reference.sigmoid_backward(M, M, out=out),
                 lambda out: reference.delta_step(np.ones((3, 3)), np.ones((2, 3)), M, out=out)):
        with pytest.raises(error, match=message):
            call(make_out())


def test_out_may_not_overlap_an_input_unless_in_place():
    memory = np.ones(20)
    z, shifted = memory[:6].reshape(3, 2), memory[1:7].reshape(3, 2)
    for call, name in [(lambda: reference.sigmoid(z, out=shifted), "z"),
                       (lambda: reference.sigmoid(memory[:12:2], out=memory[:6]), "z"),
                       (lambda: reference.sigmoid_backward(z, M, out=shifted), "grad"),
                       (lambda: reference.sigmoid_backward(M, z, out=z), "h"),
                       (lambda: reference.delta_step(z, np.eye(2), M, out=z), "delta_next"),
                       (lambda: reference.delta_step(M, np.eye(2), z, out=z), "h")]:
        with pytest.raises(ValueError, match=f"^out overlaps {name}; "):
            call()
    assert (memory == 1).all()
    assert reference.sigmoid(z, out=z) is z
