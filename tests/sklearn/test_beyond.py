"""What fastbp.sklearn has beyond scikit-learn: class weights, a validation set of one's own, early
stopping of partial_fit, callbacks; and what these do with metadata routing, pipelines, Ctrl-C."""

import copy
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from fastbp.sklearn import MLPClassifier, MLPRegressor

U = 2.0**-53
N = 60
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 5))
SCORE = X @ RNG.standard_normal((5, 3)) + 0.5 * RNG.standard_normal((N, 3))
Y = {"two": np.where(SCORE[:, 0] > 0.7, "yes", "no"), "three": SCORE.argmax(axis=1),
     "labels": (SCORE > 0.5).astype(int)}
X_VAL = RNG.standard_normal((40, 5))
SCORE_VAL = X_VAL[:, :1] + RNG.standard_normal((40, 1))
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**params):
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0,
                            "batch_size": 16, **params})


def flat(model):
    return np.concatenate([array.ravel() for array in model.coefs_ + model.intercepts_])


# ---- class_weight


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", "newton-cg"])
@pytest.mark.parametrize("given", [None, np.arange(1.0, N + 1)], ids=["", "weighted"])
@pytest.mark.parametrize("which", ["two", "three"])
@pytest.mark.parametrize("weight", ["balanced", {"no": 3.0, 1: 0.5, 2: 0.0}], ids=str)
def test_weights_of_classes_are_weights_of_their_samples(which, weight, given, solver):
    y = Y[which]
    weight = weight if weight == "balanced" else {c: weight[c] for c in weight if c in y}
    model = classifier(class_weight=weight, solver=solver).fit(X, y, given)
    of_class = compute_class_weight(weight, classes=np.unique(y), y=y, sample_weight=given)
    product = of_class[np.unique(y, return_inverse=True)[1]] * (1 if given is None else given)
    expected = classifier(solver=solver).fit(X, y, product)
    np.testing.assert_array_equal(flat(model), flat(expected))
    np.testing.assert_array_equal(model.class_weight_, of_class)
    assert model.loss_ == expected.loss_


