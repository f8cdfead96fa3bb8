"""The columns of a data frame, a structured array or a plain array, as a file would give them.

A frame (pandas, polars, Arrow, a structured array) is read by the names of its columns, others are
left out; a plain array by their places. What is missing is None, NaN, NaT or the library's own
mark, an empty text, or one of the texts that were missing cells in the training.
"""

import reprlib
from datetime import UTC, date, datetime
from functools import partial
from numbers import Real

import numpy as np

from fastbp import _arguments
from fastbp._arguments import tables
from fastbp._preparation.columns import TRUTHS, Levels, level_texts, number_text
from fastbp._table.cells import BLANKS, Column
from fastbp._table.dates import dates_in
from fastbp._table.numerals import LEADING_ZERO, is_open, number, settles_groups, without_unit


def frame_columns(X, wanted, marks, decimal=".", thousands=False):
    """The columns of X.

    Parameters
    ----------
    X : table or array of shape (n, n_columns)
    wanted : sequence of Number and Levels
        The columns, in the order of the places of a plain array.
    marks : frozenset of str
        Texts that stand for missing cells.
    decimal : str or None
        The decimal mark of numbers that are texts. None is a point, but numbers that could have a
        comma as well, such as 1.761, are refused.
    thousands : bool
        Whether the other one stands between thousands in them; else it is refused where it could be
        a decimal mark.

    Returns
    -------
    list of Column

    Raises
    ------
    TypeError, ValueError
        A column is not there, twice there, or cannot be what it was in the training.
    """
    read = partial(_number, decimal=decimal, grouped=thousands)
    return [_column(f"X[{column.name!r}]", column, cells, gone, marks, read)
            for column, (cells, gone) in zip(wanted, _cells(X, wanted), strict=True)]


def _cells(X, wanted):
    """For each wanted column its cells as an array, and which of them its library calls missing."""
    names = tables.column_names(X)
    if names is None:
        array = _plain(X, len(wanted))
        return [(array[:, j], np.zeros(len(array), dtype=bool)) for j in range(len(wanted))]
    found = []
    for column in wanted:
        n = names.count(column.name)
        if n != 1:
            near = None if n else _arguments.nearest(column.name, names)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"X has {f'{n} columns' if n else 'no column'} {column.name!r}; it "
                             f"should have each of {reprlib.repr([w.name for w in wanted])} once"
                             + hint)
        found.append(tables.cells_of("X", X, names, names.index(column.name)))
    return found


def _plain(X, n_columns):
    try:
        array = np.asarray(X)
        if array.dtype.kind in "US":  # numbers and texts together, all of them texts now
            array = np.array(X, dtype=object)
    except ValueError as error:
        raise ValueError(f"X cannot be read as a table: {error}") from None
    if array.ndim != 2 or array.shape[1] != n_columns:
        raise ValueError(f"X has shape {array.shape}; it should have shape (n_samples, "
                         f"{n_columns}), one column for each of the model's, or be a table whose "
                         "columns have names")
    return array


def _column(where, column, cells, gone, marks, read_number):
    if cells.dtype.kind not in "biufMO":
        cells = cells.astype(object)
    if cells.dtype == object:
        return _of_objects(where, column, cells, gone, marks, read_number)
    if cells.dtype.kind == "f":
        gone = gone | np.isnan(cells)
    if cells.dtype.kind == "M":
        gone, cells = gone | np.isnat(cells), cells.astype("datetime64[us]")
    if isinstance(column, Levels) and cells.dtype.kind == "f":
        cells = cells.astype("U").astype(np.float64)  # 0.1 of 24 bits is the level "0.1", too
    if cells.dtype.kind in "iuf" and column.reads == "number":
        cells = cells.astype(np.float64)
        _refuse_infinite(where, cells)
    if isinstance(column, Levels):
        _refuse_codes(where, column, cells)
        texts = level_texts(Column(column.name, cells, gone))
        cells = np.array([None if g else text for g, text in zip(gone, texts, strict=True)],
                         dtype=object)
    return Column(column.name, cells, gone)


