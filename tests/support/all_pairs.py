"""Cases that hold every pair of values of two axes; no test is here.

    @all_pairs("isa", "dtype", kind=KINDS)
    def test(isa, dtype, kind): ...

runs by default on a few cases of the product of all axes: a fault that one value brings, or two
that meet, is in one of them. The others are exhaustive, and made only where they may be chosen.
"""

from collections import Counter, defaultdict
from functools import cache
from itertools import combinations, product

import pytest

from fastbp._kernels import dispatch

others_are_made = True      # conftest.py says so of each run of pytest
FIXTURES = {"isa": dispatch.available_isas(), "dtype": ("float32", "float64")}  # of conftest.py


@cache
def covering(*lengths):
    """Cases, a value's place on each axis, with every pair; of as good ones the least used."""
    axes = list(combinations(range(len(lengths)), 2))
    bits = defaultdict(lambda: 1 << len(bits))      # one for each pair
    pairs = {case: sum(bits[i, j, case[i], case[j]] for i, j in axes)
             for case in product(*map(range, lengths))}
    missing, used, chosen = (1 << len(bits)) - 1, Counter(), []
    while missing:
        new = {case: (missing & held).bit_count() for case, held in pairs.items()}
        most = max(new.values())
        best = min((case for case, n in new.items() if n == most),
                   key=lambda case: sum(used[place] for place in enumerate(case)))
        missing &= ~pairs.pop(best)
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
    for case in product(*map(range, lengths)) if others_are_made else sorted(few):
        places = dict(zip(axes, case, strict=True))
        params.append(pytest.param(
            *(axes[axis][place] for axis, place in places.items()),
            id="-".join(label(*place) for place in places.items()),
            marks=() if case in few else pytest.mark.exhaustive))
    return pytest.mark.parametrize(",".join(axes), params, indirect=list(fixtures))
