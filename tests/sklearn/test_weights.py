"""Promise: samples that all count nothing are refused, in words, wherever a sum of weights divides.

The sums are those of the training data, of either part of a split for early stopping, and of a
validation set; a weight is the sample's own, its class's or their product.
"""

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastbp.sklearn import MLPClassifier, MLPRegressor

N = 60
X = np.random.default_rng(0).normal(size=(N, 4))
TARGETS = {
    "two": np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)],
    "three": np.arange(N) % 3,
    "labels": (X[:, :3] > 0).astype(int),
    "real": X[:, 0] - X[:, 1],
    "counts": np.arange(N) % 5,
}
CLASSES = {"two": ["no", "yes"], "three": range(3), "labels": range(3)}
ZERO = np.zeros(N)
RESCUES = ("Leave out the samples that count 0", "change random_state", "X_val and y_val")


def model(kind, **params):
    params = {"hidden_layer_sizes": (3,), "max_iter": 3, "random_state": 0, **params}
    if kind in ("real", "counts"):
        return MLPRegressor(loss="poisson" if kind == "counts" else "squared_error", **params)
    return MLPClassifier(**params)


def split(kind):
    """Indices (trained on, held out) of the fit of `model(kind, early_stopping=True)`."""
    fitted = model(kind)
    random_state = np.random.RandomState(0)
    y = TARGETS[kind]
    fitted.fit(X, y)
    for coef in (*fitted.coefs_, *fitted.intercepts_):      # what the initial weights draw
        random_state.uniform(size=coef.shape)
    return train_test_split(np.arange(N), random_state=random_state, test_size=0.1,
                            stratify=(y == "yes")[:, None] if kind == "two" else None)


def weighted(rows):
    """1 for `rows`, 0 for all others."""
    weight = ZERO.copy()
    weight[rows] = 1
    return weight


@pytest.fixture(autouse=True)
def few_epochs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


# ---- the parts of a split

@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_part_of_early_stopping_without_weight(kind, solver, dtype):
    """One sample in each part is enough; none in either one is told, with what would help."""
    train, held_out = split(kind)
    early = model(kind, early_stopping=True, solver=solver, dtype=dtype)
    for kept, missing, change in (
            (train, "6 samples that early_stopping holds out", "increase validation_fraction"),
            (held_out, "54 samples that early_stopping leaves to train on",
             "decrease validation_fraction")):
        with pytest.raises(ValueError, match=f"sample_weight is 0 for each of the {missing}") as e:
            early.fit(X, TARGETS[kind], sample_weight=weighted(kept))
        for rescue in (*RESCUES, change):
            assert rescue in str(e.value)
        assert "reduction" not in str(e.value)
    early.fit(X, TARGETS[kind], sample_weight=weighted([train[0], held_out[0]]))
    assert np.isfinite(early.validation_loss_curve_).all()
    assert np.isfinite(early.loss_curve_).all()


@pytest.mark.parametrize("kind", TARGETS)
def test_what_would_help_does(kind):
    """Without the samples that count 0 the same data is fitted, and with a validation set too."""
    y, weight = TARGETS[kind], weighted(split(kind)[0])
    early = model(kind, early_stopping=True)
    early.fit(X[weight > 0], y[weight > 0], sample_weight=weight[weight > 0])
    early.fit(X, y, sample_weight=weight, X_val=X, y_val=y)
    assert np.isfinite(early.validation_loss_curve_).all()


def test_classes_that_count_nothing_in_one_part():
    """Several classes are not split in proportion: a part may have none of those that count."""
    train, held_out = split("three")
    y = np.zeros(N, int)
    y[train[:20]], y[train[20:40]] = 1, 2
    with pytest.raises(ValueError, match="^class_weight is 0 for each of the 6 samples that early"):
        model("three", early_stopping=True, class_weight={0: 0}).fit(X, y)
    weight = weighted([*train[:20], *held_out])
    with pytest.raises(ValueError, match="^sample_weight times class_weight is 0 for each of"):
        model("three", early_stopping=True, class_weight={1: 0}).fit(X, y, sample_weight=weight)


# ---- all of the training data

@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", "newton-cg"])
@pytest.mark.parametrize("kind", ["two", "three", "labels"])
def test_no_class_counts(kind, solver):
    y = TARGETS[kind]
    of_class = [{0: 0, 1: 0}] * 3 if kind == "labels" else dict.fromkeys(np.unique(y).tolist(), 0)
    for early_stopping in (False, True):
        mute = model(kind, class_weight=of_class, solver=solver, early_stopping=early_stopping)
        with pytest.raises(ValueError, match="^class_weight is 0 for each of the 60 samples;"):
            mute.fit(X, y)
    if solver in ("adam", "sgd"):
        with pytest.raises(ValueError, match="^class_weight is 0 for each of the 60 samples;"):
            mute.set_params(early_stopping=False).partial_fit(X, y, classes=CLASSES[kind])


