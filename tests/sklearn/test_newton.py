"""Promise: `solver="newton-cg"` finds the optimum that lbfgs finds, where there is one, stops as it
does, and counts what it asks for. (What all solvers share is in the other files.)"""

import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import OptimizeResult
from sklearn.exceptions import ConvergenceWarning

from fastbp.sklearn import MLPClassifier, MLPRegressor, _base, _samples, _whole

N = 80
RNG = np.random.default_rng(5)
X = RNG.standard_normal((N, 4))
SCORE = X @ RNG.standard_normal((4, 2)) + RNG.standard_normal((N, 2)) / 2
TARGETS = {"two": (SCORE[:, 0] > 0).astype(int), "three": np.digitize(SCORE[:, 0], [-1, 1]),
           "labels": (SCORE > 0).astype(int), "real": SCORE[:, 0], "several": SCORE}


def model(kind, hidden=(), **params):
    estimator = MLPRegressor if kind in ("real", "several") else MLPClassifier
    return estimator(**{"hidden_layer_sizes": hidden, "solver": "newton-cg", "alpha": 1.0,
                        "random_state": 0, "max_iter": 100, "tol": 1e-8, **params})


def flat(fitted):
    return np.concatenate([a.ravel() for a in fitted.coefs_ + fitted.intercepts_])


