"""`clip_grad_norm` to exact values: its norm, what it clips, and numbers at the ends of a dtype."""

from fractions import Fraction

import numpy as np
import pytest
from errors import refused

from fastbp import clip_grad_norm, reference

SIZES = [1, 2, 7, 8, 9, 255, 256, 257, 1023, 1024, 1025, 4096, 5000, 70_001]
SCALES = {"float32": [1.0, 2.0**-126, 1e-44, 1e38], "float64": [1.0, 2.0**-1022, 1e-322, 1e200,
                                                                1e-200, 1.7e308]}
CASES = [(dtype, scale) for dtype, scales in SCALES.items() for scale in scales]


def vector(size, dtype, scale, seed=0):
    x = np.random.default_rng(seed).uniform(-1, 1, size)
    return (x * scale).astype(dtype)


def squared(x):
    """The exact ||x||^2: a sum of integers, of which the least exponent has bits of its own."""
    mantissas, exponents = np.frexp(x.astype(float))
    least = exponents.min()
    total = sum(m * m << 2 * e for m, e in zip((mantissas * 2.0**53).astype(int).tolist(),
                                               (exponents - least).tolist(), strict=True))
    return total * Fraction(2) ** (2 * (int(least) - 53))


def share(size):
    """How far the norm may be off, of itself: see `clipping.pxi`."""
    return Fraction(19) / 2**53 + Fraction(size, 512) / 2**53


def excess(size, dtype):
    """How far a clipped norm may be above the limit, of it."""
    return Fraction(float(np.finfo(dtype).eps)) + Fraction(64 * 512 + size, 512) / 2**53


@pytest.mark.parametrize("dtype, scale", CASES)
def test_the_norm(dtype, scale, isa):
    """Within its bound, and half the least number of float64 where it is not normal."""
    for size in SIZES[:-1]:
        x = vector(size, dtype, scale)
        norm, exact = clip_grad_norm(x.copy(), np.inf), squared(x)
        if norm == np.inf:
            assert exact > Fraction(np.finfo(float).max) ** 2, size
            continue
        off = share(size) * Fraction(norm) + Fraction(1, 2**1075)
        assert max(Fraction(norm) - off, 0) ** 2 <= exact <= (Fraction(norm) + off) ** 2, size


@pytest.mark.parametrize("dtype, scale", CASES)
@pytest.mark.parametrize("size", [1, 9, 300, 5000])
def test_what_is_clipped_is_no_longer_than_the_limit(size, dtype, scale, isa):
    """Nor shorter, by the same share and the least numbers of the dtype. A limit below 1e-3 is
    absolute, others are shares of the norm."""
    x = vector(size, dtype, scale)
    norm = clip_grad_norm(x.copy(), np.inf)
    for given in (0.5, 1e-3, 1e-40, 1e-300, 5e-324, 0.999999999):
        limit = given if given < 1e-3 else given * min(norm, np.finfo(float).max)
        if not 0 < limit < norm:
            continue
        clipped = x.copy()
        assert clip_grad_norm(clipped, limit) == norm
        room = excess(size, dtype) * Fraction(limit)
        room += (int(size**0.5) + 1) * Fraction(float(np.finfo(dtype).smallest_subnormal))
        found = squared(clipped)
        assert max(Fraction(limit) - room, 0) ** 2 <= found <= (Fraction(limit) + room) ** 2, given
        assert (np.sign(clipped) * np.sign(x) >= 0).all(), given


@pytest.mark.parametrize("size", SIZES)
def test_every_element_counts_once(size, dtype, isa):
    """No element is left out or counted twice: sums of squares of small integers are exact."""
    x = np.random.default_rng(size).integers(-3, 4, size).astype(dtype)
    assert clip_grad_norm(x.copy(), np.inf) == np.sqrt((x.astype(float) ** 2).sum())


def in_order(x):
    """Element k of a block into partial sum k mod 8, blocks of 256 ascending."""
    total = 0.0
    for block in range(0, len(x), 256):
        sums = np.zeros(8)
        for k, each in enumerate(x[block:block + 256].astype(float)):
            sums[k % 8] += each * each
        p = sums[:4] + sums[4:]
        total += (p[0] + p[1]) + (p[2] + p[3])
    return total


