"""One optimizer for all networks of a population: its numbers may be arrays, its state is that of
each network, and both are saved and resumed exactly."""

import copy
import pickle

import numpy as np
import pytest

from fastbp import MLP, SGD, Adam, Population

N = 20
X = np.random.default_rng(0).standard_normal((50, 2)).astype("f")
y = (X[:, :1] > 0).astype("f")
RATES = np.logspace(-3, -1, N)
SECOND = np.linspace(0.9, 0.99, N)
KINDS = {
    "the same": (lambda: Adam(), lambda k: Adam()),
    "rates": (lambda: Adam(lr=RATES), lambda k: Adam(lr=RATES[k])),
    "lists": (lambda: SGD(lr=list(RATES), momentum=tuple(SECOND), nesterov=True),
              lambda k: SGD(lr=RATES[k], momentum=SECOND[k], nesterov=True)),
    "all": (lambda: Adam(lr=RATES, betas=(0.8, SECOND), eps=RATES * 1e-5, weight_decay=SECOND / 9),
            lambda k: Adam(lr=RATES[k], betas=(0.8, SECOND[k]), eps=RATES[k] * 1e-5,
                           weight_decay=SECOND[k] / 9)),
}


def population(n=N):
    return Population(n, [2, 8, 1], seeds=0)


def networks():
    return [MLP([2, 8, 1], seed=k) for k in range(N)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", [
    lambda optimizer: optimizer, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o)),
    lambda o: loaded(type(o)(), o.state_dict())])
def test_every_network_has_its_own(kind, again):
    of_all, of_one = KINDS[kind]
    pop, nets, optimizer, theirs = population(), networks(), of_all(), [of_one(k) for k in range(N)]
    for epoch in range(3):
        pop.train_epoch(X, y, optimizer, rng=epoch)
        for net, own in zip(nets, theirs, strict=True):
            net.train_epoch(X, y, own, rng=epoch)
        optimizer = again(optimizer)
    np.testing.assert_array_equal(pop.params, [net.params for net in nets])
    np.testing.assert_array_equal(optimizer.t, [6] * N)


def loaded(optimizer, state):
    optimizer.load_state_dict(state)
    return optimizer


def test_a_schedule():
    pop, nets, optimizer, theirs = population(), networks(), Adam(), [Adam() for _ in range(N)]
    for rate in (0.1, RATES, 0.01):
        optimizer.lr = rate
        np.testing.assert_array_equal(optimizer.lr, rate)
        pop.train_epoch(X, y, optimizer, rng=0)
        for net, own, lr in zip(nets, theirs, np.broadcast_to(rate, N), strict=True):
            own.lr = lr
            net.train_epoch(X, y, own, rng=0)
    np.testing.assert_array_equal(pop.params, [net.params for net in nets])


@pytest.mark.parametrize("make, message", [
    (lambda: Adam(lr=[]), "lr is empty; it should be a number"),
    (lambda: Adam(lr=[1, 2], eps=[1e-8] * 3), "lr and eps have 2 and 3 entries; they should"),
    (lambda: Adam(lr=[1, -2]), r"lr\[1\] is -2; it should be a number above 0"),
    (lambda: SGD(momentum=[0.5, 1]), r"momentum\[1\] is 1"),
    (lambda: SGD(momentum=[0.5, 0], nesterov=True), "momentum should be above 0"),
    (lambda: population().train_epoch(X, y, Adam(lr=[1, 2])), "has 2 numbers; it should have 20"),
    (lambda: MLP([2, 1]).train_epoch(X, y, Adam(lr=[1, 2])), "for the networks of a population"),
    (lambda: Adam(lr=[1, 2]).step(np.ones(3), np.ones(3)), "for the networks of a population"),
])
def test_numbers_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_states_that_do_not_fit():
    pop, used, alone = population(), Adam(), Adam()
    pop.train_epoch(X, y, used)
    MLP([2, 8, 1]).train_epoch(X, y, alone)
    with pytest.raises(ValueError, match="has the state of one network"):
        pop.train_epoch(X, y, alone)
    with pytest.raises(ValueError, match="has the states of 20 networks; it should have those of"):
        population(3).train_epoch(X, y, used)
    with pytest.raises(ValueError, match="has the states of 20 networks"):
        used.lr = [1, 2]
    state = used.state_dict()
    state["networks"][3]["m"][0] = np.nan
    with pytest.raises(ValueError, match=r"networks\[3\].*m has"):
        Adam().load_state_dict(state)