def fitted(*args, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        return model(*args, **params).fit(X, TARGETS[args[0]])


@pytest.mark.parametrize("kind", TARGETS)
def test_the_optimum(kind):
    """Convex; the loss of either is within g^2 / (2 mu) of its least value, mu = alpha / n for W.

    A fall of the loss below FTOL stops either, and the last step of each is far smaller than that.
    """
    newton, lbfgs = fitted(kind), fitted(kind, solver="lbfgs", max_iter=1000)
    assert abs(newton.loss_ - lbfgs.loss_) <= 2 * _whole.FTOL
    assert newton.n_iter_ < 15 and newton.n_iter_ < lbfgs.n_iter_
    if kind in ("two", "three", "labels"):          # no sample is that near to a boundary
        np.testing.assert_array_equal(newton.predict(X), lbfgs.predict(X))


@pytest.mark.parametrize("activation", ["tanh", "relu", "logistic"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_hidden_layer(kind, activation):
    """It ends where lbfgs' own criterion holds, at a loss below that of the start."""
    params = {"hidden": (5,), "activation": activation, "max_iter": 1000}
    newton = fitted(kind, tol=1e-4, **params)
    start = model(kind, (5,), activation=activation, max_iter=1)
    with pytest.warns(ConvergenceWarning, match="failed to converge in 1 iterations"):
        start.fit(X, TARGETS[kind])
    assert newton.loss_ < start.loss_ and newton.n_iter_ > 1


def test_float32_ends():
    """Where the loss does not fall any more in its digits, whatever the tolerance."""
    for kind in TARGETS:
        for hidden in ((), (5,)):
            found = fitted(kind, hidden, activation="tanh", dtype="float32", tol=1e-30)
            assert found.n_iter_ < 100 and np.isfinite(flat(found)).all()


@pytest.mark.parametrize(("solver", "loss"), [("newton-cg", "inf"), ("lbfgs", "(inf|nan)")])
def test_a_loss_that_is_not_finite_is_an_error(solver, loss):
    """SciPy ends at the start, with finite parameters, as if it had no better ones."""
    with pytest.raises(ValueError, match=f"^Solver produced a loss of {loss}. The input data may"):
        model("real").set_params(solver=solver).fit(X, TARGETS["real"] * 1e200)


def test_a_product_that_is_not_finite_ends_the_fit(monkeypatch):
    """Where it was reached: SciPy's norm would refuse it in words of its own."""
    monkeypatch.setattr(_whole.MeanLoss, "hessp", lambda self, params, v: v * np.nan)
    with pytest.warns(ConvergenceWarning, match="in 0 iterations: a product of the Hessian is not"):
        found = model("real").fit(X, TARGETS["real"])
    assert np.isfinite(found.loss_) and np.isfinite(flat(found)).all()


def test_samples_weigh():
    """Two ways to one convex loss f: with g where each ends, and mu the least curvature there,

    |x - x*| <= |g| / mu and f(x) - f(x*) <= |g|^2 / (2 mu): mu changes by less than half between
    points that close. No way moves along the one direction without curvature, that of softmax's
    biases, from the start that they share. Then the roundings of sums of n terms.
    """
    weight, y = np.arange(N) % 3, TARGETS["three"]
    repeated = model("three").fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    weighted = model("three").fit(X, y, weight)
    points = [found._net.linearize(X, y, sample_weight=weight, reduction="mean", l2=1.0)
              for found in (weighted, repeated)]
    n_params = len(points[0].grad)
    flattest, mu = np.linalg.eigvalsh(points[0].hessian @ np.eye(n_params))[:2]
    assert mu > 0.01 > 1e-9 > abs(flattest)
    slopes = [np.linalg.norm(point.grad) for point in points]
    rounding = weight.sum() * 2.0**-52
    assert abs(weighted.loss_ - repeated.loss_) <= (
        sum(slope**2 for slope in slopes) / mu + rounding * weighted.loss_)
    distance = np.linalg.norm(points[0].params - points[1].params)
    assert distance <= 2 * (sum(slopes) + rounding) / mu


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e6, 1e9])
def test_targets_in_any_unit(unit):
    """A loss from which the next fall would end the fit, in steps that double at first.

    Their sum reaches coefficients below 4 units after 2 + log2(unit) of them. Conjugate gradients
    then leave no more than half of the gradient, which quarters what the loss is above its least:
    FTOL of it is left after log_4(1 / FTOL) < 15 steps.
    """
    found = model("real", alpha=0.0).fit(X, TARGETS["real"] * unit)
    assert found.n_iter_ < 17 + np.log2(unit) and np.linalg.norm(flat(found)) < 4 * unit
    A = np.c_[X, np.ones(N)]
    _, square, *_ = np.linalg.lstsq(A, TARGETS["real"] * unit)
    least = square.item() / (2 * N)
    assert least <= found.loss_ * (1 + N * 2.0**-52)            # a sum of N terms
    assert found.loss_ - least <= _whole.FTOL * max(least, 1)   # it stops at such a fall


def test_it_goes_on_where_it_ended():
    once = model("three", (5,), warm_start=True, max_iter=3)
    with pytest.warns(ConvergenceWarning):
        once.fit(X, TARGETS["three"])
    before = once.loss_
    with pytest.warns(ConvergenceWarning):
        once.fit(X, TARGETS["three"])
    assert once.loss_ < before and once.n_iter_ == 3


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
def test_max_fun_counts_gradients_and_products(most, kind, monkeypatch):
    """What is left is the last step that was taken, or the start."""
    monkeypatch.setattr(_samples, "BLOCK_BYTES", 1)
    asked, losses = [], {}

    class Counted(_whole.MeanLoss):
        def __call__(self, params):
            asked.append("gradient")
            found = super().__call__(params)
            losses[params.tobytes()] = found[0]
            return found

        def hessp(self, params, v):
            asked.append("product")
            return super().hessp(params, v)

    monkeypatch.setattr(_base, "MeanLoss", Counted)
    with pytest.warns(ConvergenceWarning, match="EVALUATIONS EXCEEDS LIMIT"):
        found = model("real", (5,), activation="tanh", max_fun=most, alpha=0.0).fit(
            kind(X), TARGETS["real"])
    assert len(asked) == most
    assert losses[found._net.params.tobytes()] == found.loss_ == min(losses.values())


def test_a_start_that_is_the_optimum():
    """Without a step, and without a warning."""
    found = fitted("two", alpha=1.0)
    again = found.set_params(warm_start=True, tol=1e-3).fit(X, TARGETS["two"])
    assert again.n_iter_ == 0


def test_steps_that_are_rejected():
    """So many in a row end the fit: the region has become too small for any."""
    given = model("two")._given()
    watch = _whole.Watch(lambda params: (1.0, params), given, lambda result: None)
    watch(np.zeros(2))
    watch(np.ones(2))
    for _ in range(_whole.MAX_REJECTED - 1):
        watch.after_iteration(OptimizeResult(x=np.zeros(2), fun=1.0))
    with pytest.raises(StopIteration):
        watch.after_iteration(OptimizeResult(x=np.zeros(2), fun=1.0))
    assert watch.converged and watch.nit == _whole.MAX_REJECTED
