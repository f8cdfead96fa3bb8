"""Estimators become networks and networks estimators: the weights are copied, and the outputs are
the predictions, to the bit. An ensemble is a population."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import fastbp
import fastbp.sklearn as ours
from fastbp.sklearn import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N, N_FEATURES, HIDDEN = 60, 4, (5, 3)
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (N, N_FEATURES))
SCORE = X @ RNG.standard_normal((N_FEATURES, 3))
Y = {"two": np.where(SCORE[:, 0] > 0, "yes", "no"), "three": SCORE.argmax(axis=1) * 10,
     "labels": (SCORE > 0).astype(int), "one target": SCORE[:, 0], "targets": SCORE[:, :2],
     "counts": RNG.poisson(np.exp(SCORE[:, 0])), "columns of counts": RNG.poisson(np.exp(SCORE))}
LOSSES = {"two": "bce", "three": "softmax", "labels": "bce", "one target": "squared_error",
          "targets": "squared_error", "counts": "poisson", "columns of counts": "poisson"}
TASKS = pytest.mark.parametrize("task", list(Y))
NAMES = ["a", "b", "c", "d"]
# no state of an optimizer, and no generator, that would stay behind
STATELESS = {"solver": "sgd", "momentum": 0.0, "batch_size": 16, "random_state": 1}


def estimator(task, package=ours, **params):
    params = {"hidden_layer_sizes": HIDDEN, "max_iter": 3, "random_state": 0, **params}
    if LOSSES[task] in ("bce", "softmax"):
        return package.MLPClassifier(**params)
    return package.MLPRegressor(LOSSES[task], **params)


def fitted(task, package=ours, dtype="float64", **params):
    return estimator(task, package, **params).fit(X.astype(dtype), Y[task])


def predicted(model, X=X):
    return model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)


def as_predicted(task, h):
    if task == "two":
        return np.hstack([1 - h, h])
    return h[:, 0] if h.shape[1] == 1 else h


def arrays(model):
    return [*model.coefs_, *model.intercepts_]


def assert_same_arrays(a, b):
    for x, y in zip(arrays(a), arrays(b), strict=True):
        assert x.dtype == y.dtype and not np.may_share_memory(x, y)
        np.testing.assert_array_equal(x, y)


def from_network(model):
    """The estimator of the network of another one."""
    given = [model.classes_] if hasattr(model, "classes_") else []
    return type(model).from_network(model.to_network(), *given)


# ---- networks of estimators


@TASKS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs", "n_threads": 2},
                                    {"activation": ["tanh", "logistic"]},
                                    {"hidden_layer_sizes": ()}], ids=str)
def test_outputs_of_the_network_are_the_predictions(task, dtype, params):
    if params.get("hidden_layer_sizes") == ():
        params = {**params, "activation": "identity"}
    model = fitted(task, dtype=dtype, **params)
    net = model.to_network()
    assert type(net) is fastbp.MLP and (net.loss, net.loss_options) == (LOSSES[task], {})
    assert net.dtype == dtype and net.n_threads == params.get("n_threads")
    assert net.layer_sizes == (N_FEATURES, *model.hidden_layer_sizes, model.n_outputs_)
    np.testing.assert_array_equal(as_predicted(task, net.forward(X)), predicted(model))
    before = predicted(model)
    net.params[:] = 0
    np.testing.assert_array_equal(predicted(model), before)


def test_arrays_in_the_place_of_coefs_are_in_the_network():
    model = fitted("two")
    model.coefs_ = [2 * W for W in model.coefs_]
    np.testing.assert_array_equal(model.to_network().weights[1], model.coefs_[1])
    np.testing.assert_array_equal(as_predicted("two", model.to_network().forward(X)),
                                  predicted(model))


def test_weights_of_classes_stay_behind():
    assert fitted("two", class_weight="balanced").to_network().loss_options == {}


# ---- estimators of networks


@TASKS
@pytest.mark.parametrize("activation", ["relu", ["logistic", "identity"]])
def test_there_and_back(task, activation):
    model = fitted(task, activation=activation, n_threads=1, dtype="float32")
    again = from_network(model)
    check_is_fitted(again)
    assert_same_arrays(again, model)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(again, name) == getattr(model, name)
    for name in ("hidden_layer_sizes", "activation", "n_threads", "loss"):
        assert getattr(again, name) == getattr(model, name)
    assert again.dtype == "float32"
    np.testing.assert_array_equal(predicted(again), predicted(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.input_gradient(X), model.input_gradient(X))
    if hasattr(model, "classes_"):
        assert again.classes_.dtype == model.classes_.dtype
        np.testing.assert_array_equal(again.classes_, model.classes_)
    np.testing.assert_array_equal(again.to_network().params, model.to_network().params)


def test_the_network_is_copied():
    net = fitted("two").to_network()
    model = MLPClassifier.from_network(net, ["no", "yes"])
    before = predicted(model)
    net.params[:] = 0
    np.testing.assert_array_equal(predicted(model), before)


@TASKS
def test_copies_of_an_estimator_that_was_not_fitted_here(task):
    model = from_network(fitted(task))
    text = skops.io.dumps(model)
    for again in (pickle.loads(pickle.dumps(model)),
                  skops.io.loads(text, trusted=skops.io.get_untrusted_types(data=text))):
        np.testing.assert_array_equal(predicted(again), predicted(model))
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        clone(model).predict(X)
    assert clone(model).set_params(max_iter=1).fit(X, Y[task]).n_iter_ == 1


@TASKS
@pytest.mark.parametrize("call", ["partial_fit", "fit"])
def test_training_goes_on_to_the_bit(task, call):
    """As from the estimator that the network is of."""
    model = fitted(task, warm_start=True, dtype="float64", **STATELESS | {"max_iter": 2})
    again = from_network(model).set_params(**model.get_params())
    for each in (model, again):
        getattr(each, call)(X, Y[task])
    assert_same_arrays(again, model)
    assert (again.t_, len(again.loss_curve_)) == ((N, 1) if call == "partial_fit" else (2 * N, 2))


def test_options_of_a_loss_stay_behind():
    net = fastbp.MLP([4, 3], loss="softmax", class_weight=[1, 2, 3], label_smoothing=0.1, seed=0)
    model = MLPClassifier.from_network(net)
    np.testing.assert_array_equal(model.predict_proba(X), net.forward(X))
    assert model.to_network().loss_options == {}


def test_classes_in_another_order():
    """scikit-learn's are sorted; the outputs go with them."""
    net = fastbp.MLP([4, 3, 3], loss="softmax", seed=0)
    model = MLPClassifier.from_network(net, ["c", "a", "b"])
    np.testing.assert_array_equal(model.classes_, ["a", "b", "c"])
    np.testing.assert_array_equal(model.to_network().logits(X), net.logits(X)[:, [1, 2, 0]])
    np.testing.assert_array_equal(model.predict(X),
                                  np.array(["c", "a", "b"])[net.forward(X).argmax(axis=1)])
    net = fastbp.MLP([4, 3, 1], seed=0)
    model = MLPClassifier.from_network(net, ("yes", "no"))
    np.testing.assert_array_equal(model.to_network().logits(X), -net.logits(X))
    chosen = np.where(net.logits(X)[:, 0] > 0, "no", "yes")
    assert set(chosen) == {"yes", "no"}
    np.testing.assert_array_equal(model.predict(X), chosen)


