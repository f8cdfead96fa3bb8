"""Dates as texts: all cells of a column in one form, or none of them is read.

Nothing is guessed that could be wrong in silence: a column in which the day could be the month has
no form. A year of two digits is one from 1969 to 2068. A time of the day may stand behind a date.
"""

import re
from datetime import datetime

MOST_BAD = 20  # cells that are looked for
_YEAR = r"(?P<y>\d{4}|\d\d)"
_TIME = (r"(?:,?[ T] ?(?P<hour>\d{1,2}):(?P<minute>\d\d)"
         r"(?::(?P<second>\d\d)(?:\.(?P<part>\d{1,9}))?)? ?(?P<half>[AaPp][Mm])?)?")
DATES = {name: re.compile(form + _TIME, re.A) for name, form in {
    "Y-M-D": r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})",
    "Y/M/D": rf"{_YEAR}/(?P<m>\d{{1,2}})/(?P<d>\d{{1,2}})",
    "D.M.Y": r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4}|(?<=\d\d\.\d\d\.)\d\d)",
    "D/M/Y": rf"(?P<d>\d{{1,2}})/(?P<m>\d{{1,2}})/{_YEAR}",
    "M/D/Y": rf"(?P<m>\d{{1,2}})/(?P<d>\d{{1,2}})/{_YEAR}"}.items()}
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?"
                 r"(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?", re.A)
DATE_FORMS = (*DATES, "ISO 8601", "ISO 8601 with a zone")
_MONTH = r"(jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-zä]*\.?"
LIKE_A_DATE = re.compile(
    rf"(?:\w{{2,10}}\.?,? )?(?:\d{{1,4}}([-./])\d{{1,2}}\1(\d\d){{1,2}}"
    rf"|\d{{1,4}}[-. /]+{_MONTH}[-., /]+\d{{1,4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
    r"(?:,?[ T]*\d{1,2}[:.]\d\d.*)?", re.I)


def date_form(cells):
    """The form of DATE_FORMS that all cells have; None if none does, or two with other dates."""
    found = date_forms(cells)
    first = next(iter(found), None)
    return first if all(dates == found[first] for dates in found.values()) else None


def date_forms(cells):
    """{form: what `dates_in` finds} of all forms that all cells have."""
    found = {}
    for form in DATE_FORMS:
        dates, bad = dates_in(form, cells)
        if not bad:
            found[form] = dates
    return found


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
        return _of_parts(match)
    if (match["zone"] is not None) != (form == DATE_FORMS[-1]):
        return None
    moment = datetime.fromisoformat(match[0])
    return moment if moment.tzinfo is None else (moment - moment.utcoffset()).replace(tzinfo=None)


def _of_parts(match):
    year, hour = int(match["y"]), int(match["hour"] or 0)
    if len(match["y"]) == 2:
        year += 1900 if year > 68 else 2000
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (match["half"].lower() == "pm")
    microseconds = int(((match["part"] or "") + "000000")[:6])
    return datetime(year, int(match["m"]), int(match["d"]), hour, int(match["minute"] or 0),
                    int(match["second"] or 0), microseconds)
