"""What is wrong with a file: all of it in one error, and in one line."""

import reprlib

__all__ = ["DataError", "Faults", "listed", "one_line"]

MOST_FAULTS = 20  # in one message
MOST_NAMES = 40
COUNTED = " (counted from 1 after the header)"  # said once in a message


class DataError(ValueError):
    """A table that cannot be used. The message is one line.

    Attributes
    ----------
    faults : tuple of str
        All that was found in the file, without its path; the message names the first 20.
    """

    def __init__(self, message, faults=()):
        super().__init__(message)
        self.faults = tuple(faults) or (message,)


DataError.__module__ = "fastbp.datasets"  # where it is public


class Faults:
    """The faults of one table, gathered until all of it has been looked at."""

    def __init__(self, path):
        self.path, self.texts, self.count = path, [], 0

    def add(self, text, count=1):
        """A text that stands for so many faults."""
        self.texts.append(text)
        self.count += count

    def refuse(self):
        """Raise what was gathered, if anything was."""
        if not self.texts:
            return
        first, *others = self.texts[:MOST_FAULTS]
        shown = "; ".join([first, *(text.replace(COUNTED, "") for text in others)])
        if self.count > 1:
            shown = f"{self.count} faults: {shown}"
        if len(self.texts) > MOST_FAULTS:
            shown += f"; and {len(self.texts) - MOST_FAULTS} more"
        raise DataError(one_line(f"{self.path}: {shown}"), self.texts)


def one_line(text):
    return " ".join(text.splitlines())


def listed(names):
    """The names as one line of text, cut after `MOST_NAMES`."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(reprlib.repr, names[:MOST_NAMES])) + more
