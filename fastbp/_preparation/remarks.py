"""What texts in a column may be that was not read: numbers or dates of a kind that is not known."""

import re
from collections import Counter

from fastbp._table.dates import LIKE_A_DATE, date_forms
from fastbp._table.numerals import in_some_mark, parts

LIMIT = re.compile(r"[<>\u2264\u2265~]=? ?(?P<rest>.*)")
MOST_CELLS = 10_000
FEWEST_NUMBERS = 10  # different ones among texts


def remark(cells):
    """A clause about the cells of a column of text, empty if there is nothing to say.

    Parameters
    ----------
    cells : sequence of str
        Of which the first are looked at.
    """
    counts = Counter(cells[:MOST_CELLS])
    return _of_dates(counts) or _of_numbers(counts) or _of_case(counts)


def _of_dates(counts):
    dates = [cell for cell in counts if LIKE_A_DATE.fullmatch(cell)]
    if 2 * sum(counts[cell] for cell in dates) <= counts.total():
        return ""
    forms = date_forms(dates)
    if len(forms) > 1:
        return (f"; these look like dates such as {dates[0]!r}, but which part is the day, the "
                "month or the year is open: write them as 2024-12-31")
    if len(dates) < len(counts):
        other = next(cell for cell in counts if cell not in set(dates))
        return f"; most look like dates such as {dates[0]!r}, but {other!r} does not"
    return f"; these look like dates such as {dates[0]!r}, in no form that is known"


def _of_numbers(counts):
    """Say which cells have numbers with units, limits or other texts; "" where no cell does."""
    kinds = {cell: kind for cell in counts if (kind := number_kind(cell))}
    most = 2 * sum(counts[cell] for cell in kinds) > counts.total()
    if most and set(kinds.values()) != {"plain"}:
        first = next(cell for cell, kind in kinds.items() if kind != "plain")
        return (f"; most look like numbers {kinds[first]}, {first!r} for one: as plain numbers "
                "they would be read as such")
    plain = [cell for cell, kind in kinds.items() if kind == "plain"]
    others = [cell for cell in counts if cell not in kinds]
    if len(plain) < FEWEST_NUMBERS or len(others) > len(plain) // 2:
        return ""
    return (f"; {len(plain)} different numbers are among them, {plain[0]!r} for one: "
            f"--missing={max(others, key=counts.get)} takes the most frequent text for a missing "
            "cell")


def number_kind(cell):
    """How a number stands in the cell: "plain", "with a unit" or "with '<'"; None if none does, as
    in 12A, which may be a code."""
    if in_some_mark(cell):
        return "plain"
    limit = LIMIT.fullmatch(cell)
    if limit and number_kind(limit["rest"]):
        return f"with {cell[0]!r}"
    found = parts(cell)
    apart = found and (len(found[0]) + len(found[1]) < len(cell) or not found[1][0].isalpha())
    return "with a unit" if apart else None


def _of_case(counts):
    """Say which two levels differ only in case; "" where no two levels do."""
    pair = same_but_case(counts)
    return f"; {pair[0]!r} and {pair[1]!r} differ in their case alone" if pair else ""


def same_but_case(texts):
    """Two of the texts that differ in their case alone, or None."""
    seen = {}
    for text in texts:
        other = seen.setdefault(text.casefold(), text)
        if other != text:
            return other, text
    return None