@pytest.mark.parametrize("none", [None, (), np.array([])], ids=str)
def test_classes_without_names(none):
    for sizes, loss in (([4, 1], "bce"), ([4, 3], "softmax"), ([4, 2], "bce")):
        model = MLPClassifier.from_network(fastbp.MLP(sizes, loss=loss, seed=0), none, none)
        np.testing.assert_array_equal(model.classes_, range(max(2, sizes[-1])))
        assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_names_of_features(kind):
    net = fastbp.MLP([4, 1], loss="bce" if kind is MLPClassifier else "squared_error", seed=0)
    model = kind.from_network(net, feature_names=NAMES)
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    assert model.feature_names_in_.dtype == object
    model.predict(pd.DataFrame(X, columns=NAMES))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(pd.DataFrame(X, columns=NAMES[::-1]))


TWO, THREE = fastbp.MLP([4, 1], seed=0), fastbp.MLP([4, 3], loss="softmax", seed=0)


@pytest.mark.parametrize(("kind", "given", "error", "words"), [
    (MLPClassifier, (3,), TypeError, "net is of type int; it should be a fastbp.MLP"),
    (MLPRegressor, (TWO,), ValueError,
     "net has loss 'bce'; for MLPRegressor it should be 'squared_error' or 'poisson'"),
    (MLPClassifier, (fastbp.MLP([4, 1], loss="poisson"),), ValueError,
     "net has loss 'poisson'; for MLPClassifier it should be 'bce' or 'softmax'"),
    (MLPClassifier, (fastbp.MLP([4, 2], loss="softmax"),), ValueError,
     "net has loss 'softmax' of 2 outputs; for two classes MLPClassifier has loss 'bce' of 1"),
    (MLPClassifier, (TWO, ["no", "yes", "maybe"]), ValueError,
     "classes has shape (3,); it should have shape (2,)"),
    (MLPClassifier, (THREE, "abc"), ValueError, "classes has shape (); it should have shape (3,)"),
    (MLPClassifier, (TWO, ["no", "no"]), ValueError,
     "classes is ['no', 'no']; it should be 2 different labels, all strings or all integers"),
    (MLPClassifier, (TWO, [0.5, 1.5]), ValueError, "classes is [0.5, 1.5]; it should be 2 diff"),
    (MLPClassifier, (TWO, [None, "a"]), ValueError, "classes is [None, 'a']; it should be 2 diff"),
    (MLPClassifier, (TWO, np.array(["a", 1], object)), ValueError, "classes is array(['a', 1]"),
    (MLPClassifier, (fastbp.MLP([4, 2]), ["a", "b"]), ValueError,
     "classes is ['a', 'b']; for 2 outputs that each tell two classes apart"),
    (MLPClassifier, (TWO, None, ["a", "b"]), ValueError,
     "feature_names has 2 names; it should have 4, or none"),
    (MLPRegressor, (fastbp.MLP([4, 1], loss="poisson"), "abcd"), TypeError,
     "feature_names is 'abcd'; it should be a sequence of str"),
    (MLPClassifier, (), TypeError, "MLPClassifier.from_network lacks net; the call should be "
                                   "from_network(net, classes=None, feature_names=None)")])
