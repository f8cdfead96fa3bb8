"""What a first user of populations gets wrong: the message says what would be right."""

from functools import partial

import numpy as np
import pytest

import fastbp
from fastbp import MLP, SGD, Adam, Population, train_many

N, SIZES = 4, [3, 5, 1]
X = np.random.default_rng(0).standard_normal((20, 3)).astype("f")
Y = (X[:, 0] > 0).astype("f")
NAMES = np.where(Y > 0, "yes", "no")
RAGGED = [X[:3 + k] for k in range(N)], [Y[:3 + k] for k in range(N)]


def by_train_many(X=X, y=Y, n=N, loss="bce", sizes=SIZES, **options):
    networks = [MLP(sizes, seed=k, loss=loss) for k in range(n)]
    return train_many(networks, X, y, [Adam() for _ in networks], **options)


def by_train(X=X, y=Y, n=N, loss="bce", sizes=SIZES, **options):
    return Population(n, sizes, seeds=0, loss=loss).train(X, y, Adam(), **{"epochs": 1, **options})


def by_train_epoch(X=X, y=Y, n=N, loss="bce", sizes=SIZES, **options):
    return Population(n, sizes, seeds=0, loss=loss).train_epoch(X, y, Adam(), **options)


fits = pytest.mark.parametrize("fit", [by_train_many, by_train])
trainings = pytest.mark.parametrize("fit", [by_train_many, by_train, by_train_epoch])


def refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error and words in str(caught.value), caught.value


# ---- rng

UNEQUAL = [np.arange(3 + k) for k in range(N)]


@trainings
@pytest.mark.parametrize("rng, found", [
    (None, "None"), (7, "7"), (np.int64(7), "7"), (np.random.default_rng(0), "one generator"),
    (np.random.PCG64(0), "one generator")], ids=["None", "int", "int64", "Generator", "PCG64"])
def test_one_source_for_unequal_numbers_of_rows(fit, rng, found):
    refused(lambda: fit(rows=UNEQUAL, rng=rng), ValueError,
            f"rng is {found}, and the networks take different numbers of rows, 3 to 6; it should "
            "be a sequence with a source for each network, such as range(4)")
    fit(rows=UNEQUAL, rng=range(4))
    fit(rows=UNEQUAL, rng=rng, shuffle=False)


def test_samples_of_unequal_numbers_need_sources_of_their_own():
    refused(lambda: by_train_many(*RAGGED), ValueError, "rng is None, and the networks take")
    by_train_many(*RAGGED, rng=range(4))


def test_one_source_serves_the_active_networks():
    active = np.array([True, False, True, False])
    rows = [[0, 1], [0], [2, 3], [1, 2, 3]]
    assert np.isfinite(by_train_epoch(rows=rows, rng=0, active=active)).tolist() == active.tolist()
    refused(lambda: by_train_epoch(rows=rows, rng=0, active=~active), ValueError,
            "rng is 0, and the networks take different numbers of rows, 1 to 3")


# ---- rates and functions


@fits
@pytest.mark.parametrize("schedule", [{0: 0.1}, "ab", {0.1}, 1j], ids=repr)
def test_a_schedule_is_a_function_a_sequence_or_a_number(fit, schedule):
    refused(lambda: fit(epochs=2, schedule=schedule), TypeError,
            f"schedule is of type {type(schedule).__name__}; it should be a function that is "
            "called as schedule(epoch), a sequence of 2 learning rates, one for each epoch, or a "
            "number")


@fits
@pytest.mark.parametrize("name, call", [
    ("schedule", "schedule(epoch)"), ("callback", "callback(epoch, losses, validation_losses)")])
def test_functions_of_other_arguments(fit, name, call):
    """Are refused before the first epoch."""
    for wrong, arguments in ((lambda: 0, "()"), (lambda x, *, y: 0, "(x, *, y)"),
                             (lambda a, b, c, d: 0, "(a, b, c, d)")):
        refused(lambda wrong=wrong: fit(**{name: wrong}), TypeError,
                f"{name} is a function of {arguments}; it should be one that can be called as "
                f"{call}")


@fits
def test_callbacks(fit):
    refused(lambda: fit(callback=3), TypeError, "callback is of type int; it should be a function "
            "that is called as callback(epoch, losses, validation_losses)")
    for wrong in (lambda losses: None, lambda a, b: None):
        refused(lambda wrong=wrong: fit(callback=wrong), TypeError,
                "it should be one that can be called as callback(epoch, losses, validation_losses)")
    seen = []
    for right in (lambda *a: seen.append(a), lambda a, b, c: seen.append(a),
                  lambda a, b, c=0, *, d=1: seen.append(a),
                  partial(lambda mine, a, b, c: seen.append(a), 0)):
        fit(callback=right)
    assert len(seen) == 4


@fits
@pytest.mark.parametrize("answer, shown", [
    (7, "7"), ("stop", "'stop'"), (np.ones(3), "array([1., 1., 1.])"), ([], "[]")],
    ids=["7", "stop", "array", "list"])
