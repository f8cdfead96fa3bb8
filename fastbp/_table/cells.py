"""Cells of text as numbers, truth values, dates or text: what a column of a CSV file holds.

A column is looked at as a whole, by its distinct cells. Nothing is guessed that could be wrong in
silence: digits after a leading zero stay text, so do dates whose day could be the month, and a
cell that is no number in a column of numbers is a fault with its place.
"""

import math
import re
from collections import Counter
from datetime import datetime
from typing import NamedTuple

import numpy as np

BLANKS = " \t\r\n"  # around a cell
EXACT = 2**53  # the integers up to it are float64
MOST_BAD = 20  # cells that are looked for
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.I)
LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
AS_TEXT = ("text", "date", "truth", "kept")
MARKS = frozenset(("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?", "-", "."))
TRUTH = {"true": True, "false": False}
DATES = {name: re.compile(form, re.A) for name, form in {
    "Y-M-D": r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})",
    "Y/M/D": r"(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})",
    "D.M.Y": r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})",
    "D/M/Y": r"(?P<d>\d{1,2})/(?P<m>\d{1,2})/(?P<y>\d{4})",
    "M/D/Y": r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})"}.items()}
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?"
                 r"(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?", re.A)
DATE_FORMS = (*DATES, "ISO 8601", "ISO 8601 with a zone")


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    name : str
        Its name in the file.
    values : ndarray of shape (n_rows,)
        float64; int64 or uint64 where an integer has more than 53 bits; bool; datetime64[us], in
        UTC where the cells name a zone; or an object array of str. Any value where `missing`.
    missing : ndarray of shape (n_rows,), bool
        Which cells are empty or hold a mark of missing cells.
    """

    name: str
    values: np.ndarray
    missing: np.ndarray


class Bad(NamedTuple):
    """A cell that does not fit its column."""

    row: int
    what: str


def missing_labels(labels, marks):
    """Which of the labels are marks of missing ones; a minus is a label where there is a plus."""
    found = set(marks).intersection(labels)
    return found - {"-"} if "+" in labels else found


def is_plain(cell, decimal):
    """Whether the cell is a number without marks of thousands, and not a code such as 007."""
    return _PLAIN[decimal].fullmatch(cell) is not None and not LEADING_ZERO.match(cell)


_PLAIN = {mark: re.compile(rf"[+-]?(\d+{re.escape(mark)}?\d*|{re.escape(mark)}\d+)([eE][+-]?\d+)?",
                           re.A) for mark in ".,"}
_GROUPED = {mark: re.compile(
    rf"[+-]?[1-9]\d{{0,2}}(?P<sep>{re.escape(other)}|[ '\u2019\u00a0\u202f])"
    rf"\d{{3}}((?P=sep)\d{{3}})*({re.escape(mark)}\d+)?", re.A) for mark, other in (".,", ",.")}


def number(cell, decimal, grouped=False):
    """The cell as a float, None if it is not a number; infinite or NaN as it says."""
    if _PLAIN[decimal].fullmatch(cell):
        return float(cell.replace(decimal, "."))
    if NOT_FINITE.fullmatch(cell):
        return float(cell)
    match = _GROUPED[decimal].fullmatch(cell) if grouped else None
    return float(cell.replace(match["sep"], "").replace(decimal, ".")) if match else None


def is_number(text):
    return number(text, ".") is not None


def is_grouped(cell, decimal):
    return _GROUPED[decimal].fullmatch(cell) is not None


def settles_groups(cell, decimal):
    """Whether nobody could take the marks of thousands in the cell for a decimal mark."""
    match = _GROUPED[decimal].fullmatch(cell)
    return match is not None and (match["sep"] not in ".," or decimal in cell
                                  or cell.count(match["sep"]) > 1)


def has_thousands(cells, decimal):
    """Whether the mark that is not the decimal one stands between thousands in some cell."""
    other = "," if decimal == "." else "."
    return any(other in cell and is_grouped(cell, decimal) for cell in {*cells} - {None})


def decimal_of(cells):
    """The decimal mark that these cells have: a comma only where it can be nothing else."""
    commas = [cell for cell in cells if "," in cell and is_plain(cell, ",")]
    points = any("." in cell and is_plain(cell, ".") or settles_groups(cell, ".") for cell in cells)
    sure = any(not is_grouped(cell, ".") for cell in commas) or any(
        "," in cell and settles_groups(cell, ",") for cell in cells)
    return "," if sure and not points else "."


def can_have_decimal_commas(cells):
    """Whether no cell has a point that can be nothing else than the decimal mark."""
    return not any("." in cell and is_plain(cell, ".") and not is_grouped(cell, ",")
                   or settles_groups(cell, ".") for cell in cells)


def column_of(name, cells, decimal, known_decimal, kind=None, marks=()):
    """Return the column that the cells make, and its bad cells.

    Parameters
    ----------
    cells : ndarray of object, shape (n_rows,)
        str, stripped, and None where missing.
    decimal : str
        The decimal mark.
    known_decimal : bool
        Whether somebody said so; 1,234 is then a number of thousands.
    kind : {None, "text", "date", "truth", "kept", "number", "label"}
        What it is to be; labels are numbers only if all of them are. Dates and truth values stay
        text for the caller, who knows which of them to expect.
    marks : collection of str
        What stands for a missing label, see `missing_labels`.
    """
    if kind == "label":
        gone = missing_labels({*cells}, marks)
        cells = np.array([None if cell in gone else cell for cell in cells], dtype=object)
    missing = np.equal(cells, None)
    counts = Counter(cells.tolist())
    counts.pop(None, None)
    if kind in AS_TEXT:
        return Column(name, cells, missing), []
    grouped = known_decimal or any(settles_groups(cell, decimal) for cell in counts)
    numbers = {cell: number(cell, decimal, grouped) for cell in counts}
    bad = {cell for cell, value in numbers.items() if value is None or not math.isfinite(value)}
    if kind is None or kind == "label":
        is_text = None in numbers.values() if kind == "label" else _is_text(counts, numbers)
        if is_text:
            return _other(name, cells, missing, counts, kind), _ambiguous(
                cells, counts, decimal, grouped)
        if any(map(LEADING_ZERO.fullmatch, counts)) and kind is None:
            return Column(name, cells, missing), []
    if not bad:
        exact = _integers(name, cells, missing, counts, numbers)
        if exact:
            return exact, []
    values = np.array([0.0 if cell is None else numbers[cell] for cell in cells], dtype=object)
    values = np.where(np.equal(values, None), np.nan, values).astype(np.float64)
    noun = "label" if kind == "label" else "value"
    return Column(name, values, missing), _bad_cells(cells, bad, numbers, decimal, noun)


def _is_text(counts, numbers):
    """Whether at least half of the cells are not even infinite or NaN."""
    wrong = sum(n for cell, n in counts.items() if numbers[cell] is None)
    return 2 * wrong >= counts.total() > 0


def _ambiguous(cells, counts, decimal, grouped):
    """The first cell that is no number, where all of them are numbers in one mark or the other."""
    finite = [cell for cell in counts if not NOT_FINITE.fullmatch(cell)]
    if not finite or not all(map(in_some_mark, finite)):
        return []
    i, cell = next((i, cell) for i, cell in enumerate(cells)
                   if cell is not None and number(cell, decimal, grouped) is None)
    if is_grouped(cell, decimal):
        return [Bad(i, f"{cell!r} could be a fraction or thousands: name the decimal mark "
                       "(--decimal)")]
    return [Bad(i, f"{cell!r} is not a number with the decimal mark {decimal!r} (--decimal)")]


def in_some_mark(cell):
    """Whether the cell is a number with a decimal point or with a decimal comma."""
    return any(test(cell, mark) for test in (is_plain, is_grouped) for mark in ".,")


def _bad_cells(cells, bad, numbers, decimal, noun):
    rows = [i for i, cell in enumerate(cells) if cell in bad] if bad else []
    return [Bad(i, _what(cells[i], numbers[cells[i]], decimal, noun)) for i in rows]


def _what(cell, value, decimal, noun):
    if value is None and in_some_mark(cell):
        return f"{shortened(cell)} is not a number with the decimal mark {decimal!r} (--decimal)"
    if value is None:
        return f"{shortened(cell)} is not a number"
    written = "" if NOT_FINITE.fullmatch(cell) else f" ({shortened(cell)})"
    return f"the {noun} is {value}{written}"


def shortened(cell):
    return repr(cell if len(cell) <= 30 else f"{cell[:14]}...{cell[-13:]}")


def _integers(name, cells, missing, counts, numbers):
    """The column in int64 or uint64, as text beyond, if float64 would change a number."""
    if not any(abs(value) >= EXACT for value in numbers.values()) or not all(
            map(INTEGER.fullmatch, counts)):
        return None
    whole = {cell: int(cell) for cell in counts}
    low, high = min(whole.values()), max(whole.values())
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            values = [0 if cell is None else whole[cell] for cell in cells]
            return Column(name, np.array(values, dtype=dtype), missing)
    return Column(name, cells, missing)


def _other(name, cells, missing, counts, kind):
    """A column of truth values, dates or text."""
    if kind == "label":
        return Column(name, cells, missing)
    if all(cell.lower() in TRUTH for cell in counts):
        values = [cell is not None and TRUTH[cell.lower()] for cell in cells]
        return Column(name, np.array(values, dtype=bool), missing)
    form = date_form(counts)
    if form is None:
        return Column(name, cells, missing)
    dates = dates_in(form, counts)[0].values()
    places = {cell: i for i, cell in enumerate((*counts, None))}
    distinct = np.array([*dates, None], dtype="datetime64[us]")  # None is NaT
    return Column(name, distinct[[places[cell] for cell in cells]], missing)


def date_form(cells):
    """The form of DATE_FORMS that all cells have; None if none does, or two with other dates."""
    found = {}
    for form in DATE_FORMS:
        dates, bad = dates_in(form, cells)
        if not bad:
            found[form] = dates
    first = next(iter(found), None)
    return first if all(dates == found[first] for dates in found.values()) else None


def dates_in(form, cells):
    """Return {cell: datetime, in UTC if it has a zone} and the cells that have another form.

    Parameters
    ----------
    form : str
        One of DATE_FORMS.
    cells : iterable of str
        All different.
    """
    found, bad = {}, []
    read = DATES[form].fullmatch if form in DATES else ISO.fullmatch
    for cell in cells:
        match = read(cell)
        try:
            found[cell] = _moment(match, form) if match else None
        except (ValueError, OverflowError):
            found[cell] = None
        if found[cell] is None:
            del found[cell]
            bad.append(cell)
            if len(bad) == MOST_BAD:
                break
    return found, bad


def _moment(match, form):
    if form in DATES:
        return datetime(*(int(match[part]) for part in "ymd"))
    if (match["zone"] is not None) != (form == DATE_FORMS[-1]):
        return None
    moment = datetime.fromisoformat(match[0])
    return moment if moment.tzinfo is None else (moment - moment.utcoffset()).replace(tzinfo=None)
