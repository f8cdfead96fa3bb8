"""N6 of a shuffle, as it is written; no test is here."""

import numpy as np


def fisher_yates(n, raw):
    """N6: entry i changes places with entry ⌊raw · (i + 1)/2⁶⁴⌋, i from n − 1 down to 1."""
    a = list(range(n))
    for i, draw in zip(range(n - 1, 0, -1), raw, strict=True):
        j = draw * (i + 1) >> 64
        a[i], a[j] = a[j], a[i]
    return np.array(a)


def raw_draws(bits, n):
    """n draws of 64 bits; MT19937 puts out 32 at a time, the high half first."""
    if isinstance(bits, np.random.MT19937):
        halves = bits.random_raw(2 * n).tolist()
        return [high << 32 | low for high, low in zip(halves[::2], halves[1::2], strict=True)]
    return bits.random_raw(n).tolist()