def test_a_callback_returns_true_false_or_none(fit, answer, shown):
    refused(lambda: fit(callback=lambda *figures: answer), TypeError,
            f"callback returned {shown}; it should return True, which ends the fit, False or None")
    fit(callback=lambda *figures: True)


@fits
def test_an_error_of_the_callback_is_its_own(fit):
    def callback(epoch, losses, validation_losses):
        raise TypeError("mine")
    refused(lambda: fit(callback=callback), TypeError, "mine")


# ---- rows


@trainings
@pytest.mark.parametrize("mask", [Y > 0, (Y > 0).tolist(), [*(Y > 0)]], ids=["array", "list", "np"])
def test_a_mask_is_no_rows(fit, mask):
    refused(lambda: fit(rows=mask), TypeError, "rows has dtype bool; it should be an array of "
            "integers: np.flatnonzero(rows) has those of a mask")
    refused(lambda: fit(rows=[mask] * N), TypeError, "rows[0] has dtype bool; it should be an "
            "array of integers: np.flatnonzero(rows[0]) has those of a mask")
    fit(rows=np.flatnonzero(mask))


def test_a_mask_is_no_order_and_no_rows_of_validation():
    refused(lambda: by_train(validation_rows=Y > 0), TypeError,
            "np.flatnonzero(validation_rows) has those of a mask")
    refused(lambda: MLP(SIZES).train_epoch(X, Y, SGD(), order=Y > 0), TypeError,
            "np.flatnonzero(order) has those of a mask")
    with pytest.raises(TypeError) as caught:
        by_train(rows=[0.5])
    assert "mask" not in str(caught.value)


# ---- validation


@fits
@pytest.mark.parametrize("weights", [0 * Y, [0 * Y] * N], ids=["one", "each"])
def test_weights_of_validation_without_a_sum(fit, weights):
    with pytest.raises(ValueError, match=r"validation: .*sample_weight.* sums to 0.0; for a mean "
                                         "it should be a finite and positive sum") as caught:
        fit(validation=(X, Y, weights))
    assert "reduction" not in str(caught.value)


def test_weights_of_training_without_a_sum():
    """No reduction is named where none is an argument."""
    for call in (by_train_many, by_train, by_train_epoch,
                 lambda sample_weight: MLP(SIZES).train_epoch(X, Y, SGD(),
                                                              sample_weight=sample_weight)):
        with pytest.raises(ValueError, match="sample_weight sums to 0.0; for a mean") as caught:
            call(sample_weight=0 * Y)
        assert "reduction" not in str(caught.value)


def test_rows_of_validation_without_weight():
    refused(lambda: by_train(sample_weight=np.eye(20)[0], validation_rows=[2, 3], rows=[0]),
            ValueError, "sample_weight sums to 0.0 over the validation_rows of network 0")
    refused(lambda: by_train(sample_weight=np.eye(20)[0], rows=[2, 3]),
            ValueError, "sample_weight sums to 0.0 over the rows of network 0")


@pytest.mark.parametrize("fit, form", [
    (by_train_many, "(X, y) or (X, y, sample_weight), where each is an array for all networks or a "
                    "list of one for each: ([X_0, X_1, ...], [y_0, y_1, ...])"),
    (by_train, "(X, y) or (X, y, sample_weight), each for all networks, or with an axis of "
               "n_networks in front")])
def test_the_form_of_validation(fit, form):
    """A list with one pair for each network is refused, however many networks there are."""
    for n in (2, 3, 4):
        for pairs in ([(X, Y)] * n, ((X, Y),) * n, [(X, Y, Y + 1)] * n):
            with pytest.raises((TypeError, ValueError)) as caught:
                fit(n=n, validation=pairs)
            assert f"should be {form}" in str(caught.value)
            assert not str(caught.value).startswith("validation: validation")
    for other in (X, (X,), {"X": X, "y": Y}, "ab", 3):
        refused(lambda other=other: fit(validation=other), TypeError, f"it should be {form}")
    fit(validation=(X, Y))
    fit(validation=([X] * N, [Y] * N))


# ---- samples


@pytest.mark.parametrize("call", [
    lambda p: p.forward(RAGGED[0]), lambda p: p.logits(RAGGED[0]),
    lambda p: p.loss_value(*RAGGED), lambda p: p.backprop(*RAGGED),
    lambda p: p.train_epoch(*RAGGED, Adam()), lambda p: p.train(*RAGGED, Adam(), epochs=1),
    lambda p: p.train(X, RAGGED[1], Adam(), epochs=1),
    lambda p: p.train(X, Y, Adam(), epochs=1, sample_weight=RAGGED[1]),
    lambda p: p.train(X, Y, Adam(), epochs=1, validation=RAGGED),
    lambda p: p.forward([part.tolist() for part in RAGGED[0]])])
def test_samples_of_unequal_numbers(call):
    with pytest.raises(ValueError, match="cannot be read as an array of real numbers: its parts "
                                         "have 3 to 6 samples; it should be one array, of which "
                                         "`rows`.* train_many takes a list"):
        call(Population(N, SIZES))


