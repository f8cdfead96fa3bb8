"""Ensembles: each member is an estimator fitted alone, to the bit; what they predict together."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from fastbp import sklearn as ours
from fastbp.sklearn import MLPEnsembleClassifier, MLPEnsembleRegressor, _together

N = 80
rng = np.random.default_rng(5)
X = rng.standard_normal((N, 4))
TWO = np.where(X[:, 0] > 0, "yes", "no")
THREE = np.digitize(X[:, 0], [-0.5, 0.5]) * 10
LABELS = np.column_stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 1]).astype(int)
REAL = X[:, 0] ** 2
PAIR = np.column_stack([REAL, REAL + 1])
WEIGHT = rng.random(N) * (rng.random(N) > 0.1)
QUICK = {"hidden_layer_sizes": (5,), "max_iter": 12, "n_iter_no_change": 2, "tol": 1e-2}
CLASSIFIER = MLPEnsembleClassifier(4, random_state=2, **QUICK)
REGRESSOR = MLPEnsembleRegressor(4, random_state=2, **QUICK)
MEMBERS = {"MLPEnsembleClassifier": "MLPClassifier", "MLPEnsembleRegressor": "MLPRegressor"}
OWN = ("n_estimators", "bootstrap", "max_samples")
each = pytest.mark.parametrize("name", MEMBERS)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def state(model):
    return (model._net.params.tobytes(), model.n_iter_, model.loss_,
            getattr(model, "validation_scores_", None), list(getattr(model, "classes_", [])))


# ---- each member is an estimator alone


@pytest.mark.parametrize("sampling", [{}, {"bootstrap": True}, {"bootstrap": True,
                                       "max_samples": 0.5}, {"bootstrap": True, "max_samples": 99}],
                         ids=str)
@pytest.mark.parametrize(("ensemble", "y", "params"), [
    (CLASSIFIER, TWO, {"early_stopping": True}), (CLASSIFIER, THREE, {"batch_size": 8}),
    (CLASSIFIER, THREE, {"class_weight": "balanced", "shuffle": False, "batch_size": 30}),
    (CLASSIFIER, LABELS, {"solver": "sgd", "learning_rate": "adaptive"}),
    (CLASSIFIER, TWO, {"solver": "lbfgs"}), (REGRESSOR, REAL, {"loss": "poisson"}),
    (REGRESSOR, PAIR, {"early_stopping": True, "dtype": "float32"}),
    (REGRESSOR, PAIR, {"solver": "newton-cg"})])
def test_members_are_estimators_fitted_alone(ensemble, y, params, sampling):
    """With their seeds, on their samples; dense and sparse, with weights and without."""
    for of_X, weight in ((X, None), (sparse.csr_array(X), WEIGHT)):
        model = clone(ensemble).set_params(**params, **sampling).fit(of_X, y, weight)
        assert len({member.random_state for member in model.estimators_}) == 4
        for k, member in enumerate(model.estimators_):
            rows = slice(None)
            if sampling:
                rows = model.estimators_samples_[k]
                size = {None: N, 0.5: N // 2, 99: 99}[sampling.get("max_samples")]
                assert rows.shape == (size,) and np.isin(rows, np.arange(N)).all()
            alone = getattr(ours, MEMBERS[type(model).__name__])(**member.get_params())
            alone.fit(of_X[rows], y[rows], None if weight is None else weight[rows])
            assert state(member) == state(alone)
        assert model.n_iter_.tolist() == [member.n_iter_ for member in model.estimators_]
    assert (model.estimators_samples_ is None) == (not sampling)


def test_members_with_a_validation_set():
    given = {"X_val": X[:20], "y_val": THREE[:20], "sample_weight_val": WEIGHT[:20]}
    model = clone(CLASSIFIER).set_params(early_stopping=True).fit(X, THREE, **given)
    for member in model.estimators_:
        assert state(member) == state(clone(member).fit(X, THREE, **given))


def test_samples_differ_and_repeat_with_the_seed():
    first, again = (clone(REGRESSOR).set_params(bootstrap=True).fit(X, REAL) for _ in range(2))
    np.testing.assert_array_equal(first.estimators_samples_, again.estimators_samples_)
    assert len({rows.tobytes() for rows in first.estimators_samples_}) == 4
    np.testing.assert_array_equal(first.predict(X), again.predict(X))


@pytest.mark.parametrize("params", [{}, {"bootstrap": True}, {"early_stopping": True}], ids=str)
def test_members_share_x(monkeypatch, params):
    """A bootstrap sample, or what early stopping leaves, is an index set."""
    seen, carry_out = set(), _together.train_epochs

    def watch(epochs):
        seen.update(id(epoch.setting.X) for epoch in epochs.values())
        return carry_out(epochs)

    monkeypatch.setattr(_together, "train_epochs", watch)
    clone(CLASSIFIER).set_params(**params).fit(X.tolist(), THREE)
    assert len(seen) == 1


# ---- what they predict


def test_the_classifier_predicts_the_mean_probability():
    for y, bootstrap in ((TWO, False), (THREE, True), (LABELS, False)):
        model = clone(CLASSIFIER).set_params(bootstrap=bootstrap).fit(X, y)
        stacked = np.stack([member.predict_proba(X) for member in model.estimators_])
        proba = model.predict_proba(X)
        np.testing.assert_array_equal(proba, stacked.mean(axis=0))
        np.testing.assert_array_equal(model.predict_log_proba(X), np.log(proba))
        expected = proba > 0.5 if y is LABELS else model.classes_[proba.argmax(axis=1)]
        labels, std = model.predict(X, return_std=True)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(model.predict(X), labels)
        np.testing.assert_array_equal(std, stacked.std(axis=0))
        assert model.score(X, y) == np.mean((labels == y).reshape(N, -1).all(axis=1))


def test_the_regressor_predicts_the_mean():
    for y, dtype in ((REAL, "float32"), (PAIR, "float64")):
        model = clone(REGRESSOR).set_params(dtype=dtype).fit(X, y)
        stacked = np.stack([member.predict(X) for member in model.estimators_]).astype(float)
        mean, std = model.predict(X, return_std=True)
        assert mean.dtype == std.dtype == dtype and mean.shape == std.shape == y.shape
        np.testing.assert_array_equal(mean, stacked.mean(axis=0).astype(dtype))
        np.testing.assert_array_equal(std, stacked.std(axis=0).astype(dtype))
        np.testing.assert_array_equal(model.predict(X), mean)


def test_a_sample_that_lacks_classes():
    """Gives them probability 0; a member that has seen one class gives it 1."""
    y = np.where(np.arange(N) < 2, "rare", np.where(np.arange(N) < 4, "few", "most"))
    model = clone(CLASSIFIER).set_params(bootstrap=True, max_samples=4, n_estimators=20).fit(X, y)
    seen = {len(member.classes_) for member in model.estimators_}
    assert {1, 2} <= seen
    expected = np.zeros((N, 3))
    for member in model.estimators_:
        columns = [list(model.classes_).index(label) for label in member.classes_]
        expected[:, columns] += member.predict_proba(X) if len(columns) > 1 else 1
    # Twenty numbers are added, in one order and in another, and divided: 2 * 20 roundings of 2^-53.
    np.testing.assert_allclose(model.predict_proba(X), expected / 20, rtol=40 * 2.0**-53)
    # A member's sum to 1 within 3 roundings, 21 take the mean, and 2 add up its classes.
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=26 * 2.0**-53)
    assert model.classes_.tolist() == ["few", "most", "rare"]


# ---- an estimator of scikit-learn


@each
def test_scikit_learns_checks(name):
    """Every check, none expected to fail: with bootstrap one is, of weights as repeated samples."""
    model = getattr(ours, name)(2, max_iter=100)
    done = check_estimator(model, on_skip=None, on_fail="raise")
    skipped = {check["check_name"] for check in done if check["status"] == "skipped"}
    assert len(done) > 50 and skipped <= {
        "check_array_api_input",
        "check_classifiers_multilabel_output_format_decision_function"}


@each
def test_parameters_are_those_of_a_member(name):
    """But `warm_start`, which there is not; with their defaults and constraints."""
    ensemble, member = getattr(ours, name), getattr(ours, MEMBERS[name])
    found, expected = (dict(inspect.signature(each).parameters) for each in (ensemble, member))
    assert list(found)[:3] == list(OWN)
    del expected["warm_start"]
    assert list(found)[-1] == "client"
    assert {key: value.default for key, value in found.items() if key not in (*OWN, "client")} == {
        key: value.default for key, value in expected.items()}
    assert get_tags(ensemble()) == get_tags(member())
    for key in expected:
        assert ensemble._parameter_constraints[key] == member._parameter_constraints[key]


@each
@pytest.mark.parametrize("params", [
    {"n_estimators": 0}, {"max_samples": 0.0}, {"max_samples": 1.5}, {"bootstrap": "yes"},
    {"alpha": -1.0}], ids=str)
def test_parameters_that_do_not_fit(name, params):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter of {name}"):
        getattr(ours, name)(**params).fit(X, THREE)


def test_what_is_refused():
    with pytest.raises(ValueError, match="max_samples is 0.5 with bootstrap=False; it should be"):
        clone(CLASSIFIER).set_params(max_samples=0.5).fit(X, THREE)
    with pytest.raises(ValueError, match="Found input variables with inconsistent"):
        clone(CLASSIFIER).fit(X, THREE[:9])
    with pytest.raises(ValueError, match=r"y has -1.0 in row 3; it should be") as caught:
        clone(REGRESSOR).set_params(loss="poisson").fit(X, np.where(np.arange(N) == 3, -1, REAL))
    assert caught.value.__notes__[0].startswith("in the fit of estimators_[0], with random_state=")
    with pytest.raises(ValueError, match="X has 3 features, but MLPEnsembleClassifier is"):
        clone(CLASSIFIER).fit(X, THREE).predict(X[:, :3])


MISSING = np.where(np.arange(4) == 1, np.nan, X)


@each
@pytest.mark.parametrize(("given", "words"), [
    ({"X": MISSING}, "{} does not accept missing values"),
    ({"X": X[:0], "y": THREE[:0]}, "is required by {}"),
    ({"y": None}, "This {} estimator requires"),
    ({"X_val": MISSING, "y_val": THREE}, "{} does not accept missing values"),
    ({"X_val": X[:, :3], "y_val": THREE}, "X has 3 features, but {} is expecting 4")],
                         ids=["NaN", "no rows", "no y", "NaN in X_val", "columns of X_val"])
def test_errors_name_the_ensemble(name, given, words):
    """And not the member that reads X; that of an estimator alone names it."""
    for kind in (name, MEMBERS[name]):
        for params in ({}, {"bootstrap": True} if kind == name else {}):
            with pytest.raises(ValueError) as caught:
                getattr(ours, kind)(**params).fit(**{"X": X, "y": THREE, **given})
            assert words.format(kind) in str(caught.value)
            assert kind == MEMBERS[name] or MEMBERS[name] not in str(caught.value)


@each
def test_what_docs_say_there_is_of_a_bagging_estimator(name):
    """docs/sklearn.md, for who comes from scikit-learn's."""
    made = getattr(ours, name)()
    params = made.get_params()
    assert {"n_estimators", "bootstrap", "max_samples", "random_state"} < params.keys()
    assert not params.keys() & {"max_features", "bootstrap_features", "oob_score", "warm_start",
                                "n_jobs", "estimator"}
    assert not hasattr(made, "to_sklearn") and hasattr(getattr(ours, MEMBERS[name]), "to_sklearn")


