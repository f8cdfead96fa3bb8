"""Tables with a two-class target: the bundled data set, and CSV or NPZ files.

A table becomes X (n_samples, n_features) in float64 and y (n_samples,) of 0 and 1. Whatever is
wrong with a file is a `DataError`, whose message is one line that names the place. Nothing is
imputed, encoded or dropped here, and nothing is scaled: the caller decides.
"""

import csv
import io
import os
import re
import reprlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastbp import _arguments

__all__ = ["DataError", "Dataset", "load_breast_cancer", "read_table"]

DEFAULT_TARGETS = ("target", "y", "label")
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # a zip archive, an empty one
MOST_NAMES = 40  # in one message


class DataError(ValueError):
    """A table that cannot be used. The message is one line."""


class Dataset(NamedTuple):
    """A table with a two-class target.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features), float64
        One sample a row.
    y : ndarray of shape (n_samples,), int64
        0 or 1, an index into `classes`.
    feature_names : tuple of str
        The columns of `X`.
    target_name : str
        The column that `y` was made from.
    classes : tuple of str
        The two labels; the second is the positive class.
    description : str
        A description of the table.
    licence : str
        Its licence; empty for files read by `read_table`.
    """

    X: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    target_name: str
    classes: tuple[str, str]
    description: str
    licence: str = ""


@_arguments.public
def load_breast_cancer():
    """Return the bundled data: Breast Cancer Wisconsin (Diagnostic).

    Returns
    -------
    Dataset
        569 samples, 30 features; `y` is 1 for the 212 malignant samples. scikit-learn's
        `load_breast_cancer` has the same `X` and the opposite `y`: 1 there is benign.

    References
    ----------
    W. Wolberg, O. Mangasarian, N. Street, W. Street (1995), https://doi.org/10.24432/C5DW2B
    """
    data = read_table(Path(__file__).parent / "data" / "breast_cancer.csv", "malignant")
    return data._replace(
        classes=("benign", "malignant"),
        description="Breast Cancer Wisconsin (Diagnostic), https://doi.org/10.24432/C5DW2B",
        licence="CC BY 4.0",
    )


@_arguments.public
def read_table(path, target=None):
    """Read a CSV or NPZ file with a two-class target.

    Parameters
    ----------
    path : str or path-like
        A CSV file in UTF-8 with a header line, separated by commas, semicolons or tabs, or an NPZ
        file (`numpy.savez`) with `X` (n_samples, n_features) and `y` (n_samples,). The content
        decides which of the two it is, not the name.
    target : str, optional
        The column that holds the labels; in an NPZ file the array. Without it, the only column
        named "target", "y" or "label"; in an NPZ file "y". All other columns are features.

    Returns
    -------
    Dataset
        The labels are two strings or two numbers. Sorted, the second is the positive class.

    Raises
    ------
    DataError
        The file cannot be read or is neither CSV nor NPZ; there is no such target; a cell is empty,
        NaN, infinite or not a number; the labels are not two classes; there are no rows, no
        features, rows of different lengths, or columns without a name or with the same name.
        Rows and columns are counted from 1, the header line is not counted.
    TypeError
        target is not a str.
    """
    path = os.fspath(path)
    if target is not None:
        target = _arguments.string("target", target)
    try:
        with open(path, "rb") as file:
            if file.peek(4)[:4] in ZIP_SIGNATURES:
                data = _from_npz(file, "y" if target is None else target)
            else:
                data = _from_csv(file.read(), target)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return data._replace(description=os.path.basename(path))


def _from_csv(content, target):
    header, *rows = _cells(content)
    _check_header(header)
    t = _target_column(header, target)
    if len(header) == 1:
        raise DataError(f"there is no feature column beside {header[t]!r}")
    if not rows:
        raise DataError("there is a header but no data row")
    for i, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise DataError(f"data row {i} has {len(row)} cells, the header has {len(header)}")

    features = [j for j in range(len(header)) if j != t]
    X = np.empty((len(rows), len(features)))
    for i, row in enumerate(rows):
        try:
            X[i] = [_number(row[j]) for j in features]
        except ValueError:
            raise _bad_cell(row, i, header, features) from None
    _check_finite(X, [header[j] for j in features])

    y, classes = _two_classes(_labels([row[t] for row in rows], header[t]), header[t])
    return Dataset(X, y, tuple(header[j] for j in features), header[t], classes, "")


