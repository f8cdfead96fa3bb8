"""`input_gradient` is the derivative of `predict_proba`, or of `predict`: to the bit what the
network behind the estimator gives, and what a difference of predictions gives."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import type_of_target

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4))
SCORE = X @ RNG.standard_normal((4, 3))
TARGETS = {"two": np.where(SCORE[:, 0] > 0, "yes", "no"), "three": SCORE.argmax(axis=1),
           "labels": (SCORE > 0).astype(int)}
STEP, U = 2.0**-17, 2.0**-53


def fitted(kind, y, **params):
    return kind(**{"hidden_layer_sizes": (6,), "activation": "tanh", "max_iter": 5,
                   "random_state": 0, **params}).fit(X, y)


def assert_derivative(predict, found):
    """Central differences: off by step^2 |f'''|/6, and the rounding of f over the step.

    |f'''| is at most 2^10 for these weights, whose sums over a layer are below 4; f has a few
    hundred roundings of numbers below 16.
    """
    bound = STEP**2 * 2**10 / 6 + 2**12 * U / STEP
    for j in range(X.shape[1]):
        e = STEP * np.eye(X.shape[1])[j]
        difference = (predict(X + e) - predict(X - e)) / (2 * STEP)
        assert np.abs(difference - found[..., j]).max() <= bound
    assert np.abs(found).max() > 2**10 * bound


@pytest.mark.parametrize("which", TARGETS)
def test_classifier(which):
    y = TARGETS[which]
    model = fitted(MLPClassifier, y)
    found = model.input_gradient(X)
    n_classes = 3 if type_of_target(y) != "binary" else 2
    assert found.shape == (30, n_classes, 4) and found.dtype == "float64"
    assert_derivative(model.predict_proba, found)
    if which == "two":
        np.testing.assert_array_equal(found[:, 0], -found[:, 1])


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("columns", [1, 3])
def test_regressor(loss, columns):
    y = np.abs(SCORE[:, 0] if columns == 1 else SCORE)
    model = fitted(MLPRegressor, y, loss=loss)
    found = model.input_gradient(X)
    assert found.shape == ((30, 4) if columns == 1 else (30, 3, 4))
    assert_derivative(model.predict, found)


@pytest.mark.parametrize("sizes, activation", [((6,), "tanh"), ((6, 5), ["tanh", "relu"])])
def test_the_bits_are_those_of_the_network(dtype, sizes, activation):
    model = fitted(MLPClassifier, TARGETS["three"], dtype=dtype, hidden_layer_sizes=sizes,
                   activation=activation)
    net = fastbp.MLP([4, *sizes, 3], activation=activation, loss="softmax", dtype=dtype, seed=0)
    for own, given in zip([*net.weights, *net.biases], [*model.coefs_, *model.intercepts_],
                          strict=True):
        own[...] = given
    found = model.input_gradient(X)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, net.jacobian(X.astype(dtype), wrt="input"))
    np.testing.assert_array_equal(model.input_gradient(sparse.csr_matrix(X)), found)


def test_refusals():
    with pytest.raises(NotFittedError):
        MLPClassifier().input_gradient(X)
    model = fitted(MLPRegressor, SCORE)
    with pytest.raises(ValueError, match="features"):
        model.input_gradient(X[:, :2])
    with pytest.raises(TypeError, match="lacks X"):
        model.input_gradient()
