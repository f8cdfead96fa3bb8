"""Parquet and JSON files, whose columns have types."""

import numpy as np

from fastbp._table import cells
from fastbp._table.cells import Column, Found
from fastbp._table.dialect import literal
from fastbp._table.faults import Bad, DataError
from fastbp._table.numerals import likely_numerals

NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT", "DOUBLE"}
LARGE = {"BIGINT", "UBIGINT"}
HUGE = {"HUGEINT", "UHUGEINT", "BIGNUM"}
DATES = ("DATE", "TIMESTAMP")
TEXTS = {"VARCHAR", "UUID"}


class TypedFile:
    """One file; `header` holds the names of its columns."""

    def __init__(self, connection, path, local, form):
        import duckdb
        self.path, self._connection, self.window = path, connection, None
        self._table = f"{'read_parquet' if form == 'Parquet' else 'read_json'}({literal(local)})"
        try:
            described = connection.execute(f"DESCRIBE FROM {self._table}").fetchall()
        except duckdb.Error as error:
            raise DataError(
                f"is not a {form} file that can be read: {str(error).splitlines()[0]}") from None
        self.header = [row[0] for row in described]
        self._types = [row[1] for row in described]

    def column(self, j, kind, options):
        """Return column j as `Found`; None in it if it cannot be read."""
        import duckdb
        name, sql, type_ = self.header[j], _quoted(self.header[j]), self._types[j]
        decided = _form(type_)
        if kind == "kept" and type_ in NUMBERS:
            decided = type_ if type_ in ("FLOAT", "DOUBLE") else "BIGINT"
        if decided is None:
            return Found(None, [Bad(0, f"holds {type_}, not numbers, text or dates")])
        table = self.window.table if self.window else self._table
        try:
            found = self._connection.execute(
                f"SELECT CAST({sql} AS {decided}) AS v FROM {table}").fetchnumpy()["v"]
        except duckdb.Error as error:
            raise DataError(f"cannot be read: {str(error).splitlines()[0]}") from None
        missing, values = np.ma.getmaskarray(found), np.ma.getdata(found)
        if decided == "VARCHAR":
            marks = {"", *(() if kind in ("label", "kept") else options.missing)}
            stripped = [None if gone else value.strip(cells.BLANKS)
                        for gone, value in zip(missing, values, strict=True)]
            texts = np.array([None if cell in marks else cell for cell in stripped], dtype=object)
            if type_ in HUGE or kind in ("number", "label"):
                units = options.units
                return cells.column_of(
                    name, texts, likely_numerals(texts, options), kind, options.label_missing,
                    units if units is None else units.get(name, ""))
            return Found(Column(name, texts, np.equal(texts, None)), [])
        values = np.ascontiguousarray(values)
        if decided == "TIMESTAMP":
            values = values.astype("datetime64[us]")
        if kind == "kept":
            return Found(Column(name, values, missing), [])
        if decided in LARGE and (kind == "number" or np.abs(values).max(
                initial=0, where=~missing) <= cells.EXACT):
            values = values.astype(np.float64)
        if decided == "DOUBLE":
            values = np.where(missing, 0.0, values)
            missing = missing | np.isnan(values)
        noun = "label" if kind == "label" else "value"
        bad = [] if kind == "text" else np.flatnonzero(~np.isfinite(values) & ~missing)
        column = Column(name, values, missing)
        if kind == "number" and decided == "TIMESTAMP":
            return Found(column, [Bad(int(i), f"{values[i]} is not a number", "number")
                                  for i in np.flatnonzero(~missing)])
        return Found(column, [Bad(int(i), f"the {noun} is {values[i]}", "finite") for i in bad])

    def keep(self, table):
        """Make a table of the database of the rows."""
        self._connection.execute(f"CREATE TABLE {table} AS FROM {self._table}")
        return []

    def faults(self, rejected):
        return ()

    def place(self, row):
        return f"row {row + 1 + (self.window.first if self.window else 0)}"


def _form(type_):
    """The type in which a column is read."""
    if type_ in NUMBERS or type_.startswith("DECIMAL"):
        return "DOUBLE"
    if type_.startswith(DATES):
        return "TIMESTAMP"
    if type_ == "BOOLEAN":
        return "BOOLEAN"
    if type_ in LARGE:
        return type_
    return "VARCHAR" if type_ in HUGE | TEXTS or type_.startswith("ENUM") else None


def _quoted(name):
    return '"' + name.replace('"', '""') + '"'
