"""MLP: two flat vectors and views into them, a specified start, and one set of numbers: whichever
method asks for a loss, an output or a gradient, it gets the same bits."""

import copy
import math
import pickle
import tracemalloc

import numpy as np
import pytest
from all_pairs import all_pairs
from oracle import error_bound
from scipy import optimize

import fastbp
from fastbp import MLP

SIZES = (3, 5, 4, 2)


def samples(n, sizes=SIZES, dtype="float64", seed=0):
    """X, y and weights of n samples; the targets are soft."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, sizes[0])), rng.random((n, sizes[-1]))
    return X.astype(dtype), y.astype(dtype), rng.random(n).astype(dtype)


def flat(weights, biases):
    return np.concatenate([a.ravel() for pair in zip(weights, biases, strict=True) for a in pair])


def as_they_are(net):
    return net.params.tobytes(), net.grad.tobytes()


# ---- parameters


def test_layout(dtype):
    """W_1.ravel(), b_1, W_2.ravel(), …, seen through views that write in place."""
    net = MLP(SIZES, dtype=dtype, seed=0)
    assert net.layer_sizes == SIZES and net.dtype == dtype
    assert net.n_params == (3 + 1) * 5 + (5 + 1) * 4 + (4 + 1) * 2
    for vector, weights, biases in ((net.params, net.weights, net.biases),
                                    (net.grad, net.weight_grads, net.bias_grads)):
        assert vector.shape == (net.n_params,) and vector.dtype == dtype
        assert vector.flags.c_contiguous and vector.flags.writeable
        assert [W.shape for W in weights] == [(3, 5), (5, 4), (4, 2)]
        assert [b.shape for b in biases] == [(5,), (4,), (2,)]
        vector[:] = np.arange(net.n_params)
        np.testing.assert_array_equal(flat(weights, biases), vector)
        weights[1][2, 3] = biases[2][1] = -1
        assert vector[20 + 2 * 4 + 3] == vector[-1] == -1


def test_parameters_edited_in_place_count(dtype):
    X, y, _ = samples(5, dtype=dtype)
    net, other = (MLP(SIZES, dtype=dtype, seed=seed) for seed in (0, 1))
    assert not np.array_equal(net.forward(X), other.forward(X))
    for W, V in zip(net.weights, other.weights, strict=True):
        W[:] = V
    np.testing.assert_array_equal(net.forward(X), other.forward(X))
    net.params[:] = 0
    assert (net.forward(X) == 0.5).all() and net.loss_value(X, y) == pytest.approx(
        y.size * math.log(2), rel=2 * float(np.finfo(dtype).eps))  # a term is within 2 ulp


def test_arithmetic_in_place():
    """``net.params -= …`` assigns the vector to itself in the end; another one is copied in."""
    net, other = MLP(SIZES, seed=0), MLP(SIZES, dtype="float64", seed=1)
    vector, expected = net.params, net.params / 2
    net.params *= 0.5
    net.grad += 1
    assert (net.grad == 1).all()
    np.testing.assert_array_equal(vector, expected)
    net.params = other.params
    assert net.params is vector
    np.testing.assert_array_equal(net.weights[0], other.weights[0].astype("float32"))
    for wrong in (other.params[:-1], other.params[:, np.newaxis], 0.0):
        with pytest.raises(ValueError, match="params has shape .* should have shape"):
            net.params = wrong
    np.testing.assert_array_equal(vector, other.params.astype("float32"))


def test_repr(dtype):
    net = MLP(SIZES, dtype=dtype)
    twin = eval(repr(net), {"MLP": MLP})
    assert repr(twin) == repr(net) and (twin.layer_sizes, twin.dtype) == (SIZES, dtype)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy,
                                       lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(duplicate, dtype):
    """A copy has the same state and a memory of its own."""
    X, y, _ = samples(7, dtype=dtype)
    net = MLP(SIZES, dtype=dtype, seed=0, n_threads=1)
    net.backprop(X, y)
    twin = duplicate(net)
    assert repr(twin) == repr(net) and twin.n_threads == 1
    assert as_they_are(twin) == as_they_are(net)
    before = as_they_are(net)
    twin.params[:] += 1
    twin.weight_grads[0][:] = 7
    twin.backprop(X, y)
    assert as_they_are(net) == before
    twin.params[:] = net.params
    assert twin.backprop(X, y) == net.backprop(X, y)
    np.testing.assert_array_equal(twin.grad, net.grad)


# ---- one set of numbers

SAMPLES = [1, 2, 17, 255, 256, 257, 700]
BATCHES = pytest.mark.parametrize("n", SAMPLES)


@BATCHES
def test_outputs_are_sigmoids_of_logits(n, dtype, isa):
    X, _, _ = samples(n, dtype=dtype)
    net = MLP(SIZES, dtype=dtype, seed=0)
    h, z = np.empty((n, 2), dtype), np.empty((n, 2), dtype)
    assert net.forward(X, h) is h and net.logits(X, out=z) is z
    np.testing.assert_array_equal(h, fastbp.sigmoid(z))
    np.testing.assert_array_equal(net.forward(X), h)
    np.testing.assert_array_equal(net.logits(X), z)


@all_pairs("isa", "dtype", n=SAMPLES, reduction=["sum", "mean"], weighted=[False, True])
def test_every_method_has_the_same_bits(n, reduction, weighted, dtype, isa):
    X, y, w = samples(n, dtype=dtype)
    options = {"sample_weight": w if weighted else None, "reduction": reduction}
    net = MLP(SIZES, dtype=dtype, seed=0)
    loss = net.backprop(X, y, **options)
    assert type(loss) is float and net.loss_value(X, y, **options) == loss
    value, grad = net.value_and_grad(net.params, X, y, **options)
    assert value == loss
    np.testing.assert_array_equal(grad, net.grad)
    value, grad = net.objective(X, y, **options)(net.params)
    assert value == loss
    np.testing.assert_array_equal(grad, net.grad)
    value, dW, db = fastbp.backprop(net.weights, net.biases, X, y, **options)
    assert value == loss and type(value) is float
    np.testing.assert_array_equal(flat(dW, db), net.grad)
    value, dW, db = fastbp.backprop([W.tolist() for W in net.weights], [b.tolist() for b in
                                    net.biases], X.tolist(), y.tolist(), **options)
    assert dW[0].dtype == "float64" and all(g.flags.writeable for g in (*dW, *db))
    if dtype == "float64":
        assert value == loss
        np.testing.assert_array_equal(flat(dW, db), net.grad)


@pytest.mark.parametrize("dtype_of_params", ["float32", "float64"])
def test_value_and_grad(dtype_of_params, dtype):
    """At parameters of its own: converted, answered in their dtype, the network untouched."""
    X, y, _ = samples(9, dtype=dtype)
    net, other = (MLP(SIZES, dtype=dtype, seed=seed) for seed in (0, 1))
    net.backprop(X, y)
    before = as_they_are(net)
    params = other.params.astype(dtype_of_params)
    given = params.copy()
    other.params[:] = params
    expected = other.backprop(X, y, l2=0.5)
    value, grad = net.value_and_grad(params, X, y, l2=0.5)
    again = net.value_and_grad(params, X, y, l2=0.5)[1]
    assert value == expected and grad.dtype == dtype_of_params
    np.testing.assert_array_equal(grad, other.grad.astype(dtype_of_params))
    assert as_they_are(net) == before and np.array_equal(params, given)
    assert not any(np.shares_memory(grad, a) for a in (again, params, net.grad, net.params))
    assert net.value_and_grad(params.tolist(), X, y)[1].dtype == "float64"


# ---- what the loss is made of


def dyadic_network(dtype, n=6):
    """A network, samples and weights whose l2 terms are exact in either dtype."""
    X, y, w = samples(n, dtype=dtype)
    net = MLP(SIZES, dtype=dtype)
    net.params[:] = np.random.default_rng(1).integers(-8, 9, net.n_params) / 8
    return net, X, y, w


def test_l2(dtype, isa):
    """½ l2 ΣW² joins the sum, biases do not: one rounding in the loss, one in each weight."""
    net, X, y, _ = dyadic_network(dtype)
    plain, grad = net.value_and_grad(net.params, X, y)
    squares = sum(float((W.astype("float64")**2).sum()) for W in net.weights)
    assert net.backprop(X, y, l2=0.25) == plain + 0.5 * 0.25 * squares
    for b in net.biases:
        b[:] = 0
    np.testing.assert_array_equal(net.grad, grad + net.dtype.type(0.25) * net.params)


@pytest.mark.parametrize("weighted", [False, True])
def test_mean(weighted, dtype, isa):
    """Everything is divided by n, or by the sum of the weights, once and at the end."""
    net, X, y, w = dyadic_network(dtype)
    w = np.round(w * 8) / 8 if weighted else None
    total = 6 if w is None else w.sum()
    loss, grad = net.value_and_grad(net.params, X, y, sample_weight=w, l2=0.25)
    assert net.backprop(X, y, sample_weight=w, l2=0.25, reduction="mean") == loss / total
    np.testing.assert_array_equal(net.grad, grad / net.dtype.type(total))


def test_sample_weights_multiply(dtype, isa):
    net, X, y, w = dyadic_network(dtype)

    def at(weights, reduction="sum", X=X):
        loss, grad = net.value_and_grad(net.params, X, y, sample_weight=weights,
                                        reduction=reduction)
        return loss, grad.tobytes(), grad

    assert at(np.ones(6, int))[:2] == at(None)[:2]
    assert at(np.ones(6), "mean")[:2] == at(None, "mean")[:2]
    loss, _, grad = at(w)
    assert at(4 * w)[:2] == (4 * loss, (4 * grad).tobytes())
    assert at(4 * w, "mean")[:2] == at(w, "mean")[:2]
    w[2], other = 0, X.copy()
    other[2] = 1
    assert at(w)[:2] == at(w, X=other)[:2] != at(None)[:2]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sample_weights_within_the_rounding_bound(reduction, dtype):
    net, X, y, w = dyadic_network(dtype)
    exact, bound = error_bound(net.weights, net.biases, X, y, sample_weight=w,
                               reduction=reduction, u=np.finfo(dtype).eps / 2)
    loss = net.backprop(X, y, sample_weight=w, reduction=reduction)
    assert abs(loss - exact.loss) <= bound.loss
    for g, g_exact, g_bound in zip(net.weight_grads, exact.dW, bound.dW, strict=True):
        assert (np.abs(g - g_exact) <= g_bound).all()


@pytest.mark.parametrize("change", [
    lambda y: y.astype(bool), lambda y: y.astype("int8"), lambda y: y.astype("uint64"),
    lambda y: y.reshape(-1, 1), lambda y: y.reshape(-1, 1).astype(bool), lambda y: y.tolist()])
def test_targets(change, dtype):
    X, _, _ = samples(8)
    y = np.arange(8) % 3 == 0
    net = MLP([3, 4, 1], dtype=dtype, seed=0)
    expected = net.backprop(X, y.astype(dtype)), net.grad.copy()
    net.grad[:] = 0
    assert net.backprop(X, change(y)) == expected[0]
    np.testing.assert_array_equal(net.grad, expected[1])


# ---- optimisation


def noisy_classes(n=200, features=4):
    """Labels that no plane separates: the loss has a minimum."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, features))
    y = (X @ np.arange(1.0, features + 1) + 3 * rng.standard_normal(n) > 0) * 1.0
    return X, y


