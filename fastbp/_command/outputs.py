"""What is refused of the files that a command is to write, before it does any work."""

import os

PLOT_SUFFIXES = (".png", ".pdf", ".svg")


def refuse_overwriting(option, path, others):
    """Raise a ValueError if the path leads to one of the others, by a link of any kind."""
    if any(_are_same(path, other) for other in others):
        raise ValueError(f"{option} {path} would overwrite another file of this command")


def _are_same(path, other):
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(path, other)  # two names of one file: hard links
    except OSError:  # one of them is not there
        return False


def check_suffix(path):
    """Raise a ValueError unless a plot can be written under this name."""
    if os.path.splitext(path)[1].lower() not in PLOT_SUFFIXES:
        raise ValueError(f"--plot {path}: the suffix must be .png, .pdf or .svg")
