"""What is wrong with a file: all of it in one error, and in one line."""

import reprlib
from typing import NamedTuple

__all__ = ["Bad", "DataError", "Faults", "listed", "one_line"]

MOST_FAULTS = 20  # in one message
MOST_NAMES = 40
FEWEST_ROWS = 5  # in which the first or the last may be no data
COUNTED = " (counted from 1 after the header)"  # said once in a message


class DataError(ValueError):
    """A table that cannot be used. The message is one line.

    Attributes
    ----------
    faults : tuple of str
        All that was found in the file, without its path; the message names the first 20.
    """

    strays = ()  # (column, cell) of cells that are no numbers, each once

    def __init__(self, message, faults=()):
        super().__init__(message)
        self.faults = tuple(faults) or (message,)


DataError.__module__ = "fastbp.datasets"  # where it is public


class Bad(NamedTuple):
    """A cell that does not fit its column.

    Attributes
    ----------
    row : int
    what : str
        What is wrong with it.
    cause : str
        Of a column all cells of one cause are told by the first of them.
    stray : str, optional
        The cell, where it is no number.
    """

    row: int
    what: str
    cause: str = ""
    stray: str | None = None


class Faults:
    """The faults of one table, gathered until all of it has been looked at."""

    def __init__(self, path):
        self.path, self.texts, self.strays = path, [], {}

    def add(self, text):
        self.texts.append(text)

    def add_cells(self, bad, place, n_rows):
        """Add cells that do not fit: of each column and cause the first, and how many there are.

        Parameters
        ----------
        bad : list of (str, Bad)
            With the names of their columns.
        place : callable
            The words for a row and a column.
        n_rows : int
            Of the table.
        """
        ends = {0: "a row of units?", n_rows - 1: "a row of means?"}
        groups = {}
        for name, each in sorted(bad, key=lambda pair: pair[1].row):
            groups.setdefault((name, each.cause or each.what), []).append(each)
            if each.stray is not None:
                self.strays[name, each.stray] = None
        for (name, _), same in groups.items():
            more = [f"the first of {len(same)} such cells"] * (len(same) > 1)
            rows = [each.row for each in same if each.stray is not None]
            if n_rows > FEWEST_ROWS and {*rows} <= {*ends}:
                more += [ends[row] for row in rows]
            said = f" ({'; '.join(more)})" * bool(more)
            self.add(f"{place(same[0].row, name)}: {same[0].what}{said}")

    def refuse(self):
        """Raise what was gathered, if anything was."""
        if not self.texts:
            return
        first, *others = self.texts[:MOST_FAULTS]
        shown = "; ".join([first, *(text.replace(COUNTED, "") for text in others)])
        if len(self.texts) > 1:
            shown = f"{len(self.texts)} faults: {shown}"
        if len(self.texts) > MOST_FAULTS:
            shown += f"; and {len(self.texts) - MOST_FAULTS} more"
        error = DataError(one_line(f"{self.path}: {shown}"), self.texts)
        error.strays = tuple(self.strays)
        raise error


def one_line(text):
    return " ".join(text.splitlines())


def listed(names):
    """The names as one line of text, cut after `MOST_NAMES`."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(reprlib.repr, names[:MOST_NAMES])) + more
