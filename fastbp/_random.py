"""Initial weights and shuffles from the raw 64-bit output of a bit generator (contract N6).

NumPy may change the streams of its ``Generator`` methods between releases, but not what a bit
generator puts out. So fastbp specifies itself how each raw draw is used, in the two recipes below;
the native epoch follows the second, draw for draw. Nothing here touches a global generator.
"""

from itertools import pairwise

import numpy as np

from fastbp._arguments import bit_generator

_TWO_32 = np.uint64(32)
_TO_53_BITS = np.uint64(11)
DRAWS_BETWEEN_SIGNALS = 1 << 16  # draws between two looks for Ctrl-C


def raw_bits(rng, size):
    """``size`` raw draws of 64 bits, ``(size,)`` uint64; an int seed starts its stream afresh.

    MT19937 puts out 32 bits at a time: two of its draws make one, the first in the high half.
    """
    source = bit_generator(rng)
    if isinstance(source, np.random.MT19937):
        high, low = source.random_raw(2 * size).reshape(size, 2).T
        return (high << _TWO_32) | low
    return source.random_raw(size)


def uniform_weights(sizes, seed, dtype):
    """Flat initial parameters of a network: W uniform in ±√(6/(fan_in + fan_out)), b = 0.

    One raw draw for each weight, in the order of the flat vector ``W_1.ravel(), b_1, …``: its upper
    53 bits are u in [0, 1), and (2u − 1) · limit, evaluated in float64, is rounded to ``dtype``.
    Returns ``(n_params,)``.
    """
    source = bit_generator(seed, "seed")
    parts = []
    for fan_in, fan_out in pairwise(sizes):
        W = np.empty(fan_in * fan_out, dtype)
        limit = np.sqrt(6.0 / (fan_in + fan_out))
        for first in range(0, W.size, DRAWS_BETWEEN_SIGNALS):
            some = W[first:first + DRAWS_BETWEEN_SIGNALS]
            u = (raw_bits(source, some.size) >> _TO_53_BITS) * 2.0**-53
            some[:] = (2.0 * u - 1.0) * limit
        parts += [W, np.zeros(fan_out, dtype)]
    return np.concatenate(parts)


def permutation(n, raw):
    """A permutation of 0 … n − 1 by Fisher–Yates from ``n − 1`` raw draws; ``(n,)`` intp.

    For i from n − 1 down to 1, entry i changes places with entry j = ⌊raw · (i + 1) / 2⁶⁴⌋, the
    high word of a 128-bit product. The probability of a j is off by less than 2⁻⁶⁴, relatively by
    less than n · 2⁻⁶⁴. The plain twin of the native loop.
    """
    a = list(range(n))
    for i, draw in zip(range(n - 1, 0, -1), raw.tolist(), strict=True):
        j = draw * (i + 1) >> 64
        a[i], a[j] = a[j], a[i]
    return np.array(a, dtype=np.intp)
