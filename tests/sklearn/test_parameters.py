"""Promise: an error names the parameter that was given, and a trained network keeps its shape.

Parameters that shape the network are looked at when it is trained further: by `fit` under
`warm_start`, and by `partial_fit`.
"""

import re

import numpy as np
import pytest

from fastbp.sklearn import MLPClassifier, MLPRegressor
from fastbp.sklearn._optimizers import LEAST_RATE, slowed

N = 30
X = np.random.default_rng(0).normal(size=(N, 4))
TWO = (X[:, 0] > 0).astype(int)
THREE = np.arange(N) % 3
LABELS = np.eye(3, dtype=int)[THREE]
REAL = X[:, 0] - X[:, 1]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning",
                                        "ignore:batch_size is")


def model(kind, y=None, **params):
    """`kind`, fitted to y under warm_start if there is one."""
    params = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0, "warm_start": True,
              **params}
    return kind(**params) if y is None else kind(**params).fit(X, y)


def arrays(fitted):
    return [*fitted.coefs_, *fitted.intercepts_]


def go_on(fitted, y, how):
    return fitted.fit(X, y) if how == "warm_start" else fitted.partial_fit(X, y)


each_way = pytest.mark.parametrize("how", ["warm_start", "partial_fit"])
each_kind = pytest.mark.parametrize(("kind", "y"), [
    (MLPClassifier, TWO), (MLPClassifier, THREE), (MLPClassifier, LABELS), (MLPRegressor, REAL),
    (MLPRegressor, np.c_[REAL, REAL])])


# ---- every parameter, with values that it cannot have

VALUES = [None, True, 0, -1, 0.5, np.nan, np.inf, -np.inf, 5e-324, 1e308, 2**31, 2**64, 10**400,
          "x", b"x", (), [0], (-1,), (1.5,), (True,), ("a",), (None,), ((3, 3),), {"a": 1},
          {"a": -1}, np.array([3.5]), object(), 1j, float, (2**62,), (2**62, 2**62), (10**30,)]
# Where it is looked at; a rate of 1e308, say, is no error but leads to parameters of infinity.
WHERE = {"power_t": {"solver": "sgd", "learning_rate": "invscaling"},
         "max_fun": {"solver": "lbfgs"},
         "momentum": {"solver": "sgd"}, "nesterovs_momentum": {"solver": "sgd"},
         "learning_rate": {"solver": "sgd"}, "validation_fraction": {"early_stopping": True},
         "n_iter_no_change": {"early_stopping": True}, "epsilon": {"dtype": "float32"}}
# They would take years, or 96 GiB.
ACCEPTED = [("max_iter", 2**31), ("max_iter", 2**64), ("hidden_layer_sizes", 2**31)]
TOO_LARGE = "Solver produced non-finite parameter weights"


@pytest.mark.parametrize(("kind", "name"), [
    (kind, name) for kind in (MLPClassifier, MLPRegressor) for name in kind._get_param_names()
    if name not in ("verbose", "random_state")])
def test_an_error_names_the_parameter(kind, name):
    """By its name in this class: no l2 for alpha, no layer_sizes, betas, eps, lr or test_size."""
    refused = 0
    for value in VALUES:
        estimator = model(kind, **{"warm_start": False, **WHERE.get(name, {}), name: value})
        if isinstance(value, int) and (name, value) in ACCEPTED:
            continue
        try:
            estimator.fit(X, TWO)
        except (TypeError, ValueError) as error:
            refused += 1
            named = re.search(rf"\b{name}\b", str(error))
            assert named or str(error).startswith(TOO_LARGE), f"{name}={value!r}: {error}"
    assert refused > 5


@pytest.mark.parametrize(("value", "words"), [
    ((3, 0), "hidden_layer_sizes[1] is 0; it should be an integer of at least 1"),
    ((3, -2, 3), "hidden_layer_sizes[1] is -2; it should be"),
    ((2.5,), "hidden_layer_sizes[0] is 2.5; it should be"),
    ([[3, 3]], "hidden_layer_sizes[0] is [3, 3]; it should be"),
    (True, "hidden_layer_sizes is True; it should be"),
    ((2**62,), f"hidden_layer_sizes is ({2**62},); its parameters should fit in"),
    (10**30, f"hidden_layer_sizes is {10**30}; its parameters should fit in")])
def test_hidden_layers_that_are_none(value, words):
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        model(MLPRegressor, hidden_layer_sizes=value).fit(X, REAL)


@pytest.mark.parametrize("value", [3, (3,), [3], np.int8(3), np.array(3), np.array([3]),
                                   (np.uint16(3),), range(3, 4)])
