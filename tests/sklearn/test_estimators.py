"""fastbp.sklearn's estimators are scikit-learn's: checks, signatures, tags, attributes, pickles,
the arrays in coefs_, layouts and dtypes of X."""

import copy
import functools
import inspect
import pickle
import tracemalloc
import warnings

import joblib
import numpy as np
import pytest
import sklearn.neural_network as theirs
from all_pairs import all_pairs
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

import fastbp.sklearn as ours
from fastbp.sklearn import _samples

NAMES = ("MLPClassifier", "MLPRegressor")
each = pytest.mark.parametrize("name", NAMES)


def data(n=60, dtype="float64"):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5)).astype(dtype)
    return X, (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)


def fitted(name, X, y, package=ours, **params):
    params = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, **params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return getattr(package, name)(**params).fit(X, y)


def flat(model):
    return np.concatenate([array.ravel() for array in model.coefs_ + model.intercepts_])


# ---- the contract of estimators


def skipped(model, **options):
    """The names of the checks that scikit-learn skips for this estimator."""
    done = check_estimator(model, on_skip=None, **options)
    assert len(done) > 50
    return {check["check_name"] for check in done if check["status"] == "skipped"}


@functools.cache
def skipped_of_theirs(name):
    """The estimators make few iterations; no check that fails because of that is skipped."""
    return skipped(getattr(theirs, name)(max_iter=2), on_fail=None)


@each
@pytest.mark.parametrize("params", [{}, *(pytest.param(params, marks=pytest.mark.exhaustive)
    for params in ({"solver": "lbfgs"}, {"solver": "newton-cg"},
                   {"solver": "sgd", "activation": "tanh", "learning_rate": "adaptive"}))], ids=str)
def test_scikit_learns_checks(name, params):
    """Every check, none expected to fail; skipped only where scikit-learn's own estimator is.

    In float64: one of them compares two fits to a relative 1e-7.
    """
    model = getattr(ours, name)(max_iter=100, **params)
    assert skipped(model, on_fail="raise") == skipped_of_theirs(name)


@each
def test_tags(name):
    assert get_tags(getattr(ours, name)()) == get_tags(getattr(theirs, name)())


@each
@pytest.mark.parametrize("method", ["__init__", "fit", "partial_fit", "predict", "score"])
def test_signatures(name, method):
    """scikit-learn's parameters in its order, with its defaults; ours after them, by keyword."""
    expected, found = (inspect.signature(getattr(getattr(package, name), method)).parameters
                       for package in (theirs, ours))
    assert list(found)[:len(expected)] == list(expected)
    for parameter in expected.values():
        assert found[parameter.name].default == parameter.default
        assert found[parameter.name].kind == parameter.kind
    for parameter in list(found.values())[len(expected):]:
        assert parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None


@each
@pytest.mark.parametrize("params", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_fitted_attributes(name, params):
    X, y = data()
    expected, found = ({key for key in vars(fitted(name, X, y, package, **params))
                        if key[0] != "_"} for package in (theirs, ours))
    # scikit-learn's classifier keeps a constant in each instance
    assert expected - {"loss"} <= found
    assert found - expected <= {"validation_loss_curve_", "stopped_", "class_weight", "n_threads",
                                "dtype"}
    assert ours.MLPClassifier().loss == theirs.MLPClassifier().loss


@each
@pytest.mark.parametrize("params", [{"n_threads": 0}, {"dtype": "float16"}, {"alpha": -1.0}],
                         ids=str)
def test_parameters_that_do_not_fit(name, params):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter of {name}"):
        fitted(name, *data(), **params)


def test_hidden_layers_without_units():
    with pytest.raises(ValueError, match=r"hidden_layer_sizes\[1\] is 0; it should be an integer"):
        fitted("MLPRegressor", *data(), hidden_layer_sizes=(3, 0))


@each
def test_partial_fit_is_there_with_the_solvers_that_can(name):
    kind = getattr(ours, name)
    assert hasattr(kind(solver="sgd"), "partial_fit")
    for solver in ("lbfgs", "newton-cg"):
        assert not hasattr(kind(solver=solver), "partial_fit")


@each
@pytest.mark.parametrize(("params", "category", "words"), [
    ({}, ConvergenceWarning, "Maximum iterations"),
    ({"batch_size": 1000, "max_iter": 1}, UserWarning, "batch_size is 1000 and X has 60 samples"),
    *[({"solver": solver, "max_iter": 1}, ConvergenceWarning,
       f"{solver} failed to converge in 1 it") for solver in ("lbfgs", "newton-cg")]])
def test_warnings_name_the_caller(name, params, category, words):
    model = getattr(ours, name)(**{"max_iter": 2, **params})
    with pytest.warns(category, match=words) as caught:
        model.fit(*data())
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "newton-cg"])
def test_verbose(solver, capsys):
    fitted("MLPRegressor", *data(), solver=solver, verbose=True)
    assert capsys.readouterr().out.count("loss = ") == 5


# ---- copies


