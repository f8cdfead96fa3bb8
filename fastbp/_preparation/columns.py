"""One column of a table as features of a network.

A number, a date or a truth value becomes one feature, and where cells were missing in the training
a second one that says whether the cell is missing. Levels become one feature each, 1 where the cell
is of this level and 0 elsewhere.

|        | features                                    | a missing cell     | an unknown level |
|--------|---------------------------------------------|--------------------|------------------|
| number | the value; 1 if missing                     | `fill`, the median |                  |
| date   | days since 1970-01-01, in UTC; 1 if missing | the same           |                  |
| truth  | 0 or 1; 1 if missing                        | the same           |                  |
| levels | one for each level; missing; other          | a level of its own | other            |

Where no cell was missing in the training there is no feature for it, and where no level was rare
there is none for others: a missing cell, or an unknown level, is then 0 in all features of its
column.
"""

import re
from itertools import repeat
from typing import NamedTuple

import numpy as np

from fastbp._table.cells import Column
from fastbp._table.dates import dates_in

MOST_LEVELS = 50  # with a feature of their own
DAY = np.timedelta64(1, "D").astype("timedelta64[us]")
TRUTHS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
LOWER = {text: text.lower() for text in ("True", "TRUE", "False", "FALSE")}
MIDNIGHT = "T00:00:00.000000"
WHOLE = re.compile(r"-?[0-9]+\.0")


class Encoded(NamedTuple):
    """What was done to the cells of a column.

    Attributes
    ----------
    filled : int
        Missing cells: filled, or without a feature that says so.
    rare : int
        Cells of a level that was rare in the training, and has no feature of its own.
    new : list of str
        The cells of levels that were not in the training.
    """

    filled: int
    rare: int
    new: list


class Number(NamedTuple):
    """A column of numbers, dates or truth values.

    Attributes
    ----------
    name : str
    kind : {"number", "date", "truth"}
    form : str
        Of dates how they are written, one of `DATE_FORMS`; of numbers the unit behind them in
        texts; else empty.
    fill : float
        What stands for a missing cell: the median of the rows of the training.
    flag : bool
        Whether a second feature says that the cell is missing.
    """

    name: str
    kind: str
    form: str
    fill: float
    flag: bool

    @property
    def features(self):
        """The names of its features."""
        return [self.name, f"{self.name} is missing"][:1 + self.flag]

    @property
    def reads(self):
        """What kind of column a file is asked for: see `Table.columns`."""
        return self.kind

    def encode(self, column, out):
        """Fill `out` (n, n_features); return `Encoded`."""
        values = as_floats(column, self)
        missing = column.missing | np.isnan(values)
        out[:, 0] = np.where(missing, self.fill, values)
        if self.flag:
            out[:, 1] = missing
        return Encoded(int(missing.sum()), 0, [])


class Levels(NamedTuple):
    """A column of levels, each a feature.

    Attributes
    ----------
    name : str
    source : {"text", "number", "truth"}
        What the cells were in the table of the training.
    levels : tuple of str
        In the order of the features.
    missing, other : bool
        Whether there is a feature for missing cells, and one for rare and unknown levels.
    rare : frozenset of str
        Levels of the training that have no feature of their own.
    """

    name: str
    source: str
    levels: tuple
    missing: bool
    other: bool
    rare: frozenset = frozenset()

    @property
    def features(self):
        """The names of its features."""
        return [*(f"{self.name} = {level}" for level in self.levels),
                *[f"{self.name} is missing"] * self.missing,
                *[f"{self.name} is other"] * self.other]

    @property
    def reads(self):
        """What kind of column a file is asked for: see `Table.columns`."""
        return "number" if self.source == "number" else "text"

    def encode(self, column, out):
        """Fill `out` (n, n_features); return `Encoded`."""
        out[...] = 0.0
        places = {level: j for j, level in enumerate(self.levels)}
        texts = level_texts(column)
        if self.source == "truth":  # a CSV file has them as True, TRUE or true
            texts = [LOWER.get(text, text) for text in texts]
        codes = np.fromiter(map(places.get, texts, repeat(-1)), np.intp, len(texts))
        codes[column.missing] = -2
        unknown = codes == -1
        rows = np.flatnonzero(codes >= 0)
        out[rows, codes[rows]] = 1.0
        if self.missing:
            out[column.missing, len(self.levels)] = 1.0
        if self.other:
            out[unknown, -1] = 1.0
        others = [texts[i] for i in np.flatnonzero(unknown)]
        new = [text for text in others if text not in self.rare]
        return Encoded(0 if self.missing else int(column.missing.sum()),
                       len(others) - len(new), new)


def as_floats(column, number=None):
    """The cells of a column as float64; of missing ones any value.

    Parameters
    ----------
    column : Column
    number : Number, optional
        What the column is to be; without it the values decide.
    """
    values, kind = column.values, number.kind if number else None
    if values.dtype == object:
        if kind == "date":
            values = _dates(column, number.form)
        elif kind == "truth":
            values = _truths(column)
        else:
            raise ValueError(f"column {column.name!r} holds text; it should hold numbers")
    if values.dtype.kind == "M":
        if kind not in (None, "date"):
            raise ValueError(f"column {column.name!r} holds dates; it should hold numbers")
        return (values.astype("datetime64[us]") - np.datetime64(0, "us")) / DAY
    if kind == "date":
        raise ValueError(f"column {column.name!r} holds numbers; it should hold dates")
    values = values.astype(np.float64)
    if kind == "truth":
        bad = values[~column.missing & (values != 0.0) & (values != 1.0) & ~np.isnan(values)]
        if len(bad):
            raise ValueError(f"column {column.name!r}: {bad[0]:g} is neither true nor false")
    return values


def _dates(column, form):
    cells = {cell for cell in column.values.tolist() if cell is not None}
    found, bad = dates_in(form, cells)
    if bad:
        raise ValueError(f"column {column.name!r}: {sorted(bad)[0]!r} is not a date such as those "
                         f"of the training ({form})")
    return np.array([found.get(cell) for cell in column.values.tolist()], dtype="datetime64[us]")


def _truths(column):
    found = [np.nan if gone else TRUTHS.get(str(cell).lower())
             for cell, gone in zip(column.values.tolist(), column.missing, strict=True)]
    if None in found:
        bad = column.values[found.index(None)]
        raise ValueError(f"column {column.name!r}: {bad!r} is neither true nor false")
    return np.array(found, dtype=np.float64)


def level_texts(column):
    """The cells as the texts of levels: 1 and 1.0 are one level, "1", and so are 0.0 and -0.0; a
    date without a time of the day is that alone."""
    values = column.values
    if values.dtype.kind == "f":
        return [*map(number_text, values.tolist())]
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if values.dtype.kind == "M":
        return [text.removesuffix(MIDNIGHT) for text in np.datetime_as_string(values).tolist()]
    return values.tolist() if values.dtype == object else [*map(str, values.tolist())]


def number_text(value):
    """A float as the text of a level."""
    text = repr(value + 0.0)  # which has no -0.0
    return text[:-2] if WHOLE.fullmatch(text) else text


def plain_column(name, values):
    """A `Column` of an array without marks of missing cells but NaN."""
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    return Column(name, values, missing)
