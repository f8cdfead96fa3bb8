"""Initial weights, orders of samples and noise from the raw 64-bit output of a bit generator (N6).

NumPy may change the streams of its ``Generator`` methods between releases, but not what a bit
generator puts out. So fastbp specifies itself how each raw draw is used, in the recipes below; of
the permutation and the normal numbers they are the plain twins of native code, draw for draw and
bit for bit. Nothing here touches a global generator.
"""

import math
import sys
from itertools import pairwise

import numpy as np

from fastbp import _arguments
from fastbp._arguments import bit_generator

_TWO_32 = np.uint64(32)
_TO_53_BITS = np.uint64(11)
_ONE = np.uint64(1)
_MOST_NUMBERS = sys.maxsize // 8  # of 64 bits, in one array
DRAWS_BETWEEN_SIGNALS = 1 << 16  # draws between two looks for Ctrl-C


def raw_bits(rng, size):
    """``size`` raw draws of 64 bits, ``(size,)`` uint64; an int seed starts its stream afresh.

    MT19937 puts out 32 bits at a time: two of its draws make one, the first in the high half.
    """
    source = bit_generator(rng)
    if isinstance(source, np.random.MT19937):
        high, low = source.random_raw(2 * size).reshape(size, 2).T
        return (high << _TWO_32) | low
    return _arguments.raw_draws(source, source.random_raw(size), size)


def many_raw_bits(source, size):
    """`raw_bits` of a bit generator, so many at a time that handlers of signals run in between."""
    if size <= DRAWS_BETWEEN_SIGNALS:
        return raw_bits(source, size)
    bits = np.empty(size, np.uint64)
    for first in range(0, size, DRAWS_BETWEEN_SIGNALS):
        some = bits[first:first + DRAWS_BETWEEN_SIGNALS]
        some[:] = raw_bits(source, some.size)
    return bits


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


@_arguments.explained
def poisson_order(n, rate, steps, rng=None):
    """The samples of each step under Poisson sampling, for `MLP.train_epoch`'s ``order``.

    Each of n samples joins each step with probability ``rate``, whatever else does: the sampling
    that accountants of differential privacy know best. The expected size of a step, n rate, is then
    the ``batch_size`` of `MLP.train_epoch`; a step may take no sample.

    It is specified (N6): n raw 64-bit draws for each step, and a sample joins if the upper 63 bits
    of its draw are below rate 2**63.

    Parameters
    ----------
    n : int
        Samples there are, at least 1.
    rate : float
        In (0, 1].
    steps : int
        At least 1.
    rng : int, numpy.random.Generator, BitGenerator or None
        Source of the draws. An int gives the same order at every call.

    Returns
    -------
    list of ndarrays of intp
        Ascending indices, one array for each step.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit; the message names it.
    MemoryError
        For more samples or steps than there is memory for.
    """
    n, steps = [_arguments.count(name, number, most=_MOST_NUMBERS)
                for name, number in (("n", n), ("steps", steps))]
    below = np.uint64(math.ceil(math.ldexp(_arguments.probability("rate", rate), 63)))
    source = bit_generator(rng)
    order = [None] * steps  # the memory of the list comes first: too many steps fail at once
    for step in range(steps):
        order[step] = np.flatnonzero(many_raw_bits(source, n) >> _ONE < below)
    return order


# ---- noise

_TO_52_BITS, _TO_TURN, _LOW_52_BITS = np.uint64(12), np.uint64(10), np.uint64(2**52 - 1)
_SIGN, _SWAP = np.uint64(62), np.uint64(63)
_ROOT_HALF = 0x3fe6a09e667f3bcd  # the bits of √½
_LN2 = float.fromhex("0x1.62e42fefa39efp-1")
_LOG_SERIES = [2 / j for j in range(3, 23, 2)]
_COSINE_SERIES = [(-1) ** j / math.factorial(2 * j) for j in range(1, 9)]
_SINE_SERIES = [(-1) ** j / math.factorial(2 * j + 1) for j in range(1, 9)]


def _series(terms, x):
    total = terms[-1]
    for term in terms[-2::-1]:
        total = total * x + term
    return total


def normals(raw):
    """As many normal numbers as there are raw draws, an even number of them; float64.

    Two draws a and b make two numbers, by the transform of Box and Muller:

        u = (⌊a/2¹²⌋ + ½) 2⁻⁵²,  t = (⌊b/2¹⁰⌋ mod 2⁵² + ½) 2⁻⁵² − ½,  r = √(−2 ln u)
        c = ±cos(π/2 t), − where bit 62 of b is set,  s = sin(π/2 t)
        r c and r s; r s and r c where bit 63 of b is set

    With u = 2ᵏ m, m in [√½, √2), and x = (m − 1)/(m + 1): ln u = k ln 2 + 2 Σ x²ʲ⁺¹/(2j + 1) up to
    x²¹; cosine and sine are their series up to the powers 16 and 17. The order of the operations,
    each an IEEE addition, product, quotient or root, is part of the specification: the native text
    in ``_kernels/noise.pxi`` has the same bits, and docs/derivation.md bounds their error.
    """
    a, b = raw[0::2], raw[1::2]
    word = (((a >> _TO_52_BITS).astype(np.float64) + 0.5) * 2.0**-52).view(np.int64)
    k = (word - _ROOT_HALF) >> 52
    m = (word - (k << 52)).view(np.float64)
    x = (m - 1) / (m + 1)
    square = x * x
    log = x * (2 + square * _series(_LOG_SERIES, square))
    radius = np.sqrt(-2 * (k * _LN2 + log))
    t = ((b >> _TO_TURN & _LOW_52_BITS).astype(np.float64) + 0.5) * 2.0**-52 - 0.5
    phi = t * (np.pi / 2)
    square = phi * phi
    sign = 1.0 - 2.0 * (b >> _SIGN & _ONE)
    c = radius * ((1 + square * _series(_COSINE_SERIES, square)) * sign)
    s = radius * (phi + phi * (square * _series(_SINE_SERIES, square)))
    swap = (b >> _SWAP).astype(bool)
    return np.stack([np.where(swap, s, c), np.where(swap, c, s)], axis=1).ravel()