@each
def test_there_is_no_warm_start(name):
    """A member trains on, and the ensemble predicts with it."""
    kind, y = getattr(ours, name), THREE if name == "MLPEnsembleClassifier" else REAL
    words = (r"warm_start': fit makes new members; estimators_\[k\].set_params\(warm_start=True\)"
             r".fit\(X, y\) trains one of them further")
    with pytest.raises(TypeError, match=f"^{name} has no argument '{words}; the call should be"):
        kind(warm_start=True)
    with pytest.raises(ValueError, match=f"^{name} has no parameter '{words}"):
        kind().set_params(warm_start=True)
    with pytest.raises(TypeError, match=r"has no argument 'alfa' \(did you mean"):
        kind(alfa=1)
    model = kind(2, random_state=0, **QUICK).fit(X, y)
    method = "predict_proba" if y is THREE else "predict"
    before, n_iter = getattr(model, method)(X), model.estimators_[0].n_iter_
    model.estimators_[0].set_params(warm_start=True).fit(X, y)
    assert not np.array_equal(getattr(model, method)(X), before)
    assert model.estimators_[0].t_ > n_iter * N


def test_ctrl_c_keeps_what_was_reached(monkeypatch):
    epochs, carry_out = [], _together.train_epochs

    def interrupt(asked):
        epochs.append(len(asked))
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return carry_out(asked)

    monkeypatch.setattr(_together, "train_epochs", interrupt)
    with pytest.warns(UserWarning, match="interrupted") as caught:
        model = clone(CLASSIFIER).fit(X, THREE)
    assert {warning.filename for warning in caught} == {__file__}
    assert model.n_iter_.tolist() == [2] * 4 and model.predict_proba(X).shape == (N, 3)


def test_warnings_name_the_caller():
    with pytest.warns(UserWarning, match="batch_size is 500") as caught:
        clone(CLASSIFIER).set_params(batch_size=500).fit(X, THREE)
    assert {warning.filename for warning in caught} == {__file__}


@each
def test_what_an_ensemble_keeps(name):
    pandas = pytest.importorskip("pandas")
    y = THREE if is_classifier(getattr(ours, name)()) else REAL
    model = getattr(ours, name)(2, random_state=0, **QUICK)
    model.fit(pandas.DataFrame(X, columns=list("abcd")), y)
    assert model.feature_names_in_.tolist() == list("abcd") and model.n_features_in_ == 4
    again = pickle.loads(pickle.dumps(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)     # X has no names
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        assert not hasattr(model.fit(X, y), "feature_names_in_")
    assert cross_val_score(model, X, y, cv=2).shape == (2,)
