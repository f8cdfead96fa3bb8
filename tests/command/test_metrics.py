"""Figures and their standard errors, and rows that are held out."""

import numpy as np
import pytest
from sklearn import metrics as oracle

import fastbp
from fastbp._command.tables.metrics import auc, explained, figures, measured
from fastbp._command.tables.splits import folds, stratified_split
from fastbp._preparation import Preparation, Target
from fastbp._saved_model import Recipe, SavedModel

# A sum of n terms in any order is off by at most n u of the sum of absolute values. A figure is a
# quotient of two such sums, whose terms have a handful of roundings each, on either side of the
# comparison: far below n * 100 u.
ROUNDING = 100 * 2.0**-53


def test_auc_is_the_share_of_ordered_pairs_and_its_error_that_of_delong():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 101):
        for n_values in (1, 2, 5, 1000):
            score, y = rng.integers(0, n_values, n) / 7, rng.integers(0, 2, n)
            y[:2] = 0, 1
            pairs = score[y == 1][:, None] - score[y == 0]
            doubled = (pairs > 0) * 2 + (pairs == 0)
            value, error = auc(y, score)
            assert value == int(doubled.sum()) / (2 * pairs.size)
            above, below = doubled.mean(axis=1) / 2, doubled.mean(axis=0) / 2
            if min(pairs.shape) > 1:
                expected = np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
                np.testing.assert_allclose(error, expected, rtol=n * ROUNDING, atol=ROUNDING)
            else:
                assert np.isnan(error)


def test_explained_share_and_its_error():
    rng = np.random.default_rng(1)
    y = rng.standard_normal((400, 500))
    predicted = y + rng.standard_normal((400, 500)) * 0.5
    found = np.array([explained((p - t)**2, (t - t.mean())**2)
                      for p, t in zip(predicted, y, strict=True)])
    expected = [oracle.r2_score(t, p) for p, t in zip(predicted, y, strict=True)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=500 * ROUNDING)
    # The deviation over 400 tables, known to 1 / sqrt(800), is what one table says of it: four
    # deviations of the former.
    ratio = found[:, 1].mean() / found[:, 0].std(ddof=1)
    assert abs(ratio - 1) < 4 / np.sqrt(800)
    assert np.isnan(explained(np.ones(3), np.zeros(3))).all()


@pytest.mark.parametrize(("value", "error", "text"), [
    (228.1855, 13.0146, "228 ± 13"), (0.81443, 0.02799, "0.814 ± 0.028"),
    (12345.6, 230.4, "12346 ± 230"), (0.5, 0.0996, "0.50 ± 0.10"), (9.8, 0.996, "9.8 ± 1.0"),
    (0.999876, 0.000123, "0.99988 ± 0.00012"), (3.14159, np.nan, "3.142"), (1.0, 0.0, "1 ± 0"),
    (-0.25, 1.5, "-0.2 ± 1.5"), (np.nan, np.nan, "nan"), (np.inf, np.inf, "inf ± inf")])
def test_a_figure_is_written_to_two_digits_of_its_error(value, error, text):
    assert measured(value, error) == text


def model_of(task, classes, loss, n_outputs, n_networks=1):
    target = Target(("t",) * max(1, len(classes) if task == "labels" else 1), task, classes,
                    np.zeros(n_outputs), np.ones(n_outputs))
    options = {"activation": "tanh", "loss": loss, "dtype": "float64"}
    sizes = [3, 4, n_outputs]
    net = fastbp.Population(n_networks, sizes, seeds=range(n_networks), **options
                            ) if n_networks > 1 else fastbp.MLP(sizes, seed=0, **options)
    return SavedModel(net, np.zeros(3), np.ones(3), (), classes[0] if task == "classes" else (),
                      "t", Recipe(Preparation((), np.zeros(3), np.ones(3)), target, (), {}))


@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize(("task", "classes", "loss", "n_outputs"), [
    ("classes", (("a", "b"),), "bce", 1), ("classes", (("a", "b", "c"),), "softmax", 3),
    ("labels", (("a", "b"), ("c", "d")), "bce", 2), ("regression", (), "squared_error", 1),
    ("counts", (), "poisson", 1)])
def test_figures_are_those_of_scikit_learn(task, classes, loss, n_outputs, n_networks):
    model = model_of(task, classes, loss, n_outputs, n_networks)
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 3))
    if task == "classes":
        y = rng.integers(0, len(classes[0]), 60)
    else:
        y = rng.integers(0, 2 if task == "labels" else 4, (60, n_outputs)).astype(float)
    found = {figure.name: figure.value for figure in figures(model, X, y)}
    h = model.outputs(X)
    if task == "classes":
        P = model.target.values(h)
        assert found["accuracy"] == oracle.accuracy_score(y, P.argmax(axis=1))
        expected = {"log loss": oracle.log_loss(y, P)}
        if n_outputs == 1:
            expected["AUC"] = oracle.roc_auc_score(y, h[:, 0])
    elif task == "labels":
        assert found["exact"] == oracle.accuracy_score(y, h >= 0.5)
        expected = {"log loss": sum(oracle.log_loss(y[:, j], h[:, j]) for j in range(2))}
    elif task == "regression":
        expected = {"R²": oracle.r2_score(y, h), "MAE": oracle.mean_absolute_error(y, h)}
    else:
        expected = {"D²": oracle.d2_tweedie_score(y.ravel(), h.ravel(), power=1),
                    "MAE": oracle.mean_absolute_error(y, h)}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=60 * ROUNDING)


@pytest.mark.parametrize("fraction", [0.001, 0.25, 0.5, 0.999])
def test_split_keeps_the_classes(fraction):
    y = np.array([0] * 30 + [1] * 7 + [2])
    train, test = stratified_split(y, fraction, seed=3)
    assert sorted([*train, *test]) == list(range(38))
    for label, n in ((0, 30), (1, 7)):
        assert (y[test] == label).sum() == min(max(round(fraction * n), 1), n - 1)
    assert 2 in y[train]  # the only row of its class
    np.testing.assert_array_equal(test, stratified_split(y, fraction, seed=3)[1])
    assert not np.array_equal(stratified_split(y, 0.5, 4)[1], stratified_split(y, 0.5, 5)[1])


def test_folds_hold_out_each_row_once_and_keep_the_classes():
    y = np.array([0] * 30 + [1] * 7)
    parts = list(folds(y, 4, seed=1))
    assert sorted(np.concatenate([held_out for _, held_out in parts])) == list(range(37))
    for train, held_out in parts:
        assert sorted([*train, *held_out]) == list(range(37))
        assert (y[held_out] == 1).sum() in (1, 2) and (y[held_out] == 0).sum() in (7, 8)
