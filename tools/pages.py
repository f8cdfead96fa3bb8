"""Run the commands of docs/tutorial.md and docs/command.md, and write what they print below them.

    python tools/pages.py

A page is run from its first block to its last in a new folder that holds the tables of docs/. A
block "sh" is run by bash, a block "python" as a script of its own, and a block "text" after one of
them is what it printed on the standard output. A command that fails ends the tool, but where the
page shows its error: then that is the text. Blocks without a language are not run.

tests/house/test_pages.py holds the pages to this. What differs from run to run, the time of a
training, is left out of the comparison.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import fastbp

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "tutorial.md", DOCS / "command.md"]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?",
                   re.MULTILINE | re.DOTALL)
TIMES = re.compile(r"in [\d.]+ s, \d+ rows per second")


class Block(NamedTuple):
    """A block of a page, and what stands below it, or None."""

    language: str
    text: str
    shown: str | None


def blocks(page):
    return [Block(*match.groups()) for match in BLOCK.finditer(page)]


def printed(page, folder):
    """What each block of the text of a page prints, in a folder that has nothing in it.

    Raises
    ------
    RuntimeError
        A block fails, and the page does not show its error.
    """
    for table in DOCS.glob("*.csv"):
        shutil.copy(table, folder)
    environment = _environment(folder)
    for block in blocks(page):
        program = ["bash", "-e"] if block.language == "sh" else [sys.executable]
        run = subprocess.run([*program, "-c", block.text], cwd=folder, env=environment,
                             capture_output=True, text=True)
        if run.returncode and not (block.shown and "error: " in block.shown):
            raise RuntimeError(f"{block.text}{run.stderr}")
        if "Warning: " in run.stderr:
            raise RuntimeError(f"{block.text}{run.stderr}")
        yield run.stdout + (run.stderr if run.returncode else "")


def _environment(folder):
    """The command `fastbp` is that of this Python, whatever else is installed."""
    commands = Path(folder, ".commands")
    commands.mkdir()
    command = commands / "fastbp"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fastbp "$@"\n')
    command.chmod(0o755)
    found = [str(Path(fastbp.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found)),
                   "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("FASTBP_ISA", None)  # the bits are those of any variant with FMA
    return environment


def comparable(text):
    return TIMES.sub("in TIME", text)


def rewritten(page):
    """The text of a page with what its blocks print now."""
    with tempfile.TemporaryDirectory() as folder:
        found = iter([*printed(page, folder)])
    return BLOCK.sub(lambda match: _with_output(match, next(found)), page)


def _with_output(match, found):
    language, text, shown = match.groups()
    below = "" if shown is None else f"\n```text\n{found}```\n"
    if shown is not None and comparable(shown) == comparable(found):
        below = f"\n```text\n{shown}```\n"
    return f"```{language}\n{text}```\n{below}"


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(rewritten(path.read_text()))
