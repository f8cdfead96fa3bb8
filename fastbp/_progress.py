"""How far a long run has come: a bar on a terminal if rich is there, else about ten lines.

A terminal gets one line, whatever its width: of what is said of the run that is left out which does
not fit. The time left is known once `SECONDS_OF_TIMING` have gone by since the first was done; what
came before, memory that is touched for the first time, is not typical of the rest.
"""

import math
import sys
import time
from contextlib import contextmanager

SECONDS = 0.1               # between two changes of a bar
SECONDS_OF_TIMING = 0.5
NARROWEST, WIDEST = 6, 40   # cells of a bar
USUAL = 57                  # cells of two losses, a metric and the time left


@contextmanager
def progress(what, total, may_end_early=False):
    """Yield ``show(done, parts, more)``, which says on stderr how many of the total are done.

    `parts` are texts that follow, the least important first. `more`, if it is given, is called for
    further ones when all that is shown. If the run may end early, the time left is the most that it
    can be.
    """
    bar = _bar(what, total)
    left = _TimeLeft(total, "≤ " * may_end_early)
    if bar is None:
        before = None

        def show_line(done, parts, more=tuple):
            nonlocal before
            timed = left(done)
            last = done - 1 if before is None else before
            _show_line(what, last, done, total, lambda: ", ".join([*parts, *more(), *timed]))
            before = done

        yield show_line
        return
    with bar:
        task, shown, latest = bar.add_task("", total=total, text=""), -math.inf, (0, ())

        def show(done, parts, more=tuple):
            nonlocal shown, latest
            latest, timed = (done, parts), left(done)
            if time.monotonic() - shown >= SECONDS or done == total:
                bar.update(task, completed=done, text=bar.fitting([*parts, *more(), *timed]))
                shown = time.monotonic()

        try:
            yield show
        finally:    # what `more` would say now may be of another state
            done, parts = latest
            if done < total:
                bar.update(task, completed=done, text=bar.fitting(parts))


class _TimeLeft:
    """Called with how many are done, it returns the time left as a list of one text, or of none."""

    def __init__(self, total, prefix):
        self.total, self.prefix, self.first = total, prefix, None

    def __call__(self, done):
        now = time.monotonic()
        if self.first is None:
            self.first = done, now
        n, start = self.first
        if done == n or now - start < SECONDS_OF_TIMING or done == self.total:
            return []
        seconds = (now - start) / (done - n) * (self.total - done)
        return [f"{self.prefix}{seconds:.0f} s left"]


def _bar(what, total):
    """Return a progress bar on stderr, or None without a terminal or without rich."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column
    except ImportError:
        return None
    console = Console(stderr=True)
    digits = len(str(total))
    room = console.width - len(what) - 2 * digits - 4   # beside the count, with blanks between
    width = min(max(room - USUAL, NARROWEST), WIDEST)
    bar = Progress(
        TextColumn(f"{what} {{task.completed:>{digits}}}/{total}"),
        BarColumn(bar_width=width),
        TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        console=console,
        expand=True,
    )
    bar.fitting = lambda parts: _fitting(parts, room - width)
    return bar


def _fitting(parts, room):
    """Those parts that fit into a line, the last ones first, in their order."""
    found = []
    for part in reversed(parts):
        if len(", ".join([part, *found])) <= room:
            found.insert(0, part)
    return ", ".join(found)


def _show_line(what, last, done, total, text):
    if sys.stderr is None:  # closed from the start; print would take stdout
        return
    if last == 0 or 10 * done // total > 10 * last // total:
        try:
            print(f"{what} {done:>{len(str(total))}}/{total}  {text()}", file=sys.stderr)
        except BrokenPipeError:
            raise
        except OSError:  # a full disk behind stderr is no reason to lose what was computed
            pass