def newton(X, y, l2=0.0):
    """The minimiser (W, b) of a logistic regression, and the Hessian's smallest eigenvalue."""
    A = np.column_stack([X, np.ones(len(X))])
    penalty = np.append(np.full(X.shape[1], l2), 0)
    p = np.zeros(A.shape[1])
    for _ in range(30):
        f = 1 / (1 + np.exp(-A @ p))
        hessian = (A.T * (f * (1 - f))) @ A + np.diag(penalty)
        p -= np.linalg.solve(hessian, A.T @ (f - y) + penalty * p)
    return p, np.linalg.eigvalsh(hessian)[0]


def test_the_gradient_is_zero_at_an_optimum_found_independently(isa):
    """Its exact value there is what Newton's own rounding leaves, n u Σ|h| |δ| at most."""
    X, y = noisy_classes()
    p, _ = newton(X, y)
    net = MLP([4, 1], dtype="float64")
    net.params[:] = p
    net.backprop(X, y)
    u = np.finfo(float).eps / 2
    exact, bound = error_bound(net.weights, net.biases, X, y, u=u)
    left = len(y) * u * np.abs(X).T @ np.abs(exact.delta[0])
    assert (np.abs(exact.dW[0]) <= left).all()
    assert (np.abs(net.weight_grads[0]) <= left + bound.dW[0]).all()
    assert 0 < np.abs(left).max() < 1e-11 * np.abs(X).sum()  # next to the terms that cancel


