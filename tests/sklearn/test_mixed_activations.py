"""Promise: `activation` of an estimator is one name, or one for each hidden layer."""

import pickle
import re

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastbp import reference
from fastbp.sklearn import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).normal(size=(40, 4))
LABELS, REAL = (X[:, 0] * X[:, 1] > 0).astype(int), X[:, 0] * X[:, 1]
MIXED = ["logistic", "tanh"]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def model(kind=MLPRegressor, activation=MIXED, **params):
    params = {"hidden_layer_sizes": (5, 6), "max_iter": 3, "random_state": 0, **params}
    return kind(activation=activation, **params)


def expected(fitted, names, loss="squared_error"):
    return reference.forward(fitted.coefs_, fitted.intercepts_, X, activation=names, loss=loss)[1]


def assert_close(found, outputs):
    """Both add up the same products in another order, u being 2^-53.

    |z| of the first layer is below 8, and the columns of every |W| add up to less than 4. So the
    first sums are off by 5 roundings of 8 u, the second by 4 times that and 6 of 4 u, the last by
    4 times that and 7 of 4 u: 764 u, and sigma adds a few.
    """
    np.testing.assert_allclose(found, outputs, rtol=0, atol=1000 * 2.0**-53)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", "newton-cg"])
@pytest.mark.parametrize("given", [MIXED, tuple(MIXED), np.array(MIXED)],
                         ids=["list", "tuple", "array"])
def test_each_layer_has_its_own(solver, given):
    fitted = model(activation=given, solver=solver).fit(X, REAL)
    assert_close(fitted.predict(X), expected(fitted, ("sigmoid", "tanh"))[:, 0])
    classifier = model(MLPClassifier, given, solver=solver).fit(X, LABELS)
    assert_close(classifier.predict_proba(X)[:, 1],
                 expected(classifier, ("sigmoid", "tanh"), "bce")[:, 0])


@pytest.mark.parametrize("name", ["identity", "logistic", "tanh", "relu"])
def test_one_name_for_all_is_the_name(name):
    """To the bit, initial weights included."""
    one, each = (model(activation=a).fit(X, REAL) for a in (name, [name, name]))
    for ours, theirs in zip(each.coefs_ + each.intercepts_, one.coefs_ + one.intercepts_,
                            strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_initial_weights_are_those_of_each_layers_units():
    """sqrt(2 / (fan_in + fan_out)) before "logistic" units, sqrt(6 / …) before others; the outputs
    go with the last hidden layer."""
    for names, factors in ((MIXED, (2, 6, 6)), (MIXED[::-1], (6, 2, 2))):
        fitted = model(activation=names, solver="sgd", learning_rate_init=1e-300, max_iter=1)
        fitted.fit(X, REAL)
        draws = np.random.RandomState(0)
        for W, b, factor in zip(fitted.coefs_, fitted.intercepts_, factors, strict=True):
            bound = np.sqrt(factor / sum(W.shape))
            np.testing.assert_array_equal(W, draws.uniform(-bound, bound, W.shape))
            np.testing.assert_array_equal(b, draws.uniform(-bound, bound, b.shape))


@pytest.mark.parametrize("activation", ["logistic", []])
def test_no_hidden_layer(activation):
    fitted = model(activation=activation, hidden_layer_sizes=()).fit(X, REAL)
    assert_close(fitted.predict(X), expected(fitted, [])[:, 0])


def test_copies():
    fitted = model().fit(X, REAL)
    text = skops.io.dumps(fitted)
    for again in (pickle.loads(pickle.dumps(fitted)),
                  skops.io.loads(text, trusted=skops.io.get_untrusted_types(data=text))):
        assert again.activation == MIXED
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_parameters_as_scikit_learn_handles_them():
    fitted = model()
    assert clone(fitted).activation == MIXED and "['logistic', 'tanh']" in repr(fitted)
    search = GridSearchCV(model(), {"activation": ["relu", MIXED, ["relu", "identity"]]}, cv=2)
    assert search.fit(X, REAL).best_params_["activation"] in ("relu", MIXED, ["relu", "identity"])


def test_training_goes_on_with_other_activations():
    fitted = model(warm_start=True).fit(X, REAL)
    held = [W.copy() for W in fitted.coefs_]
    assert_close(fitted.set_params(activation=["relu", "tanh"]).predict(X),
                 expected(fitted, ("relu", "tanh"))[:, 0])
    fitted.fit(X, REAL)
    assert any((W != old).any() for W, old in zip(fitted.coefs_, held, strict=True))
    assert_close(fitted.predict(X), expected(fitted, ("relu", "tanh"))[:, 0])


@pytest.mark.parametrize(("activation", "words"), [
    (["tanh"], "activation has 1 name; it should have 2, one for each hidden layer"),
    ([], "activation has 0 names; it should have 2"),
    (["tanh", "sigmoid"], "activation[1] is 'sigmoid'; it should be one of 'logistic', 'tanh'"),
    ([3, "tanh"], "activation[0] is 3; it should be one of 'logistic'"),
    ("sigmoid", "The 'activation' parameter of MLPRegressor must be a str among"),
    (3, "The 'activation' parameter of MLPRegressor must be a str among")])
def test_activations_that_there_are_not(activation, words):
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        model(activation=activation).fit(X, REAL)
    fitted = model().fit(X, REAL).set_params(activation=activation)
    with pytest.raises(ValueError, match="^activation"):
        fitted.predict(X)
    assert pickle.loads(pickle.dumps(fitted)).coefs_[0].shape == (4, 5)
