"""N1 as it is written: chains of fused multiply-adds, each step rounded once; no test is here.

MPFR rounds to as many bits as a significand has, so that an element can be had to the bit. Numbers
must stay away from overflow and underflow, of which MPFR has none there.
"""

from functools import cache

import gmpy2
import numpy as np

KC = 256        # of the contract


def chain(a, b, dtype, block=KC, bias=0):
    """Σ_k a_k b_k: k ascending from +0 in blocks, which are added in ascending order; + bias."""
    return _chain(np.float64(a).tobytes(), np.float64(b).tobytes(), dtype, block, float(bias))


@cache      # for the variants, which all have the same operands
def _chain(a, b, dtype, block, bias):
    a, b = np.frombuffer(a), np.frombuffer(b)
    with gmpy2.context(precision=np.finfo(dtype).nmant + 1):
        total = gmpy2.mpfr(0)
        for start in range(0, len(a), block):
            part = gmpy2.mpfr(0)
            for x, y in zip(a[start:start + block], b[start:start + block], strict=True):
                part = gmpy2.fma(gmpy2.mpfr(float(x)), gmpy2.mpfr(float(y)), part)
            total = part if start == 0 else total + part
        return float(total + gmpy2.mpfr(bias))


def elements(*shape, count=12):
    """Corners of an array, and some of its other places."""
    rng = np.random.default_rng(sum(shape))
    corners = {tuple(length - 1 if last else 0 for length in shape) for last in (False, True)}
    return sorted(corners | {tuple(rng.integers(shape).tolist()) for _ in range(count)})


def uniform(source, *shape, dtype):
    """In [−1, 1) with every bit of the significand in use, so that each step of a chain rounds."""
    raw = source.random_raw(int(np.prod(shape))) >> np.uint64(11)
    return (raw * 2.0**-52 - 1).astype(dtype).reshape(shape)
