"""Promise: `MLP.objective` is what SciPy's minimisers want: flat, float64, fresh.

Without hidden layers the penalised loss is convex, so that every method must find the one optimum,
and an oracle can find it on its own: Newton's method, whose Hessian is written out here.
"""

import pickle

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize

import fastbp

METHODS = ["L-BFGS-B", "CG", "TNC", "BFGS", "SLSQP"]
NEWTON = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"]     # with `hessp`
LOSSES = {"bce": 2, "softmax": 3, "squared_error": 2, "poisson": 2}
L2, N = 2.0, 60


def problem(loss):
    rng = np.random.default_rng(11)
    X, n_outputs = rng.standard_normal((N, 4)), LOSSES[loss]
    z = X @ rng.standard_normal((4, n_outputs)) / 2
    y = {"bce": lambda: rng.random(z.shape) < 1 / (1 + np.exp(-z)),
         "softmax": lambda: np.argmax(z + rng.gumbel(size=z.shape), axis=1),
         "squared_error": lambda: z + rng.standard_normal(z.shape),
         "poisson": lambda: rng.poisson(np.exp(z))}[loss]()
    return X, y, rng.random(N) + 0.5


def curvature(loss, z, f):
    """d f_j / d z_k of each sample, (n, n_outputs, n_outputs)."""
    each = {"bce": f * (1 - f), "squared_error": np.ones_like(f), "poisson": f, "softmax": f}[loss]
    H = each[:, :, None] * np.eye(z.shape[1])
    return H - f[:, :, None] * f[:, None, :] if loss == "softmax" else H


def optimum(loss, X, y, w):
    """The parameters at which Newton's method, on E3 and E6 alone, finds no gradient."""
    n_outputs = LOSSES[loss]
    X1 = np.hstack([X, np.ones((N, 1))])
    penalty = np.repeat(L2 * np.array([1.0] * 4 + [0]), n_outputs)
    target = np.eye(n_outputs)[y] if loss == "softmax" else y
    p = np.zeros(5 * n_outputs)
    for _ in range(50):
        z = X1 @ p.reshape(5, n_outputs)
        e = np.exp(z)
        f = {"bce": e / (1 + e), "softmax": e / e.sum(1, keepdims=True), "squared_error": z,
             "poisson": e}[loss]
        grad = (X1.T @ (w[:, None] * (f - target))).ravel() + penalty * p
        H = np.einsum("n,na,nb,njk->ajbk", w, X1, X1, curvature(loss, z, f)).reshape(p.size, -1)
        step, *_ = np.linalg.lstsq(H + np.diag(penalty), grad, rcond=None)
        p -= step
    assert np.abs(grad).max() < 1e-10
    return p


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_zero_at_an_optimum_found_independently(loss):
    X, y, w = problem(loss)
    net = fastbp.MLP([4, LOSSES[loss]], loss=loss, dtype="float64", seed=0)
    p = optimum(loss, X, y, w)
    _, grad = net.objective(X, y, sample_weight=w, l2=L2)(p)
    # Two roundings of each of N + 1 terms of a sum; a term is at most max |X| (f + y) < 500.
    assert np.abs(grad).max() <= 2 * (N + 1) * 2.0**-53 * 500 * N


@pytest.mark.parametrize("method", METHODS + NEWTON)
@pytest.mark.parametrize("loss", LOSSES)
def test_methods_find_the_optimum(loss, method):
    X, y, w = problem(loss)
    net = fastbp.MLP([4, LOSSES[loss]], loss=loss, dtype="float64", seed=0)
    before = net.params.copy(), net.grad.copy()
    f = net.objective(X, y, sample_weight=w, reduction="mean", l2=L2)
    hessp = {"hessp": f.hessp} if method in NEWTON else {}
    result = minimize(f, net.params, jac=True, method=method, tol=1e-10, **hessp)
    best, _ = f(optimum(loss, X, y, w))
    # A gradient of norm g leaves f within g^2 / (2 mu) of its minimum, mu >= l2 / sum w for W; the
    # methods stop at some 1e-5 at worst, in the biases' directions of a softmax at 0 of it.
    assert best - 1e-12 <= result.fun <= best + 1e-5**2 / 2 / (L2 / w.sum())
    np.testing.assert_array_equal(net.params, before[0])
    np.testing.assert_array_equal(net.grad, before[1])


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("loss", LOSSES)
def test_scipy_finds_no_fault_with_the_gradient(loss, activation):
    X, y, w = problem(loss)
    net = fastbp.MLP([4, 6, LOSSES[loss]], loss=loss, activation=activation, dtype="float64",
                     seed=0)
    f = net.objective(X, y, sample_weight=w, reduction="mean", l2=L2)
    _, grad = f(net.params)
    step = 1e-6     # of forward differences: error step |f''| / 2 + 2 u |f| / step each
    error = check_grad(lambda p: f(p)[0], lambda p: f(p)[1], net.params, epsilon=step)
    assert error <= np.sqrt(net.n_params) * (step * 50 + 4 * 2.0**-53 * 10 / step)
    assert np.abs(grad).max() > 1e-3


