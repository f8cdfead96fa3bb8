"""Copies and pickles of a `Population` are whole, and have memory of their own."""

import copy
import pickle

import numpy as np
import pytest

from fastbp import SGD, Population

N, SIZES = 4, (3, 5, 1)
X = np.random.default_rng(0).standard_normal((9, 3)).astype("f")
Y = (X[:, 0] > 0).astype("f")


def population(**options):
    return Population(N, SIZES, **{"seeds": 0, **options})


def sgds():
    return [SGD() for _ in range(N)]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, *(
    lambda thing, i=i: pickle.loads(pickle.dumps(thing, i)) for i in range(6))])
def test_copies_are_whole(way):
    pop = population(loss="poisson", activation="relu", dtype="float64", n_threads=2)
    pop.backprop(X, Y)
    twin = way(pop)
    assert type(twin) is Population and repr(twin) == repr(pop) and twin.n_threads == 2
    for name in ("params", "grad"):
        np.testing.assert_array_equal(getattr(twin, name), getattr(pop, name))
        assert not np.shares_memory(getattr(twin, name), getattr(pop, name))
    np.testing.assert_array_equal(twin.train_epoch(X, Y, sgds(), rng=0),
                                  pop.train_epoch(X, Y, sgds(), rng=0))
    np.testing.assert_array_equal(twin.params, pop.params)


class Named(Population):
    def __init__(self, name):
        super().__init__(2, SIZES, seeds=0)
        self.name = name


def test_a_subclass_is_copied():
    thing = Named("mine")
    twin = pickle.loads(pickle.dumps(thing))
    assert type(twin) is Named and twin.name == "mine"
    np.testing.assert_array_equal(twin.params, thing.params)


def test_a_state_for_what_is_made():
    source, pop, other = population(), population(seeds=9), Population(2, SIZES, seeds=0)
    held = pop.params
    pop.__setstate__(source.__getstate__())
    np.testing.assert_array_equal(held, source.params)
    before = other.params.copy()
    with pytest.raises(RuntimeError, match="initialised already"):
        other.__setstate__(source.__getstate__())
    np.testing.assert_array_equal(other.params, before)


@pytest.mark.parametrize("own", [
    (), (1, SIZES, {}, np.zeros((1, 26)), np.zeros((1, 25))), ("a", SIZES, {}, [[0]], [[0]]),
    (1, SIZES, [], np.zeros((1, 26)), np.zeros((1, 26)))])
def test_a_state_that_does_not_fit(own):
    pop = Population.__new__(Population)
    with pytest.raises((TypeError, ValueError), match="the state of Population does not fit"):
        pop.__setstate__({"_fastbp": own})
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        len(pop)
