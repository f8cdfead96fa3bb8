"""scikit-learn's estimators become fastbp's and fastbp's scikit-learn's: the weights and attributes
are copied, the predictions differ by rounding, and training goes on in either."""

import re
import warnings

import numpy as np
import pytest
import sklearn.neural_network as theirs
from sklearn.exceptions import NotFittedError

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor
from tests.sklearn.test_conversions import (
    HIDDEN,
    SCORE,
    STATELESS,
    TASKS,
    N,
    X,
    Y,
    assert_same_arrays,
    estimator,
    fitted,
    from_network,
    predicted,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
OF_BOTH = ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "n_iter_", "t_", "loss_",
           "loss_curve_", "best_loss_", "best_validation_score_", "validation_scores_")
SCALE_OF_LOGITS = 4.0       # at most, in these fits; tested where it is used


def bound_of_difference(model, X, dtype):
    """How far apart two computations of the outputs in `dtype` may be, by the sizes of their terms.

    A sum of n products and a bias is off by (n + 1) u of the sum of their sizes, on either side,
    and passes an activation, of slope 1 at most, which adds 8 u of its result. A change of every
    logit by e changes a sigmoid or a softmax by less than e, an exponential by e^e - 1 of itself;
    their own sums and quotients of at most three terms add 16 u.
    """
    u = np.finfo(dtype).eps / 2
    h, e = np.abs(X).astype(np.float64), 0.0
    for W, b in zip(model.coefs_, model.intercepts_, strict=True):
        W, b = np.abs(W).astype(np.float64), np.abs(b)
        e = e @ W if np.ndim(e) else e
        h = h @ W + b
        e = e + 2 * (len(W) + 1) * u * h + 8 * u * np.maximum(h, 1)
        h = np.maximum(h, 1)
    if model.out_activation_ == "exp":
        return (np.expm1(e).max() + 16 * u) * np.exp(SCALE_OF_LOGITS)
    return e.max() + 16 * u


def assert_agree(mine, other, dtype="float64"):
    given = X.astype(dtype)
    found, expected = predicted(mine, given), predicted(other, given)
    assert found.dtype == expected.dtype == dtype and found.shape == expected.shape
    assert mine.out_activation_ != "exp" or expected.max() < np.exp(SCALE_OF_LOGITS)
    assert np.abs(found - expected).max() <= bound_of_difference(mine, given, dtype)


def assert_same_attributes(mine, other):
    found = {name: vars(each) for name, each in (("mine", mine), ("other", other))}
    for name in OF_BOTH:
        assert (name in found["mine"]) == (name in found["other"]), name
        assert found["mine"].get(name) == found["other"].get(name), name
    np.testing.assert_array_equal(getattr(mine, "classes_", 0), getattr(other, "classes_", 0))


@TASKS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh", "identity"])
def test_to_scikit_learn_and_back(task, dtype, activation):
    model = fitted(task, dtype=dtype, activation=activation, alpha=np.float32(0.5))
    other = model.to_sklearn()
    assert type(other) is getattr(theirs, type(model).__name__)
    assert_same_arrays(model, other)
    assert_same_attributes(model, other)
    assert_agree(model, other, dtype)
    params = other.get_params()
    assert params == {name: value for name, value in model.get_params().items() if name in params}
    again = type(model).from_sklearn(other)
    np.testing.assert_array_equal(predicted(again), predicted(model))
    assert again.get_params() == {**model.get_params(), **params}


@TASKS
@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_from_scikit_learn_and_back(task, params):
    other = fitted(task, theirs, **params)
    model = type(estimator(task)).from_sklearn(other)
    assert_same_arrays(model, other)
    assert_same_attributes(model, other)
    assert_agree(model, other)
    np.testing.assert_array_equal(predicted(model.to_sklearn()), predicted(other))
    model.coefs_[0][:] = 0
    assert other.coefs_[0].any()


