"""fastbp.sklearn goes where scikit-learn goes: the same start, batches, losses and coefficients.

Tolerance. Both sides round each step's gradient differently. A gradient element is a sum of at
most K products, K the larger of the mini-batch and the widest layer, so it differs by some K u of
its terms' size: what a change of the parameters by the relative size K u would do. All steps of a
run, made at once at its start, are a change by T K u. How far such a change moves scikit-learn's
own run is measured, over random signs in `PERTURBED` runs; random signs may miss the worst
direction, so the tolerance is `MISSED` times the largest move, beside the rounding of the result
itself, K u of its size.
"""

import warnings

import numpy as np
import pytest
import sklearn.neural_network as theirs
from all_pairs import all_pairs
from sklearn.exceptions import ConvergenceWarning

import fastbp.sklearn as ours

N, N_FEATURES, HIDDEN, BATCH, EPOCHS = 50, 6, (7, 5), 16, 6
K = BATCH
STEPS = EPOCHS * -(-N // BATCH)
PERTURBED, MISSED = 3, 8


def data(task, dtype="float64"):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N, N_FEATURES)).astype(dtype)
    score = X @ rng.standard_normal((N_FEATURES, 4)) + 0.3 * rng.standard_normal((N, 4))
    y = {"two classes": lambda: np.where(score[:, 0] > 0, "yes", "no"),
         "four classes": lambda: score.argmax(axis=1) * 10,
         "labels": lambda: (score > 0).astype(int),
         "one target": lambda: score[:, 0],
         "targets": lambda: score[:, :3],
         "counts": lambda: rng.poisson(np.exp(score[:, 0] / 4)),
         "columns of counts": lambda: rng.poisson(np.exp(score[:, :2] / 4))}[task]()
    return X, y


CLASSES = ["two classes", "four classes", "labels"]
TARGETS = ["one target", "targets", "counts", "columns of counts"]


def estimator(package, task, **params):
    params = {"hidden_layer_sizes": HIDDEN, "max_iter": EPOCHS, "random_state": 5,
              "batch_size": BATCH, "alpha": 0.01, **params}
    if task in CLASSES:
        return package.MLPClassifier(**params)
    return package.MLPRegressor("poisson" if "counts" in task else "squared_error", **params)


def perturbed(model, relative, seed):
    """scikit-learn's estimator from initial parameters off by `relative`, with random signs."""
    signs = np.random.default_rng(seed)

    class Perturbed(type(model)):
        def _init_coef(self, *args):
            return tuple(array * (1 + relative * signs.choice([-1, 1], array.shape)).astype(
                array.dtype) for array in super()._init_coef(*args))

    return Perturbed(**model.get_params())


def results(model, X, y, weight, partial):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if not partial:
            model.fit(X, y, sample_weight=weight)
    if partial:
        classes = {"classes": np.arange(4) if y.ndim == 2 else np.unique(y)}
        for _ in range(EPOCHS):
            model.partial_fit(X, y, weight, **(classes if hasattr(model, "predict_proba") else {}))
    curve = getattr(model, "loss_curve_", [model.loss_])
    scores = getattr(model, "validation_scores_", None) or []
    return {"losses": np.array(curve), "scores": np.array(scores),
            "parameters": np.concatenate([a.ravel() for a in model.coefs_ + model.intercepts_])}


def assert_one_trajectory(task, dtype="float64", weighted=False, steps=STEPS, partial=False,
                          **params):
    X, y = data(task, dtype)
    weight = np.random.default_rng(4).random(N) * 3 if weighted else None
    fitted = {package: estimator(package, task, **params) for package in (theirs, ours)}
    given = X, y, weight, partial
    expected, found = (results(fitted[package], *given) for package in (theirs, ours))
    u = np.finfo(dtype).eps / 2
    moved = [results(perturbed(estimator(theirs, task, **params), steps * K * u, seed), *given)
             for seed in range(PERTURBED)]
    for name, values in expected.items():
        assert all(len(run[name]) == len(values) == len(found[name]) for run in moved)
        if len(values):
            move = max(np.abs(run[name] - values).max() for run in moved)
            tolerance = MISSED * move + K * u * np.abs(values)
            assert np.all(np.abs(found[name] - values) <= tolerance), name
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_",
                 "_no_improvement_count"):    # the last is read by others
        values = [getattr(fitted[package], name, None) for package in (theirs, ours)]
        assert values[0] == values[1], name
    if hasattr(fitted[ours], "_optimizer"):     # a few operations, each rounded once
        rates = [fitted[package]._optimizer.learning_rate for package in (theirs, ours)]
        assert rates[0] == pytest.approx(rates[1], rel=16 * 2.0**-53)
    for name, best, curve in (("best_loss_", min, "loss_curve_"),
                              ("best_validation_score_", max, "validation_scores_")):
        values = [getattr(fitted[package], name, None) for package in (theirs, ours)]
        assert (values[0] is None) == (values[1] is None), name
        if values[1] is not None and getattr(fitted[ours], curve, None):
            assert values[1] == best(getattr(fitted[ours], curve)), name   # compared above
    return fitted[ours]


