"""Fits in lockstep: each ends as it does alone; errors and Ctrl-C reach the fits they are for."""

import warnings

import numpy as np
import pytest
from calling import press_ctrl_c
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from fastbp.sklearn import MLPClassifier, MLPRegressor, _together
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._together import Data, together

N = 70
rng = np.random.default_rng(0)
X = rng.standard_normal((N, 5))
TWO = (X[:, 0] > 0).astype(int)
THREE = rng.integers(0, 3, N)
REAL = X[:, :2] + 3
WEIGHT = rng.random(N)
QUICK = {"hidden_layer_sizes": (6,), "max_iter": 25, "n_iter_no_change": 2, "tol": 2e-2}
# every way to train, in epochs and otherwise: estimator, X, y, weight
CASES = [
    (MLPClassifier(**QUICK), X, TWO, None),
    (MLPClassifier(**QUICK, batch_size=16, shuffle=False), X, THREE, WEIGHT),
    (MLPClassifier(**QUICK, solver="sgd", learning_rate="adaptive"), X, THREE, None),
    (MLPClassifier(**QUICK, early_stopping=True, dtype="float32"), X, TWO, WEIGHT),
    (MLPClassifier(**QUICK, early_stopping=True, batch_size=8), sparse.csr_array(X), THREE, None),
    (MLPClassifier(**QUICK, solver="lbfgs"), X, THREE, WEIGHT),
    (MLPRegressor(**QUICK, solver="newton-cg"), X, REAL, None),
    (MLPRegressor(**QUICK, early_stopping=True, shuffle=False), X, REAL, None),
    (MLPRegressor(**QUICK, loss="poisson", early_stopping=True), X, REAL, WEIGHT),
    (MLPRegressor(**QUICK, solver="sgd", learning_rate="invscaling"), X, REAL[:, 0], None),
]
MODELS = [MLPClassifier(**QUICK | {"max_iter": 30, "tol": 0}, random_state=seed)
          for seed in range(3)]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def copy_of(model):
    return type(model)(**model.get_params())


def fit_of(model, X, y, weight=None):
    return model._fit(Data(X, y), weight, (None, None, None), False, NoTask())


def refuse(key, error):
    raise error


def state(model):
    """The parameters and curves of a fitted estimator, in bytes."""
    curves = [getattr(model, name, None) for name in (
        "loss_", "loss_curve_", "validation_scores_", "validation_loss_curve_", "n_iter_", "t_")]
    return model._net.params.tobytes(), curves


def test_each_ends_as_alone():
    """Whatever the others are; those that end early leave the rest alone."""
    models = [copy_of(model).set_params(random_state=3) for model, *_ in CASES]
    fits = {k: fit_of(model, *data) for k, (model, (_, *data))
            in enumerate(zip(models, CASES, strict=True))}
    assert together(fits, refuse) is False
    for model, (_, *data) in zip(models, CASES, strict=True):
        assert state(model) == state(copy_of(model).fit(*data))
    assert len({model.n_iter_ for model in models}) > 3


def test_an_epoch_of_each_in_turn(monkeypatch):
    """All that still run are carried out in one call."""
    calls = []
    carry_out = _together.train_epochs
    monkeypatch.setattr(_together, "train_epochs",
                        lambda epochs: calls.append(list(epochs)) or carry_out(epochs))
    models = {key: copy_of(MODELS[0]).set_params(max_iter=n)
              for key, n in (("long", 4), ("short", 2))}
    together({key: fit_of(model, X, TWO) for key, model in models.items()}, refuse)
    assert calls == [["long", "short"]] * 2 + [["long"]] * 2


def test_one_that_fails_does_not_stop_the_others():
    """Before it begins, or, a target of "poisson" below 0, at its first epoch."""
    failing = MLPRegressor(**QUICK, loss="poisson", random_state=0)
    models = [copy_of(MODELS[0]), failing, MLPClassifier(**QUICK, validation_fraction=0.01,
                                                         early_stopping=True)]
    targets = TWO, REAL - 10, TWO
    failed = {}
    fits = {k: fit_of(models[k], X, targets[k]) for k in range(3)}
    assert together(fits, failed.__setitem__) is False
    assert list(failed) == [2, 1]
    for key in failed:
        with pytest.raises(ValueError) as expected:
            copy_of(models[key]).fit(X, targets[key])
        assert str(failed[key]) == str(expected.value)
    assert state(models[0]) == state(copy_of(models[0]).fit(X, TWO))


@pytest.mark.parametrize("where", ["an epoch", "the second fit"])
def test_ctrl_c_ends_all(monkeypatch, where):
    """In whole steps, and as if each had been interrupted; wherever the signal comes."""
    epochs = []

    def carry_out(asked):
        epochs.append(len(asked))
        if where == "an epoch" and len(epochs) == 3:
            press_ctrl_c()
        return original(asked)

    original = _together.train_epochs
    monkeypatch.setattr(_together, "train_epochs", carry_out)
    models = [copy_of(model) for model in MODELS]
    if where == "the second fit":
        score = MLPClassifier._score
        def interrupted_score(self, *args):
            if self is models[1] and len(epochs) == 3:
                press_ctrl_c()
            return score(self, *args)
        monkeypatch.setattr(MLPClassifier, "_score", interrupted_score)
        models = [model.set_params(early_stopping=True) for model in models]
    with pytest.warns(UserWarning, match="interrupted"):
        fits = {k: fit_of(model, X, TWO) for k, model in enumerate(models)}
        assert together(fits, refuse) is True
    assert len(epochs) == 3
    assert all(2 <= model.n_iter_ <= 3 for model in models)
    assert all(np.isfinite(model.predict_proba(X)).all() for model in models)


def test_ctrl_c_before_all_have_begun():
    """Is raised: there is nothing to keep."""
    class Interrupted(MLPClassifier):
        def _read(self, *args):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together({0: fit_of(copy_of(MODELS[0]), X, TWO), 1: fit_of(Interrupted(), X, TWO)}, refuse)


def test_ctrl_c_in_an_epoch_of_one_fit(monkeypatch):
    """Is caught by the fit, which keeps what was reached."""
    expected = copy_of(MODELS[0]).set_params(max_iter=2).fit(X, TWO)
    carry_out = _together.Epoch.carry_out

    def interrupt(epoch):
        if epoch.setting.rule.t == expected._optimizer.rule.t:
            press_ctrl_c()
        return carry_out(epoch)

    monkeypatch.setattr(_together.Epoch, "carry_out", interrupt)
    with pytest.warns(UserWarning, match="interrupted") as caught:
        model = copy_of(MODELS[0]).fit(X, TWO)
    assert {warning.filename for warning in caught} == {__file__}
    assert model.n_iter_ == 2 and state(model)[0] == state(expected)[0]
