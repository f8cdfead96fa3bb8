"""Cases that hold every pair of values of two axes; no test is here.

    @all_pairs("isa", "dtype", kind=KINDS)
    def test(isa, dtype, kind): ...

runs by default on a few cases of the product of all axes: a fault that one value brings, or two
that meet, is in one of them. The others are exhaustive.
"""

from itertools import combinations, product

import pytest

from fastbp._kernels import dispatch

FIXTURES = {"isa": dispatch.available_isas(), "dtype": ("float32", "float64")}  # of conftest.py


def covering(*lengths):
    """Cases, a value's place on each axis, with every pair; of as good ones the least used."""
    cases = set(product(*map(range, lengths)))
    axes = list(combinations(range(len(lengths)), 2))

    def pairs(case):
        return {(i, j, case[i], case[j]) for i, j in axes}

    missing, used, chosen = set().union(*map(pairs, cases)), {}, []
    while missing:
        best = max(sorted(cases), key=lambda case: (
            len(pairs(case) & missing), -sum(used.get(place, 0) for place in enumerate(case))))
        missing -= pairs(best)
        used |= {place: used.get(place, 0) + 1 for place in enumerate(best)}
        chosen.append(best)
        cases.remove(best)
    return set(chosen)


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