def test_exact_numbers_agree_to_the_bit():
    """Small integers, whose sums neither side rounds."""
    net = fastbp.MLP([4, 6, 5, 3], activation="relu", loss="squared_error", seed=0)
    net.params = np.random.default_rng(0).integers(-3, 4, net.n_params)
    model = MLPRegressor.from_network(net)
    rows = np.arange(40.0).reshape(10, 4) % 7
    np.testing.assert_array_equal(model.to_sklearn().predict(rows), model.predict(rows))
    assert len(np.unique(model.predict(rows))) > 10


@TASKS
@pytest.mark.parametrize("call", ["partial_fit", "fit"])
def test_scikit_learn_trains_on_to_the_bit(task, call):
    other = fitted(task, theirs, warm_start=True, **STATELESS)
    again = type(estimator(task)).from_sklearn(other).to_sklearn()
    for each in (other, again):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(each, call)(X, Y[task])
    assert_same_arrays(again, other)
    assert again.loss_curve_ == other.loss_curve_


@TASKS
def test_scikit_learn_trains_a_network_on(task):
    model = from_network(fitted(task))
    for each in (model.to_sklearn(), model.to_sklearn().set_params(warm_start=True, max_iter=2)):
        each = each.fit(X, Y[task]) if each.warm_start else each.partial_fit(X, Y[task])
        assert each.t_ == N * each.n_iter_ and each.loss_curve_[-1] == each.loss_


def test_early_stopping_goes_on():
    """In either, with the scores so far; losses of held-out samples that nobody kept are NaN."""
    other = fitted("two", theirs, early_stopping=True, warm_start=True)
    model = MLPClassifier.from_sklearn(other).fit(X, Y["two"])
    assert model.validation_scores_[:3] == other.validation_scores_
    losses = np.array(model.validation_loss_curve_)
    assert len(model.validation_scores_) == len(losses) == 6
    np.testing.assert_array_equal(np.isnan(losses), [True] * 3 + [False] * 3)
    assert len(model.to_sklearn().fit(X, Y["two"]).validation_scores_) == 9
    worse = model.to_sklearn().set_params(learning_rate_init=10.0).fit(X, Y["two"])
    assert max(worse.validation_scores_[6:]) <= model.best_validation_score_
    assert_same_arrays(worse, model)


def test_what_scikit_learn_lacks():
    model = fitted("two", solver="newton-cg", class_weight="balanced", n_threads=1)
    assert model.to_sklearn().solver == "lbfgs"
    assert fitted("two", activation=["tanh", "tanh"]).to_sklearn().activation == "tanh"
    mixed = fitted("two", activation=["tanh", "relu"])
    with pytest.raises(ValueError, match=re.escape(
            "activation is ['tanh', 'relu']; for scikit-learn's estimator it should be the same")):
        mixed.to_sklearn()


def test_subclasses_of_scikit_learns():
    class Theirs(theirs.MLPRegressor):
        pass

    other = Theirs(hidden_layer_sizes=HIDDEN, max_iter=2, random_state=0).fit(X, SCORE)
    assert_agree(MLPRegressor.from_sklearn(other), other)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_estimators_that_are_not_fitted(kind):
    for call in ("to_network", "to_sklearn"):
        with pytest.raises(NotFittedError, match=f"This {kind.__name__} instance"):
            getattr(kind(), call)()
    with pytest.raises(NotFittedError):
        kind.from_sklearn(kind._theirs())
    found = re.escape(f"estimator is of type {kind.__module__}.{kind.__name__}; it should be a "
                      f"sklearn.neural_network.{kind.__name__}")
    with pytest.raises(TypeError, match=found):
        kind.from_sklearn(kind())
    with pytest.raises(TypeError, match=f"^{kind.__name__}.from_sklearn lacks estimator; the call "
                                        r"should be from_sklearn\(estimator\)$"):
        kind.from_sklearn()
