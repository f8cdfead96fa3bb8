"""How a CSV file is written: its delimiter, quotes, header and the number of its columns.

DuckDB reads the beginning of the file once for each delimiter. The one that makes a table of the
most rows and the most numbers is that of the file; a first line ``sep=;`` names it.
"""

import re
from typing import NamedTuple

from fastbp._table.faults import DataError
from fastbp._table.numerals import is_plain

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 300
MOST_COLUMNS = 20_000
SEPARATOR_LINE = re.compile(r'(["\']?)sep=(.)\1[\n]', re.I)


class Dialect(NamedTuple):
    """How a file is written, and its first rows."""

    delimiter: str
    quote: str
    escape: str
    skip: int  # lines before the header
    names: list  # a name of each column; "" where the header has none
    rows: list  # the first rows, as tuples of str and None


def literal(text):
    """The text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def read_csv(path, dialect, width, **options):
    """DuckDB's call that reads the file as text, in columns c0, c1, …"""
    delimiter, quote, escape, skip = dialect[:4]
    columns = ", ".join(f"c{j}: 'VARCHAR'" for j in range(width))
    given = {"columns": f"{{{columns}}}", "auto_detect": "false", "delim": literal(delimiter),
             "quote": literal(quote), "escape": literal(escape), "skip": str(skip),
             "max_line_size": "16777216", **options}
    settings = ", ".join(f"{name} = {value}" for name, value in given.items())
    return f"read_csv({literal(path)}, {settings})"


def find_dialect(connection, path, text, whole, delimiter=None):
    """Return the `Dialect` of a file.

    Parameters
    ----------
    path, text : str
        A file of the beginning of the table, with line ends of one kind, and what it holds.
    whole : bool
        Whether that is all of the table.
    delimiter : str, optional
        Found if it is not given.
    """
    skip, text = _without_empty_lines(0, text)
    if line := SEPARATOR_LINE.match(text):
        delimiter = delimiter or line[2]
        skip, text = _without_empty_lines(skip + 1, text[line.end():])
    if not text.strip():
        raise DataError("is empty")
    possible = [delimiter] if delimiter else [d for d in DELIMITERS if d in text] or [","]
    found = [_under(connection, path, text, whole, each, skip) for each in possible]
    found.sort(key=lambda pair: pair[0], reverse=True)
    if len(found) > 1 and found[0][0] == found[1][0] and len(found[0][1].names) > 1:
        both = " and ".join(repr(pair[1].delimiter) for pair in found[:2])
        raise DataError(f"{both} both divide it into {len(found[0][1].names)} columns: which of "
                        "them does cannot be told; save it with another one")
    return found[0][1]


def _without_empty_lines(skip, text):
    """The number of lines before the text, and the text, without the empty ones that it begins
    with."""
    first = re.match(r"([ \t\n]*\n)?", text)[0]
    return skip + first.count("\n"), text[len(first):]


def _under(connection, path, text, whole, delimiter, skip):
    """Return how well the delimiter fits, to be compared, and the `Dialect` that it makes."""
    dialect = Dialect(delimiter, *_quote(connection, path, delimiter), skip, [], [])
    names, n_empty = _header(connection, path, text, dialect)
    rows, n_bad, wider = _rows(connection, path, dialect, len(names), whole)
    if n_empty and n_bad and not rows:  # the last columns have no names, but cells
        names = [*names, *[""] * n_empty]
        rows, n_bad, wider = _rows(connection, path, dialect, len(names), whole)
    shifted = bool(n_bad) and wider == n_bad and not rows
    if shifted:  # a column of row numbers or names has no name
        names = ["", *names]
        rows, n_bad, _ = _rows(connection, path, dialect, len(names), whole)
    share = len(rows) / (len(rows) + n_bad) if rows or n_bad else 1.0
    held = [cell.strip() for row in rows for cell in row if cell]
    n_numbers = sum(is_plain(cell, ".") or is_plain(cell, ",") for cell in held)
    numbers = n_numbers / len(held) if held else 0.0
    fit = (len(names) > 1, share >= 0.5, not shifted, numbers, share, len(names))
    return fit, dialect._replace(names=names, rows=rows)


def _quote(connection, path, delimiter):
    """The quote and the escape that DuckDB's sniffer finds."""
    import duckdb
    for strict in ("true", "false"):
        try:
            quote, escape = connection.execute(
                "SELECT Quote, Escape FROM sniff_csv(?, delim = ?, all_varchar = true, "
                f"null_padding = true, strict_mode = {strict})", [path, delimiter]).fetchone()
            break
        except duckdb.Error:
            quote = escape = '"'
    quote = quote if len(quote) == 1 else '"'
    return quote, escape if len(escape) == 1 else quote


def _header(connection, path, text, dialect):
    """The names in the header, stripped, and how many empty ones are behind them."""
    header = _header_text(text, dialect)
    width = header.count(dialect.delimiter) + 1  # at most
    if width > MOST_COLUMNS:
        raise DataError(f"has more than {MOST_COLUMNS} columns, or a quote that does not end")
    row = connection.execute(
        f"FROM {read_csv(path, dialect, width, header='false', null_padding='true', **_LOOSE)} "
        "LIMIT 1").fetchone() or ()
    names = [(name or "").strip() for name in row]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise DataError("the first line holds no names of columns")
    named = header.rstrip(f"{dialect.delimiter}{dialect.quote} \t\n")
    return names, header.count(dialect.delimiter, len(named))


_LOOSE = {"strict_mode": "false", "ignore_errors": "true", "parallel": "false"}


def _header_text(text, dialect):
    """The text up to the end of the line where its quotes are even in number."""
    end = 0
    while True:
        end = text.find("\n", end) + 1 or len(text)
        if end == len(text) or text.count(dialect.quote, 0, end) % 2 == 0:
            return text[:end]


def _rows(connection, path, dialect, width, whole):
    """Return the first rows, how many others there are, and how many of them have one cell more."""
    import duckdb
    table = read_csv(path, dialect, width, header="true", store_rejects="true", parallel="false")
    try:
        rows = connection.execute(f"FROM {table} LIMIT {SAMPLE_ROWS}").fetchall()
        rejected = rejects(connection)
    except duckdb.Error:
        forget_rejects(connection)
        return [], 1, 0
    if not whole and rejected and rejected[-1].kind == "UNQUOTED VALUE":
        rejected.pop()  # a quote that ends after the sample
    return rows, len(rejected), sum(row.n_cells == width + 1 for row in rejected)


class Reject(NamedTuple):
    """A row that does not fit."""

    line: int
    kind: str  # in DuckDB's words
    n_cells: int


def forget_rejects(connection):
    for table in ("reject_errors", "reject_scans"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def rejects(connection):
    """Return the `Reject`s since the last call, by their lines."""
    found = connection.execute(
        "SELECT line, error_type, min(column_idx), max(column_idx), first(csv_line) "
        "FROM reject_errors GROUP BY line, error_type ORDER BY line").fetchall()
    forget_rejects(connection)
    # DuckDB counts on through the missing cells, and up to the first that is too many.
    return [Reject(line, kind, low if kind == "MISSING COLUMNS" else high)
            for line, kind, low, high, text in found
            if kind != "MISSING COLUMNS" or text is None or text.strip()]
