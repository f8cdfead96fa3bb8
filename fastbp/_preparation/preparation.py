"""Columns as the standardised features of a network, and back from a model file."""

from typing import NamedTuple

import numpy as np

from fastbp._preparation.columns import Levels, Number
from fastbp._table.dates import DATE_FORMS

KINDS = ("number", "date", "truth")
SOURCES = ("text", "number", "truth")
ROWS_AT_ONCE = 4096  # whose features stay in the cache while column after column fills them


MOST_KEPT = 4  # of the new levels of a column


class Told(NamedTuple):
    """What was done to cells, {name of a column: how many cells}: see `columns.Encoded`.

    Attributes
    ----------
    filled, rare, unknown : dict
        Missing cells, those of rare levels, and those of levels that were not in the training.
    new : dict
        {name of a column: the first of its unknown levels}
    """

    filled: dict
    rare: dict
    unknown: dict
    new: dict

    def add(self, name, filled, rare, unknown, new):
        """Add counts of cells of a column, and levels that were not in the training."""
        for counts, n in ((self.filled, filled), (self.rare, rare), (self.unknown, unknown)):
            if n:
                counts[name] = counts.get(name, 0) + n
        if unknown:
            known = self.new.get(name, ())
            self.new[name] = [*dict.fromkeys((*known, *new))][:MOST_KEPT]

    def update(self, other):
        """Add what was done to other cells."""
        for name in dict.fromkeys((*other.filled, *other.rare, *other.unknown)):
            self.add(name, *(counts.get(name, 0) for counts in other[:3]), other.new.get(name, ()))


class Preparation(NamedTuple):
    """How columns become features, learned from the rows of a training.

    Attributes
    ----------
    columns : tuple of Number and Levels
    mean, scale : (n_features,) ndarray of float64
        Features are standardised by ``(feature - mean) / scale``; levels, truth values and flags
        stay 0 and 1.
    """

    columns: tuple
    mean: np.ndarray
    scale: np.ndarray

    @property
    def names(self):
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self):
        """The names of the features, in their order."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def kinds(self):
        """What each column is read as: see `Table.columns`."""
        return {column.name: column.reads for column in self.columns}

    def encode(self, columns, dtype=np.float64):
        """Return the standardised features and what was done to cells.

        Parameters
        ----------
        columns : sequence of Column
            In the order of `columns`.
        dtype : dtype
            To which the features are rounded, once.

        Returns
        -------
        X : (n, n_features) ndarray
        told : Told

        Raises
        ------
        ValueError
            A cell is not what it was in the training, or too large for the dtype.
        """
        n = len(columns[0].values) if columns else 0
        X, told = np.empty((n, len(self.mean)), dtype), Told({}, {}, {}, {})
        for first in range(0, n, ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            self._encode(X[rows], told, [column._replace(
                values=column.values[rows], missing=column.missing[rows]) for column in columns])
        return X, told

    def _encode(self, X, told, columns):
        """Fill some rows of X, and add what was done to their cells."""
        j = 0
        for wanted, column in zip(self.columns, columns, strict=True):
            here = slice(j, j + len(wanted.features))
            mean, scale = self.mean[here], self.scale[here]
            if isinstance(wanted, Levels) and not mean.any() and (scale == 1).all():
                done = wanted.encode(column, X[:, here])
            else:
                features = np.empty((here.stop - j, len(X))).T  # its columns are filled in turn
                done = wanted.encode(column, features)
                features -= mean
                features /= scale
                with np.errstate(over="ignore"):
                    X[:, here] = features
                if not np.isfinite(X[:, here]).all():
                    _refuse_overflow(wanted, X[:, here], features * scale + mean)
            told.add(wanted.name, done.filled, done.rare, len(done.new), done.new)
            j = here.stop

    def as_lists(self):
        """The columns as JSON takes them."""
        return [{"kind": column.kind, **_without_kind(column)} if isinstance(column, Number)
                else {"kind": "levels", **column._asdict(), "levels": [*column.levels],
                      "rare": sorted(column.rare)}
                for column in self.columns]


def _refuse_overflow(column, X, values):
    """Raise for the first value that is beyond the dtype once it is standardised."""
    row = int(np.flatnonzero(~np.isfinite(X).all(axis=1))[0])
    raise ValueError(f"column {column.name!r} holds {values[row, 0]:g}, which is too large for "
                     f"{X.dtype.name} once it is standardised")


def _without_kind(column):
    return {name: value for name, value in column._asdict().items() if name != "kind"}


def columns_from(lists):
    """The columns of `Preparation.as_lists`.

    Raises
    ------
    ValueError
        They are not such lists.
    """
    columns = tuple(_column(entry) for entry in lists)
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise ValueError("damaged: two columns have one name")
    return columns


def _column(entry):
    entry = dict(entry)
    kind = entry.get("kind")
    if kind == "levels":
        del entry["kind"]
        rare = tuple(entry.get("rare", ()))
        found = Levels(**{**entry, "levels": tuple(entry["levels"]), "rare": frozenset(rare)})
        levels = (*found.levels, *rare)
        fine = found.source in SOURCES and len(set(levels)) == len(levels) and all(
            isinstance(text, str) for text in (found.name, *levels)) and (
            found.other or not rare) and all(
            isinstance(each, list) for each in (entry["levels"], entry.get("rare", [])))
        flags = found.missing, found.other
    else:
        found = Number(**entry)
        form = found.form
        known = isinstance(form, str) if kind == "number" else form in (
            DATE_FORMS if kind == "date" else ("",))
        fine = kind in KINDS and known and isinstance(found.name, str) and (
            isinstance(found.fill, float) and np.isfinite(found.fill))
        flags = (found.flag,)
    if not fine or not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(f"damaged: {entry.get('name')!r} is no column that a model can have")
    return found
