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
    """Of numbers, arrays and fitted estimators."""
    bits = hashlib.sha256()
    for each in results:
        arrays = [*each.coefs_, *each.intercepts_] if hasattr(each, "coefs_") else [each]
        for array in arrays:
            bits.update(np.ascontiguousarray(array).tobytes())
    return bits.hexdigest()[:16]
