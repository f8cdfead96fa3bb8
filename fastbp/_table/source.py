"""Tables of one file or several: CSV, Parquet and JSON by DuckDB, NPZ by NumPy.

DuckDB neither loads extensions nor writes a file. The content decides what a file is, and its name
only whether text that begins like JSON is JSON.
"""

import glob
import os
import reprlib
import stat
import zipfile
from pathlib import Path
from typing import NamedTuple

from fastbp._table.arrays import ArrayTable
from fastbp._table.engine import connect, interruptible
from fastbp._table.faults import DataError, one_line
from fastbp._table.table import Table
from fastbp._table.temporary import Folder
from fastbp._table.text import GZIP

ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # a zip archive, an empty one
NPY = b"\x93NUMPY"
OLD_EXCEL = b"\xd0\xcf\x11\xe0"
TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat")


class Options(NamedTuple):
    """How text is read."""

    missing: tuple
    label_missing: tuple
    decimal: str | None
    delimiter: str | None
    encoding: str
    skip: int = 0
    likely_decimal: str | None = None
    likely_thousands: bool = False
    units: dict | None = None


@interruptible()
def open_table(path, *, missing=(), label_missing=None, decimal=None, delimiter=None,
               encoding="utf-8", skip=0, likely_decimal=None, likely_thousands=False, units=None):
    """Open a table.

    Parameters
    ----------
    path : str or path-like, or a sequence of them
        A file, a pattern of `glob`, or several files with the same columns in any order.
    missing : sequence of str
        What stands for a missing cell, beside nothing.
    label_missing : sequence of str, optional
        The same in columns that are read as labels, if it is not the same. A minus is a label
        where a plus is one.
    decimal : {".", ","}, optional
        The decimal mark of a CSV file; the other one may then stand between thousands. Without it
        a sample of the cells decides: see `_table.numerals`.
    delimiter : str, optional
        One character; found where it is not given.
    encoding : str
        Of a CSV file; a byte order mark goes before it.
    skip : int
        How many lines before the header of a CSV file are left out.
    likely_decimal : {".", ","}, optional
        The decimal mark of a table of the same origin. A comma is then the decimal mark unless a
        sample of the cells, or commas between them, show that it cannot be.
    likely_thousands : bool
        Whether in that table the other mark stood between thousands. It then does here, too, in a
        file of this decimal mark, also where a cell such as 6,673 could be a fraction.
    units : dict of str to str, optional
        What may stand behind the numbers of columns, by name, and behind those of no others.
        Without it, what stands behind all numbers of a column.

    Returns
    -------
    Table or ArrayTable

    Raises
    ------
    DataError
        A file cannot be read, is of another kind, or its header cannot be used.
    ImportError
        DuckDB is not installed.
    TypeError, ValueError
        An option is not what it should be.
    """
    options = checked_options(missing, label_missing, decimal, delimiter, encoding)._replace(
        skip=skip, likely_decimal=likely_decimal, likely_thousands=likely_thousands, units=units)
    paths = files_of(path)
    whole = ", ".join(paths[:3]) + ", ..." * (len(paths) > 3)
    folder, files = Folder(), []
    for each in paths:
        try:
            local = _local(each, folder)
            files.append((each, local, _form(local, each)))
        except (DataError, OSError) as error:
            raise DataError(one_line(f"{each}: {_said(error)}")) from None
    if any(form == "NumPy" for _, _, form in files):
        if len(files) > 1:
            raise DataError(f"{whole}: NPZ files are read one at a time")
        return ArrayTable(*files[0][:2], options)
    return Table(connect(), files, options, folder, whole)


def _said(error):
    return (error.strerror or error) if isinstance(error, OSError) else error


