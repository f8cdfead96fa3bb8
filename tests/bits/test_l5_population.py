"""Promise L5: a network of a population has the bits that it has alone.

The lanes of a vector are networks, so that numbers of networks are around those of the lanes. A
group of them goes together where the parameters of all lanes fit in a cache; wide layers do not.
"""

import itertools

import numpy as np
import pytest
from all_pairs import all_pairs
from populations import RULES, Beside, lanes, samples

from fastbp import MLP, SGD, Adam, Population, _arguments

NUMBERS = {"one": lambda n: 1, "one less": lambda n: max(n - 1, 1), "lanes": lambda n: n,
           "one more": lambda n: n + 1, "several": lambda n: 5 * n // 2}
# A loss, its options, its outputs
KINDS = [*((loss, {}, 3) for loss in _arguments.LOSSES), ("bce", {}, 1),
         ("bce", {"pos_weight": 2.75, "label_smoothing": 0.125}, 2),
         ("bce", {"class_weight": [0.5, 3.0]}, 1),
         ("softmax", {"class_weight": {1: 2.5}, "label_smoothing": 0.125}, 3)]


GIVEN = list(zip([*itertools.product([False, True], repeat=2)], RULES, strict=True))


def name_of(value):
    if isinstance(value, tuple) and isinstance(value[0], str):
        return "-".join([value[0], *value[1], str(value[2])])
    return str(value)


def weights(n_networks, n, dtype):
    """Each network's weights; some are 0 in the first rows, so that a mini-batch makes no step."""
    w = np.random.default_rng(1).integers(0, 4, (n_networks, n)).astype(dtype)
    w[::3, :n - 3] = 0
    w[:, -1] = 1
    return w


def every_call(beside, n, loss, outputs, dtype, batch_size, own=False, weighted=False,
               **options):
    """Outputs, losses, gradients and epochs; samples of all networks, or of each."""
    X, y = samples(n, beside.population.layer_sizes[0], outputs, dtype, loss,
                   len(beside) if own else None)
    w = weights(len(beside), n, dtype) if weighted else None
    l2 = np.arange(len(beside)) % 3 * 0.1 if weighted else 0.0
    beside.outputs(X)
    for reduction in ("sum", "mean"):
        beside.gradients(X, y, w, l2, reduction)
    beside.epochs(X, y, w=w, l2=l2, batch_size=batch_size, each_rng=own, **options)


@all_pairs("isa", "dtype", ids=name_of, kind=KINDS, activation=_arguments.ACTIVATIONS,
           number=NUMBERS)
def test_every_loss_and_activation(isa, dtype, kind, activation, number):
    loss, given, outputs = kind
    for (own, weighted), rule in GIVEN:
        beside = Beside(NUMBERS[number](lanes(dtype)), (3, 6, 5, outputs), rule=rule, loss=loss,
                        dtype=dtype, activation=activation, **given)
        every_call(beside, 23, loss, outputs, dtype, 7, own, weighted)


@all_pairs("isa", "dtype", ids=name_of, n=[1, 7, 40, 300, 600], batch_size=[1, 7, 32, 300],
           sizes=[(2, 4, 1), (300, 3, 2), (3, 40, 30, 3)])
def test_samples_batches_and_threads(isa, dtype, n, batch_size, sizes):
    """More than 256 rows, and more than 256 inputs, are chains of several blocks (N1)."""
    n = min(n, 40 * batch_size)
    for n_threads in (1, 2, 3):
        beside = Beside(lanes(dtype) + 3, sizes, dtype=dtype, activation="tanh",
                        n_threads=n_threads)
        every_call(beside, n, "bce", sizes[-1], dtype, batch_size)


@pytest.mark.parametrize("sizes, loss", [((4, 300, 300, 1), "bce"), ((2, 1100), "softmax")])
def test_networks_that_do_not_go_together(isa, dtype, sizes, loss):
    """They have more parameters, or more outputs, than lanes of them have room for."""
    beside = Beside(3, sizes, loss=loss, dtype=dtype)
    every_call(beside, 20, loss, sizes[-1], dtype, 8, own=True)


@pytest.mark.parametrize("rule", RULES)
def test_activations_of_layers(isa, dtype, rule):
    beside = Beside(lanes(dtype) + 1, (3, 5, 4, 2), rule=rule, dtype=dtype,
                    activation=["relu", "tanh"])
    every_call(beside, 20, "bce", 2, dtype, 8)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("lengths", [(30, 30), (12, 31, 64)])
def test_rows_of_each_network(isa, dtype, lengths, rule):
    """Of equal or other lengths; rows may come twice."""
    n = 2 * lanes(dtype) + 3
    beside = Beside(n, (3, 5, 1), rule=rule, dtype=dtype)
    rng = np.random.default_rng(2)
    rows = [rng.integers(0, 50, lengths[k % len(lengths)]) for k in range(n)]
    X, y = samples(50, 3, 1, dtype)
    w = rng.integers(0, 2, (n, 50)).astype(dtype)
    w[:, [0, 1]] = 1
    rows = [np.r_[0, indices] for indices in rows]      # so that a network alone has some weight
    beside.epochs(X, y, rows=rows, w=w, l2=np.arange(n) % 2 * 0.5, batch_size=7)


def test_rows_of_all_networks(isa, dtype):
    rows = np.random.default_rng(2).permutation(50)[:33]
    beside = Beside(lanes(dtype) + 1, (3, 5, 1), dtype=dtype)
    X, y = samples(50, 3, 1, dtype)
    found = beside.population.train_epoch(X, y, beside.optimizers, rows=rows, shuffle=False)
    beside.same(found, [net.train_epoch(X[rows], y[rows], optimizer, shuffle=False)
                        for net, optimizer
                        in zip(beside.alone, beside.alone_optimizers, strict=True)])
    beside.same_state()


def test_a_shape_of_one_is_that_of_all():
    """Targets of as many classes and samples as there are networks are probabilities for all."""
    X, y = samples(3, 2, 3, "float64", "softmax")
    probabilities = np.eye(3)[y.astype(int)]
    beside = Beside(3, (2, 3), loss="softmax", dtype="float64")
    beside.gradients(X, probabilities)


@pytest.mark.parametrize("weighted", ["of all", "of each"])
def test_probabilities_and_classes(isa, dtype, weighted):
    """Targets of each network with weights of all, and the other way round, under class_weight."""
    n = lanes(dtype) + 1
    for own, classes in itertools.product((False, True), repeat=2):
        X, y = samples(9, 2, 3, dtype, "softmax", n if own else None)
        y = y if classes else np.eye(3, dtype=dtype)[y.astype(int)] * 0.5 + 0.5 / 3
        w = weights(n, 9, dtype)[1] if weighted == "of all" else weights(n, 9, dtype)
        beside = Beside(n, (2, 4, 3), loss="softmax", dtype=dtype, class_weight=[1, 2, 0.5])
        beside.gradients(X, y, w, reduction="mean")


@all_pairs("isa", "dtype", ids=str, value=[np.nan, np.inf], loss=_arguments.LOSSES,
           rule=["momentum", "adam"])
def test_a_network_that_diverged(isa, dtype, value, loss, rule):
    """It leaves the others' bits alone, those of the same vector among them."""
    n = lanes(dtype) + 3
    for at in (0, n // 2, n - 1):
        beside = Beside(n, (3, 5, 3), rule=rule, loss=loss, dtype=dtype, activation="relu")
        beside.population.params[at] = value
        X, y = samples(20, 3, 3, dtype, loss)
        with np.errstate(all="ignore"):
            beside.outputs(X, but=[at])
            beside.gradients(X, y, l2=0.1, reduction="mean", but=[at])
            beside.epochs(X, y, batch_size=8, but=[at])
            assert not np.isfinite(beside.population.params[at]).all()


def test_its_place_and_its_neighbours(isa, dtype):
    """One network at every position, among as few or as many."""
    X, y = samples(30, 3, 1, dtype)
    net, optimizer = MLP([3, 5, 1], seed=5, dtype=dtype), Adam()
    start = net.params.copy()
    loss = net.train_epoch(X, y, optimizer, batch_size=8, rng=0)
    for n in (1, 3, lanes(dtype), lanes(dtype) + 2):
        for at in range(n):
            population = Population(n, [3, 5, 1], seeds=11, dtype=dtype)
            population.params[at] = start
            found = population.train_epoch(X, y, [Adam() for _ in range(n)], batch_size=8, rng=0)
            assert found[at] == loss
            np.testing.assert_array_equal(population.params[at], net.params)


def test_a_network_goes_on_alone(isa, dtype):
    """From a population to an `MLP` on the same memory and back, with its optimizer."""
    n = lanes(dtype)
    beside = Beside(n, (3, 5, 1), dtype=dtype)
    X, y = samples(30, 3, 1, dtype)
    for _ in range(2):
        beside.epochs(X, y, count=1, batch_size=8)
        for k in (0, n - 1):
            found = beside.population.member(k).train_epoch(X, y, beside.optimizers[k], rng=4)
            assert found == beside.alone[k].train_epoch(X, y, beside.alone_optimizers[k], rng=4)
        beside.same_state()


def test_optimizers_that_have_gone_different_ways(isa, dtype):
    """Steps taken and bias corrections are those of each network."""
    n = lanes(dtype) + 1
    beside = Beside(n, (3, 5, 1), dtype=dtype)
    X, y = samples(30, 3, 1, dtype)
    for k in range(0, n, 2):
        for net, optimizer in ((beside.population.member(k), beside.optimizers[k]),
                               (beside.alone[k], beside.alone_optimizers[k])):
            net.train_epoch(X, y, optimizer, batch_size=1 + k, rng=k)
    beside.epochs(X, y, batch_size=8)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_any_number_of_threads(isa, dtype, n_threads):
    """And after a call with more or fewer of them."""
    n = 4 * lanes(dtype) + 1
    beside = Beside(n, (3, 5, 1), dtype=dtype)
    X, y = samples(30, 3, 1, dtype)
    for threads in (n_threads, 2, n_threads):
        beside.population.n_threads = threads
        beside.outputs(X)
        beside.gradients(X, y)
        beside.epochs(X, y, count=1, batch_size=8)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("lengths", [
    [1 + k % 9 for k in range(40)],             # all below the size of a mini-batch
    [5 + 3 * k % 41 for k in range(40)],        # some below it, many of their own
    [64 - k % 2 for k in range(40)],            # whole mini-batches, and one less
], ids=["few", "mixed", "whole"])
def test_different_numbers_of_rows(isa, dtype, lengths, n_threads):
    """Lanes take whole mini-batches together, and each network what is left of its own."""
    beside = Beside(40, (3, 5, 1), rule="of both kinds", dtype=dtype, n_threads=n_threads)
    X, y = samples(70, 3, 1, dtype)
    rows = [np.random.default_rng(k).permutation(70)[:n] for k, n in enumerate(lengths)]
    beside.epochs(X, y, rows=rows, w=np.linspace(0.5, 2, 70).astype(dtype),
                  l2=np.arange(40) % 2 * 0.1, batch_size=16)


def test_sizes_of_mini_batches_and_losses_of_each(isa, dtype):
    """A size for each network; those that are not active stay as they are."""
    n_networks, sizes = 2 * lanes(dtype) + 3, [1, 4, 7]
    beside = Beside(n_networks, (3, 6, 1), dtype=dtype)
    X, y = samples(20, 3, 1, dtype)
    batch_size = [sizes[k % 3] for k in range(n_networks)]
    active = np.arange(n_networks) % 5 != 2
    found, expected = ([np.zeros((-(-20 // size), 2)) for size in batch_size] for _ in range(2))
    losses = beside.population.train_epoch(
        X, y, beside.optimizers, batch_size=batch_size, active=active, batch_losses=found,
        rng=range(n_networks))
    for k, net in enumerate(beside.alone):
        alone = np.nan if not active[k] else net.train_epoch(
            X, y, beside.alone_optimizers[k], batch_size=batch_size[k], rng=k,
            batch_losses=expected[k])
        np.testing.assert_array_equal(losses[k], alone)
    beside.same(found, expected)
    beside.same_state()


def test_sgd_without_a_state():
    beside = Beside(9, (3, 5, 1))
    beside.optimizers, beside.alone_optimizers = ([SGD() for _ in range(9)] for _ in range(2))
    X, y = samples(30, 3, 1, "float32")
    beside.epochs(X, y, batch_size=8)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("sizes", [(2, 1), (5, 8, 8), (17, 33, 9), (260, 20, 5), (3, 700)])
def test_sweep(isa, dtype, kind, sizes):
    """All numbers of networks up to two vectors and more, rows around blocks, rules, threads."""
    loss, given, outputs = kind
    for n, rule in zip(range(1, 2 * lanes(dtype) + 3), itertools.cycle(RULES)):
        for rows, batch_size in ((1, 1), (9, 4), (257, 256), (520, 513)):
            beside = Beside(n, (*sizes, outputs), rule=rule, loss=loss, dtype=dtype,
                            activation=[*_arguments.ACTIVATIONS][n % 4], n_threads=1 + n % 3,
                            **given)
            every_call(beside, rows, loss, outputs, dtype, batch_size, n % 2 == 0, n % 5 == 0)
