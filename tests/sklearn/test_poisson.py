"""Promise: scikit-learn's Poisson loss has the same bits on every processor, and is right."""

import mpmath
import numpy as np

from fastbp.sklearn._poisson import LOG_2, least_poisson_loss, log

U = 2.0**-53


def test_the_logarithm_is_within_its_bound():
    """5 U of itself, as derived in its docstring."""
    rng = np.random.default_rng(0)
    x = np.concatenate([np.exp(rng.uniform(-700, 700, 2000)), rng.uniform(0.5, 2, 3000),
                        1 + rng.uniform(-1e-9, 1e-9, 500), 2.0 ** np.arange(-1074, 1024, 7),
                        np.arange(1, 1000)])
    with mpmath.workprec(200):
        for value, found in zip(x.tolist(), log(x).tolist(), strict=True):
            exact = mpmath.log(mpmath.mpf(value))
            assert abs(found - exact) <= 5 * U * abs(exact)


def test_the_first_part_of_log_2_times_any_exponent_is_exact():
    for k in range(-1074, 1025):
        assert k * mpmath.mpf(LOG_2[0]) == k * LOG_2[0]


def test_the_least_loss():
    """Σ y − y log y of each row: the logarithm's bound, three roundings a term, and their sum."""
    y = np.array([[0.0, 1.0], [2.5, 1e9], [1e-30, 3.0]])
    found = least_poisson_loss(np.float32(y))
    for row, loss in zip(np.float32(y).tolist(), found, strict=True):
        terms = [mpmath.mpf(t) - (mpmath.mpf(t) * mpmath.log(t) if t else 0) for t in row]
        largest = sum(abs(t) * (1 + abs(mpmath.log(t))) for t in row if t)
        assert abs(loss - sum(terms)) <= 10 * U * largest
    assert least_poisson_loss(y[:, 0]).shape == (3,)