def checked_options(missing, label_missing, decimal, delimiter, encoding):
    """Return the `Options`, or raise what is wrong with them."""
    label_missing = missing if label_missing is None else label_missing
    for name, marks in (("missing", missing), ("label_missing", label_missing)):
        if isinstance(marks, str) or not all(isinstance(mark, str) for mark in marks):
            raise TypeError(f"{name} is {reprlib.repr(marks)}; it should be a sequence of str")
        for mark in marks:
            if not _has_bytes(mark):
                raise ValueError(f"{name} has {reprlib.repr(mark)}; it should have texts that "
                                 "UTF-8 has bytes for")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal is {decimal!r}; it should be '.' or ','")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1
                                  or delimiter in '\r\n"' or not _has_bytes(delimiter)):
        raise ValueError(f"delimiter is {delimiter!r}; it should be one character")
    if decimal == delimiter == ",":
        raise ValueError("decimal and delimiter are both ','; they should differ")
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise ValueError(f"encoding is {encoding!r}; it should be one of Python's, such as 'utf-8' "
                         "or 'latin-1'") from None
    encoding = "utf-8" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    return Options(tuple(mark.strip() for mark in missing),
                   tuple(mark.strip() for mark in label_missing), decimal, delimiter, encoding)


def _has_bytes(text):
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, as bytes that are no text are given in arguments
        return False
    return True


def files_of(path):
    """Return the list of files that a path, a pattern or a sequence of paths names."""
    if isinstance(path, (str, bytes, os.PathLike)):
        path = os.fsdecode(path)
        if os.path.exists(path) or not glob.has_magic(path):
            return [path]
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise DataError(f"{path}: no file has a name of this pattern")
        return found
    try:
        paths = [os.fsdecode(each) for each in path]
    except TypeError:
        raise TypeError(f"path is {reprlib.repr(path)}; it should be a path, or a sequence of "
                        "paths") from None
    if not paths:
        raise ValueError("path is an empty sequence; it should name a file")
    return paths


def _local(path, folder):
    """A path that DuckDB reads more than once, and as no pattern; pipes are copied."""
    mode, suffix = os.stat(path).st_mode, ".gz" if path.endswith(".gz") else ""
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return folder.copied(path, suffix)
    whole = os.path.abspath(path)
    if glob.has_magic(whole) or not whole.isprintable():
        return folder.linked(whole, suffix)
    return whole


def _form(path, named):
    """What a file is: NumPy, Parquet, JSON or CSV; `named` as the caller does."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(OLD_EXCEL):
        raise DataError(_EXCEL)
    if head.startswith(ZIP):
        return _archive(path, named)
    if head.startswith(NPY):
        return "NumPy"
    if head.startswith(b"PAR1"):
        return "Parquet"
    name = Path(named).name.lower().removesuffix(".gz")
    if head.startswith(GZIP):
        is_json = name.endswith((".json", ".jsonl", ".ndjson"))
    else:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        is_json = start.startswith((b"{", b"[")) and not name.endswith(TEXT_SUFFIXES)
    return "JSON" if is_json else "CSV"


_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_SAVE = ("open it there and save the sheet as CSV in UTF-8 (Save As), "
         "or pandas.read_excel(...).to_csv(...)")
_EXCEL = f"is an Excel file; {_SAVE}"


def _archive(path, named):
    """What a zip archive is; a damaged one is NumPy's to complain about."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeError, ValueError, OSError):
        if named.lower().endswith(_SPREADSHEETS):
            raise DataError(f"has the name of a spreadsheet, but it is damaged; {_SAVE}") from None
        return "NumPy"
    if any(name.startswith("xl/") for name in names):
        raise DataError(_EXCEL)
    if "content.xml" in names and "mimetype" in names:
        raise DataError("is a spreadsheet of LibreOffice; save the sheet as CSV in UTF-8")
    if names and not any(name.endswith(".npy") for name in names) and any(
            name.lower().endswith((*TEXT_SUFFIXES, ".parquet", ".json")) for name in names):
        raise DataError(f"is a zip archive of {reprlib.repr(names[0])}; unpack it first")
    return "NumPy"