@pytest.mark.parametrize("given, words", [
    ({"y": Y.tolist()}, "y is of type list and has 20 entries; y should be one array for all "
                        "networks, or a list of 4 arrays, one for each"),
    ({"X": X.tolist()}, "X is of type list and has 20 entries; X should be one array for all"),
    ({"sample_weight": tuple(Y)}, "sample_weight is of type tuple and has 20 entries; sample_we"),
    ({"y": Y.tolist(), "n": 20}, "y[0] is of type float; y should be one array for all networks, "
                                 "or a list of 20 arrays, one for each"),
    ({"y": [*Y], "n": 20}, "y[0] is of type float32; y should be one array for all networks"),
    ({"y": [*NAMES], "n": 20}, "y[0] is of type str_; y should be one array for all networks"),
    ({"X": X.tolist(), "n": 20}, "X[0] is of type list; X should be one array for all networks"),
    ({"X": [*X], "n": 20}, "X[0] is of type ndarray; X should be one array for all networks"),
    ({"X": []}, "X is of type list and has 0 entries")])
def test_a_list_has_an_array_for_each_network(given, words):
    refused(lambda: by_train_many(**given), ValueError, words)


def test_lists_that_serve():
    by_train_many([X] * N, [Y.tolist()] * N, sample_weight=[None, Y, Y.tolist(), None])
    by_train_many([X.tolist()] * N, [Y] * N)


# ---- names of classes

HINT = (": classes are 0 to {}, and np.unique(y, return_inverse=True) numbers those that have "
        "names")


@pytest.mark.parametrize("names", [NAMES, NAMES.tolist(), NAMES.astype(object), NAMES.astype("S"),
                                   np.array([1, "a"] * 10, object)],
                         ids=["array", "list", "object", "bytes", "mixed"])
@pytest.mark.parametrize("loss, sizes, most", [("bce", SIZES, 1), ("softmax", [3, 5, 3], 2)])
def test_names_of_classes(names, loss, sizes, most):
    net, population = MLP(sizes, loss=loss), Population(N, sizes, loss=loss)
    z = np.zeros((20, sizes[-1])) if loss == "softmax" else np.zeros(20)
    alone = fastbp.softmax_with_logits if loss == "softmax" else fastbp.bce_with_logits
    for call in (lambda: net.train_epoch(X, names, SGD()), lambda: net.backprop(X, names),
                 lambda: net.loss_value(X, names), lambda: population.backprop(X, names),
                 lambda: population.train_epoch(X, names, Adam()),
                 lambda: by_train_many(y=np.array(names), loss=loss, sizes=sizes),
                 lambda: by_train_many(y=[np.array(names)] * N, loss=loss, sizes=sizes),
                 lambda: alone(z, names)):
        refused(call, TypeError, "it should be an array of real numbers" + HINT.format(most))
    numbered = np.unique(NAMES, return_inverse=True)[1]
    net.train_epoch(X, numbered, SGD())
    by_train_many(y=numbered, loss=loss, sizes=sizes)


@pytest.mark.parametrize("y", [None, Y.astype(complex), np.zeros(20, "M8[s]"),
                               np.full(20, None)], ids=["None", "complex", "dates", "objects"])
def test_what_is_no_name_of_a_class(y):
    for net, given in ((MLP(SIZES), y), (MLP(SIZES, loss="squared_error"), NAMES)):
        with pytest.raises(TypeError, match="an array of real numbers$"):
            net.backprop(X, given)


@pytest.mark.parametrize("kind", [TypeError, ValueError, KeyError])
def test_targets_that_numpy_cannot_read(kind):
    """The error is that of reading them."""
    class Unreadable:
        def __array__(self, *args, **kwargs):
            raise kind("mine")

    with pytest.raises((kind, TypeError), match="mine"):
        MLP(SIZES).backprop(X, Unreadable())


# ---- optimizers


@pytest.mark.parametrize("ours, theirs", [(SGD, Adam), (Adam, SGD)])
def test_the_state_of_an_optimizer_of_the_other_kind(ours, theirs):
    """The state before the first step, after one, and that of a population."""
    begun, several = theirs(), theirs()
    MLP(SIZES).train_epoch(X, Y, begun)
    Population(N, SIZES).train_epoch(X, Y, several)
    for state in (theirs().state_dict(), begun.state_dict(), several.state_dict()):
        refused(lambda state=state: ours().load_state_dict(state), ValueError,
                f"state_dict is that of a fastbp.{theirs.__name__}; it should be that of a "
                f"fastbp.{ours.__name__}")
        theirs().load_state_dict(state)
    refused(lambda: ours().load_state_dict({}), ValueError, "state_dict lacks")
    refused(lambda: ours().load_state_dict({"lr": 1}), ValueError, "state_dict lacks")
    refused(lambda: ours().load_state_dict(3), TypeError, "state_dict is of type int; it should")
    own = ours()
    Population(N, SIZES).train_epoch(X, Y, own)
    mixed = {**own.state_dict(), "networks": several.state_dict()["networks"]}
    refused(lambda: ours().load_state_dict(mixed), ValueError, "networks[0]: state_dict is that of")
