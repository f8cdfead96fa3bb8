"""Numbers as texts: with a decimal point or a decimal comma, with marks between thousands, with a
unit behind them.

A cell *shows* a decimal mark if it is a number with that mark and none with the other: 6,99 and
1.234,5 show a comma, 0.421 and 1,234,567 a point. 421 and 6 673 show neither, nor does 1.761, which
is a fraction or a thousand and more.
"""

import re
from collections import Counter
from typing import NamedTuple

NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.I)
LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
OTHER = {".": ",", ",": "."}
_FIRST = frozenset("+-.,0123456789")  # characters of a number, of which a text mostly has none
_SPACES = " \u00a0\u202f"
_PLAIN = {mark: re.compile(rf"[+-]?(\d+{re.escape(mark)}?\d*|{re.escape(mark)}\d+)([eE][+-]?\d+)?",
                           re.A) for mark in OTHER}
_GROUPED = {mark: re.compile(
    rf"[+-]?[1-9]\d{{0,2}}(?P<sep>{re.escape(other)}|[ '\u2019\u00a0\u202f])"
    rf"\d{{3}}((?P=sep)\d{{3}})*({re.escape(mark)}\d+)?", re.A) for mark, other in OTHER.items()}
_UNIT = re.compile(  # one with digits, such as m2, stands apart: 1e5, 0x1 are something else
    rf"(?P<number>[+-]?[0-9.,][0-9.,'\u2019{_SPACES}]*)"
    rf"(?P<unit>(?<=[{_SPACES}])(?:[^\W\d_]|[%‰°$€£])\S{{0,11}}|(?:[^\W\d_]|[%‰°$€£])[^\s\d]{{0,11}})")


class Numerals(NamedTuple):
    """How the numbers of a table are written.

    Attributes
    ----------
    decimal : str
        The decimal mark.
    grouped : bool
        Whether the other mark may stand between thousands: somebody said so, or cells show the
        decimal mark, and none the other one.
    settled : bool
        Whether it is known that 1.761 is a fraction under a decimal point.
    """

    decimal: str = "."
    grouped: bool = False
    settled: bool = True


def numerals_of(shown, options, delimiter=None):
    """How numbers are written, by what their cells show and what the caller says.

    Parameters
    ----------
    shown : Counter
        See `marks_shown`.
    options : Options
    delimiter : str, optional
        Of a CSV file.

    Returns
    -------
    Numerals
    """
    likely = options.likely_decimal
    if options.decimal:
        return Numerals(options.decimal, True)
    if likely == "," != delimiter and not shown["."]:
        return Numerals(",", options.likely_thousands or bool(shown[","]))
    decimal = "," if shown[","] > shown["."] else "."
    sure = bool(shown) and not shown[OTHER[decimal]]
    return Numerals(decimal, sure or (options.likely_thousands and decimal == (likely or ".")),
                    bool(shown) or likely is not None)


def likely_numerals(texts, options):
    """How numbers are written in a column of a file of types; in a table that goes with a model as
    in that of the training, so that each part of it is read in the same way."""
    if options.likely_decimal and not options.decimal:
        return Numerals(options.likely_decimal, options.likely_thousands)
    return numerals_of(marks_shown(text for text in texts if text), options)


def marks_shown(cells):
    """How many of the cells show each decimal mark."""
    return Counter(mark for cell in cells for mark in (_shown(_bare(cell)),) if mark)


def _shown(cell):
    if "." not in cell and "," not in cell:
        return None
    possible = [mark for mark in OTHER if is_plain(cell, mark) or is_grouped(cell, mark)]
    return possible[0] if len(possible) == 1 else None


def is_open(cell):
    """Whether the cell is a number with either mark, but not the same."""
    return ("." in cell or "," in cell) and all(
        is_plain(cell, mark) or is_grouped(cell, mark) for mark in OTHER)


def _bare(cell):
    found = _UNIT.fullmatch(cell)
    return found["number"].rstrip(_SPACES) if found else cell


def is_plain(cell, decimal):
    """Whether the cell is a number without marks of thousands, and not a code such as 007."""
    return _PLAIN[decimal].fullmatch(cell) is not None and not LEADING_ZERO.match(cell)


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


def in_some_mark(cell):
    """Whether the cell is a number with a decimal point or with a decimal comma."""
    return cell[:1] in _FIRST and any(
        test(cell, mark) for test in (is_plain, is_grouped) for mark in OTHER)


def settles_groups(cell, decimal):
    """Whether nobody could take the marks of thousands in the cell for a decimal mark."""
    match = _GROUPED[decimal].fullmatch(cell)
    return match is not None and (match["sep"] not in ".," or decimal in cell
                                  or cell.count(match["sep"]) > 1)


def has_thousands(cells, decimal):
    """Whether the mark that is not the decimal one stands between thousands in some cell."""
    return any(OTHER[decimal] in cell and is_grouped(cell, decimal) for cell in {*cells} - {None})


def parts(cell):
    """The number and the unit of a cell such as ``18 h`` or ``80.1%``; None if it has none."""
    match = _UNIT.fullmatch(cell)
    bare = match["number"].rstrip(_SPACES) if match else ""
    return (bare, match["unit"]) if in_some_mark(bare) else None


def unit_of(cells):
    """Return the unit that every cell has behind its number, or "" where the units differ."""
    unit = ""
    for cell in cells:
        found = parts(cell)
        if found is None or unit not in ("", found[1]):
            return ""
        unit = found[1]
    return unit


def without_unit(cell, unit):
    """The cell without a unit that it has."""
    found = parts(cell) if unit and cell.endswith(unit) else None
    return found[0] if found and found[1] == unit else cell
