"""The columns of one file or several, and all that is wrong with them in one error."""

import copy
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastbp._table import cells
from fastbp._table.cells import Column
from fastbp._table.csv import CsvFile
from fastbp._table.dialect import literal
from fastbp._table.engine import interruptible
from fastbp._table.faults import COUNTED, Bad, DataError, Faults, listed, one_line
from fastbp._table.noted import Noted
from fastbp._table.numerals import numerals_of
from fastbp._table.typed import TypedFile


class Table(Noted):
    """Files with the same columns, whose rows follow each other.

    Attributes
    ----------
    names : tuple of str
        The columns, in the order of the first file. Each has a name of its own: see `renamed`.
    left_out : tuple of str
        Sentences about columns that are not among them: a first one without a name, which holds
        the numbers or the names of the rows, and those with neither a name nor a cell.
    renamed : tuple of str
        Sentences about columns that share a name, or have none: they are called "name_2" and
        "column_3" here.
    """

    def __init__(self, connection, files, options, folder, path):
        self._connection, self._options, self._folder = connection, options, folder
        super().__init__(options)
        self.path = path
        self._files = [self._opened(*file) for file in files]
        self._name_columns()
        self.settle(self.names)

    def settle(self, names):
        """Let these columns alone decide what the decimal mark is."""
        files = [(f, file) for f, file in enumerate(self._files) if isinstance(file, CsvFile)]
        shown = [file.marks_shown([self._places[name][f] for name in names]) for f, file in files]
        differ = len({tuple(each) for each in shown if len(each) == 1}) > 1
        for (_, file), own in zip(files, shown, strict=True):
            delimiter = file.delimiter if len(file.header) > 1 else None    # of one column none
            file.numerals = numerals_of(own if differ else sum(shown, Counter()), self._options,
                                        delimiter)

    def _opened(self, path, local, form):
        try:
            if form == "CSV":
                return CsvFile(self._connection, path, local, self._options, self._folder)
            return TypedFile(self._connection, path, local, form)
        except DataError as error:
            raise DataError(one_line(f"{path}: {error}")) from None
        except OSError as error:
            raise DataError(one_line(f"{path}: {error.strerror or error}")) from None

    def _name_columns(self):
        """Find the place of each column in each file."""
        self._places, notes = {}, ([], [])
        for file in self._files:
            named, *said = _named(file)
            if not self._places:
                self._places = {name: [] for name in named}
                notes = said
            if set(named) != set(self._places):
                more, less = set(named) - set(self._places), set(self._places) - set(named)
                words = [f"has no column {listed(sorted(less))}"] * bool(less)
                words += [f"has {listed(sorted(more))} besides"] * bool(more)
                raise DataError(one_line(
                    f"{file.path}: {' and '.join(words)}, compared with {self._files[0].path}"))
            for name, j in named.items():
                self._places[name].append(j)
        self.names = tuple(self._places)
        self.left_out, self.renamed = map(tuple, notes)

    @property
    def has_types(self):
        """Whether the files say what their columns are, as all but CSV files do."""
        return not any(isinstance(file, CsvFile) for file in self._files)

    @property
    def decimal(self):
        """The decimal mark that was named or that numbers have; None if none has one."""
        if not isinstance(self._files[0], CsvFile):
            return self.shown
        numerals = self._files[0].numerals
        return numerals.decimal if numerals.settled or self.told else self.shown

    @interruptible()
    def columns(self, names=None, kinds=None, complete=False):
        """Read columns.

        Parameters
        ----------
        names : sequence of str, optional
            All of them without it.
        kinds : dict of str to str, optional
            What a column is to be: "text"; "number", and a cell that is none is a fault;
            "label" or "levels", numbers if all cells are, else text; "date" or "truth", which
            a file of types has as they are, and a CSV file as text; "kept", the cells as they
            stand: text of a CSV file, marks of missing cells too, and integers, NaN and infinite
            numbers of a file of types.
        complete : bool
            Whether a missing cell is a fault, too.

        Returns
        -------
        list of Column

        Raises
        ------
        DataError
            Rows of other lengths, or cells that do not fit, up to 20 of them with their places.
        """
        names, kinds = list(self.names if names is None else names), kinds or {}
        reading = _Reading(self, names, kinds)
        found = [reading.column(name) for name in names]
        if complete:
            reading.look_for_missing(found)
        reading.refuse()
        return found

    def batches(self, n_rows, names=None, kinds=None, kept=()):
        """Yield what `columns` returns for `n_rows` rows at a time, of each file in turn.

        Behind it come the columns named in `kept`, as they stand, which may be others or the same.
        The rows lie in a database in a temporary folder meanwhile, so that tables may be larger
        than memory. What a column of no given kind holds is seen in each batch alone.
        """
        database = f"kept{id(self)}"
        self._connection.execute(f"ATTACH {literal(self._folder.database())} AS {database}")
        try:
            for f, file in enumerate(self._files):
                part = copy.copy(self)
                part._files = [file]
                part._places = {name: [places[f]] for name, places in self._places.items()}
                yield from part._windows(f"{database}.file{f}", n_rows, names, kinds, kept)
        finally:
            self._connection.execute(f"DETACH {database}")

    def _windows(self, table, n_rows, names, kinds, kept):
        (file,), faults = self._files, Faults(self.path)
        try:
            with interruptible():
                rejected = file.keep(table)
        except DataError as error:
            raise DataError(one_line(f"{file.path}: {error}")) from None
        for words in file.faults(rejected):
            faults.add(words)
        faults.refuse()
        (n,) = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        try:
            for first in range(0, n, n_rows):
                file.window = Window(table, first, n_rows)
                found = self.columns(names, kinds)
                found += self.columns(kept, dict.fromkeys(kept, "kept"))
                file.window = None
                yield found
        finally:
            file.window = None
            self._connection.execute(f"DROP TABLE {table}")


