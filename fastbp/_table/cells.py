"""Cells of text as numbers, truth values, dates or text: what a column of a CSV file holds.

A column is looked at as a whole, by its distinct cells. Nothing is guessed that could be wrong in
silence: digits after a leading zero stay text, so do dates whose day could be the month, and a
cell that is no number in a column of numbers is a fault with its place.
"""

import math
import re
from collections import Counter
from functools import partial
from typing import NamedTuple

import numpy as np

from fastbp._table import numerals as numerals_
from fastbp._table.dates import date_form, dates_in
from fastbp._table.faults import Bad
from fastbp._table.numerals import LEADING_ZERO, NOT_FINITE, OTHER, Numerals, number

BLANKS = " \t\r\n"  # around a cell
EXACT = 2**53  # the integers up to it are float64
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
AS_TEXT = ("text", "date", "truth", "kept")
MARKS = frozenset((
    "NA", "N/A", "n/a", "N.A.", "n.a.", "#N/A", "NaN", "nan", "NULL", "null", "None", "?", "-",
    "--", "---", ".", "nd", "n.d.", "N.D.", "k.A.", "k. A.", "#DIV/0!", "#REF!", "#VALUE!",
    "#NUM!", "#NAME?"))
TRUTH = {"true": True, "false": False}


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


class Found(NamedTuple):
    """What a column of texts is.

    Attributes
    ----------
    column : Column
    bad : list of Bad
        Its cells that do not fit.
    unit : str
        What stood behind each number.
    told : str
        A sentence where the decimal mark was decided by other columns, or by none.
    decimal : str
        The decimal mark, if a number has one.
    thousands : bool
        Whether the other mark stands between thousands.
    """

    column: Column
    bad: list
    unit: str = ""
    told: str = ""
    decimal: str = ""
    thousands: bool = False


def missing_labels(labels, marks):
    """A mask of the labels that stand for a missing one; where + is a label, - is one too."""
    found = set(marks).intersection(labels)
    if any(label and set(label) == {"+"} for label in labels if isinstance(label, str)):
        return {mark for mark in found if set(mark) != {"-"}}
    return found


def column_of(name, cells, numerals=None, kind=None, marks=(), unit=None):
    """Return what the cells make.

    Parameters
    ----------
    cells : ndarray of object, shape (n_rows,)
        str, stripped, and None where missing.
    numerals : Numerals, optional
        How numbers are written.
    kind : {None, "text", "date", "truth", "kept", "number", "label", "levels"}
        What it is to be; labels and levels are numbers only if all of them are. Dates and truth
        values stay text for the caller, who knows which of them to expect.
    marks : collection of str
        What stands for a missing label, see `missing_labels`.
    unit : str, optional
        What may stand behind a number. Without it, what stands behind all of them.

    Returns
    -------
    Found
    """
    numerals = numerals or Numerals()
    if kind == "label":
        gone = missing_labels({*cells}, marks)
        cells = np.array([None if cell in gone else cell for cell in cells], dtype=object)
    missing = np.equal(cells, None)
    counts = Counter(cells.tolist())
    counts.pop(None, None)
    if kind in AS_TEXT:
        return Found(Column(name, cells, missing), [])
    unit, bare = _bare(counts, kind, unit)
    grouped = numerals.grouped or any(
        numerals_.settles_groups(cell, numerals.decimal) for cell in bare.values())
    numbers = {cell: number(bare[cell], numerals.decimal, grouped) for cell in counts}
    bad = {cell for cell, value in numbers.items() if value is None or not math.isfinite(value)}
    if kind != "number":
        whole = kind in ("label", "levels")
        is_text = None in numbers.values() if whole else _is_text(counts, numbers)
        if is_text:
            wrong = [] if kind == "levels" else _other_mark(
                cells, counts, bare, numbers, numerals, kind)
            return Found(_other(name, cells, missing, counts, kind), wrong)
        if any(map(LEADING_ZERO.fullmatch, counts)) and kind != "label":
            return Found(Column(name, cells, missing), [])
    wrong, told = _open(cells, bare, numbers, numerals)
    exact = None if bad or unit else _integers(name, cells, missing, counts, numbers)
    if exact:
        return Found(exact, [])
    values = np.array([0.0 if cell is None else numbers[cell] for cell in cells], dtype=object)
    values = np.where(np.equal(values, None), np.nan, values).astype(np.float64)
    noun = "label" if kind == "label" else "value"
    wrong = wrong or _bad_cells(cells, bad, numbers, numerals.decimal, noun)
    mark = numerals.decimal
    return Found(Column(name, values, missing), wrong, unit, told,
                 mark * any(mark in text for text in bare.values()),
                 numerals_.has_thousands(bare.values(), mark))


