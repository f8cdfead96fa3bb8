"""Names and texts in two columns, which a terminal of any width shows without a word cut in two.

On a terminal a text is broken between words, and goes on below its beginning, or below its name
where that leaves more room. Whatever is no terminal, a file or a pipe, gets each name and its text
as one line, so that `grep` finds both. COLUMNS is the width of a terminal if it is set.
"""

import os
import re
import shutil
import sys
import unicodedata

NARROWEST = 20      # cells; a terminal that says less is written to as if it had these
LEAST = 20          # cells; a column of text that would have fewer begins below its name
WORD = re.compile(r" *[^ ]+ *")
NUMBER = re.compile(r" *[^\w ]?\d(?:[^ ]*\w)? ?")       # its unit is the word behind one blank


def show(name, text, column, stream=None):
    """Print a name and its text, which begins in cell `column` counted from 0.

    Parameters
    ----------
    name, text : str
    column : int
    stream : text file, optional
        By default stdout.

    Raises
    ------
    OSError
        If the stream cannot be written to.
    """
    stream = stream or sys.stdout
    print(*rows(name, text, column, width_of(stream)), sep="\n", file=stream, flush=True)


def width_of(stream):
    """The width of a terminal in cells; None if the stream is not a terminal, or is closed."""
    if stream is None or not stream.isatty():
        return None
    try:
        own = os.get_terminal_size(stream.fileno()).columns     # 0 if the terminal does not know
    except OSError:     # a window that is no terminal of the system, as IDLE's
        own = 0
    return max(shutil.get_terminal_size((own or 80, 24)).columns, NARROWEST)


def rows(name, text, column, width):
    """The lines of `show` on a terminal of `width` cells, or the one of a file if that is None."""
    room = column - cells(name)
    if width is None:
        return [name + max(room, 1) * " " + text]
    if room < 1 or width - column < LEAST:
        return [*wrap(name, width), *("  " + line for line in wrap(text, width - 2))]
    first, *others = wrap(text, width - column)
    return [name + room * " " + first, *(column * " " + line for line in others)]


def wrap(text, width):
    """Lines of at most `width` cells, broken at blanks.

    A number stays with the word after it, its unit. A word that is longer than a line is a line of
    its own, uncut, so that a path can be copied.
    """
    lines, line = [], ""
    for part in _parts(text, width):
        if line and cells((line + part).rstrip(" ")) > width:
            lines.append(line.rstrip(" "))
            line = ""
        line += part
    return [*lines, line.rstrip(" ")]


def _parts(text, width):
    """Yield words, each with the blanks behind it; a number with its unit, if a line holds both."""
    words = WORD.findall(text)
    while words:
        part = words.pop(0)
        if (NUMBER.fullmatch(part) and words and not NUMBER.fullmatch(words[0])
                and cells((part + words[0]).rstrip(" ")) <= width):
            part += words.pop(0)
        yield part


def cells(text):
    """The cells that a terminal shows a text in: 2 for a wide character, 0 for a combining one."""
    try:
        from rich.cells import cell_len
    except ImportError:
        return sum(_cells(character) for character in text)
    return cell_len(text)


def _cells(character):
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
