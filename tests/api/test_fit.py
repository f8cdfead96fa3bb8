"""`MLP.fit`: the bits of a loop over `train_epoch` and `loss_value`, and when it ends."""

import pickle

import numpy as np
import pytest
from calling import interrupted
from populations import samples

from fastbp import MLP, SGD, Adam, Population

SIZES = (3, 6, 1)
X, Y = samples(50, 3, 1, "float32")
HELD_OUT = samples(20, 3, 1, "float32", seed=1)
WEIGHT = np.arange(50.0) % 3
ROWS = np.arange(40)[::-1]


def network(dtype="float32", **options):
    return MLP(SIZES, dtype=dtype, seed=1, **options)


def loop(net, optimizer, epochs, held_out=None, patience=None, min_delta=0.0, rows=slice(None),
         rates=None, sample_weight=None, rng=5, shuffle=True, **options):
    """What `fit` promises, written with `train_epoch`."""
    rng, least, waited, found = np.random.PCG64(rng), np.inf, 0, []
    kept, best_epoch = None, -1
    weight = None if sample_weight is None else sample_weight[rows]
    for epoch in range(epochs):
        if rates is not None:
            optimizer.lr = rates(epoch)
        loss = net.train_epoch(X[rows], Y[rows], optimizer, rng=rng, shuffle=shuffle,
                               sample_weight=weight, **options)
        judged = loss if held_out is None else net.loss_value(*held_out, reduction="mean")
        found.append((loss, judged))
        waited += 1
        if judged < least - min_delta:
            least, best_epoch, waited, kept = judged, epoch, 0, net.params.copy()
        if patience is not None and waited >= patience:
            break
    if held_out is not None and kept is not None:
        net.params[:] = kept
    return np.array(found), best_epoch


def same_as_loop(net, history, optimizer, other, other_optimizer, found):
    losses, best_epoch = found
    np.testing.assert_array_equal(history.losses, losses[:, 0])
    if history.validation_losses is not None:
        np.testing.assert_array_equal(history.validation_losses, losses[:, 1])
    assert (history.n_epochs, history.best_epoch) == (len(losses), best_epoch)
    assert net.params.tobytes() == other.params.tobytes()
    assert pickle.dumps(optimizer) == pickle.dumps(other_optimizer)


@pytest.mark.parametrize("rule", [Adam, lambda: SGD(0.5, momentum=0.9)], ids=["adam", "sgd"])
@pytest.mark.parametrize("options", [
    {}, {"batch_size": 7, "l2": 0.1}, {"shuffle": False}, {"sample_weight": WEIGHT},
    {"rows": ROWS}, {"rows": ROWS, "sample_weight": WEIGHT, "batch_size": 64}], ids=str)
def test_the_bits_of_a_loop(isa, dtype, rule, options):
    for validation in (None, HELD_OUT):
        for n_threads in (None, 2):
            net, other = network(dtype, n_threads=n_threads), network(dtype)
            optimizer, other_optimizer = rule(), rule()
            history = net.fit(X, Y, optimizer, epochs=4, validation=validation, rng=5, **options)
            found = loop(other, other_optimizer, 4, validation, **options)
            same_as_loop(net, history, optimizer, other, other_optimizer, found)


@pytest.mark.parametrize("patience, min_delta", [(1, 0.0), (3, 0.0), (2, 0.02), (None, 0.5)])
@pytest.mark.parametrize("held_out", [None, HELD_OUT], ids=["training", "validation"])
def test_early_stopping(patience, min_delta, held_out):
    net, other, optimizer, other_optimizer = network(), network(), Adam(0.3), Adam(0.3)
    history = net.fit(X, Y, optimizer, epochs=60, validation=held_out, patience=patience,
                      min_delta=min_delta, rng=5)
    found = loop(other, other_optimizer, 60, held_out, patience, min_delta)
    same_as_loop(net, history, optimizer, other, other_optimizer, found)
    assert (history.n_epochs < 60) == (patience is not None)


def test_it_is_a_population_of_one():
    population = Population(1, SIZES, seeds=[1])
    theirs = population.train(X, Y, Adam(), epochs=9, rng=[5], validation=HELD_OUT, patience=2)
    net = network()
    ours = net.fit(X, Y, epochs=9, rng=5, validation=HELD_OUT, patience=2)
    assert net.params.tobytes() == population.params[0].tobytes()
    np.testing.assert_array_equal(ours.losses, theirs.losses[:, 0])
    assert ours.best_epoch == theirs.best_epoch[0]