@each
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_pickles(name, solver):
    """Small, and they go on where the original does."""
    X, y = data()
    model = fitted(name, X, y, solver=solver)
    text = pickle.dumps(model)
    assert len(text) < len(pickle.dumps(fitted(name, X, y, theirs, solver=solver)))
    for again in (pickle.loads(text), copy.deepcopy(model), copy.copy(model)):
        np.testing.assert_array_equal(flat(again), flat(model))
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        assert not any(np.shares_memory(a, b)
                       for a, b in zip(again.coefs_, model.coefs_, strict=True))
        if solver != "lbfgs":
            twin = pickle.loads(text)
            np.testing.assert_array_equal(flat(again.partial_fit(X, y)),
                                          flat(twin.partial_fit(X, y)))


@each
def test_a_loaded_model_of_memory_maps(name, tmp_path):
    X, y = data()
    model = fitted(name, X, y)
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    again.partial_fit(X, y)


@each
def test_clones_are_not_fitted(name):
    model = fitted(name, *data(), dtype="float32", n_threads=1)
    again = clone(model)
    assert again.get_params() == model.get_params() and not hasattr(again, "coefs_")


def test_pickles_of_what_cannot_predict():
    """Never fitted, or with a parameter that there is not."""
    assert pickle.loads(pickle.dumps(ours.MLPClassifier(alpha=3))).alpha == 3
    model = fitted("MLPClassifier", *data())
    again = pickle.loads(pickle.dumps(model.set_params(activation="none such")))
    np.testing.assert_array_equal(flat(again), flat(model))


# ---- coefs_ and intercepts_


def test_the_arrays_are_views_that_training_changes():
    X, y = data()
    model = fitted("MLPClassifier", X, y)
    lists, before = (model.coefs_, model.intercepts_), flat(model)
    assert type(model.coefs_) is type(model.intercepts_) is list
    model.partial_fit(X, y)
    assert (model.coefs_, model.intercepts_) == lists
    assert not np.array_equal(flat(model), before)
    held = model.coefs_[0]
    kept = held.copy()
    model.fit(X[::-1], y[::-1])        # from a fresh start, in fresh arrays
    np.testing.assert_array_equal(held, kept)


def expected_outputs(model, X):
    h = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    return (h @ model.coefs_[1] + model.intercepts_[1]).ravel()


def test_arrays_put_in_their_place():
    """Predictions follow, also what is then written into them; training goes on from them.

    Of 5 or 8 products of parts below 4, off by less than 16 u of 64.
    """
    X, y = data()
    model = fitted("MLPRegressor", X, y, activation="tanh", warm_start=True, solver="sgd",
                   max_iter=1, learning_rate_init=1e-300)
    close = {"rtol": 0, "atol": 16 * 64 * 2.0**-53}
    others, rng = model.coefs_, np.random.default_rng(1)
    kept = [array.copy() for array in others]
    model.coefs_ = [rng.standard_normal((5, 8)), rng.standard_normal((8, 1))]
    model.intercepts_[1] = np.array([3.0])
    for _ in range(2):
        np.testing.assert_allclose(model.predict(X), expected_outputs(model, X), **close)
        model.coefs_[0][:] = rng.standard_normal((5, 8))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assigned = flat(model)
    for fit in (model.fit, model.partial_fit):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit(X, y)
        np.testing.assert_array_equal(flat(model), assigned)
    for array, copied in zip(others, kept, strict=True):
        np.testing.assert_array_equal(array, copied)


def test_arrays_of_wrong_shape():
    X, y = data()
    model = fitted("MLPRegressor", X, y)
    model.coefs_[1] = np.ones((8, 2))
    with pytest.raises(ValueError, match=r"coefs_\[1\] has shape \(8, 2\); it should have"):
        model.predict(X)


def test_the_activation_is_that_of_the_parameter():
    X, y = data()
    model = fitted("MLPRegressor", X, y).set_params(activation="tanh")
    # sums of 5 and 8 products of parts below 4, as above
    np.testing.assert_allclose(model.predict(X), expected_outputs(model, X), rtol=0,
                               atol=16 * 64 * 2.0**-53)


def test_warm_start_goes_on():
    X, y = data()
    model = fitted("MLPClassifier", X, y, warm_start=True)
    before, curve = flat(model), list(model.loss_curve_)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.loss_curve_[:5] == curve and len(model.loss_curve_) == 10
    assert not np.array_equal(flat(model), before)
    other = fitted("MLPClassifier", X, y, warm_start=True, solver="lbfgs")
    before = flat(other)
    with pytest.warns(ConvergenceWarning):
        other.set_params(solver="sgd", learning_rate_init=1e-300).fit(X, y)
    np.testing.assert_array_equal(flat(other), before)


# ---- X


@all_pairs(name=NAMES, solver=["adam", "lbfgs", "newton-cg"], early_stopping=[False, True],
           kind=[sparse.csr_array, sparse.csc_matrix, sparse.coo_array],
           block_bytes=[1, 1000, 2**24])
