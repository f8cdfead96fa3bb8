"""What scikit-learn's Poisson loss has beside the one that is minimised.

Its logarithm is made of operations that IEEE 754 rounds alike everywhere: those of NumPy and of the
C library differ in their last bit between processors, and a loss decides when a fit ends.
"""

import numpy as np

# log 2 in two parts. The first ends in 21 zeros: its product with a whole number is exact.
LOG_2 = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")


def least_poisson_loss(y):
    """Σ_j y_j − y_j log y_j of each row, in float64: the loss of a network that is right."""
    y = np.float64(y)
    logs = log(np.where(y > 0, y, 1.0))
    return (y - y * logs).reshape(len(y), -1).sum(axis=1)


def log(x):
    """The logarithm of positive numbers, in float64.

        x = 2^k m, √½ ≤ m < √2;   s = (m − 1)/(m + 1);   log x = k log 2 + 2(s + s³/3 + s⁵/5 + …)

    |s| < 0.172, and so what comes after s²³/23 is below 2^-63 of the sum. The result is within
    5·2^-53 of it, relatively: m − 1 is exact, m + 1, s and each of the two last sums are rounded,
    and the rest is a hundredth of s.
    """
    m, k = np.frexp(x)
    small = m < np.sqrt(0.5)
    m, k = np.where(small, 2 * m, m), k - small
    s = (m - 1) / (m + 1)
    beyond = np.zeros_like(s)           # s²/3 + s⁴/5 + …
    for n in range(23, 1, -2):
        beyond = s * s * (1 / n + beyond)
    return k * LOG_2[0] + (2 * s + (2 * s * beyond + k * LOG_2[1]))