def test_weights_of_classes_are_repetitions():
    """A step of gradient descent on all samples: mean gradients, of n terms of size 6 at most."""
    y = Y["two"]
    twice = np.concatenate([np.arange(N), np.flatnonzero(y == "yes")])
    params = {"solver": "sgd", "hidden_layer_sizes": (), "batch_size": 1000, "max_iter": 1,
              "momentum": 0.0, "learning_rate_init": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # batch_size
        a = classifier(class_weight={"yes": 2}, **params).fit(X, y)
        b = classifier(**params).fit(X[twice], y[twice])
    assert np.abs(X).max() < 6
    np.testing.assert_allclose(flat(a), flat(b), rtol=0, atol=6 * 2 * N * U)


def test_weights_of_several_labels():
    y, pairs = Y["labels"], [{0: 1.0, 1: 2.0}, {0: 1.0, 1: 1.0}, {0: 0.5, 1: 3.0}]
    product = np.prod([[pair[label] for label in y[:, k]] for k, pair in enumerate(pairs)], axis=0)
    np.testing.assert_array_equal(flat(classifier(class_weight=pairs).fit(X, y)),
                                  flat(classifier().fit(X, y, product)))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_weights_of_classes_in_parts_of_the_data(order):
    """A dict; and a part need not have all classes."""
    model, twin = classifier(class_weight={"yes": 2.0}), classifier()
    for of in np.array(["no", "yes"])[order]:
        part = Y["two"] == of
        model.partial_fit(X[part], Y["two"][part], classes=["no", "yes"])
        twin.partial_fit(X[part], Y["two"][part], np.full(part.sum(), 1.0 + (of == "yes")),
                         classes=["no", "yes"])
    np.testing.assert_array_equal(flat(model), flat(twin))
    with pytest.raises(ValueError, match="class_weight is 'balanced' in partial_fit"):
        classifier(class_weight="balanced").partial_fit(X, Y["two"], classes=["no", "yes"])


# ---- a validation set of one's own


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weight", [None, np.linspace(0, 2, 40)], ids=["", "weighted"])
def test_curves_of_a_validation_set(weight, early_stopping):
    """Score and loss after each epoch; the training data are all of X.

    A loss of 40 terms, each with some 10 roundings in either implementation.
    """
    y_val = np.where(SCORE_VAL[:, 0] > 0, "yes", "no")
    model = classifier(early_stopping=early_stopping, n_iter_no_change=100)
    model.fit(X, Y["two"], X_val=X_VAL, y_val=y_val, sample_weight_val=weight)
    plain = classifier().fit(X, Y["two"])
    assert model.loss_curve_ == plain.loss_curve_ and plain.validation_loss_curve_ is None
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == 5
    last = max(model.validation_scores_) if early_stopping else model.validation_scores_[-1]
    assert last == accuracy_score(y_val, model.predict(X_VAL), sample_weight=weight)
    if not early_stopping:
        np.testing.assert_array_equal(flat(model), flat(plain))
        assert model.validation_loss_curve_[-1] == pytest.approx(
            log_loss(y_val, model.predict_proba(X_VAL), sample_weight=weight), rel=50 * U)
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_curves_of_targets():
    """Half the mean over samples and outputs of the squared error: 80 terms."""
    y_val = np.hstack([SCORE_VAL, SCORE_VAL])
    model = MLPRegressor(max_iter=3, random_state=0).fit(X, SCORE[:, :2], X_val=X_VAL, y_val=y_val)
    found = model.predict(X_VAL)
    assert model.validation_scores_[-1] == r2_score(y_val, found)
    assert model.validation_loss_curve_[-1] == pytest.approx(
        mean_squared_error(y_val, found) / 2, rel=200 * U)


def test_the_best_weights_are_restored():
    """Those of the epoch with the best score: of labels at random, not the last."""
    y_val = RNG.permutation(np.repeat(["yes", "no"], 20))
    params = {"early_stopping": True, "n_iter_no_change": 20, "max_iter": 500, "solver": "adam",
              "learning_rate_init": 0.02}
    model = classifier(**params).fit(X, Y["two"], X_val=X_VAL, y_val=y_val)
    best = int(np.argmax(model.validation_scores_))
    assert model.stopped_ and best + 1 < model.n_iter_ < 500
    expected = classifier(**params | {"max_iter": best + 1}).fit(X, Y["two"], X_val=X_VAL,
                                                                y_val=y_val)
    np.testing.assert_array_equal(flat(model), flat(expected))
    assert model.score(X_VAL, y_val) == model.best_validation_score_


def test_weights_of_classes_are_those_of_the_training_data():
    y_val = np.array(["no"] * 39 + ["yes"])
    model = classifier(class_weight="balanced").fit(X, Y["two"], X_val=X_VAL, y_val=y_val)
    weight = model.class_weight_[(y_val == "yes").astype(int)]
    assert model.validation_scores_[-1] == accuracy_score(y_val, model.predict(X_VAL),
                                                          sample_weight=weight)


@pytest.mark.parametrize(("given", "params", "words"), [
    ({"X_val": X_VAL}, {}, "y_val is None; X_val and y_val should"),
    ({"y_val": Y["two"][:40]}, {}, "X_val is None; X_val and y_val should"),
    ({"sample_weight_val": np.ones(40)}, {}, "X_val is None"),
    *[({"X_val": X_VAL, "y_val": Y["two"][:40]}, {"solver": solver}, f"solver {solver!r}")
      for solver in ("lbfgs", "newton-cg")],
    ({"X_val": X_VAL, "y_val": ["maybe"] * 40}, {}, "^X_val, y_val .* should be among"),
    ({"X_val": X_VAL[:, :4], "y_val": Y["two"][:40]}, {}, "^X_val, y_val .* 4 features"),
    ({"X_val": X_VAL * np.nan, "y_val": Y["two"][:40]}, {}, "^X_val, y_val .* NaN"),
    ({"X_val": X_VAL, "y_val": Y["two"][:39]}, {}, "^X_val, y_val .* inconsistent")])
def test_validation_sets_that_do_not_fit(given, params, words):
    with pytest.raises(ValueError, match=words):
        classifier(**params).fit(X, Y["two"], **given)


@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs"}], ids=str)
def test_negative_weights(params):
    with pytest.raises(ValueError, match="sample_weight has -1.0 in row 3"):
        classifier(**params).fit(X, Y["two"], np.where(np.arange(N) == 3, -1.0, 1.0))


def test_scores_that_are_no_number_do_not_count_as_worse():
    """As in scikit-learn: the fit goes on to its last epoch, and keeps its start."""
    model = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1.0, max_iter=30,
                         early_stopping=True, n_iter_no_change=2, random_state=0)
    model.fit(100 * X, SCORE[:, 0])
    assert np.isnan(model.validation_scores_[-20:]).all() and model.n_iter_ == 30
    assert np.isfinite(flat(model)).all()