def _bare(counts, kind, unit):
    """The unit of the column, and {cell: it without the unit}."""
    if unit is None:
        unit = numerals_.unit_of(counts) if kind in (None, "number") else ""
    bare = map(partial(numerals_.without_unit, unit=unit), counts) if unit else counts
    return unit, dict(zip(counts, bare, strict=True))


def _is_text(counts, numbers):
    """Whether at least half of the cells are not even infinite or NaN."""
    wrong = sum(n for cell, n in counts.items() if numbers[cell] is None)
    return 2 * wrong >= counts.total() > 0


def _other_mark(cells, counts, bare, numbers, numerals, kind):
    """The first cell that is no number, if most are numbers in one mark or the other; of labels,
    if all of them are."""
    like = {cell for cell in counts if numerals_.in_some_mark(bare[cell])}
    if not like:
        return []
    finite = {cell: n for cell, n in counts.items() if not NOT_FINITE.fullmatch(cell)}
    n_like = sum(finite[cell] for cell in like)
    if 2 * n_like <= sum(finite.values()) or (kind == "label" and len(like) < len(finite)):
        return []
    other = {cell for cell in like if numbers[cell] is None}
    if not other:
        return []
    i, cell = next((i, cell) for i, cell in enumerate(cells) if cell in other)
    if numerals_.is_grouped(bare[cell], numerals.decimal):
        return [Bad(i, f"{cell!r} could be a fraction or thousands: name the decimal mark "
                       "(--decimal)")]
    more = "" if n_like == sum(finite.values()) else (
        f"; {n_like} of {counts.total()} cells are numbers with {OTHER[numerals.decimal]!r}, "
        "unless they are levels (--categorical)")
    return [Bad(i, f"{cell!r} is not a number with the decimal mark {numerals.decimal!r} "
                   f"(--decimal){more}")]


def _open(cells, bare, numbers, numerals):
    """What is wrong with a column of numbers whose decimal mark is open, and what is to be told.

    A number such as 1.761 beside 421 could be either. Beside 1500, or where all numbers have three
    digits behind the point, it is a fraction, and told. So are thousands that another column shows.
    """
    decimal = numerals.decimal
    texts = [bare[cell] for cell in numbers if numbers[cell] is not None]
    between = [text for text in texts if OTHER[decimal] in text]
    if between and not any(numerals_.settles_groups(text, decimal) for text in texts):
        value = number(between[0], decimal, True)
        return [], f"decimal mark {decimal!r}: {between[0]!r} is {value:.15g}" * numerals.settled
    dotted = [text for text in texts if decimal in text]
    if numerals.settled or not dotted or not all(map(numerals_.is_open, dotted)):
        return [], ""
    whole = [abs(number(text, decimal)) for text in texts
             if decimal not in text and not NOT_FINITE.fullmatch(text)
             and numerals_.is_plain(text, decimal)]
    if whole and max(whole) < 1000:
        i = next(i for i, cell in enumerate(cells) if cell is not None and bare[cell] == dotted[0])
        return [Bad(i, f"{cells[i]!r} could be a fraction or thousands: name the decimal mark "
                       "(--decimal)")], ""
    value = number(dotted[0], decimal)
    return [], f"decimal mark {decimal!r}: {dotted[0]!r} is a fraction, {value:.15g}"


def _bad_cells(cells, bad, numbers, decimal, noun):
    rows = [i for i, cell in enumerate(cells) if cell in bad] if bad else []
    return [_bad(i, cells[i], numbers[cells[i]], decimal, noun) for i in rows]


def _bad(row, cell, value, decimal, noun):
    if value is None and numerals_.in_some_mark(cell):
        return Bad(row, f"{shortened(cell)} is not a number with the decimal mark {decimal!r} "
                        "(--decimal)", "decimal")
    if value is None:
        return Bad(row, f"{shortened(cell)} is not a number", "number", cell)
    written = "" if NOT_FINITE.fullmatch(cell) else f" ({shortened(cell)})"
    return Bad(row, f"the {noun} is {value}{written}", "finite")


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
    form = None if kind == "levels" else date_form(counts)
    if form is None:
        return Column(name, cells, missing)
    dates = dates_in(form, counts)[0].values()
    places = {cell: i for i, cell in enumerate((*counts, None))}
    distinct = np.array([*dates, None], dtype="datetime64[us]")  # None is NaT
    return Column(name, distinct[[places[cell] for cell in cells]], missing)
