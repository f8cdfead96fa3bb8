"""What each column of a table is: learned from the rows of the training, and told.

A column is left out if it says nothing about a new row: it is constant, empty, or all its cells
differ, as those of an id do. What the user said of a column is not judged.
"""

import re
from collections import Counter
from typing import NamedTuple

import numpy as np

from fastbp._preparation.columns import MOST_LEVELS, Levels, Number, as_floats, level_texts
from fastbp._preparation.remarks import remark

ID_NAME = re.compile(r"(?i)(?:^|.*[\W_])(?:id|uid|uuid|guid|key|index|idx|nr|no|number|rownames)$")
DATED = "ISO 8601"  # the form of dates that are no text, as in Parquet
CAMEL_ID = re.compile(r".*[a-z](?:Id|ID|Key|UUID)$")
FEWEST_IDS = 10  # rows: in fewer all cells may differ by chance
MOST_STEP = 3  # of running numbers, on average: with --folds 2 half of the rows are held out


class Wishes(NamedTuple):
    """What the user said of columns, by name."""

    numeric: frozenset = frozenset()
    categorical: frozenset = frozenset()


class Judgement(NamedTuple):
    """What was found of a column.

    Attributes
    ----------
    column : Number or Levels, or None
        None if the column is left out.
    words : str
        What is done with it, or why it is left out.
    mean, scale : (n_features,) ndarray of float64
        Of its features in the rows of the training.
    """

    column: object
    words: str
    mean: np.ndarray = np.zeros(0)
    scale: np.ndarray = np.zeros(0)


NO_WISHES = Wishes()


def judge(column, rows, wishes=NO_WISHES, form=""):
    """Judge a column by the rows of the training.

    Parameters
    ----------
    column : Column
    rows : (n_rows,) ndarray of int
    wishes : Wishes
    form : str
        How its dates are written in the file, or the unit behind its numbers.

    Returns
    -------
    Judgement
    """
    name, asked = column.name, column.name in wishes.numeric | wishes.categorical
    there, missing = column.values[rows], column.missing[rows]
    n_missing = int(missing.sum())
    if n_missing:
        there = there[~missing]
    if not len(there):
        return Judgement(None, "left out: empty" if column.missing.all() else
                         "left out: empty in the rows of the training")
    if not n_missing and (there == there[0]).all():
        return Judgement(None, "left out: constant")
    said = "" if asked or there.dtype != object else remark(there)
    if not asked and _is_id(name, there):
        return Judgement(None, f"left out: an id, all its cells differ{said}")
    is_text = there.dtype == object or there.dtype.kind in "iu"  # integers of more than 53 bits
    if name in wishes.categorical or (is_text and name not in wishes.numeric):
        n_levels = 0 if asked else _n_levels(there)
        if n_levels > MOST_LEVELS and 2 * n_levels > len(there):
            return Judgement(None, f"left out: {n_levels} levels in {len(there)} cells{said}")
        judgement = _levels(column, rows, n_missing)
        return judgement._replace(words=judgement.words + said)
    return _number(column, rows, n_missing, form)


def _n_levels(there):
    return len(set(there.tolist())) if there.dtype == object else len(np.unique(there))


def _is_id(name, there):
    """Whether all cells differ, as those of an id do; that takes longest, and comes last."""
    n = len(there)
    if n < FEWEST_IDS or there.dtype.kind not in "fiuO":
        return False
    if there.dtype.kind == "f":
        named = ID_NAME.fullmatch(name) or CAMEL_ID.fullmatch(name)
        with np.errstate(over="ignore"):
            spread = there.max() - there.min()
        if spread < n - 1 or not (named or spread < MOST_STEP * n):
            return False
        if not (there == np.floor(there)).all() or not (named or _counts_rows(there)):
            return False
    return _n_levels(there) == n


def _counts_rows(there):
    """Whether these are running numbers, of which the rows of the training may be a part."""
    span = there.max() - there.min()
    ascending = bool((np.diff(there) > 0).all())
    return bool(span == len(there) - 1) or (ascending and bool(span < MOST_STEP * len(there)))


def _levels(column, rows, n_missing):
    source = {"f": "number", "b": "truth"}.get(column.values.dtype.kind, "text")
    there = rows[~column.missing[rows]]
    counts = Counter(level_texts(column._replace(values=column.values[there])))
    levels = sorted(counts)
    rare = []
    if len(levels) > MOST_LEVELS:  # the rarest go together; of a tie the first in order, as
        rare = sorted(levels, key=counts.get)[:len(levels) - MOST_LEVELS]  # OneHotEncoder does
        levels = sorted(set(levels) - set(rare))
    found = Levels(column.name, source, tuple(levels), n_missing > 0, bool(rare), frozenset(rare))
    words = f"{len(counts)} levels"
    if found.other:
        words += f", the {MOST_LEVELS} most frequent and all others"
    if n_missing:
        words += f"; {n_missing} missing, a level of their own"
    width = len(found.features)
    return Judgement(found, words, np.zeros(width), np.ones(width))


def _number(column, rows, n_missing, form):
    kind = {"b": "truth", "M": "date"}.get(column.values.dtype.kind, "number")
    form = form or (DATED if kind == "date" else "")
    number = Number(column.name, kind, form, 0.0, n_missing > 0)
    missing = column.missing[rows]
    values = as_floats(column._replace(values=column.values[rows], missing=missing), number)
    there = values[~missing] if n_missing else values
    number = number._replace(fill=float(np.median(there)))
    values[missing] = number.fill
    mean, scale = (0.0, 1.0) if kind == "truth" else standardisation(values)
    if not np.isfinite(scale):
        raise ValueError(f"column {column.name!r}: the values are too large to standardise")
    words = {"truth": "true or false", "date": f"dates ({form}), as days",
             "number": f"number ({form!r} behind each)" if form else "number"}[kind]
    if n_missing:
        words += f"; {n_missing} missing, filled with the median {filling(number)}, and a flag"
    return Judgement(number, words, np.array([mean, 0.0])[:1 + number.flag],
                     np.array([scale, 1.0])[:1 + number.flag])


def standardisation(values):
    """The mean and the standard deviation; 1 in place of the latter if all values are the same."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = values.mean(), values.std()
    # Rounding can give a constant column a tiny deviation, and a tiny spread can underflow to 0.
    return mean, 1.0 if values.min() == values.max() or scale == 0.0 else scale


def filling(number):
    """What stands for a missing cell, as text."""
    if number.kind != "date":
        return f"{number.fill:g}"
    return str(np.datetime64(0, "D") + np.timedelta64(int(np.floor(number.fill)), "D"))
