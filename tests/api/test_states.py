"""Promise: a state that does not fit is refused in words that name the class, and changes nothing.

Anybody may write a state, or change what a pickle holds: it is checked as arguments are. (Copies
that are whole are in test_copies.py.)
"""

import pickle

import numpy as np
import pytest
from fastbp._copies import OWN
from made import MADE, known

from fastbp import MLP, SGD, Layers

SIZES = (3, 4, 2)
X, Y = np.arange(15).reshape(5, 3) % 4 / 4, np.arange(10).reshape(5, 2) % 2
WEIGHTS = np.arange(1.0, 6.0)


def weighted(method):
    return getattr(MLP(SIZES, seed=0), method)(X, Y, sample_weight=WEIGHTS, l2=0.5)


THINGS = {name: make for name, make in MADE.items() if "MLPC" not in name and "MLPR" not in name}
THINGS |= {name: lambda name=name: weighted(name) for name in ("linearize", "objective")}
ODD = [None, 3, -1, "x", b"x", [], {}, (), 0.5, float("nan"), object, np.zeros((3, 2, 2), "f4"),
       np.full(2, np.nan), np.array(["x"]), [[1, 2], [3]]]


def own_of(thing):
    return pickle_of(thing)[OWN]


def pickle_of(thing):
    """The attributes of a state, without its slots."""
    state = thing.__getstate__()
    return state[0] if type(state) is tuple else state


def refused(thing, state):
    """Whether it is refused; then the thing has to be what it was."""
    before = known(thing)
    try:
        thing.__setstate__(state)
    except (TypeError, ValueError) as error:
        assert f"the state of {type(thing).__name__}" in str(error)
    except RuntimeError as error:
        assert "initialised already" in str(error)      # it is of another size
    else:
        return False
    assert known(thing) == before
    return True


@pytest.mark.parametrize("name", THINGS)
@pytest.mark.parametrize("state", [3, "x", b"x", [1, 2], (1, 2, 3), (1, 2), {3: 4}, ({}, {3: 4}),
                                   (0, {}), ({}, [])])
def test_what_is_no_state(name, state):
    assert refused(THINGS[name](), state)


@pytest.mark.parametrize("name", THINGS)
def test_a_state_of_other_items(name):
    thing = THINGS[name]()
    own = own_of(thing)
    for other in (None, 3, "x", {}, (), own[:-2], own[1:], (*own, None, None), {"own": own}):
        assert refused(thing, {OWN: other}), other
    assert not refused(thing, {OWN: own}) and not refused(thing, {OWN: list(own)})


@pytest.mark.parametrize("name", THINGS)
def test_a_state_with_an_odd_item(name):
    """Each is refused, or good for what it takes the place of, as 3 is for a number of threads."""
    thing, count = THINGS[name](), 0
    own = own_of(thing)
    for i in range(len(own)):
        for odd in ODD:
            changed = {OWN: (*own[:i], odd, *own[i + 1:])}
            count += refused(thing, changed)
            made = type(thing).__new__(type(thing))
            try:
                made.__setstate__(changed)
            except (TypeError, ValueError) as error:
                assert f"the state of {type(thing).__name__}" in str(error)
                with pytest.raises((RuntimeError, TypeError)):
                    made.__getstate__()         # it is not made
            else:
                again = type(thing).__new__(type(thing))
                again.__setstate__(made.__getstate__())
                assert known(again) == known(made)
            if isinstance(own[i], np.ndarray):
                no_weights = odd is None and np.array_equal(own[i], WEIGHTS)
                assert refused(thing, changed) != no_weights
                thing.__setstate__({OWN: own})
    assert count >= len(ODD)


@pytest.mark.parametrize("way", [lambda thing, own: thing.__setstate__({OWN: own}),
                                 lambda thing, own: thing.__reduce__()[0](type(thing), *own)])
@pytest.mark.parametrize(("name", "item", "value", "words"), [
    ("linearize", 0, X[:3], "y has"), ("linearize", 0, X[:, :2], "X has shape"),
    ("linearize", 1, Y + 2, "y has 2"), ("linearize", 2, np.ones(4), "sample_weight has shape"),
    ("linearize", 4, -1.0, "l2 is -1"), ("linearize", 5, None, "NoneType"),
    ("linearize", 6, np.ones(3), "params has shape"), ("linearize", 7, "x", "memory is 'x'"),
    ("objective", 0, X[:3], "y has"), ("objective", 1, "x", "l2 is 'x'"),
    ("objective", 4, None, "NoneType"), ("objective", 5, np.ones(4), "sample_weight has shape"),
    ("objective", 6, Y[:, 0], "y has shape"), ("objective", 7, -1, "memory is -1"),
    ("MLP", 2, np.ones(3), "params has shape"), ("MLP", 3, None, "grad"),
    ("MLP", 1, 3, "dict"), ("objective", 2, "x", "mean is 'x'"),
    ("linearize", 3, 2, "mean is 2"), ("Layers", 4, "x", "n_threads is 'x'"), ("SGD", 0, [], "")])
def test_the_words_name_what_does_not_fit(name, item, value, words, way):
    thing = {**THINGS, "MLP": lambda: MLP(SIZES, seed=0), "SGD": SGD,
             "Layers": lambda: Layers(SIZES, ["tanh", "relu"])}[name]()
    own = list(own_of(thing))
    before = known(thing)
    own[item] = value
    with pytest.raises((TypeError, ValueError),
                       match=f"the state of {type(thing).__name__} .*{words}"):
        way(thing, tuple(own))
    assert known(thing) == before


class Slotted(SGD):
    __slots__ = ("rates",)


def test_attributes_that_have_no_place():
    """They are refused before the rest of the state is taken."""
    own = SGD(0.5).__getstate__()
    for thing, state in ((SGD(), {**own, "name": 1}), (SGD(), (own, {"name": 1})),
                         (Slotted(), (own, {"lr": 1})), (Slotted(), {**own, "name": 1}),
                         (MLP(SIZES, seed=0), ({}, {"n_params": 1})),
                         (MLP(SIZES, seed=0), ({}, {"forward": 1}))):
        assert refused(thing, state)
    slotted = Slotted()
    slotted.__setstate__((own, {"rates": [1]}))
    assert slotted.rates == [1] and slotted.lr == 0.5


def test_a_pickle_with_a_changed_array():
    """As by an editor of the bytes: 26 parameters become another number of them."""
    point = weighted("linearize")
    assert pickle.loads(pickle.dumps(point)).loss == point.loss
    make, own = point.__reduce__()[:2]
    for i, item in enumerate(own):
        if isinstance(item, np.ndarray):
            with pytest.raises(ValueError, match="the state of Linearization does not fit"):
                make(*own[:i], item[:1], *own[i + 1:])