def test_rows_of_the_validation():
    held, rows = np.arange(40, 50), np.arange(40)
    nets = network(), network()
    given = {"epochs": 6, "rng": 5, "rows": rows, "sample_weight": WEIGHT}
    by_rows = nets[0].fit(X, Y, Adam(), validation_rows=held, **given)
    by_samples = nets[1].fit(X, Y, Adam(), validation=(X[held], Y[held], WEIGHT[held]), **given)
    np.testing.assert_array_equal(by_rows.validation_losses, by_samples.validation_losses)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()


@pytest.mark.parametrize("schedule", [
    lambda epoch: 0.1 / (1 + epoch), [0.1, 0.05, 0.1 / 3], np.array([0.1, 0.05, 0.1 / 3]), 0.25])
def test_schedule(schedule):
    rates = schedule if callable(schedule) else (
        (lambda epoch: schedule) if np.ndim(schedule) == 0 else schedule.__getitem__)
    net, other, optimizer, other_optimizer = network(), network(), SGD(1.0), SGD(1.0)
    history = net.fit(X, Y, optimizer, epochs=3, schedule=schedule, rng=5)
    found = loop(other, other_optimizer, 3, rates=rates)
    same_as_loop(net, history, optimizer, other, other_optimizer, found)
    assert optimizer.lr == rates(2)


def test_callback():
    seen = []

    def callback(epoch, loss, validation_loss):
        seen.append((epoch, loss, validation_loss, net.loss_value(*HELD_OUT, reduction="mean")))
        return epoch == 4

    net = network()
    history = net.fit(X, Y, epochs=9, validation=HELD_OUT, callback=callback)
    assert history.n_epochs == 5
    assert [epoch for epoch, *_ in seen] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(history.losses, [each[1] for each in seen])
    assert all(judged == checked for *_, judged, checked in seen)


def test_an_exception_leaves_the_best_parameters():
    def callback(epoch, loss, validation_loss):
        judged.append((validation_loss, net.params.copy()))
        if epoch == 8:
            raise ZeroDivisionError

    net, judged = network(), []
    with pytest.raises(ZeroDivisionError):
        net.fit(X, Y, Adam(0.5), epochs=20, validation=HELD_OUT, callback=callback)
    _, best = min(judged, key=lambda each: each[0])
    assert net.params.tobytes() == best.tobytes() and len(judged) == 9


def test_nan_is_not_better():
    net = network()
    net.params[:] = np.nan
    with pytest.warns(RuntimeWarning, match="^the loss is nan from epoch 0 on: look for NaN"):
        history = net.fit(X, Y, epochs=5, validation=HELD_OUT, patience=2)
    assert (history.n_epochs, history.best_epoch) == (2, -1)
    assert np.isnan(history.losses).all() and np.isnan(net.params).all()


def diverging(lr, **options):
    net = network(loss="squared_error", activation="relu")
    start = net.params.copy()
    with pytest.warns(RuntimeWarning) as warned:
        history = net.fit(1e3 * X, Y, SGD(lr), epochs=4, rng=0, **options)
    assert [w.filename for w in warned] == [__file__]
    return net.params, start, history, str(warned[0].message)


def test_a_fit_that_diverges_leaves_what_it_began_with_or_the_best_epoch():
    """Where samples judge it; otherwise the last parameters."""
    params, start, history, message = diverging(1e4, validation=HELD_OUT)
    assert message == ("the loss is nan from epoch 0 on: look for NaN or infinity in X and y, or "
                       "take a smaller learning rate")
    assert history.best_epoch == -1 and (params == start).all()
    rates = [1e-9, 1e-9, 1e4, 1e4]
    params, _, history, message = diverging(1.0, validation=HELD_OUT, schedule=rates)
    assert message.startswith("the loss is nan from epoch 2 on") and history.best_epoch in (0, 1)
    net = network(loss="squared_error", activation="relu")
    net.params = params
    assert (net.loss_value(*HELD_OUT, reduction="mean")
            == history.validation_losses[history.best_epoch])
    params, _, history, _ = diverging(1e4)
    assert history.best_epoch == -1 and np.isnan(params).any()


def test_a_validation_of_nan():
    net, held_out = network(), (np.full((4, 3), np.nan), Y[:4])
    before = net.params.copy()
    with pytest.warns(RuntimeWarning, match="^the validation loss is nan from epoch 0 on"):
        history = net.fit(X, Y, epochs=3, validation=held_out)
    assert history.best_epoch == -1 and (net.params == before).all()


