"""Promise: the noise is normal: each number within a derived bound of the exact transform of its
two draws, all of them distributed as normal numbers are, in the tails too.

The bound, u = 2^-53 (docs/derivation.md has the steps): ln m is off by 4.2 u of itself, -ln u by
9.2 u, its root by 4.6 u and a rounding; the sine by 4.9 u, the cosine by less; their product by one
more rounding. Together 12 u of the number.
"""

import mpmath
import numpy as np
import pytest
from scipy import stats

from fastbp import MLP, _random
from tests.bits.test_n6_noise import EXTREMES

U = 2.0**-53


def exact_pair(a, b):
    with mpmath.workdps(50):
        u = (mpmath.mpf(a >> 12) + 0.5) / 2**52
        t = (mpmath.mpf(b >> 10 & 2**52 - 1) + 0.5) / 2**52 - 0.5
        r = mpmath.sqrt(-2 * mpmath.log(u))
        c, s = r * mpmath.cos(mpmath.pi / 2 * t), r * mpmath.sin(mpmath.pi / 2 * t)
        c = -c if b >> 62 & 1 else c
        return (s, c) if b >> 63 else (c, s)


def test_each_number_is_within_the_bound():
    raw = np.concatenate([EXTREMES, np.random.PCG64(1).random_raw(6000)])
    worst = 0
    for (a, b), found in zip(raw.reshape(-1, 2).tolist(),
                             _random.normals(raw).reshape(-1, 2).tolist(), strict=True):
        for z, exact in zip(found, exact_pair(a, b), strict=True):
            worst = max(worst, abs(mpmath.mpf(z) / exact - 1))
    assert U < worst < 12 * U


def test_the_largest_and_the_least():
    """u = 2^-53 gives the largest radius; the tails end there, at 1e-17 of all numbers."""
    largest = np.abs(_random.normals(EXTREMES)).max()
    # Beside t = 2^-53, whose cosine is 1 within 2^-105.
    assert abs(mpmath.mpf(largest) / mpmath.sqrt(106 * mpmath.log(2)) - 1) < 12 * U
    assert 2 * stats.norm.sf(largest) < 1.1e-17
    assert np.isfinite(_random.normals(EXTREMES)).all() and _random.normals(EXTREMES).all()


N = 1_000_000
Z = _random.normals(np.random.PCG64(20).random_raw(N))


def test_distribution():
    """Kolmogorov and Smirnov's statistic of 1e6 numbers, beyond 1.95 in one of a thousand seeds."""
    x = np.sort(Z)
    F = stats.norm.cdf(x)
    off = max((np.arange(1, N + 1) / N - F).max(), (F - np.arange(N) / N).max())
    assert off * N**0.5 < 1.95


@pytest.mark.parametrize("sigma", [0.01, 1, 2, 3, 4, 4.5, 5])
def test_tails(sigma):
    """On either side within four standard deviations of the expected number."""
    p = stats.norm.sf(sigma)
    for count in ((Z > sigma).sum(), (Z < -sigma).sum()):
        assert abs(count - N * p) < 4 * (N * p * (1 - p)) ** 0.5 + 1


def test_moments_and_independence():
    """Means of n numbers of variance v are within 4 sqrt(v / n): of powers, and of products of
    numbers that one pair of draws, or two in turn, make."""
    def mean_is(values, expected, variance):
        assert abs(values.mean() - expected) < 4 * (variance / values.size) ** 0.5

    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        mean_is(Z**power, expected, variance)
    first, second = Z[0::2], Z[1::2]
    for a, b in ((first, second), (second[:-1], first[1:])):
        mean_is(a * b, 0, 1)
        mean_is((a * a - 1) * (b * b - 1), 0, 4)


def test_angles_are_uniform():
    """Of 64 sectors each has its share: chi squared of 63 degrees of freedom, one in a thousand."""
    sector = np.floor(np.arctan2(Z[1::2], Z[0::2]) * 32 / np.pi).astype(int) + 32
    counts = np.bincount(sector, minlength=64)[:64]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_noise_of_the_gradient(dtype):
    """Over many calls: the standard deviation is noise_multiplier max_norm, whatever the batch."""
    net = MLP((2, 3, 1), dtype=dtype, seed=0)
    X, y = np.full((4, 2), 0.5), np.ones(4)
    net.clipped_backprop(X, y, 0.25)
    clean, rng, noise = net.grad.astype("float64"), np.random.default_rng(7), []
    for _ in range(3000):
        net.clipped_backprop(X, y, 0.25, noise_multiplier=3.0, rng=rng)
        noise.append(net.grad - clean)
    noise = np.ravel(noise) / 0.75
    assert stats.kstest(noise, stats.norm.cdf).pvalue > 1e-3