OPTIMIZERS = {
    "adam": {"solver": "adam"},
    "adam, other betas": {"solver": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.02},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.004},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.004},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.01,
                   "power_t": 0.2},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.01,
                 "tol": 1e3, "n_iter_no_change": 1},
    # At the fourth iteration a trial step saturates, where scikit-learn clips the loss.
    "lbfgs": {"solver": "lbfgs", "max_iter": 3},
}


@all_pairs(optimizer=OPTIMIZERS, task=CLASSES + TARGETS,
           activation=["identity", "logistic", "tanh", "relu"], weighted=[False, True])
def test_losses_and_coefficients(optimizer, task, activation, weighted):
    """lbfgs of several targets is left to `test_lbfgs_of_several_targets`."""
    if (optimizer, task) != ("lbfgs", "targets"):
        assert_one_trajectory(task, activation=activation, weighted=weighted,
                              **OPTIMIZERS[optimizer])


@pytest.mark.parametrize("task", CLASSES + TARGETS)
@pytest.mark.parametrize("optimizer", ["adam", "nesterov", "invscaling", "adaptive"])
def test_in_float32(optimizer, task):
    model = assert_one_trajectory(task, "float32", activation="tanh", **OPTIMIZERS[optimizer])
    assert {array.dtype.name for array in model.coefs_ + model.intercepts_} == {"float32"}


@pytest.mark.parametrize("params", [
    {"shuffle": False}, {"batch_size": 1}, {"batch_size": "auto"}, {"alpha": 0.0},
    {"hidden_layer_sizes": ()}, {"hidden_layer_sizes": 3}, {"momentum": 1.0, "solver": "sgd"}],
    ids=str)
def test_other_parameters(params):
    steps = EPOCHS * N if params.get("batch_size") == 1 else STEPS
    assert_one_trajectory("targets", steps=steps, **params)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("task", CLASSES + TARGETS)
def test_early_stopping(task, weighted):
    """The split, the scores, when to stop, and the weights of the best score."""
    model = assert_one_trajectory(task, weighted=weighted, early_stopping=True, max_iter=200,
                                  learning_rate_init=0.01, tol=0.02, n_iter_no_change=3,
                                  validation_fraction=0.3, steps=100)
    assert model.n_iter_ < 200 and model.stopped_
    assert len(model.validation_loss_curve_) == model.n_iter_


def test_an_end_without_improvement():
    model = assert_one_trajectory("two classes", max_iter=500, tol=0.05, n_iter_no_change=2,
                                  steps=200)
    assert model.stopped_ and model.n_iter_ < 500


def test_lbfgs_of_several_targets():
    """What is minimised and its gradient belong together: a linear network comes to least squares.

    SciPy stops when an iteration reduces the loss by less than 2.2e-9 of it. Where each reduces
    what is left by 1 % or more, then at most 100 times that is left. Reported over the targets.
    """
    X, y = data("targets")
    model = ours.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, tol=1e-9,
                              max_iter=1000).fit(X, y)
    _, residual, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(N)]), y)
    assert 1 - 1e-12 < model.loss_ / (residual.sum() / (2 * N * 3)) < 1 + 2.2e-7


def test_the_penalty_is_not_divided():
    """Nor of what lbfgs reports; a sum of some 200 terms."""
    X, y = data("targets")
    model = estimator(ours, "targets", solver="lbfgs", alpha=3.0, max_iter=2)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    penalty = 3.0 / 2 / N * sum((W**2).sum() for W in model.coefs_)
    expected = ((model.predict(X) - y) ** 2).mean() / 2 + penalty
    assert model.loss_ == pytest.approx(expected, rel=400 * 2.0**-53)


@all_pairs(task=CLASSES + TARGETS, optimizer=["adam", "nesterov", "invscaling"],
           weighted=[False, True])
def test_partial_fits(task, optimizer, weighted):
    """Epoch by epoch; the optimizer and its rate go on."""
    assert_one_trajectory(task, weighted=weighted, partial=True, **OPTIMIZERS[optimizer])


def test_the_log_loss_is_not_clipped():
    """At z = 800 on the wrong side the loss is 800 nats; scikit-learn's is -log(eps)."""
    X, y = np.array([[1.0], [-1.0]]), np.array([0, 1])
    losses = []
    for package in (theirs, ours):
        model = package.MLPClassifier((), solver="sgd", max_iter=1, alpha=0, random_state=0)
        model.partial_fit(X, y, classes=[0, 1])
        model.coefs_[0] = np.array([[800.0]])
        model.intercepts_[0] = np.zeros(1)
        losses.append(model.partial_fit(X, y).loss_)
    assert losses == [pytest.approx(-np.log(np.finfo(float).eps)), 800.0]