def _of_objects(where, column, cells, gone, marks, read_number):
    """A column of Python's objects."""
    read = _READ.get(column.reads) or partial(read_number, unit=getattr(column, "form", ""))
    values = []
    for i, (cell, missing) in enumerate(zip(cells.tolist(), gone, strict=True)):
        if isinstance(cell, str):
            cell = cell.strip(BLANKS)
        missing = missing or _is_missing(cell, marks)
        value = None if missing else read(cell)
        if value is None and not missing:
            raise ValueError(f"{where} holds {reprlib.repr(cell)} in row {i}; it should hold "
                             f"{_WANTED[column.reads]}")
        values.append(value)
    gone = np.array([value is None for value in values], dtype=bool)
    if column.reads == "date":
        return Column(column.name, _of_dates(where, column, values), gone)
    if column.reads != "text":
        values = np.array([0.0 if value is None else value for value in values], dtype=np.float64)
        _refuse_infinite(where, values)
        if isinstance(column, Levels):
            values = [None if g else number_text(v) for g, v in zip(gone, values.tolist(),
                                                                    strict=True)]
    if isinstance(column, Levels):
        values = np.array([*values, None], dtype=object)[:-1]
    return Column(column.name, values, gone)


def _of_dates(where, column, values):
    """Dates, and texts that stand for dates, as one array."""
    found, bad = dates_in(column.form, {value for value in values if isinstance(value, str)})
    if bad:
        raise ValueError(f"{where}: {min(bad)!r} is not a date such as those of the training "
                         f"({column.form})")
    return np.array([found.get(value, value) for value in values], dtype="datetime64[us]")


def _is_missing(cell, marks):
    if cell is None or (isinstance(cell, str) and (not cell or cell in marks)):
        return True
    try:
        return bool(cell != cell)  # NaN, NaT
    except (TypeError, ValueError):  # the mark of pandas, which has no truth value
        return True


def _refuse_codes(where, column, cells):
    """Raise for numbers where levels were codes such as 007, of which a number has lost a part."""
    codes = [level for level in column.levels if LEADING_ZERO.fullmatch(level)]
    if codes and column.source == "text" and cells.dtype.kind in "iuf":
        raise ValueError(f"{where} holds numbers; it should hold texts such as {codes[0]!r}, as in "
                         "the training")


def _number(cell, decimal=".", grouped=False, unit=""):
    if isinstance(cell, str):
        cell = without_unit(cell, unit)
        if decimal is None and is_open(cell):
            return None
        decimal = decimal or "."
        found = number(cell, decimal, grouped or settles_groups(cell, decimal))
        return None if found is None or np.isnan(found) else found
    try:
        return float(cell)  # a Decimal, too
    except (TypeError, ValueError, OverflowError):
        return None


def _date(cell):
    if isinstance(cell, datetime):  # before `date`, of which it is a kind
        return cell if cell.tzinfo is None else cell.astimezone(UTC).replace(tzinfo=None)
    return cell if isinstance(cell, (str, date)) else None


def _truth(cell):
    if isinstance(cell, str):
        return TRUTHS.get(cell.lower())
    found = _number(cell)
    return found if found in (0.0, 1.0) else None


def _text(cell):
    if isinstance(cell, str):
        return cell
    if isinstance(cell, (bool, np.bool_)):
        return str(cell).lower()
    if isinstance(cell, (float, np.floating)):
        return number_text(float(cell))
    return str(cell) if isinstance(cell, (Real, date)) else None


_READ = {"date": _date, "truth": _truth, "text": _text}
_WANTED = {"number": "numbers", "date": "dates", "truth": "truth values",
           "text": "texts or numbers"}


def _refuse_infinite(where, values):
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise ValueError(f"{where} is {values[bad[0]]} in row {bad[0]}; it should be finite or "
                         "missing")
