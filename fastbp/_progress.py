"""How far a long run has come: a bar on a terminal if rich is there, else about ten lines."""

import sys
from contextlib import contextmanager


@contextmanager
def progress(what, total):
    """Yield ``show(done, text)``, which says on stderr how many of the total are done."""
    bar = _bar(what)
    if bar is None:
        yield lambda done, text: _show_line(what, done, total, text)
        return
    with bar:
        task = bar.add_task("", total=total, text="")
        yield lambda done, text: bar.update(task, completed=done, text=text)


def _bar(what):
    """Return a progress bar on stderr, or None without a terminal or without rich."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError:
        return None
    return Progress(
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
    )


def _show_line(what, done, total, text):
    if done == 1 or 10 * done // total > 10 * (done - 1) // total:
        print(f"{what} {done:>{len(str(total))}}/{total}  {text}", file=sys.stderr)
