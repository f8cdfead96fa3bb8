"""Columns as the standardised features of a network, and back from a model file."""

from typing import NamedTuple

import numpy as np

from fastbp._preparation.columns import Levels, Number
from fastbp._table.cells import DATE_FORMS

KINDS = ("number", "date", "truth")
SOURCES = ("text", "number", "truth")


class Told(NamedTuple):
    """What was done to cells, {name of a column: how many cells}.

    Attributes
    ----------
    filled : dict
        Missing cells: filled, or without a feature that says so.
    unknown : dict
        Cells whose level has no feature of its own.
    """

    filled: dict
    unknown: dict


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
        X, told, j = np.empty((n, len(self.mean)), dtype), Told({}, {}), 0
        for wanted, column in zip(self.columns, columns, strict=True):
            width = len(wanted.features)
            here = slice(j, j + width)
            mean, scale = self.mean[here], self.scale[here]
            stays = isinstance(wanted, Levels) and not mean.any() and (scale == 1).all()
            # 0 and 1 are put where they belong, numbers are standardised in float64 before.
            features = X[:, here] if stays else np.empty((width, n)).T
            counts = wanted.encode(column, features)
            for kept, count in zip(told, counts, strict=True):
                if count:
                    kept[wanted.name] = count
            if not stays:
                features -= mean
                features /= scale
                X[:, here] = features
            j += width
        return X, told

    def as_lists(self):
        """The columns as JSON takes them."""
        return [{"kind": column.kind, **_without_kind(column)} if isinstance(column, Number)
                else {"kind": "levels", **column._asdict(), "levels": [*column.levels]}
                for column in self.columns]


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
        found = Levels(**{**entry, "levels": tuple(entry["levels"])})
        fine = found.source in SOURCES and len(set(found.levels)) == len(found.levels) and all(
            isinstance(text, str) for text in (found.name, *found.levels))
        flags = found.missing, found.other
    else:
        found = Number(**entry)
        forms = DATE_FORMS if kind == "date" else ("",)
        fine = kind in KINDS and found.form in forms and isinstance(found.name, str) and (
            isinstance(found.fill, float) and np.isfinite(found.fill))
        flags = (found.flag,)
    if not fine or not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(f"damaged: {entry.get('name')!r} is no column that a model can have")
    return found
