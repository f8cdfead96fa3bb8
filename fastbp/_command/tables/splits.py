"""Rows that are held out, at random and the same for a seed."""

import numpy as np

from fastbp._engine.orders import permuted

SPLIT, EPOCH, VALIDATION, FOLDS, SHUFFLE = range(1, 6)  # streams beside that of the weights


def stream(seed, *which):
    """A bit generator of its own for each purpose of `--seed`."""
    return np.random.PCG64(np.random.SeedSequence([seed, *which]))


def stratified_split(y, fraction, seed, which=SPLIT):
    """Split rows at random into two parts with the same shares of the classes.

    Parameters
    ----------
    y : (n,) ndarray
        The class of each row; zeros, if there are no classes.
    fraction : float
        The share of each class in the second part; rounded to rows, but each part gets one at
        least, and of a class with a single row that is the first.
    seed, which : int
        The rows are shuffled by `_random.permutation` from the stream PCG64([seed, which]).

    Returns
    -------
    first, second : ndarray of int
        Row numbers, ascending.

    Raises
    ------
    ValueError
        `fraction` is not between 0 and 1, or no class has two rows.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"the share of rows held out must be between 0 and 1, it is {fraction}")
    order = permuted(stream(seed, which).random_raw(len(y) - 1))
    second = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = order[y[order] == label]
        second[rows[:min(max(round(fraction * len(rows)), 1), len(rows) - 1)]] = True
    if not second.any():
        raise ValueError("no class has two rows: none can be held out (--test-fraction 0 holds "
                         "out none)")
    return np.flatnonzero(~second), np.flatnonzero(second)


def folds(y, n_folds, seed):
    """Yield (training rows, held-out rows) of each fold, with the same shares of the classes.

    Raises
    ------
    ValueError
        There are fewer rows than folds.
    """
    if len(y) < n_folds:
        raise ValueError(f"{len(y)} rows cannot be divided into {n_folds} folds")
    order = permuted(stream(seed, FOLDS).random_raw(len(y) - 1))
    by_class = order[np.argsort(y[order], kind="stable")]
    for k in range(n_folds):
        held_out = np.zeros(len(y), dtype=bool)
        held_out[by_class[k::n_folds]] = True
        yield np.flatnonzero(~held_out), np.flatnonzero(held_out)
