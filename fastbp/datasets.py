"""Tables with a two-class target: the bundled data set, and files.

A table becomes X (n_samples, n_features) in float64 and y (n_samples,) of 0 and 1. Whatever is
wrong with a file is a `DataError`, whose message is one line that names the place. Nothing is
imputed, encoded or dropped here, and nothing is scaled: the caller decides.
"""

import os
import reprlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastbp import _arguments
from fastbp._table import ArrayTable, DataError, files_of, open_table
from fastbp._table.faults import listed, one_line
from fastbp._table.numerals import is_number

__all__ = ["DataError", "Dataset", "load_breast_cancer", "read_table"]

DEFAULT_TARGETS = ("target", "y", "label")


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
    path = Path(__file__).parent / "data" / "breast_cancer.csv"
    with open(path, encoding="utf-8") as file:
        *names, target = file.readline().strip().split(",")
        table = np.loadtxt(file, delimiter=",")
    return Dataset(
        np.ascontiguousarray(table[:, :-1]),
        table[:, -1].astype(np.int64),
        tuple(names),
        target,
        ("benign", "malignant"),
        "Breast Cancer Wisconsin (Diagnostic), https://doi.org/10.24432/C5DW2B",
        "CC BY 4.0",
    )


@_arguments.public
def read_table(path, target=None, *, decimal=None):
    """Read a table of numbers with a two-class target.

    Parameters
    ----------
    path : str or path-like, or a sequence of them
        A file, or a pattern such as "part-*.csv" of files with the same columns: CSV with a header
        line, in UTF-8, of any delimiter, and gzip of it; Parquet; JSON; or an NPZ file
        (`numpy.savez`) with `X` (n_samples, n_features) and `y` (n_samples,). The content decides
        which it is, not the name. All but NPZ needs DuckDB, which the extra `cli` installs.
    target : str, optional
        The column that holds the labels; in an NPZ file the array. Without it, the only column
        named "target", "y" or "label"; in an NPZ file "y". All other columns are features, but a
        first column without a name, which holds the names of the rows, and columns with neither a
        name nor a cell.
    decimal : {".", ","}, optional
        The decimal mark of a CSV file; the other one may then stand between thousands. Without it
        the numbers of the first rows decide that can be read with one of them alone.

    Returns
    -------
    Dataset
        The labels are two strings or two numbers. Sorted, the second is the positive class.

    Raises
    ------
    DataError
        The file cannot be read; there is no such target; a cell is empty, NaN, infinite or not a
        number; a label is missing, or a mark such as NA says so; the labels are not two classes;
        there are no rows, no features, rows of different lengths, or columns without a name or
        with the same name. All faults are in one error, the first 20 in its message; of cells of a
        column with the same fault the first is named. Rows and columns are counted from 1, the
        header line is not counted; lines are counted from the beginning of the file.
    ImportError
        DuckDB is not installed.
    TypeError
        path is no path, or target is not a str.
    ValueError
        decimal is neither of the two.
    """
    if target is not None:
        target = _arguments.string("target", target)
    table = open_table(path, decimal=decimal, units={})
    try:
        features, target = _features_and_target(table, target)
        kinds = {name: "number" for name in features} | {target: "label"}
        *columns, labels = table.columns([*features, target], kinds, complete=True)
        if not len(labels.values):
            raise DataError("there is a header but no data row")
        y, classes = _two_classes(labels.values, target)
    except DataError as error:
        prefix = "" if str(error).startswith(f"{table.path}: ") else f"{table.path}: "
        raise DataError(one_line(f"{prefix}{error}"), error.faults) from None
    X = np.stack([column.values for column in columns], axis=1).astype(np.float64)
    return Dataset(X, y, features, target, classes, _described(path))


def _described(path):
    first, *others = map(os.path.basename, files_of(path))
    return first + f" and {_arguments.counted(len(others), 'more file')}" * bool(others)


def _features_and_target(table, target):
    """Return the names of the features and of the target."""
    if isinstance(table, ArrayTable):
        return table.features, "y" if target is None else target
    if table.renamed:
        raise DataError("; ".join(table.renamed))
    target = _target_column(table.names, target)
    features = tuple(name for name in table.names if name != target)
    if not features:
        raise DataError(f"there is no feature column beside {target!r}")
    return features, target


def _target_column(names, target):
    if target is None:
        found = [name for name in names if name in DEFAULT_TARGETS]
        if len(found) > 1:
            raise DataError(f"{listed(found)} could each be the target: name one (--target NAME)")
        if not found:
            raise DataError(
                "name the target column (--target NAME): none is called target, y or label; "
                + _columns(names)
            )
        target = found[0]
    if target not in names:
        near = _arguments.nearest(target, names)
        hint = f"did you mean {near!r}? " if near else ""
        raise DataError(f"no column {target!r}; {hint}{_columns(names)}")
    return target


def _columns(names):
    if all(is_number(name) for name in names):
        return "the first line holds numbers where a header with column names is expected"
    return f"the columns are {listed(names)}"


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
