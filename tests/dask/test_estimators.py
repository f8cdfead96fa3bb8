"""Promise: the estimators have the habits of scikit-learn's and of Dask's, and predict lazily."""

import pickle
import re
import warnings
from operator import attrgetter

import dask
import dask.array as da
import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
import pytest
from dask_tables import cut, difference_of_sums, digest, table
from scipy.optimize import minimize
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from fastbp.dask import DaskMLPClassifier, DaskMLPRegressor, objective
from fastbp.io import load_model, save_model
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FEATURES = list("abcde")
OPTIONS = {"hidden_layer_sizes": (6,), "max_iter": 8, "random_state": 0}


@pytest.fixture(autouse=True)
def without_a_cluster():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def frame():
    X, y, names, real, weight = table(n=9000)
    return pd.DataFrame(X, columns=FEATURES, index=np.arange(9000) * 3).assign(
        y=y, name=names, real=real, weight=weight)


@pytest.mark.parametrize("target", ["y", "name"])
def test_predictions_are_lazy_and_those_of_the_local_estimator(frame, target):
    whole = dd.from_pandas(frame, npartitions=4)
    model = DaskMLPClassifier(**OPTIONS).fit(whole[FEATURES], whole[target])
    local = model.to_local()
    assert isinstance(local, MLPClassifier)
    X = frame[FEATURES]
    labels, probabilities = model.predict(whole[FEATURES]), model.predict_proba(whole[FEATURES])
    assert isinstance(labels, dd.Series) and isinstance(probabilities, dd.DataFrame)
    assert labels.dtype == labels.compute().dtype
    assert (labels.compute().to_numpy() == local.predict(X)).all()
    assert (labels.compute().index == frame.index).all()
    assert probabilities.compute().to_numpy().tobytes() == local.predict_proba(X).tobytes()
    assert probabilities.columns.tolist() == model.classes_.tolist() == local.classes_.tolist()
    assert labels.name == labels.compute().name == target
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        model.predict(whole[FEATURES[::-1]])        # before it is computed


def test_scores_are_those_of_one_machine(frame, client):
    """Counts and their quotient, and sums of n squares; each is of terms of one sign."""
    whole, X = dd.from_pandas(frame, npartitions=4), frame[FEATURES]
    data, weight = whole[FEATURES], frame["weight"]
    model = DaskMLPClassifier(**OPTIONS).fit(data, whole["name"])
    local = model.to_local()
    assert model.score(data, whole["name"]) == local.score(X, frame["name"])
    shifted = cut(frame["name"].to_numpy(object), 2500)
    of_weight = cut(weight.to_numpy(), 800)
    expected = local.score(X, frame["name"], weight)
    assert model.score(data, shifted, of_weight) == expected
    assert model.set_params(client=client).score(data, shifted, of_weight) == expected
    several = DaskMLPClassifier(**OPTIONS).fit(data, cut(two_labels(frame), 2000))
    assert several.score(data, cut(two_labels(frame), 3000)) == several.to_local().score(
        X, two_labels(frame))
    for targets in ("real", ["real", "y"]):
        found = DaskMLPRegressor(**OPTIONS).fit(data, whole[targets])
        expected = found.to_local().score(X, np.float64(frame[targets]), np.float64(weight))
        # 1 - score is a quotient of two such sums, of each target.
        assert abs(found.score(data, whole[targets], whole["weight"]) - expected) <= (
            2 * difference_of_sums(9000) * (1 - expected))
    constant = whole["real"] * 0
    assert found.set_params(max_iter=1).fit(data, constant).score(data, constant) == 0
    for words, args in [
            ("X has 4 columns; it should have 5", (cut(X.to_numpy()[:, 1:], 2000), constant)),
            ("X has the columns ['e'", (data[FEATURES[::-1]], constant)),
            ("y has 2 columns; it should have 1", (data, whole[["real", "y"]]))]:
        with pytest.raises(ValueError, match=re.escape(words)):
            found.score(*args)


def two_labels(frame):
    return np.stack([frame["y"], 1 - frame["y"]], axis=1)


def test_arrays_give_arrays(frame):
    X, y = cut(frame[FEATURES].to_numpy(), 2000), cut(frame["name"].to_numpy(object), 2000)
    model = DaskMLPClassifier(**OPTIONS).fit(X, y)
    labels, probabilities = model.predict(X), model.predict_proba(X)
    assert isinstance(labels, da.Array) and labels.shape == (9000,)
    assert isinstance(probabilities, da.Array) and probabilities.shape == (9000, 3)
    assert probabilities.dtype == probabilities.compute().dtype == np.float32
    assert (labels.compute() == model.to_local().predict(X.compute())).all()