def test_hidden_layers(value):
    assert model(MLPRegressor, REAL, hidden_layer_sizes=value).coefs_[0].shape == (4, 3)


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_rate_at_which_training_diverges(schedule, momentum):
    """The rate is changed after an epoch that left a velocity of NaN; the error is scikit-learn's.
    """
    diverging = model(MLPRegressor, solver="sgd", learning_rate=schedule, momentum=momentum,
                      learning_rate_init=1e30, activation="identity", max_iter=20)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=TOO_LARGE):
        diverging.fit(X, REAL)


def test_a_rate_that_falls_beyond_the_range_of_floats():
    """t^power_t may be infinite; then the quotient is that of logarithms."""
    assert slowed(0.1, 61, 0.5) == 0.1 / 61**0.5
    # The logarithms are below 2^11: their two roundings move the result by 2^-42 ln 2 each.
    assert slowed(1e300, 2, 1100) == pytest.approx(1e300 / 2.0**1000 / 2.0**100, rel=2.0**-41)
    assert slowed(0.1, 61, 2**31) == slowed(0.1, 61, 1e308) == 0
    falling = model(MLPRegressor, REAL, solver="sgd", learning_rate="invscaling", power_t=1e308)
    assert falling._optimizer.learning_rate == LEAST_RATE


# ---- what shapes a network that is trained further

@each_way
@each_kind
@pytest.mark.parametrize("sizes", [(4,), 4, (), (5, 5), [5, 1], (1, 5)], ids=str)
def test_other_hidden_layers(kind, y, sizes, how):
    """Neither another number of layers nor other sizes are taken in silence; nothing changes."""
    fitted = model(kind, y)
    before = [array.copy() for array in arrays(fitted)]
    shown, where = re.escape(repr(sizes)), how.replace("warm_start", "warm_start=True")
    with pytest.raises(ValueError, match=rf"^hidden_layer_sizes is {shown}; .*{where} it should be "
                                         r"\(5,\), as in the network that is trained further"):
        go_on(fitted.set_params(hidden_layer_sizes=sizes), y, how)
    for array, copied in zip(arrays(fitted), before, strict=True):
        np.testing.assert_array_equal(array, copied)
    for same in (5, [5], np.array([5])):        # another spelling is no other size
        go_on(fitted.set_params(hidden_layer_sizes=same), y, how)
    fitted.set_params(hidden_layer_sizes=sizes, warm_start=False).fit(X, y)
    assert [W.shape[1] for W in fitted.coefs_[:-1]] == list(np.atleast_1d(sizes))


@each_way
@pytest.mark.parametrize("solver", ["adam", "lbfgs", "newton-cg"])
def test_another_loss(how, solver):
    """It is that of the output units, which a regressor keeps."""
    fitted = model(MLPRegressor, TWO, solver=solver).set_params(loss="poisson")
    if how != "partial_fit" or solver == "adam":
        with pytest.raises(ValueError, match="^loss is 'poisson'; .* it should be 'squared_error'"):
            go_on(fitted, TWO, how)
    fitted.set_params(warm_start=False).fit(X, TWO)
    assert fitted.out_activation_ == "exp"


@each_way
@pytest.mark.parametrize(("first", "second", "words"), [
    (THREE, LABELS, r"y has shape \(30, 3\); it should have shape \(n_samples,\)"),
    (LABELS, THREE, r"y has shape \(30,\); it should have shape \(n_samples, 3\)"),
    (LABELS, LABELS[:, :2], r"y has shape \(30, 2\); it should have shape \(n_samples, 3\)")])
def test_other_kinds_of_labels(first, second, words, how):
    """Their columns are no classes, though they have the same numbers."""
    fitted = model(MLPClassifier, first)
    with pytest.raises(ValueError, match=words):
        go_on(fitted, second, how)
    with pytest.raises(ValueError, match=words):
        fitted.fit(X, first, X_val=X, y_val=second)


@each_way
def test_other_classes_outputs_and_features(how):
    others = "same classes as in the previous" if how == "warm_start" else "should be among"
    with pytest.raises(ValueError, match=others):
        fitted = model(MLPClassifier, TWO)
        go_on(fitted.set_params(warm_start=how == "warm_start"), THREE, how)
    with pytest.raises(ValueError, match="y has 2 outputs; it should have 1"):
        go_on(model(MLPRegressor, REAL), np.c_[REAL, REAL], how)
    with pytest.raises(ValueError, match="X has 3 features, but MLPRegressor is expecting 4"):
        getattr(model(MLPRegressor, REAL), how.replace("warm_start", "fit"))(X[:, :3], REAL)