@pytest.mark.parametrize("dtype_of_net", ["float64", "float32"])
def test_scipy_finds_the_same_optimum(dtype_of_net):
    """Strong convexity puts the rounded x within ‖gradient‖/μ of the minimiser.

    As |σ″| ≤ σ′, the Hessian changes by a factor of at most exp(max |Δz|) < 2 on the way
    there, so μ is at least half its smallest eigenvalue at the minimiser.
    """
    X, y = noisy_classes()
    best, smallest = newton(X, y, l2=1.0)
    net = MLP([4, 1], dtype=dtype_of_net, seed=0)
    before = as_they_are(net)
    f = net.objective(X, y, l2=1.0)
    gtol = 1e-7 if dtype_of_net == "float64" else 1e-2
    result = optimize.minimize(f, net.params.astype("float64"), jac=True, method="L-BFGS-B",
                               options={"gtol": gtol, "ftol": 0})
    assert result.success, result.message
    assert as_they_are(net) == before and result.jac.dtype == "float64"
    assert np.abs(result.jac).max() <= gtol
    net.params[:] = result.x
    drift = np.column_stack([X, np.ones(len(X))]) @ (net.params - best)
    assert np.abs(drift).max() < math.log(2)
    u = np.finfo(dtype_of_net).eps / 2
    _, bound = error_bound(net.weights, net.biases, X, y, u=u)
    exact = gtol * (1 + 2 * u) + float(flat(bound.dW, bound.db).max())  # its largest entry
    assert np.linalg.norm(net.params - best) <= math.sqrt(5) * exact / (smallest / 2)