@pytest.mark.filterwarnings("error")
def test_a_loss_that_recovers_is_not_warned_of():
    """Infinite in epoch 0 alone: only the end counts."""
    net = network(loss="squared_error", dtype="float64")
    start = net.params.copy()
    net.params[-1] = 1e200

    def callback(epoch, loss, validation_loss):
        net.params = start

    history = net.fit(X, Y, SGD(1e-3), epochs=2, batch_size=50, callback=callback)
    assert history.losses[0] == np.inf and np.isfinite(history.losses[1])


@pytest.mark.parametrize("answer, n_epochs", [
    (None, 4), (False, 4), (np.False_, 4), (True, 1), (np.True_, 1)])
def test_what_a_callback_returns(answer, n_epochs):
    history = network().fit(X, Y, epochs=4, callback=lambda *figures: answer)
    assert history.n_epochs == n_epochs


def test_progress(capfd):
    network().fit(X, Y, epochs=20, validation=HELD_OUT, progress=True)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("epoch  1/20  loss 0.")
    assert "validation 0." in lines[-1] and "best epoch" in lines[-1]


@pytest.mark.parametrize("n", [50, 200_000], ids=["brief epochs", "long epochs"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ctrl_c(n, shuffle):
    X, Y = samples(n, 3, 1, "float32")
    net = network()
    with interrupted(0.1):
        net.fit(X, Y, epochs=10**9, shuffle=shuffle, validation=(X[:50], Y[:50]))
    assert np.isfinite(net.params).all()
    net.fit(X, Y, epochs=1)     # nothing is in use


@pytest.mark.parametrize("given, error, words", [
    ({"epochs": 0}, ValueError, "epochs is 0; it should be an integer of at least 1"),
    ({"epochs": 10**30}, ValueError, "epochs is 10+; it should be at most"),
    ({"epochs": 2.5}, ValueError, "epochs is 2.5"),
    ({"optimizer": "adam"}, TypeError, "optimizer is "),
    ({"batch_size": 0}, ValueError, "batch_size is 0"),
    ({"rows": []}, ValueError, "rows"),
    ({"rows": [50]}, ValueError, "rows has 50 at position 0"),
    ({"rows": [0, 3], "sample_weight": WEIGHT}, ValueError, "sample_weight sums to 0.0 over the "
     "rows; it should"),
    ({"validation": X}, TypeError, "validation is of type ndarray"),
    ({"validation": (X, Y[:3])}, ValueError, "validation: y has shape"),
    ({"validation": HELD_OUT, "validation_rows": [1]}, ValueError,
     "validation and validation_rows are both given"),
    ({"validation_rows": [-1]}, ValueError, "validation_rows has -1"),
    ({"patience": 0}, ValueError, "patience is 0"), ({"min_delta": -1.0}, ValueError, "min_delta"),
    ({"schedule": [0.1]}, ValueError, "schedule has 1 entry"),
    ({"schedule": -1.0}, ValueError, "schedule is -1.0"),
    ({"schedule": lambda epoch: 0.0}, ValueError, r"schedule\(0\) is 0"),
    ({"schedule": "fast"}, (TypeError, ValueError), "schedule"),
    ({"callback": 3}, TypeError, "callback is of type int"),
    ({"callback": lambda loss: None}, TypeError,
     r"can be called as callback\(epoch, loss, validation_loss\)"),
    ({"l2": -1.0}, ValueError, "l2 is -1.0"), ({"rng": -1}, ValueError, "rng is -1"),
    ({"shuffle": 2}, TypeError, "shuffle is 2")])
def test_errors(given, error, words):
    given = {"epochs": 3, **given}
    net = network()
    before = net.params.copy()
    with pytest.raises(error, match=words):
        net.fit(X, Y, **given)
    np.testing.assert_array_equal(net.params, before)


def test_a_network_and_an_optimizer_in_use():
    """Every epoch takes both, so that a callback may use them, and another call in it."""
    net, optimizer = network(), Adam()

    def callback(epoch, loss, validation_loss):
        net.train_epoch(X, Y, optimizer)

    net.fit(X, Y, optimizer, epochs=2, callback=callback)
    assert optimizer.t == 2 * 2 * 2


def test_a_class_weight_and_integers_as_targets():
    X, y = samples(60, 3, 3, "float32", "softmax")
    y = y.argmax(axis=1) if y.ndim == 2 else y
    nets = [MLP((3, 4, 3), loss="softmax", class_weight=[1, 2, 3], seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=3, validation_rows=np.arange(20), rows=np.arange(20, 60), rng=1)
    nets[1].fit(X[20:], y[20:], epochs=3, validation=(X[:20], y[:20]), rng=1)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()
