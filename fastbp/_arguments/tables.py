"""Tables and their columns as plain arrays: those of pandas, polars and Arrow, and others' dtypes.

These libraries keep real numbers in objects that NumPy does not read as numbers, or whose missing
values it reads as NaN. None of them is imported: an object is recognised by its attributes.

|                 | pandas                   | polars    | Arrow          | NumPy         |
|-----------------|--------------------------|-----------|----------------|---------------|
| names           | `columns`                | `columns` | `column_names` | `dtype.names` |
| a column        | `iloc[:, j]`             | `[name]`  | `column(j)`    | `[name]`      |
| what is missing | `dtype.na_value`, `isna` | `is_null` | `is_null`      |               |

The NaN of a column of floats is a number, as everywhere. bfloat16, float8 and int4 of ml_dtypes are
dtypes that are registered with NumPy, and known by what they can be cast to without loss.
"""

import reprlib
from numbers import Integral

import numpy as np


def readable(name, value, wanted):
    """An array for a table, or for a column that may lack values; any other value itself."""
    if isinstance(value, np.ndarray):
        return value
    names = column_names(value)
    if names is None:
        return _numbers(name, value, wanted) if _may_lack(value) else value
    return _stacked(name, value, names, range(len(names)), wanted) if _is_mixed(value) else value


def by_name(name, table, wanted):
    """The columns that are named ``wanted``, in that order; others are left out.

    A table whose columns have no names but numbers, or these names alone in this order, is returned
    itself.
    """
    names = column_names(table)
    if not wanted or names is None or all(isinstance(each, Integral) for each in names):
        return table
    if names == list(wanted) and not isinstance(table, np.ndarray):
        return table
    places = {}
    for j, each in enumerate(names):
        places.setdefault(each, []).append(j)
    for each in wanted:
        n = len(places.get(each, ()))
        if n != 1:
            raise ValueError(f"{name} has {f'{n} columns' if n else 'no column'} {each!r}; it "
                             f"should have each of {reprlib.repr(list(wanted))} once")
    return _stacked(name, table, names, [places[each][0] for each in wanted],
                    "an array of real numbers")


def refuse_missing(name, value):
    """Raise for the first missing value of a table or column, whatever the other values are."""
    if isinstance(value, np.ndarray):
        return
    names = column_names(value)
    if names is None:
        _refuse_missing(name, value)
    elif _is_mixed(value):
        for j in range(len(names)):
            _refuse_missing(f"{name}[{names[j]!r}]", _column(name, value, names, j))


def widened(array):
    """An array of a real dtype that is not one of NumPy's as int64 or float64; any other itself."""
    if array.dtype.isbuiltin == 2:  # registered by another package
        for dtype in (np.int64, np.float64):
            if np.can_cast(array.dtype, dtype):
                return array.astype(dtype)
    return array


def column_names(value):
    """The names of a table's columns, as a list; ``None`` if the value has no columns."""
    if isinstance(value, np.ndarray):
        names = value.dtype.names
        return None if names is None or isinstance(value, np.ma.MaskedArray) else list(names)
    names = getattr(value, "column_names", None)  # before `columns`, an Arrow table's data
    try:
        return list(value.columns if names is None else names)
    except (AttributeError, TypeError):  # no `columns`, or one that is a method or a number
        return None


def cells_of(name, table, names, j):
    """Column j as an array of any dtype, and which cells have a mark of missing ones."""
    column = _column(name, table, names, j)
    dtype = getattr(column, "dtype", getattr(column, "type", None))
    gone = _missing(column) if _may_lack(column) else None
    try:
        array = np.asarray(column)
    except MemoryError:
        raise
    except Exception as error:
        raise TypeError(f"{name}[{names[j]!r}] has dtype {dtype}, which NumPy cannot read "
                        f"({_line(error)})") from error
    array = widened(array)
    if array.ndim != 1:
        raise ValueError(f"{name}[{names[j]!r}] has shape {array.shape}; "
                         "it should have shape (n_samples,)")
    return array, np.zeros(len(array), dtype=bool) if gone is None else gone


def _is_mixed(table):
    """Whether a table is anything but a pandas frame of NumPy's numbers; bools do not count."""
    try:
        return not all(isinstance(t, np.dtype) and t.kind in "iuf" for t in table.dtypes)
    except (AttributeError, TypeError):
        return True


def _column(name, table, names, j):
    try:
        if hasattr(table, "iloc"):  # a name may stand for several columns
            return table.iloc[:, j]
        return table.column(j) if hasattr(table, "column_names") else table[names[j]]
    except MemoryError:
        raise
    except Exception as error:  # a lazy frame, or an object with `columns` that is not a table
        raise TypeError(f"{name} is of type {type(table).__name__}, whose column {names[j]!r} "
                        f"cannot be read ({_line(error)}); it should be a table") from error


def _line(error):
    return " ".join(str(error).split())


def _stacked(name, table, names, which, wanted):
    """An array ``(n_samples, len(which))`` of columns, in the dtype that holds all of them."""
    columns = [_numbers(f"{name}[{names[j]!r}]", _column(name, table, names, j), wanted)
               for j in which]
    for j, column in zip(which, columns, strict=True):
        if column.shape != columns[0].shape or column.ndim != 1:
            raise ValueError(f"{name}[{names[j]!r}] has shape {column.shape}; "
                             "it should have shape (n_samples,)")
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))


def _numbers(name, column, wanted):
    """A column as an array of real numbers, none of which may be missing."""
    _refuse_missing(name, column)
    dtype = getattr(column, "dtype", getattr(column, "type", None))
    try:
        array = np.asarray(column)
        if str(dtype).lower().startswith("decimal"):
            array = array.astype(np.float64)
    except MemoryError:
        raise
    except Exception as error:  # polars raises its own class for integers of 128 bits
        raise TypeError(f"{name} has dtype {dtype}, which NumPy cannot read ({_line(error)}); "
                        f"it should be {wanted}") from error
    array = widened(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype if dtype is None else dtype}; "
                        f"it should be {wanted}")
    return array


def _may_lack(column):
    """Whether values may be missing: in polars, Arrow, and dtypes that pandas has beside NumPy's.

    A sparse dtype of floats marks with NaN what is a NaN, as NumPy would.
    """
    if hasattr(column, "is_null"):
        return True
    dtype = getattr(column, "dtype", None)
    mark = getattr(dtype, "na_value", None)
    return mark is not None and not (isinstance(mark, float) and dtype.kind == "f")


def _refuse_missing(name, column):
    if _may_lack(column):
        missing = _missing(column)
        if missing.any():
            raise ValueError(f"{name} has no value in row {int(missing.argmax())}; it should have "
                             "one in every row")


def _missing(column):
    return np.asarray(column.is_null() if hasattr(column, "is_null") else column.isna())
