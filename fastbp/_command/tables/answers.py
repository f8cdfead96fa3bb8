"""Answers to the rows of a table, written as CSV or Parquet while they are made."""

import csv
import errno
import io
import sys
from itertools import chain, islice

import numpy as np

from fastbp import _files
from fastbp._preparation.columns import level_texts
from fastbp._table.dialect import literal
from fastbp._table.engine import connect
from fastbp._table.temporary import Folder


def is_parquet(path):
    """Whether the name of a file says so."""
    return path.lower().endswith((".parquet", ".pq"))


def write(path, names, batches, decimal="."):
    """Write columns.

    Parameters
    ----------
    path : str or None
        A Parquet file if the name says so, else a CSV file; None is the standard output.
    names : sequence of str
    batches : iterable of lists of Column
        Some rows of all columns. An error of the first leaves the standard output empty, one of a
        later batch what was written before; a file appears complete or not at all.
    decimal : {".", ","}
        The decimal mark of a CSV file; semicolons divide its columns if it is a comma.
    """
    if path is None:
        if sys.stdout is None:
            raise ValueError("the standard output is closed; --out FILE writes the answers to one")
        if isinstance(sys.stdout, io.TextIOWrapper):
            # As a file, in any locale and on Windows.
            sys.stdout.reconfigure(encoding="utf-8", errors="strict", newline="\n")
        _write_csv(sys.stdout, names, batches, decimal)
    elif is_parquet(path):
        _write_parquet(path, names, batches)
    else:
        with _files.replaced(path) as part:
            file = io.TextIOWrapper(io.BufferedWriter(part), encoding="utf-8", newline="",
                                    write_through=False)
            _write_csv(file, names, batches, decimal)
            file.flush()
            file.detach().detach()


def _write_csv(file, names, batches, decimal):
    writer = csv.writer(file, delimiter=";" if decimal == "," else ",", lineterminator="\n")
    batches = iter(batches)
    first = [*islice(batches, 1)]       # before the header: it may be refused
    writer.writerow(names)
    for columns in chain(first, batches):
        writer.writerows(zip(*(_texts(column, decimal) for column in columns), strict=True))


def _texts(column, decimal):
    """The cells of a column as the shortest text that stands for them, "" where missing."""
    values = column.values
    if values.dtype.kind == "f" and values.itemsize < 8:  # the shortest text of fewer bits
        texts = values.astype("U").tolist()
        texts = [text.removesuffix(".0") for text in texts]
    else:
        texts = level_texts(column)
    if values.dtype.kind == "f" and decimal == ",":
        texts = [text.replace(".", ",") for text in texts]
    return ["" if gone else text for text, gone in zip(texts, column.missing, strict=True)]


TYPES = {"O": "VARCHAR", "b": "BOOLEAN", "M": "TIMESTAMP", "i": "BIGINT", "u": "UBIGINT"}


def _write_parquet(path, names, batches):
    """Gather the rows in a database on the disk, which may be full, and copy them to the file."""
    import duckdb
    folder = Folder()
    with connect() as connection:       # closed before the folder goes, which may not be open
        connection.execute(f"ATTACH {literal(folder.database())} AS kept")
        _gather(connection, path, names, batches)
        with _files.replaced(path) as part:
            part.close()                # Windows keeps others from an open file.
            try:
                connection.execute(f"COPY kept.answers TO {literal(part.name)} "
                                   "(FORMAT parquet, USE_TMP_FILE false)")
            except duckdb.IOException as error:
                raise _failed(path, error) from None


def _gather(connection, path, names, batches):
    """Put the rows into a table of the database."""
    import duckdb
    types = None
    for columns in batches:
        if types is None:
            types = [TYPES.get(values.dtype.kind, "FLOAT" if values.dtype == np.float32 else
                               "DOUBLE") for _, values, _ in columns]
            _make_table(connection, names, types)
        # DuckDB takes the NaN of NumPy for NULL, and None too.
        batch = {f"c{j}": column.values for j, column in enumerate(columns)}
        batch |= {f"gone{j}": column.missing for j, column in enumerate(columns)}
        read = [f"coalesce(c{j}, 'nan')" if column.values.dtype.kind == "f" else f"c{j}"
                for j, column in enumerate(columns)]
        cells = [f"CASE WHEN gone{j} THEN NULL ELSE {each} END" for j, each in enumerate(read)]
        try:
            connection.execute(f"INSERT INTO kept.answers SELECT {', '.join(cells)} FROM batch")
        except duckdb.IOException as error:
            raise _failed(path, error) from None
    if types is None:
        _make_table(connection, names, ["VARCHAR"] * len(names))


def _failed(path, error):
    return OSError(errno.EIO, f"cannot be written: {str(error).splitlines()[0]}", path)


def _make_table(connection, names, types):
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    columns = ", ".join(map(" ".join, zip(quoted, types, strict=True)))
    connection.execute(f"CREATE TABLE kept.answers ({columns})")