def test_early_stopping_is_turned_off_and_on_between_fits():
    model = classifier(warm_start=True)
    for early_stopping in (True, False, True):
        model.set_params(early_stopping=early_stopping).fit(X, Y["two"])
        assert (model.best_loss_ is None) == early_stopping
    assert len(model.loss_curve_) == 15 and len(model.validation_scores_) == 10


def test_other_outputs_than_before():
    model = MLPRegressor(max_iter=1).fit(X, SCORE)
    for call in (lambda: model.partial_fit(X, SCORE[:, :2]),
                 lambda: model.fit(X, SCORE, X_val=X, y_val=SCORE[:, 0])):
        with pytest.raises(ValueError, match="y has (1 output|2 outputs); it should have 3"):
            call()


# ---- partial_fit with early stopping


@pytest.mark.parametrize("copied", [False, True])
def test_partial_fit_stops_where_fit_does(copied):
    """The same epochs, scores and best weights; also if the estimator is pickled in between."""
    y_val = RNG.permutation(np.repeat(["yes", "no"], 20))
    held = {"X_val": X_VAL, "y_val": y_val}
    params = {"early_stopping": True, "n_iter_no_change": 5, "max_iter": 500, "shuffle": False}
    expected = classifier(**params).fit(X, Y["two"], **held)
    model = classifier(**params)
    while not getattr(model, "stopped_", False):
        model.partial_fit(X, Y["two"], classes=["no", "yes"], **held)
        model = copy.deepcopy(model) if copied else model
    assert model.validation_scores_ == expected.validation_scores_
    assert model.validation_loss_curve_ == expected.validation_loss_curve_
    np.testing.assert_array_equal(flat(model), flat(expected))
    before = model.best_validation_score_
    model.partial_fit(X, Y["two"], **held)      # one more epoch that does not better it is undone
    assert model.best_validation_score_ > before or np.array_equal(flat(model), flat(expected))


def test_a_fresh_fit_forgets_the_best_of_partial_fit():
    held = {"X_val": X_VAL, "y_val": RNG.permutation(np.repeat(["yes", "no"], 20))}
    model = classifier(early_stopping=True)
    model.partial_fit(X, Y["two"], classes=["no", "yes"], **held)
    model.set_params(hidden_layer_sizes=(3,)).fit(X, Y["two"], **held)
    expected = classifier(early_stopping=True, hidden_layer_sizes=(3,)).fit(X, Y["two"], **held)
    np.testing.assert_array_equal(flat(model), flat(expected))


