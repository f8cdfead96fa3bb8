"""What stands for missing cells: by default, as the user says, and where that does not fit."""

import shlex

from fastbp._table.numerals import is_plain

MOST_TOLD = 3  # marks in an error


def chosen(args, default):
    """The marks of a command: those of `--only-missing`, or the default ones; and `--missing`."""
    first = default if args.only_missing is None else _several(args.only_missing)
    return tuple(sorted({*first, *_several(args.missing or ())}))


def _several(given):
    """The marks that an option names, each time one or several divided by commas."""
    return [part.strip() for text in given
            for part in ([text] if is_plain(text.strip(), ",") else text.split(","))]


def unseen(table, names, args):
    """Sentences about marks of the user that are no text in the columns."""
    given = {*_several(args.missing or ()), *_several(args.only_missing or ())} - {""}
    if not given:
        return []
    for column in table.columns(names, dict.fromkeys(names, "kept")):
        if column.values.dtype.kind in "OU":
            given -= {*column.values.tolist()}
    return [f"no text is {mark!r}, a mark that --missing or --only-missing names"
            for mark in sorted(given)]


def remedy(strays):
    """What can be done with cells that are no numbers.

    Parameters
    ----------
    strays : sequence of (str, str)
        The column and the cell of each.
    """
    if not strays:
        return ""
    columns, marks = (list(dict.fromkeys(each)) for each in zip(*strays, strict=True))
    name = shlex.quote(columns[0]) if len(columns) == 1 else "NAME"
    options = " ".join(shlex.quote(f"--missing={mark}") for mark in marks[:MOST_TOLD])
    rest = len(marks) - MOST_TOLD
    more = f" and {rest} more such options" * (rest > 0)
    return (f" ({options}{more} if these are missing cells; --drop {name} leaves "
            f"{'the' if len(columns) == 1 else 'a'} column out, --categorical {name} takes its "
            "cells for levels)")
