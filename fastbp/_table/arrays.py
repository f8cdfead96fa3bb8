"""NPZ and NPY files: X (n_samples, n_features) as columns x1, x2, …, other arrays as one each."""

import numpy as np

from fastbp import _arguments
from fastbp._table import cells
from fastbp._table.cells import BLANKS, Column
from fastbp._table.faults import Bad, DataError, Faults, listed
from fastbp._table.noted import Noted
from fastbp._table.numerals import likely_numerals


class ArrayTable(Noted):
    """A table of arrays, with the names and the columns of a `Table`.

    Attributes
    ----------
    features : tuple of str
        The columns of `X`.
    """

    left_out = renamed = ()
    has_types = True

    def __init__(self, path, local, options):
        self.path, self._local, self._options = path, local, options
        super().__init__(options)
        try:
            self._arrays = self._loaded()
            self._X = self._matrix()
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        self.features = tuple(f"x{j}" for j in range(1, self._X.shape[1] + 1))

    def _loaded(self):
        """Return the file's arrays, each read when it is asked for."""
        try:
            found = np.load(self._local, allow_pickle=False)
        except Exception as error:  # a damaged archive raises half a dozen types
            raise DataError(f"is not an NPZ file that can be read: {error}") from None
        return {"X": found} if isinstance(found, np.ndarray) else found

    def _matrix(self):
        X = self._array("X")
        if X.ndim != 2 or X.dtype.kind == "U":
            raise DataError(f"X must be numbers of shape (n, n_features), it is {X.dtype}{X.shape}")
        if not X.size:
            raise DataError(f"X has shape {X.shape}: there is nothing to learn from")
        return X

    def _array(self, name):
        """Return one array; pickled objects and foreign members are refused."""
        names = list(self._arrays)
        if name not in names:
            near = _arguments.nearest(name, names)
            hint = f"did you mean {near!r}? " if near else ""
            raise DataError(f"no array {name!r} in the NPZ file; {hint}"
                            f"it holds {listed(names) or 'nothing'}")
        try:
            array = self._arrays[name]
        except ValueError as error:
            raise DataError(f"array {name!r} cannot be read: {error}") from None
        except Exception as error:
            raise DataError(f"is not an NPZ file that can be read: {error}") from None
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufU":
            what = getattr(array, "dtype", "no array")
            strings = "" if name == "X" else " or strings"
            raise DataError(f"array {name!r} holds {what}, not numbers{strings}")
        return array

    def settle(self, names):
        """Nothing is to be decided for all columns: see `Table.settle`."""

    @property
    def decimal(self):
        """The decimal mark; None if no text that is a number has one."""
        return self.shown

    @property
    def names(self):
        return (*self.features, *(name for name in self._arrays if name != "X"))

    def columns(self, names=None, kinds=None, complete=False):
        """Return `Column`s; what is wrong with any of them is one `DataError`.

        The parameters are those of `Table.columns`; NaN is a missing cell.
        """
        found, wrong, kinds, faults = [], [], kinds or {}, Faults(self.path)
        for name in self.names if names is None else names:
            try:
                column, bad = self._column(name, kinds.get(name))
            except DataError as error:
                raise DataError(f"{self.path}: {error}") from None
            found.append(column)
            if complete:
                lack = "nan" if column.values.dtype.kind == "f" else "missing"
                bad += [Bad(int(i), f"the {_noun(kinds.get(name))} is {lack}")
                        for i in np.flatnonzero(column.missing)]
            wrong += [(name, each) for each in bad]
        faults.add_cells(wrong, self._place, len(self._X))
        faults.refuse()
        return found

    def batches(self, n_rows, names=None, kinds=None, kept=()):
        """Yield what `columns` returns for `n_rows` rows at a time, and behind it columns as they
        stand."""
        found = self.columns(names, kinds) + self.columns(kept, dict.fromkeys(kept, "kept"))
        for first in range(0, len(self._X), n_rows):
            rows = slice(first, first + n_rows)
            yield [Column(name, values[rows], missing[rows]) for name, values, missing in found]

    def _column(self, name, kind):
        """Return a column and its bad cells."""
        if name in self.features and name not in self._arrays:
            values = np.ascontiguousarray(self._X[:, self.features.index(name)])
        else:
            values, n = self._array(name), len(self._X)
            if values.shape not in ((n,), (n, 1)):
                raise DataError(
                    f"{name!r} must have shape ({n},) like X's rows, it has {values.shape}")
            values = values.ravel()
        if values.dtype.kind == "U":
            return self._of_texts(name, values, kind)
        if kind == "kept":
            return Column(name, values, np.zeros(len(values), dtype=bool)), []
        column = _of_numbers(name, values)
        if values.dtype.kind != "f":
            return column, []
        return column._replace(missing=np.isnan(values)), [
            Bad(int(i), f"the {_noun(kind)} is {values[i]}", "finite")
            for i in np.flatnonzero(np.isinf(values))]

    def _of_texts(self, name, values, kind):
        marks = {"", *(() if kind in ("label", "kept") else self._options.missing)}
        stripped = [value.strip(BLANKS) for value in values.tolist()]
        texts = np.array([None if cell in marks else cell for cell in stripped], dtype=object)
        kind, units = "text" if kind in (None, "levels") else kind, self._options.units
        found = cells.column_of(
            name, texts, likely_numerals(texts, self._options), kind, self._options.label_missing,
            units if units is None else units.get(name, ""))
        self.note(name, found, self._options)
        return found.column, found.bad

    def _place(self, row, name):
        """Where a cell is, in words."""
        if name in self.features and name not in self._arrays:
            return f"X, row {row + 1}, column {self.features.index(name) + 1} (counted from 1)"
        return f"{name!r}, row {row + 1} (counted from 1)"


def _noun(kind):
    return "label" if kind == "label" else "value"


def _of_numbers(name, values):
    if values.dtype.kind in "iu" and np.abs(values.astype(object)).max(initial=0) > 2**53:
        values = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64)
    elif values.dtype.kind in "iuf":
        values = values.astype(np.float64)
    return Column(name, values, np.zeros(len(values), dtype=bool))