def test_gradients_are_fresh():
    X, y, _ = problem("bce")
    net = fastbp.MLP([4, 6, 2], dtype="float64", seed=0)
    f = net.objective(X, y)
    _, first = f(net.params)
    kept = first.copy()
    _, second = f(net.params + 1)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)


def test_a_float32_network_takes_float64_parameters():
    X, y, _ = problem("softmax")
    net = fastbp.MLP([4, 8, 3], loss="softmax", seed=0)
    f = net.objective(X, y, reduction="mean", l2=L2)
    value, grad = f(net.params.astype("float64"))
    assert isinstance(value, float) and grad.dtype == "float64"
    result = minimize(f, net.params, jac=True, method="L-BFGS-B")
    assert result.fun < value
    net.params = result.x
    assert abs(net.value_and_grad(net.params, X, y, reduction="mean", l2=L2)[0]
               - result.fun) <= 1e-6 * result.fun       # parameters rounded to float32


def test_the_data_are_checked_once_and_kept():
    """Integers were converted, so a later change of them does not reach the minimisation."""
    X, y, _ = problem("softmax")
    net = fastbp.MLP([4, 3], loss="softmax", dtype="float64", seed=0)
    f = net.objective(X, y)
    before = f(net.params)
    y[:] = 99
    after = f(net.params)
    assert before[0] == after[0]
    with pytest.raises(ValueError, match="class"):
        net.objective(X, y)


# ---- products of the Hessian


@pytest.mark.parametrize("loss", LOSSES)
def test_the_hessian_that_is_written_out(loss):
    """Column after column, that of Newton's method above; 20 roundings of sums of N + 20 terms."""
    X, y, w = problem(loss)
    n_outputs = LOSSES[loss]
    net = fastbp.MLP([4, n_outputs], loss=loss, dtype="float64", seed=0)
    f = net.objective(X, y, sample_weight=w, l2=L2)
    z, out, X1 = net.logits(X), net.forward(X), np.hstack([X, np.ones((N, 1))])
    terms = w, X1, X1, curvature(loss, z, out)
    H, size = (np.einsum("n,na,nb,njk->ajbk", *map(part, terms)).reshape(net.n_params, -1)
               for part in (np.asarray, np.abs))
    H += np.diag(np.repeat(L2 * np.array([1.0] * 4 + [0]), n_outputs))
    got = np.stack([f.hessp(net.params, e) for e in np.eye(net.n_params)])
    assert np.all(np.abs(got - H) <= 20 * (N + 20) * 2.0**-53 * (size + L2))


@pytest.mark.parametrize("dtype_of_params", ["float32", "float64"])
def test_products_are_those_of_the_network(dtype, dtype_of_params):
    """At other parameters, with the data that were converted once; new, in the dtype of params."""
    X, y, w = problem("softmax")
    net, other = (fastbp.MLP([4, 6, 3], loss="softmax", dtype=dtype, seed=s) for s in (0, 1))
    options = {"sample_weight": w, "reduction": "mean", "l2": L2}
    f = net.objective(X, y, **options)
    v = np.linspace(-1, 1, net.n_params)
    params, before = other.params.astype(dtype_of_params), (net.params.copy(), net.grad.copy())
    product = f.hessp(params, v)
    assert product.dtype == dtype_of_params and product.flags.owndata
    other.params[:] = params            # rounded, where a float64 network takes float32
    expected = other.hvp(X, y, v, **options)
    np.testing.assert_array_equal(product, expected.astype(dtype_of_params))
    assert f.hessp(params, v) is not product
    np.testing.assert_array_equal(net.params, before[0])
    np.testing.assert_array_equal(net.grad, before[1])
    again = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(again.hessp(params=params, v=v.tolist()), product)


@pytest.mark.parametrize(("arguments", "kind", "words"), [
    (([0.0], np.zeros(15)), ValueError, "params has shape"),
    ((np.zeros(15), np.zeros(14)), ValueError, "v has shape"),
    ((np.zeros(15), np.zeros((15, 1))), ValueError, "v has shape"),
    ((np.zeros(15), [1j] * 15), TypeError, "v has dtype complex128"),
    ((np.zeros(15),), TypeError, "lacks v")])
def test_products_are_refused(arguments, kind, words):
    X, y, _ = problem("softmax")
    f = fastbp.MLP([4, 3], loss="softmax", seed=0).objective(X, y)
    with pytest.raises(kind, match=words):
        f.hessp(*arguments)
    assert not hasattr(f, "hess")


def test_a_float32_network_in_a_trust_region():
    X, y, _ = problem("bce")
    net = fastbp.MLP([4, 6, 2], seed=0)
    f = net.objective(X, y, reduction="mean", l2=L2)
    start = net.params.astype("float64")
    result = minimize(f, start, jac=True, hessp=f.hessp, method="trust-ncg",
                      options={"maxiter": 50})
    assert result.fun < f(start)[0] and result.x.dtype == "float64"
