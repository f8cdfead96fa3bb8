"""The cases that all_pairs.py chooses hold every pair of values, and the others are exhaustive."""

from itertools import combinations, product

import all_pairs as module
import pytest
from all_pairs import all_pairs, covering


@pytest.mark.parametrize("lengths", [(1, 1), (3, 2), (3, 2, 18), (8, 7, 4, 2), (3, 2, 4, 4, 8)])
def test_every_pair_is_there(lengths):
    cases = covering(*lengths)
    for i, j in combinations(range(len(lengths)), 2):
        assert {(case[i], case[j]) for case in cases} == set(
            product(range(lengths[i]), range(lengths[j])))


def test_few_hold_all_pairs():
    """No fewer cases than pairs of the two longest axes can; here hardly more."""
    assert len(covering(3, 2, 18)) == 54 and len(covering(8, 7, 4, 2)) == 56


def test_the_others_are_exhaustive_where_they_are_made(monkeypatch):
    monkeypatch.setattr(module, "others_are_made", True)
    names, params = all_pairs("dtype", a="xyz", b="uvw").args
    assert names == "dtype,a,b" and len(params) == 18
    few = [param.values for param in params if not param.marks]
    assert 9 <= len(few) < 18 and {(a, b) for _, a, b in few} == set(product("xyz", "uvw"))
    assert all(param.marks[0].name == "exhaustive" for param in params if param.marks)
    monkeypatch.setattr(module, "others_are_made", False)
    assert all_pairs("dtype", a="xyz", b="uvw").args == (
        names, [param for param in params if not param.marks])