@pytest.mark.parametrize("size", SIZES[:-1])
def test_the_bits_of_the_norm(size, isa):
    """Squares of float32 are exact, so that a loop of Python has the same roundings."""
    x = vector(size, "float32", 1.0)
    assert clip_grad_norm(x.copy(), np.inf) == np.sqrt(in_order(x))


@pytest.mark.parametrize("dtype, scale", CASES)
@pytest.mark.parametrize("size", [1, 9, 300, 5000])
def test_the_twin(size, dtype, scale, isa):
    """Both within their roundings of the exact values: those of `share`, and as many of NumPy's
    sum, whose order is its own; of each element three or fewer beside them."""
    x = vector(size, dtype, scale)
    for limit in (0.25 * scale, 1e-300):
        one, other = x.copy(), x.copy()
        norm, expected = clip_grad_norm(one, limit), reference.clip_grad_norm(other, limit)
        both = float(share(size)) + (size / 2 + 4) * 2.0**-53
        assert norm == expected or norm == pytest.approx(expected, rel=both, abs=5e-324)
        of = np.finfo(dtype)
        np.testing.assert_allclose(one, other, rtol=3 * float(of.eps) + both,
                                   atol=float(of.smallest_subnormal))


@pytest.mark.parametrize("function", [clip_grad_norm, reference.clip_grad_norm])
@pytest.mark.parametrize("x, clipped", [
    ([np.inf, 1, -2, 0], [np.nan, 0, -0.0, 0]), ([np.nan, 1, 2, 0], [np.nan] * 4),
    ([np.inf, np.nan, 1, 0], [np.nan] * 4), ([0, -0.0, 0, 0], [0, -0.0, 0, 0]), ([], [])])
def test_numbers_that_are_not_finite_and_zeros(x, clipped, function, dtype):
    found = np.array(x, dtype)
    assert isinstance(function(found, 0.5), float)
    np.testing.assert_array_equal(found, np.array(clipped, dtype))
    np.testing.assert_array_equal(np.signbit(found[found == 0]),
                                  np.signbit(np.array(clipped, dtype)[found == 0]))
    found = np.array(x, dtype)
    function(found, np.inf)
    np.testing.assert_array_equal(found, np.array(x, dtype))


def test_blocks_of_very_different_sizes(isa):
    """One block of 1e-200, one of 1, one of 1e200: each is summed in a range of its own."""
    parts = [np.full(256, scale) for scale in (1e-200, 1.0, 1e200, 1e-200)]
    for order in ((0, 1, 2, 3), (2, 1, 0, 3), (1, 0, 3, 2), (0, 3, 0, 3)):
        x = np.concatenate([parts[i] for i in order])
        norm = clip_grad_norm(x.copy(), np.inf)
        off = share(len(x)) * Fraction(norm)
        assert (Fraction(norm) - off) ** 2 <= squared(x) <= (Fraction(norm) + off) ** 2


def test_a_norm_beyond_float64_is_clipped_all_the_same(isa):
    x = np.full(10_000, 1e308)
    assert clip_grad_norm(x, 100.0) == np.inf
    np.testing.assert_allclose(x, 1.0, rtol=float(excess(10_000, "float64")), atol=0)


@pytest.mark.parametrize("function", [clip_grad_norm, reference.clip_grad_norm])
@pytest.mark.parametrize("grad, kind, words", [
    ([1.0, 2.0], TypeError, ["grad is of type list", "an ndarray"]),
    (np.ones(3, int), TypeError, ["grad has dtype int64", "float32 or float64"]),
    (np.ones(3, ">f4"), TypeError, ["grad has dtype >f4"]),
    (np.ma.ones(3), TypeError, ["grad is of type MaskedArray"]),
    (np.ones((2, 2)), ValueError, ["grad has shape (2, 2)", "(n_params,)"]),
    (np.ones(6)[::2], ValueError, ["grad is not C-contiguous"]),
    (np.frombuffer(bytes(16)), ValueError, ["grad is not writable"])],
    ids=["list", "int", "byte order", "masked", "matrix", "strided", "read-only"])
def test_gradients_that_do_not_fit(grad, kind, words, function):
    refused(lambda: function(grad, 1.0), kind, *words)