@pytest.mark.parametrize("names", [FEATURES, range(5)])
def test_a_partition_without_rows_has_predictions_without_rows(frame, names):
    """For floats and nullable booleans, frames and arrays, and fits with and without names."""
    X = frame[FEATURES].set_axis(names, axis=1)
    whole = dd.from_pandas(X, npartitions=3)
    model = DaskMLPClassifier(**OPTIONS).fit(whole, dd.from_pandas(frame["name"], npartitions=2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in (whole, dd.from_pandas((X > 0).astype("boolean"), npartitions=3)):
            few = each.map_partitions(first_rows, meta=each._meta)
            assert model.predict(few).compute().dtype == model.predict(few).dtype
            assert model.predict_proba(few).compute().shape == (1, 3)
    chunks = whole.to_dask_array(lengths=True).map_blocks(first_rows, dtype="float32")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        assert model.predict(chunks).compute().shape == (1,)
        assert model.predict_proba(chunks).compute().shape == (1, 3)


def first_rows(part, block_info=None, partition_info=None):
    """One row of the first partition, none of the others."""
    number = (partition_info["number"] if partition_info else
              block_info[0]["chunk-location"][0] if block_info else 0)
    return part[:int(number == 0)]


def test_several_targets_and_several_labels(frame):
    X = frame[FEATURES].to_numpy()
    targets = frame[["real", "weight"]].to_numpy(np.float32)
    model = DaskMLPRegressor(**OPTIONS).fit(cut(X, 2000), cut(targets, 3000))
    assert model.predict(cut(X, 2000)).compute().shape == (9000, 2)
    loss = mean_loss(model, X, targets, None, MLPRegressor().alpha)
    penalty = mean_penalty(model, 9000, MLPRegressor().alpha)
    # scikit-learn divides the loss by the number of outputs, and the penalty not.
    assert model.loss_ == pytest.approx((loss - penalty) / 2 + penalty,
                                        rel=difference_of_sums(9000))
    indicators = np.column_stack([frame["y"], frame["weight"] > 0]).astype(int)
    several = DaskMLPClassifier(**OPTIONS).fit(cut(X, 2000), cut(indicators, 3000))
    assert several.predict(cut(X, 2000)).compute().shape == (9000, 2)
    assert several.predict_proba(cut(X, 2000)).compute().shape == (9000, 2)


@pytest.mark.parametrize("options", [
    {}, {"class_weight": "balanced"}, {"class_weight": {"a": 2.0, "b": 1.0, "c": 0.5}},
    {"alpha": 10.0}, {"activation": ["tanh"]}, {"dtype": "float64"}])
def test_the_loss_is_that_of_one_machine(frame, options):
    """At the parameters that were found, by one call on all rows."""
    options = {**OPTIONS, "max_iter": 1, **options}
    whole = dd.from_pandas(frame, npartitions=3)
    model = DaskMLPClassifier(**options).fit(whole[FEATURES], whole["name"])
    local = MLPClassifier(solver="lbfgs", **options).fit(frame[FEATURES], frame["name"])
    assert model.coefs_[0].dtype == local.coefs_[0].dtype
    targets = np.searchsorted(model.classes_, frame["name"])
    weight = local.class_weight_[targets] if "class_weight" in options else None
    loss = mean_loss(model, frame[FEATURES].to_numpy(), targets, weight, model.alpha)
    assert model.loss_ == pytest.approx(loss, rel=difference_of_sums(9000))


def mean_loss(model, X, y, weight, alpha):
    """The loss that is minimised, with its penalty, at the parameters that a fit has found."""
    net = model.to_local().to_network()
    f = net.objective(X, y, sample_weight=weight, l2=alpha, reduction="mean")
    return f(net.params)[0]


def mean_penalty(model, total_weight, alpha):
    squares = sum(float(np.vdot(W, W)) for W in model.coefs_)
    return alpha / 2 * squares / total_weight


@pytest.mark.parametrize("options", [{}, {"alpha": 10.0}, {"dtype": "float64"}])
def test_a_fit_is_scipys_minimiser_on_the_objective(frame, options):
    """From the initial weights of the local estimator, to the bit."""
    options = {**OPTIONS, **options}
    whole = dd.from_pandas(frame, npartitions=3)
    model = DaskMLPClassifier(**options).fit(whole[FEATURES], whole["name"])
    net = model.to_local()._initial_network([5, 6, 3], model.coefs_[0].dtype,
                                            np.random.RandomState(0))
    y = whole["name"].map({"a": 0, "b": 1, "c": 2}, meta=("y", int))
    f = objective(net, whole[FEATURES], y, reduction="mean", l2=model.alpha)
    found = minimize(f, np.float64(net.params), method="L-BFGS-B", jac=True,
                     options={"maxiter": model.max_iter, "maxfun": model.max_fun,
                              "gtol": model.tol})
    net.params = found.x
    assert digest(*net.weights, *net.biases) == digest(model)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_losses_of_real_targets(frame, loss):
    options = {**OPTIONS, "max_iter": 1, "loss": loss}
    whole = dd.from_pandas(frame, npartitions=3)
    model = DaskMLPRegressor(**options).fit(whole[FEATURES], whole["weight"], whole["weight"])
    X, y = frame[FEATURES].to_numpy(), frame["weight"].to_numpy()
    expected, size = mean_loss(model, X, y, y, model.alpha), 0.0
    if loss == "poisson":       # scikit-learn's is 0 where the prediction is the target
        f = np.float64(model.to_local().predict(X))
        offset = xlogy(y, y, dtype=np.float64) - y
        expected += float(y.astype(np.float64) @ offset / y.sum(dtype=np.float64))
        size = y @ (f + np.abs(xlogy(y, f)) + np.abs(offset)) / y.sum(dtype=np.float64)
    # The bound of `difference_of_sums` is relative to sums of terms of one sign. Those of Poisson's
    # loss cancel: f - y log f and the offset have either sign, and the errors are of the sum of
    # their sizes.
    bound = difference_of_sums(9000) * max(abs(expected), size)
    assert abs(model.loss_ - expected) <= bound


@pytest.mark.parametrize("average_every", [None, 1])
def test_steps_reduce_the_loss(frame, average_every):
    X, y = cut(frame[FEATURES].to_numpy(), 2000), cut(frame["y"].to_numpy(), 2000)
    model = DaskMLPClassifier((16,), solver="adam", learning_rate_init=0.02, max_iter=30,
                              average_every=average_every, n_replicas=2, random_state=0,
                              batch_size=4096 if average_every is None else 64).fit(X, y)
    assert len(model.loss_curve_) == model.n_iter_
    assert model.loss_ == model.loss_curve_[-1] < model.loss_curve_[0] / 2
    at_the_end = model.to_local().to_network().loss_value(
        X.compute(), y.compute().astype("f"), reduction="mean")
    assert at_the_end < model.loss_curve_[0] / 2


def test_parameters_copies_and_pickles(frame, client):
    model = DaskMLPClassifier(client=client, **OPTIONS)
    assert clone(model).client is client and clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.predict(cut(frame[FEATURES].to_numpy(), 2000))
    with pytest.raises(AttributeError, match="has no attribute 'coefs_'"):
        attrgetter("coefs_")(model)
    whole = dd.from_pandas(frame, npartitions=3)
    model.fit(whole[FEATURES], whole["y"])
    again = pickle.loads(pickle.dumps(model))
    assert again.client is None and digest(again) == digest(model)
    assert again.feature_names_in_.tolist() == FEATURES and again.n_features_in_ == 5


def test_a_model_file_has_the_local_estimator(frame, tmp_path):
    X, y = cut(frame[FEATURES].to_numpy(), 2000), cut(frame["name"].to_numpy(object), 2000)
    model = DaskMLPClassifier(**OPTIONS).fit(X, y)
    save_model(tmp_path / "model.safetensors", model)
    save_model(tmp_path / "local.safetensors", model.to_local())
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("model", "local")]
    assert files[0] == files[1]
    assert load_model(tmp_path / "model.safetensors").classes == ("a", "b", "c")


def test_a_fit_that_does_not_converge_warns_its_caller(frame):
    X, y = cut(frame[FEATURES].to_numpy(), 2000), cut(frame["y"].to_numpy(), 2000)
    for solver in ("lbfgs", "adam"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            DaskMLPClassifier(solver=solver, **{**OPTIONS, "max_iter": 1}).fit(X, y)
        assert [(each.category, each.filename) for each in caught] == [
            (ConvergenceWarning, __file__)]


def test_a_bar_says_loss_and_rows_per_second(frame, capsys):
    X, y = cut(frame[FEATURES].to_numpy(), 2000), cut(frame["y"].to_numpy(), 2000)
    DaskMLPClassifier(verbose=True, **OPTIONS).fit(X, y)
    printed = capsys.readouterr()
    assert not printed.out
    assert "rows/s, loss 0." in printed.err and "iteration 8/8" in printed.err


def test_a_search_of_scikit_learn_runs_on_the_workers_through_joblib(frame, client):
    X, y = frame[FEATURES].to_numpy()[:600], frame["y"].to_numpy()[:600]
    grid = {"alpha": [1e-4, 1.0]}
    here = GridSearchCV(MLPClassifier((4,), max_iter=5, random_state=0, n_threads=1), grid, cv=2)
    there = clone(here).set_params(n_jobs=-1)
    here.fit(X, y)
    with joblib.parallel_config("dask", client=client):
        there.fit(X, y)
    assert there.best_params_ == here.best_params_
    assert (there.cv_results_["mean_test_score"] == here.cv_results_["mean_test_score"]).all()
    assert digest(there.best_estimator_) == digest(here.best_estimator_)


def test_rows_of_a_query_in_each_partition(frame, tmp_path):
    """As docs/dask.md has it; a filter leaves partitions of any length."""
    import duckdb

    paths = [str(tmp_path / f"{i}.parquet") for i in range(3)]
    for i, path in enumerate(paths):
        frame[i::3].to_parquet(path)

    def read(path):
        return duckdb.sql(f"FROM '{path}' SELECT a, b, y WHERE c > 0").df()

    queried = dd.from_map(read, paths)
    model = DaskMLPClassifier(**OPTIONS).fit(queried[["a", "b"]], queried["y"])
    kept = pd.concat([frame[i::3] for i in range(3)]).query("c > 0")
    whole = dd.from_pandas(kept[["a", "b", "y"]], npartitions=2, sort=False)
    assert digest(model) == digest(DaskMLPClassifier(**OPTIONS).fit(whole[["a", "b"]], whole["y"]))