@each_way
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_another_dtype(how, solver):
    """It is taken over, with the state of the optimizer; None keeps that of the network."""
    fitted = model(MLPClassifier, TWO, dtype="float32", solver=solver)
    twin = model(MLPClassifier, TWO, dtype="float32", solver=solver)
    go_on(fitted.set_params(dtype=None), TWO, how)
    assert fitted.coefs_[0].dtype == np.float32
    twin = go_on(twin, TWO, how)
    np.testing.assert_array_equal(fitted.coefs_[0], twin.coefs_[0])
    go_on(fitted.set_params(dtype="float64"), TWO, how)
    go_on(twin, TWO, how)
    assert {array.dtype for array in arrays(fitted)} == {np.dtype("float64")}
    # The same steps but for the roundings of two epochs of one batch: a few hundred operations of
    # 2^-24 each, on parameters and steps below 4.
    np.testing.assert_allclose(fitted.coefs_[0], twin.coefs_[0], rtol=0, atol=4 * 300 * 2.0**-24)
    go_on(fitted.set_params(dtype="float32"), TWO, how)
    assert {array.dtype for array in arrays(fitted)} == {np.dtype("float32")}


@each_way
def test_another_activation(how):
    """It shapes nothing: the same arrays are trained further as units of that kind."""
    fitted = model(MLPRegressor, REAL)
    held = [array.copy() for array in arrays(fitted)]
    go_on(fitted.set_params(activation="tanh"), REAL, how)
    twin = model(MLPRegressor, REAL, activation="tanh")
    twin.coefs_, twin.intercepts_ = held[:2], held[2:]
    if how == "warm_start":         # partial_fit goes on with the state of another optimizer
        go_on(twin, REAL, how)
        np.testing.assert_array_equal(fitted.coefs_[0], twin.coefs_[0])
    with pytest.raises(ValueError, match="^activation is 'softplus'; it should be one of"):
        fitted.set_params(activation="softplus").predict(X)


# ---- arrays that were put in the place of coefs_

def test_arrays_of_another_size():
    """The parameter says their size; the optimizer's state is of no use to them."""
    fitted = model(MLPClassifier, TWO)
    fitted.coefs_ = [W[:, :3] if W.shape[1] == 5 else W[:3] for W in fitted.coefs_]
    fitted.intercepts_[0] = fitted.intercepts_[0][:3]
    with pytest.raises(ValueError, match=r"hidden_layer_sizes is \(5,\); .* should be \(3,\)"):
        fitted.partial_fit(X, TWO)
    held = {"X_val": X, "y_val": TWO}
    fitted.set_params(hidden_layer_sizes=3, early_stopping=True).partial_fit(X, TWO, **held)
    assert [W.shape for W in fitted.coefs_] == [(4, 3), (3, 1)] and fitted._optimizer.rule.t == 1


@pytest.mark.parametrize("dtype", ["float32", None])
def test_arrays_of_another_dtype(dtype):
    """Means of float64, say: in the dtype asked for, else in their own."""
    fitted = model(MLPClassifier, TWO, dtype="float32").set_params(dtype=dtype)
    fitted.partial_fit(X, TWO)
    fitted.coefs_ = [np.float64(W) for W in fitted.coefs_]
    fitted.partial_fit(X, TWO)
    assert fitted.coefs_[0].dtype == (dtype or "float64") and fitted._optimizer.rule.t == 4


@pytest.mark.parametrize(("coefs", "intercepts", "words"), [
    ([(3, 5), (5, 1)], [5, 1], r"coefs_\[0\] has shape \(3, 5\); it should have shape \(4, 5\)"),
    ([(4, 5), (5, 2)], [5, 2], r"coefs_\[1\] has shape \(5, 2\); it should have shape \(5, 1\)"),
    ([(4, 5), (5, 1)], [5], "coefs_ has 2 arrays and intercepts_ has 1; there should be as many"),
    ([], [], "coefs_ has 0 arrays and intercepts_ has 0; there should be"),
    ([(4,), (5, 1)], [5, 1], r"coefs_\[0\] has shape \(4,\); it should have shape \(4, 5\)")])
def test_arrays_that_do_not_fit(coefs, intercepts, words):
    fitted = model(MLPClassifier, TWO)
    fitted.coefs_, fitted.intercepts_ = ([np.zeros(s) for s in shapes]
                                         for shapes in (coefs, intercepts))
    for act in (lambda: fitted.fit(X, TWO), lambda: fitted.predict(X)):
        with pytest.raises(ValueError, match=words):
            act()
