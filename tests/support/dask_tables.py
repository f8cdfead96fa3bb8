"""Tables of the tests of fastbp.dask, and the bits of what was computed of them."""

import hashlib

import dask.array as da
import numpy as np

N_ROWS = 30_011     # the last block and the last of any chunks are short


def table(dtype="float32", n=N_ROWS):
    """(X, labels of two classes, names of three classes, real targets, weights)."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, 5)).astype(dtype)
    product = X[:, 0] * X[:, 1]
    names = np.array(["a", "b", "c"])[np.digitize(product, [-0.5, 0.5])]
    return X, (product > 0).astype(int), names, X[:, 0] ** 2 + X[:, 1], rng.integers(
        0, 3, n).astype(dtype)


def cut(array, rows):
    """A Dask array of chunks of so many rows."""
    return da.from_array(array, chunks=(rows, *array.shape[1:]))


def digest(*results):
    """The first digits of the SHA-256 of numbers, arrays and the weights of estimators."""
    bits = hashlib.sha256()
    for each in results:
        arrays = [*each.coefs_, *each.intercepts_] if hasattr(each, "coefs_") else [each]
        for array in arrays:
            bits.update(np.ascontiguousarray(array).tobytes())
    return bits.hexdigest()[:16]


def difference_of_sums(n):
    """How far two float64 sums of the same n terms of one sign may be apart, relative to them.

    Each is within (n + 16) 2^-53 of the exact one: n - 1 additions, in whatever order, and at most
    16 roundings of a weight, the penalty and the mean.
    """
    return 2 * (n + 16) * 2.0**-53
