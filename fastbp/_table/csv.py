"""A CSV file, of which DuckDB reads columns of text or numbers."""

import numpy as np

from fastbp._table import dialect
from fastbp._table.faults import DataError
from fastbp._table.numerals import Numerals, is_plain, marks_shown
from fastbp._table.text import Text

BLANKS = r"e' \t\r\n'"
EACH_BLANK = ("' '", r"e'\t'", r"e'\r'", r"e'\n'")
OTHER_REJECTS = {
    "UNQUOTED VALUE": "a quote does not end, or text follows it",
    "INVALID ENCODING": "is not in UTF-8",
    "LINE SIZE OVER MAXIMUM": "is longer than 16 MiB; a quote does not end",
}


class CsvFile:
    """One file.

    Attributes
    ----------
    path : str
        As the caller named it.
    header : list of str
        The names of its columns; a column without a name has an empty one.
    window : Window, optional
        The rows that are read, of a table that `keep` made.
    numerals : Numerals
        How its numbers are written, which the table decides.
    """

    def __init__(self, connection, path, local, options, folder):
        self.path, self._connection, self._options = path, connection, options
        self.window, self.numerals = None, Numerals()
        self._text = Text(local, options.encoding, folder, options.skip)
        sample = self._text.sample
        self._dialect = dialect.find_dialect(
            connection, folder.written([sample]), sample, self._text.whole, options.delimiter)
        self.header, self.delimiter = self._dialect.names, self._dialect.delimiter

    def marks_shown(self, columns):
        """How many of the first cells show each decimal mark."""
        return marks_shown(self._sampled(columns))

    def _sampled(self, columns):
        return [cell.strip() for row in self._dialect.rows for j in columns
                if (cell := row[j]) and cell.strip() not in self._options.missing]

    def is_empty(self, j):
        """Whether column j has no cell at all."""
        if self._sampled([j]):
            return False
        values = self.read({j: "text"}, [])[j]
        return bool(np.equal(values, None).all())

    def looks_like_numbers(self, j):
        decimal, settled = self.numerals.decimal, self.numerals.settled
        return all(is_plain(cell, decimal) and (settled or decimal not in cell)
                   for cell in self._sampled([j]))

    def read(self, wanted, rejected):
        """Return columns as DuckDB has them.

        Parameters
        ----------
        wanted : dict of int to str
            For each number of a column "text"; "raw", which is text in which only nothing is
            missing; "number"; or "sparse", a number of which cells are missing.
        rejected : list
            To which the `Reject`s are added.

        Returns
        -------
        dict of int to ndarray
            For text stripped cells, and None where missing. For numbers a masked float64 array,
            masked where missing, NaN where the cell may be no number or may stand for something
            else, such as 007.
        """
        parts = [f"{self._sql(j, form)} AS c{j}" for j, form in wanted.items()]
        select = f"SELECT {', '.join(parts)} FROM"
        if self.window:
            found = self._connection.execute(f"{select} {self.window.table}").fetchnumpy()
        else:
            found = self._from_file(select, rejected)
        return {j: self._converted(j, form, found[f"c{j}"]) for j, form in wanted.items()}

    def keep(self, table):
        """Make a table of the database of the rows, and return the `Reject`s."""
        rejected = []
        self._from_file(f"CREATE TABLE {table} AS FROM", rejected)
        return rejected

    def _from_file(self, what, rejected):
        """Carry out what is asked of the file; if it fails, of a copy with one kind of line end."""
        import duckdb
        while True:
            table = dialect.read_csv(
                self._text.path, self._dialect, len(self.header), header="true",
                store_rejects="true", rejects_limit="1000",
                compression=dialect.literal(self._text.compression))
            try:
                found = self._connection.execute(f"{what} {table}").fetchnumpy()
                break
            except duckdb.Error as error:  # of mixed line ends among others
                dialect.forget_rejects(self._connection)
                if not self._text.copy():
                    first = str(error).splitlines()[0]
                    raise DataError(f"cannot be read: {first}") from None
        rejected.extend(dialect.rejects(self._connection))
        return found

    def _converted(self, j, form, found):
        if form in ("text", "raw"):
            cells_ = np.array(found.data if np.ma.isMA(found) else found, dtype=object)
            cells_[np.ma.getmaskarray(found)] = None
            return cells_
        return np.ma.filled(found, np.nan) if self._is_complete(j, form) else found

    def _sql(self, j, form):
        if form in ("number", "sparse"):
            return self._as_number(j, self._is_complete(j, form))
        marks = _listed(() if form == "raw" else self._options.missing)
        # DuckDB's trim is slow: most cells have no blank at either end.
        ends = " OR ".join(f"ends_with(c{j}, {blank})" for blank in EACH_BLANK)
        cell = f"if(c{j} < '!' OR {ends}, trim(c{j}, {BLANKS}), c{j})"
        return f"CASE WHEN c{j} IS NULL OR {cell} IN ({marks}) THEN NULL ELSE {cell} END"

    def _as_number(self, j, complete):
        """What `read` promises of a number, with no more work than the first rows call for."""
        first = [row[j] for row in self._dialect.rows]
        padded = any(cell and cell != cell.strip() for cell in first)
        cell = f"trim(c{j}, {BLANKS})" if padded else f"c{j}"
        # 007 and -007; after a blank or a plus it may be; 1_000, which DuckDB takes for a number
        odd = (f"{cell} BETWEEN '00' AND '0:' OR {cell} BETWEEN '-00' AND '-0:' "
               f"OR {cell} < ','")
        if self._text.may_hold(b"_"):
            odd += f" OR contains({cell}, '_')"
        read = cell
        if not self.numerals.settled and self._text.may_hold(b"."):
            odd += f" OR contains({cell}, '.')"
        if self.numerals.decimal == ",":
            odd, read = f"{odd} OR contains({cell}, '.')", f"replace({cell}, ',', '.')"
        value = f"if({odd}, 'nan'::DOUBLE, TRY_CAST({read} AS DOUBLE))"
        if complete:
            return value
        return (f"CASE WHEN {cell} IS NULL OR {cell} IN ({_listed(self._options.missing)}) "
                f"THEN NULL ELSE coalesce({value}, 'nan'::DOUBLE) END")

    def _is_complete(self, j, form):
        """Whether no cell is missing in the first rows; then one that is counts as doubtful."""
        marks = {"", *self._options.missing}
        return form == "number" and all(
            row[j] and row[j].strip() not in marks for row in self._dialect.rows)

    def place(self, row, rejected):
        """The number of a data row, counted from 1, when rows before it were refused."""
        row += 1 + (self.window.first if self.window else 0)
        for other in rejected:
            row += other.line - self._dialect.skip - 1 <= row
        return f"data row {row}"

    def faults(self, rejected):
        """Words for rows that were refused."""
        for line, kind, n_cells in rejected:
            if kind in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
                cells_ = f"{n_cells} cell" + "s" * (n_cells != 1)
                yield f"line {line} has {cells_}, the header has {len(self.header)}"
            else:
                yield f"line {line}: {OTHER_REJECTS.get(kind, kind.lower())}"


def _listed(marks):
    return ", ".join(map(dialect.literal, ("", *marks)))