def _cells(content):
    """Return the rows of a CSV file, header first, as lists of stripped strings."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"  # handled below, as in any other binary file
    if "\0" in text:
        raise DataError("is neither a CSV file in UTF-8 nor an NPZ file")
    # The header alone decides, so that decimal commas in the data are not taken for separators;
    # csv.Sniffer would need minutes for some headers.
    header = re.match(r"[^\r\n]*", text.lstrip("\r\n")).group()
    try:
        delimiter = max(",;\t", key=lambda d: len(next(csv.reader([header], delimiter=d), [])))
        rows = [
            [cell.strip() for cell in row]
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            if len(row) > 1 or "".join(row).strip()
        ]
    except csv.Error as error:
        raise DataError(f"is not a CSV file: {error}") from None
    if not rows:
        raise DataError("is empty")
    return rows


def _check_header(header):
    for j, name in enumerate(header, 1):
        if not name:
            raise DataError(f"column {j} has no name; a column of row numbers must be removed")
    for name, count in Counter(header).items():
        if count > 1:
            raise DataError(f"{count} columns are named {name!r}")


def _target_column(header, target):
    """Return the index of the target column."""
    if target is None:
        found = [name for name in header if name in DEFAULT_TARGETS]
        if len(found) > 1:
            raise DataError(f"{_listed(found)} could each be the target: name one (--target NAME)")
        if not found:
            raise DataError(
                "name the target column (--target NAME): none is called target, y or label; "
                + _columns(header)
            )
        target = found[0]
    if target not in header:
        raise DataError(f"no column {target!r}; {_suggestion(target, header)}{_columns(header)}")
    return header.index(target)


def _suggestion(name, names):
    near = _arguments.nearest(name, names)
    return f"did you mean {near!r}? " if near else ""


def _columns(header):
    if all(_is_number(name) for name in header):
        return "the first line holds numbers where a header with column names is expected"
    return f"the columns are {_listed(header)}"


def _listed(names):
    """Return the names as one line of text, cut after `MOST_NAMES`."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(repr(str(name)) for name in names[:MOST_NAMES]) + more


def _number(cell):
    if "_" in cell:  # Python reads 1_000 as a number; no other program does
        raise ValueError(cell)
    return float(cell)


def _is_number(cell):
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _bad_cell(row, i, header, features):
    """Return the error for the first cell of row i that is not a number."""
    j = next(j for j in features if not _is_number(row[j]))
    what = f"{reprlib.repr(row[j])} is not a number" if row[j] else "the cell is empty"
    return DataError(f"{_place(i, header[j])}: {what}")


def _place(i, name):
    return f"data row {i + 1} (counted from 1 after the header), column {name!r}"


def _check_finite(X, names, place=_place):
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        i, j = bad[0]
        raise DataError(f"{place(i, names[j])}: the value is {X[i, j]}")


def _labels(cells, name):
    """Return the label cells as numbers if all of them are, else as strings."""
    for i, cell in enumerate(cells):
        if not cell or cell.lower() == "nan":
            raise DataError(f"{_place(i, name)}: the label is {cell or 'missing'}")
    return np.array([_number(c) for c in cells] if all(map(_is_number, cells)) else cells)


def _two_classes(labels, name):
    """Return y and the two classes, sorted; the second is the positive one."""
    values, y = np.unique(labels, return_inverse=True)
    classes = [str(value) for value in values]
    if labels.dtype.kind == "f":
        classes = [label.removesuffix(".0") for label in classes]  # 0 and 1, not 0.0 and 1.0
    if len(classes) != 2:
        few = ", ".join(map(reprlib.repr, classes[:5])) + ", ..." * (len(classes) > 5)
        raise DataError(f"target {name!r} must hold two classes, it holds {len(classes)}: {few}")
    return y.astype(np.int64), tuple(classes)


def _from_npz(file, target):
    try:
        with np.load(file, allow_pickle=False) as archive:
            names = archive.files
            for name in ("X", target):
                if name not in names:
                    raise DataError(
                        f"no array {name!r} in the NPZ file; {_suggestion(name, names)}"
                        f"it holds {_listed(names) or 'nothing'}"
                    )
            X, y = _plain(archive, "X"), _plain(archive, target)
    except DataError:
        raise
    except Exception as error:  # a damaged archive raises half a dozen types, from zipfile to zlib
        raise DataError(f"is not an NPZ file that can be read: {error}") from None
    return _npz_dataset(X, y, target)


def _plain(archive, name):
    """Return one array of the archive; pickled objects and foreign members are refused."""
    try:
        array = archive[name]
    except ValueError as error:
        raise DataError(f"array {name!r} cannot be read: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufU":
        what = getattr(array, "dtype", "no array")
        raise DataError(f"array {name!r} holds {what}, not numbers" + " or strings" * (name != "X"))
    return array


def _npz_dataset(X, y, target):
    if X.ndim != 2 or X.dtype.kind == "U":
        raise DataError(f"X must be numbers of shape (n, n_features), it is {X.dtype}{X.shape}")
    if y.shape not in ((len(X),), (len(X), 1)):
        raise DataError(f"{target!r} must have shape ({len(X)},) like X's rows, it has {y.shape}")
    if not X.size:
        raise DataError(f"X has shape {X.shape}: there is nothing to learn from")
    names = tuple(f"x{j}" for j in range(1, X.shape[1] + 1))
    X = np.ascontiguousarray(X, dtype=np.float64)
    _check_finite(X, names, lambda i, name: f"X, row {i + 1}, column {name[1:]} (counted from 1)")
    y = y.ravel()
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        i = np.flatnonzero(~np.isfinite(y))[0]
        raise DataError(f"{target!r}, row {i + 1} (counted from 1): the label is {float(y[i])}")
    y, classes = _two_classes(y, target)
    return Dataset(X, y, names, target, classes, "")
