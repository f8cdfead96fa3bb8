"""How far a long run has come: a bar on a terminal if rich is there, else about ten lines."""

import math
import sys
import time
from contextlib import contextmanager

SECONDS = 0.1  # between two changes of a bar


@contextmanager
def progress(what, total):
    """Yield ``show(done, text)``, which says on stderr how many of the total are done.

    The text is a str, or a function that is called when it is shown.
    """
    bar = _bar(what)
    if bar is None:
        yield lambda done, text: _show_line(what, done, total, text)
        return
    with bar:
        task, shown, latest = bar.add_task("", total=total, text=""), -math.inf, 0

        def show(done, text):
            nonlocal shown, latest
            latest = done
            if time.monotonic() - shown >= SECONDS or done == total:
                bar.update(task, completed=done, text=_said(text))
                shown = time.monotonic()

        try:
            yield show
        finally:
            if latest < total:  # it ended early; the last text is of an epoch before
                bar.update(task, completed=latest, text="")


def _said(text):
    return text() if callable(text) else text


def _bar(what):
    """Return a progress bar on stderr, or None without a terminal or without rich."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column
    except ImportError:
        return None
    console = Console(stderr=True)
    return Progress(
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(bar_width=min(max(console.width - 90, 4), 40)),
        # What does not fit goes on in the next line.
        TextColumn("{task.fields[text]}", table_column=Column(ratio=1)),
        console=console,
        expand=True,
    )


def _show_line(what, done, total, text):
    if sys.stderr is None:  # closed from the start; print would take stdout
        return
    if done == 1 or 10 * done // total > 10 * (done - 1) // total:
        try:
            print(f"{what} {done:>{len(str(total))}}/{total}  {_said(text)}", file=sys.stderr)
        except BrokenPipeError:
            raise
        except OSError:  # a full disk behind stderr is no reason to lose what was computed
            pass