def test_sparse_rows_have_the_bits_of_dense_ones(name, solver, kind, early_stopping, block_bytes,
                                                 monkeypatch):
    """In blocks of one mini-batch, of a few, and all at once; the others add sums of blocks."""
    monkeypatch.setattr(_samples, "BLOCK_BYTES", block_bytes)
    X, y = data()
    X[np.abs(X) < 1] = 0
    params = {"batch_size": 7, "solver": solver, "early_stopping": early_stopping, "max_iter": 2}
    a, b = fitted(name, X, y, **params), fitted(name, kind(X), y, **params)
    if solver == "adam" or block_bytes == 2**24:
        np.testing.assert_array_equal(flat(a), flat(b))
        assert a.loss_ == b.loss_
    else:  # a block is each of 60 rows: its sums off by 60 u, in two line searches or some products
        np.testing.assert_allclose(flat(a), flat(b), rtol=0, atol=1e3 * 60 * 2.0**-53)
    method = "predict_proba" if name == "MLPClassifier" else "predict"
    np.testing.assert_array_equal(getattr(a, method)(X), getattr(a, method)(kind(X)))


def test_sparse_blocks_without_weight(monkeypatch):
    """Make no step, as mini-batches do."""
    monkeypatch.setattr(_samples, "BLOCK_BYTES", 1)
    X, y = data()
    weight = (np.arange(len(y)) // 10 != 2).astype(float)
    models = [ours.MLPClassifier((4,), batch_size=10, shuffle=False, random_state=0, max_iter=2)
              for _ in range(2)]
    with pytest.warns(ConvergenceWarning):
        models[0].fit(X, y, weight)
        models[1].fit(sparse.csr_array(X), y, weight)
    np.testing.assert_array_equal(flat(models[0]), flat(models[1]))
    assert models[0].loss_curve_ == models[1].loss_curve_


def test_a_sparse_matrix_is_never_dense_as_a_whole(monkeypatch):
    monkeypatch.setattr(_samples, "BLOCK_BYTES", 2**16)
    X = sparse.random_array((4000, 500), density=0.01, format="csr", rng=0)
    y = np.arange(4000) % 2
    for params in ({"solver": "adam"}, {"solver": "lbfgs"}, {"solver": "newton-cg"}):
        tracemalloc.start()
        fitted("MLPClassifier", X, y, batch_size=16, max_iter=2, **params).predict(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < X.shape[0] * X.shape[1] * 8 / 8


@each
def test_rows_that_fit_are_not_copied(name):
    X, y = np.random.default_rng(0).random((5000, 200)), np.arange(5000) % 2
    tracemalloc.start()
    fitted(name, X, y, hidden_layer_sizes=(2,), max_iter=2).predict(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4


@each
def test_layouts_and_read_only_memory(name, tmp_path):
    X, y = data()
    expected = flat(fitted(name, X, y))
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    maps = [np.load(tmp_path / f"{which}.npy", mmap_mode="r") for which in "Xy"]
    for given in ((np.asfortranarray(X), y), (X.tolist(), list(y)), maps,
                  (np.repeat(X, 2, axis=0)[::2], y[:, None])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # a column of y
            np.testing.assert_array_equal(flat(fitted(name, *given)), expected)


def test_in_processes_of_joblib():
    """The data come as read-only memory maps where they are large."""
    X, y = np.random.default_rng(0).random((2000, 80)), np.arange(2000) % 2
    assert X.nbytes > 2**20        # joblib's limit
    search = GridSearchCV(ours.MLPClassifier((4,), max_iter=2, n_threads=1), {"alpha": [0.1, 1]},
                          n_jobs=2, cv=2, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert search.fit(X, y).best_estimator_.predict(X).shape == (2000,)


@each
@pytest.mark.parametrize("of_X", ["float32", "float64"])
@pytest.mark.parametrize("asked", [None, "float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs", "newton-cg"])
def test_dtypes(name, of_X, asked, solver):
    X, y = data(dtype=of_X)
    model = fitted(name, X, y, dtype=asked, solver=solver)
    assert {array.dtype for array in model.coefs_ + model.intercepts_} == {np.dtype(asked or of_X)}
    predict = model.predict if name == "MLPRegressor" else model.predict_proba
    assert predict(X.astype("float32")).dtype == predict(X.astype("float64")).dtype == (
        asked or of_X)


@each
def test_what_float32_does_not_hold_is_refused(name):
    X, y = data()
    model = fitted(name, X, y, dtype="float32")
    for call in (lambda: model.predict(X * 1e300), lambda: model.fit(X * 1e300, y)):
        with pytest.raises(ValueError, match="infinity or a value too large for dtype"):
            call()


@each
def test_threads_change_no_bit(name):
    X, y = data(n=600)
    one, two = (fitted(name, X, y, n_threads=n, batch_size=300) for n in (1, 2))
    np.testing.assert_array_equal(flat(one), flat(two))
    assert two._network().n_threads == 2
    assert two.set_params(n_threads=None)._network().n_threads is None