def test_samples_and_classes_that_exclude_each_other():
    """So does a product that is 0 in the dtype of the network, and one that is infinite there."""
    y = TARGETS["two"]
    for weight, yes, told in (
            ((y == "yes") * 1.0, 0, "is 0 for each of the 60 samples"),
            (np.full(N, 1e-30), 1e-30, None),
            (np.full(N, 1e30), 1e30, "has inf in row")):
        excluding = model("two", class_weight={"yes": yes, "no": 1e-30 if yes == 1e-30 else 1},
                          dtype="float32")
        told = told or "is 0 for each of the 60 samples"
        with np.errstate(all="raise"), pytest.raises(
                ValueError, match=f"^sample_weight times class_weight {told}"):
            excluding.fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "newton-cg"])
@pytest.mark.parametrize("kind", TARGETS)
def test_all_samples_count_nothing(kind, solver):
    """scikit-learn's words; and a sum that is infinite, where a mean is not one."""
    fit = model(kind, solver=solver)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        fit.fit(X, TARGETS[kind], sample_weight=ZERO)
    with pytest.raises(ValueError, match="^sample_weight has an infinite sum over the 60 samples"):
        fit.fit(X, TARGETS[kind], sample_weight=np.full(N, 1e308))
    if solver == "adam":
        classes = {"classes": CLASSES[kind]} if kind in CLASSES else {}
        with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
            fit.partial_fit(X, TARGETS[kind], sample_weight=ZERO, **classes)


# ---- a validation set of one's own

def test_a_validation_set_without_weight():
    y = TARGETS["two"]
    no = y == "no"
    named = re.escape(f"is 0 for each of the {no.sum()} samples of X_val;")
    skewed = model("two", class_weight={"no": 0})
    for fit in (skewed.fit, lambda *a, **k: skewed.partial_fit(*a, classes=["no", "yes"], **k)):
        with pytest.raises(ValueError, match=f"^class_weight {named}"):
            fit(X, y, X_val=X[no], y_val=y[no])
        with pytest.raises(ValueError, match=f"^sample_weight_val times class_weight {named}"):
            fit(X, y, X_val=X[no], y_val=y[no], sample_weight_val=np.ones(no.sum()))
    with pytest.raises(ValueError, match="sample_weight_val does not fit: Sample weights must"):
        model("two").fit(X, y, X_val=X, y_val=y, sample_weight_val=ZERO)
    with pytest.raises(ValueError, match="^sample_weight_val has -1.0 in row 0; it should be"):
        model("two").fit(X, y, X_val=X, y_val=y, sample_weight_val=-np.ones(N))


# ---- weights of classes

@pytest.mark.parametrize("solver", ["adam", "lbfgs", "newton-cg"])
def test_a_class_whose_samples_count_nothing_has_no_balanced_weight(solver):
    """It is divided by the weight of the class; samples that count 0 change nothing else."""
    y = TARGETS["three"]
    weight = (y != 1) * np.linspace(1, 2, N)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        balanced = model("three", class_weight="balanced", solver=solver).fit(X, y, weight)
    sums = np.bincount(y, weight)
    expected = np.divide(weight.sum(), 3 * sums, where=sums > 0, out=np.zeros(3))
    # A product and a quotient are rounded here and there, by at most 2^-53 each.
    np.testing.assert_allclose(balanced.class_weight_, expected, rtol=4 * 2.0**-53, atol=0)
    named = dict(enumerate(balanced.class_weight_))
    same = model("three", class_weight=named, solver=solver).fit(X, y, weight)
    np.testing.assert_array_equal(np.concatenate([c.ravel() for c in same.coefs_]),
                                  np.concatenate([c.ravel() for c in balanced.coefs_]))


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (np.nan, ValueError),
                                              (np.inf, ValueError), ("heavy", TypeError),
                                              (None, TypeError), (10**400, ValueError)])
def test_a_weight_of_a_class_that_is_none(value, error):
    """The class is named, not the weight of some sample."""
    with pytest.raises(error, match=r"^class_weight\['yes'\] is .*; it should be a number of at"):
        model("two", class_weight={"yes": value}).fit(X, TARGETS["two"])
    with pytest.raises(error, match=r"^class_weight\[2\]\[1\] is .*; it should be a number of at"):
        model("labels", class_weight=[{0: 1, 1: 1}] * 2 + [{0: 1, 1: value}]).fit(
            X, TARGETS["labels"])