def test_an_objective_outlives_changes_of_the_network():
    """It is a function of the parameters it is given, and gives a new array each time."""
    X, y, _ = samples(9)
    net = MLP(SIZES, dtype="float64", seed=0)
    f, params = net.objective(X, y, reduction="mean"), net.params.copy()
    value, grad = f(params)
    kept = grad.copy()
    net.params[:] = 0
    net.backprop(X, y)
    assert f(params)[0] == value
    f(net.params)
    np.testing.assert_array_equal(grad, kept)


# ---- memory


@pytest.mark.thread_unsafe(reason="counts what the process allocates")
def test_a_gradient_allocates_nothing(dtype):
    """All a call leaves behind, or holds while it runs, is less than the smallest of its arrays."""
    n, sizes = 64, (32, 64, 64, 32)
    X, y, _ = samples(n, sizes, dtype)
    net = MLP(sizes, dtype=dtype, seed=0)
    net.backprop(X, y)
    held = net.workspace_bytes
    smallest = X.itemsize * min(X.size, y.size)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(1000):
            net.backprop(X, y)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < smallest and after - before < 1000  # less than a byte a call
    assert net.workspace_bytes == held


def test_the_workspace_does_not_grow_with_the_batch(dtype):
    X, y, _ = samples(2000, dtype=dtype)
    net = MLP(SIZES, dtype=dtype, seed=0)
    assert net.workspace_bytes == 0
    sizes = []
    for n in (1, 256, 257, 2000, 1):
        net.backprop(X[:n], y[:n])
        sizes.append(net.workspace_bytes)
    assert 0 < sizes[0] < sizes[1] == sizes[2] == sizes[3] == sizes[4]
    held = net.dtype.itemsize * 256 * sum(SIZES[1:])
    assert sizes[1] >= 2 * held  # h and σ′ of a block