class Window(NamedTuple):
    """Some rows of a table of the database."""

    name: str
    first: int
    n_rows: int

    @property
    def table(self):
        """The rows as SQL."""
        last = self.first + self.n_rows - 1
        return f"{self.name} WHERE rowid BETWEEN {self.first} AND {last}"


class _Reading:
    """One call of `Table.columns`: what the files gave, and the faults."""

    def __init__(self, table, names, kinds):
        self.table, self.kinds = table, kinds
        self.faults, self.bad = Faults(table.path), []
        self.rejected = [[] for _ in table._files]
        self.texts, self.numbers, self.n_rows = {}, {}, []
        self.csv = all(isinstance(file, CsvFile) for file in table._files)
        if self.csv and names:
            fast = [name for name in names if self._is_fast(name)]
            self._read([(name, "number" if name in fast else self._form(name)) for name in names])
            for form in ("sparse", "text"):
                slow = [name for name in fast if _is_doubtful(self.numbers[name])]
                if slow:
                    self._read([(name, form) for name in slow], again=True)

    def _form(self, name):
        return "raw" if self.kinds.get(name) in ("label", "kept") else "text"

    def _is_fast(self, name):
        return self.kinds.get(name, "number") in ("number", "levels") and all(
            file.looks_like_numbers(j)
            for file, j in zip(self.table._files, self.table._places[name], strict=True))

    def _read(self, wanted, again=False):
        parts = {name: [] for name, _ in wanted}
        for f, file in enumerate(self.table._files):
            places = {self.table._places[name][f]: form for name, form in wanted}
            try:
                found = file.read(places, [] if again else self.rejected[f])
            except DataError as error:
                raise DataError(one_line(f"{file.path}: {error}")) from None
            for name, _ in wanted:
                parts[name].append(found[self.table._places[name][f]])
        self.n_rows = [len(part) for part in parts[wanted[0][0]]]
        for name, form in wanted:
            are_numbers = form in ("number", "sparse")
            into = self.numbers if are_numbers else self.texts
            join = np.ma.concatenate if are_numbers and any(
                map(np.ma.isMA, parts[name])) else np.concatenate
            into[name] = join(parts[name]) if len(parts[name]) > 1 else parts[name][0]

    def column(self, name):
        """Return a column, and keep its bad cells for `refuse`."""
        if not self.csv:
            return self._typed(name)
        if name not in self.texts:
            found = self.numbers[name]
            return Column(name, np.ma.filled(found, 0.0), np.ma.getmaskarray(found))
        files = self.table._files
        numerals = {file.numerals for file in files}
        if len({each.decimal for each in numerals}) > 1:
            raise DataError(f"{self.table.path}: some files have decimal commas and others decimal "
                            "points")
        options, numerals = self.table._options, min(numerals)
        found = cells.column_of(
            name, self.texts[name], numerals, self.kinds.get(name), options.label_missing,
            options.units if options.units is None else options.units.get(name, ""))
        self.table.note(name, found, options)
        self.bad += [(name, each) for each in found.bad]
        return found.column

    def _typed(self, name):
        kind, parts, bad = self.kinds.get(name), [], []
        self.n_rows = []
        for file, j in zip(self.table._files, self.table._places[name], strict=True):
            if isinstance(file, CsvFile):
                raise DataError(f"{self.table.path}: CSV files and others cannot be read together")
            part = file.column(j, kind, self.table._options)
            if part.column is None:
                raise DataError(f"{file.path}: column {name!r} {part.bad[0].what}")
            bad += [each._replace(row=sum(self.n_rows) + each.row) for each in part.bad]
            self.table.note(name, part, self.table._options)
            parts.append(part.column)
            self.n_rows.append(len(part.column.values))
        self.bad += [(name, each) for each in bad]
        if len({part.values.dtype.kind for part in parts}) > 1:
            raise DataError(f"{self.table.path}: column {name!r} has other types in other files")
        return Column(name, np.concatenate([part.values for part in parts]),
                      np.concatenate([part.missing for part in parts]))

    def look_for_missing(self, columns):
        for name, values, missing in columns:
            is_label = self.kinds.get(name) == "label"
            what = "the label is missing" if is_label else "the cell is empty"
            what += "" if self.csv or is_label else " or NaN"
            self.bad += [(name, Bad(int(i), what)) for i in np.flatnonzero(missing)]
            if is_label and values.dtype == object:
                marks = cells.missing_labels({*values}, cells.MARKS)
                self.bad += [
                    (name, Bad(i, f"the label is {value}")) for i, value in enumerate(values)
                    if value is not None and (value in marks or value.lower() == "nan")]

    def refuse(self):
        for file, rejected in zip(self.table._files, self.rejected, strict=True):
            for words in file.faults(rejected) if rejected else ():
                self.faults.add(self._of_file(file) + words)
        self.faults.add_cells(self.bad, self.place, sum(self.n_rows))
        self.faults.refuse()

    def _of_file(self, file):
        return f"{Path(file.path).name}, " if len(self.table._files) > 1 else ""

    def place(self, row, name):
        ends = np.cumsum(self.n_rows)
        f = int(np.searchsorted(ends, row, side="right"))
        file, row = self.table._files[f], int(row - (ends[f] - self.n_rows[f]))
        if isinstance(file, CsvFile):
            where = file.place(row, self.rejected[f]) + COUNTED
        else:
            where = file.place(row)
        return f"{self._of_file(file)}{where}, column {name!r}"


def _is_doubtful(found):
    """Whether a number may be no number, or have more than 53 bits."""
    values = np.ma.filled(found, 0.0)
    return not (np.abs(values) < cells.EXACT).all()


def _named(file):
    """Return the place of each name, what is said of columns left out, and of those renamed."""
    named, left_out, renamed = {}, [], []
    counts = Counter(file.header)
    for j, name in enumerate(file.header):
        if not name and j == 0 and len(file.header) > 1:
            left_out.append("the first column has no name: it is taken for the names of the rows")
            continue
        if not name and file.is_empty(j):
            left_out.append(f"column {j + 1} has neither a name nor a cell")
            continue
        if not name:
            renamed.append(f"column {j + 1} has no name")
            name = f"column_{j + 1}"
        elif counts[name] > 1 and name in named:
            if f"{counts[name]} columns are named {name!r}" not in renamed:
                renamed.append(f"{counts[name]} columns are named {name!r}")
        base, k = name, 2
        while name in named or (name != base and name in counts):
            name, k = f"{base}_{k}", k + 1
        named[name] = j
    return named, left_out, renamed