def test_networks_that_do_not_fit(kind, given, error, words):
    with pytest.raises(error, match="^" + re.escape(words)):
        kind.from_network(*given)


# ---- ensembles


@TASKS
def test_networks_of_an_ensemble(task):
    params = {"hidden_layer_sizes": HIDDEN, "max_iter": 2, "random_state": 0, "n_threads": 1}
    if LOSSES[task] in ("bce", "softmax"):
        ensemble = MLPEnsembleClassifier(3, bootstrap=True, **params).fit(X, Y[task])
    else:
        ensemble = MLPEnsembleRegressor(3, loss=LOSSES[task], **params).fit(X, Y[task])
    networks = ensemble.to_network()
    assert type(networks) is fastbp.Population and networks.n_networks == 3
    assert networks.n_threads == 1
    for k, member in enumerate(ensemble.estimators_):
        np.testing.assert_array_equal(networks.member(k).params, member.to_network().params)
    mean = networks.forward(X).mean(axis=0)
    found = predicted(ensemble)
    np.testing.assert_array_equal(found[:, 1:] if task == "two" else found.reshape(N, -1), mean)


def test_members_that_are_no_population():
    with pytest.raises(NotFittedError, match="This MLPEnsembleClassifier instance"):
        MLPEnsembleClassifier().to_network()
    y = np.r_[np.zeros(58), 1, 2].astype(int)
    ensemble = MLPEnsembleClassifier(4, bootstrap=True, max_iter=1, random_state=0).fit(X, y)
    lacking = [len(member.classes_) for member in ensemble.estimators_]
    k = next(k for k, n in enumerate(lacking) if n < 3)
    with pytest.raises(ValueError, match=re.escape(f"estimators_[{k}] has {lacking[k]} of 3 cl")):
        ensemble.to_network()
    ensemble = MLPEnsembleRegressor(2, max_iter=1, random_state=0).fit(X, SCORE)
    ensemble.estimators_[1].set_params(dtype="float32", warm_start=True).fit(X, SCORE)
    with pytest.raises(ValueError, match=re.escape("estimators_[1] is MLP([4, 100, 3]")):
        ensemble.to_network()