def test_a_refused_epoch_binds_nothing():
    optimizer = Adam()
    with pytest.raises(ValueError, match="y has shape"):
        population().train_epoch(X, y[:3], optimizer)
    with pytest.raises(ValueError, match="rows"):
        population().train_epoch(X, y, optimizer, rows=[99])
    MLP([2, 8, 1]).train_epoch(X, y, optimizer)
    assert optimizer.t == 2


def test_an_optimizer_in_an_epoch_is_held():
    """Draws of an order run Python within the call."""
    optimizer, found = Adam(), []
    pop = population()
    pop.train_epoch(X, y, optimizer, rng=0)
    state = optimizer.state_dict()

    class Drawing(np.random.PCG64):
        def random_raw(self, *args, **kwargs):
            for call in (lambda: optimizer.load_state_dict(state), optimizer.state_dict,
                         lambda: population().train_epoch(X, y, optimizer)):
                with pytest.raises(RuntimeError, match="optimizer is in use"):
                    call()
                found.append(call)
            return super().random_raw(*args, **kwargs)

    pop.train_epoch(X, y, optimizer, rng=Drawing(0))
    assert len(found) >= 3
    optimizer.load_state_dict(state)


@pytest.mark.parametrize("change, message", [
    (lambda d: d.update(networks=[]), "networks is empty"),
    (lambda d: d.update(more=1), "'more'"),
    (lambda d: d["networks"].__setitem__(2, d["networks"][2] | {"lr": 0.5}),
     r"networks\[2\] has lr = 0.5; it should have the optimizer's"),
    (lambda d: d["networks"].__setitem__(1, dict(d)), r"networks\[1\] is no state of one network"),
    (lambda d: d.update(lr=[0.1, 0.2]), "lr has 2 numbers; it should have 20"),
])
def test_saved_states_that_contradict(change, message):
    optimizer = Adam()
    population().train_epoch(X, y, optimizer)
    state = optimizer.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        Adam().load_state_dict(state)


def test_a_rate_that_is_set_within_the_first_call():
    """As a handler of signals may, too."""
    class Drawing(np.random.PCG64):
        def random_raw(self, *args, **kwargs):
            optimizer.lr = 0.5
            return super().random_raw(*args, **kwargs)

    pop, optimizer, net = population(), SGD(), networks()[2]
    pop.train_epoch(X, y, optimizer, rng=Drawing(0))
    net.train_epoch(X, y, SGD(lr=0.5), rng=np.random.PCG64(0))
    np.testing.assert_array_equal(pop.params[2], net.params)
    assert pickle.loads(pickle.dumps(optimizer)).lr == 0.5


def test_numbers_are_read_only():
    optimizer = Adam(lr=RATES, betas=(0.9, SECOND))
    for numbers in (optimizer.lr, optimizer.betas[1]):
        with pytest.raises(ValueError, match="read-only"):
            numbers[0] = 5


def test_rows_without_weight():
    """As a network alone, to which those rows are the samples."""
    weights = np.ones(50, "f")
    weights[:10] = 0
    rows = [np.arange(k, 20) for k in range(N)]
    rows[3] = np.arange(10)
    with pytest.raises(ValueError, match="sums to 0.0 over the rows of network 3"):
        population().train_epoch(X, y, Adam(), rows=rows, sample_weight=weights,
                                 rng=list(range(N)))
