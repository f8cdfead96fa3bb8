"""Cases that hold every pair of values of two axes; no test is here.

    @all_pairs("isa", "dtype", kind=KINDS)
    def test(isa, dtype, kind): ...

runs by default on a few cases of the product of all axes: a fault that one value brings, or two
that meet, is in one of them. The others are exhaustive.
"""

from collections import Counter
from functools import cache
from itertools import combinations, product

import pytest

from fastbp._kernels import dispatch

FIXTURES = {"isa": dispatch.available_isas(), "dtype": ("float32", "float64")}  # of conftest.py


@cache
def covering(*lengths):
    """Cases, a value's place on each axis, with every pair; of as good ones the least used."""
    axes = list(combinations(range(len(lengths)), 2))
    pairs = {case: frozenset((i, j, case[i], case[j]) for i, j in axes)
             for case in product(*map(range, lengths))}
    missing, used, chosen = set().union(*pairs.values()), Counter(), []
    while missing:
        new = {case: len(missing & held) for case, held in pairs.items()}
        most = max(new.values())
        best = min((case for case, n in new.items() if n == most),
                   key=lambda case: sum(used[place] for place in enumerate(case)))
        missing -= pairs.pop(best)
        used.update(enumerate(best))
        chosen.append(best)
    return frozenset(chosen)


def all_pairs(*fixtures, ids=None, **axes):
    """The mark of a test that takes these fixtures, and a value of each axis.

    ``ids`` names a value that is no string; without it, its axis and place do.
    """
    axes = {name: FIXTURES[name] for name in fixtures} | {
        name: list(values) for name, values in axes.items()}

    def label(axis, place):
        value = axes[axis][place]
        return value if isinstance(value, str) else ids(value) if ids else f"{axis}{place}"

    lengths = [len(values) for values in axes.values()]
    few, params = covering(*lengths), []
    for case in product(*map(range, lengths)):
        places = dict(zip(axes, case, strict=True))
        params.append(pytest.param(
            *(axes[axis][place] for axis, place in places.items()),
            id="-".join(label(*place) for place in places.items()),
            marks=() if case in few else pytest.mark.exhaustive))
    return pytest.mark.parametrize(",".join(axes), params, indirect=list(fixtures))