def test_partial_fit_needs_a_validation_set_to_stop_by():
    with pytest.raises(ValueError, match="without X_val and y_val"):
        classifier(early_stopping=True).partial_fit(X, Y["two"], classes=["no", "yes"])


# ---- callbacks


class Recorder:
    """Hooks as they are called; at epoch `last` it stops the fit, or raises `error`."""

    def __init__(self, last=None, error=None):
        self.calls, self.models, self.last, self.error = [], [], last, error

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None,
                        fitted_estimator=None):
        self.calls.append(("end", context.task_name))
        self.models.append((fitted_estimator, X, y, metadata))
        if context.task_name == "iteration" and context.task_id + 1 == self.last:
            if self.error:
                raise self.error
            return True


@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs"}, {"solver": "newton-cg"}], ids=str)
def test_hooks(params):
    """In pairs; what they get predicts as a fit of so many iterations would."""
    recorder, weight = Recorder(), np.arange(N) + 1.0
    model = classifier(**params).set_callbacks(recorder).fit(X, Y["three"], weight)
    iteration = [("begin", "iteration"), ("end", "iteration")]
    assert recorder.calls == ["setup", ("begin", "fit"), *5 * iteration, ("end", "fit"), "teardown"]
    for i, (fitted, X_, y_, metadata) in enumerate(recorder.models):
        assert X_ is X and y_ is Y["three"] and metadata["sample_weight"] is weight
        n = min(i + 1, 5)
        expected = classifier(**params | {"max_iter": n}).fit(X, Y["three"], weight)
        np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    assert flat(model).tolist() == flat(expected).tolist()


@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs"}, {"solver": "newton-cg"},
                                    {"early_stopping": True}], ids=str)
def test_a_callback_stops_the_fit(params):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = classifier(max_iter=50, **params).set_callbacks(Recorder(last=3))
        assert model.fit(X, Y["two"]).n_iter_ == 3


def test_interruption_keeps_what_was_reached():
    recorder = Recorder(last=3, error=KeyboardInterrupt())
    with pytest.warns(UserWarning, match="interrupted") as caught:
        model = classifier(max_iter=50).set_callbacks(recorder).fit(X, Y["two"])
    assert {warning.filename for warning in caught} == {__file__}
    assert model.n_iter_ == len(model.loss_curve_) == 3 and recorder.calls[-1] == "teardown"
    np.testing.assert_array_equal(flat(model), flat(classifier(max_iter=3).fit(X, Y["two"])))


def test_scikit_learns_callbacks(capsys):
    monitor = ScoringMonitor(scoring="accuracy")
    model = classifier().set_callbacks(monitor, ProgressBar()).fit(X, Y["two"])
    scores = [row["accuracy"] for row in monitor.get_logs().data]
    assert len(scores) == 6 and scores[-1] == model.score(X, Y["two"])
    assert "MLPClassifier" in capsys.readouterr().out


# ---- metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_weights_are_routed(routing):
    weight = np.arange(N) + 1.0
    model = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
    fits = cross_validate(model, X, Y["two"], params={"sample_weight": weight}, cv=2,
                          return_estimator=True, return_indices=True)
    train = fits["indices"]["train"][0]
    expected = classifier().fit(X[train], Y["two"][train], weight[train])
    np.testing.assert_array_equal(flat(fits["estimator"][0]), flat(expected))


def test_a_validation_set_goes_through_a_pipeline(routing):
    """Transformed like X on its way."""
    model = classifier().set_fit_request(X_val=True, y_val=True)
    steps = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
    y_val = np.where(SCORE_VAL[:, 0] > 0, "yes", "no")
    steps.fit(X, Y["two"], X_val=X_VAL, y_val=y_val)
    scaler = StandardScaler().fit(X)
    expected = classifier().fit(scaler.transform(X), Y["two"], X_val=scaler.transform(X_VAL),
                                y_val=y_val)
    assert steps[-1].validation_scores_ == expected.validation_scores_
