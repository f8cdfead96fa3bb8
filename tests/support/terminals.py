"""What a program writes to a terminal of a given width."""

import contextlib
import os
import subprocess
import threading

import pytest


def read_terminal(descriptor):
    """Yield what is written to a pseudoterminal until its other end is closed."""
    with contextlib.suppress(OSError):  # EIO is the end on Linux
        while content := os.read(descriptor, 4096):
            yield content
    os.close(descriptor)


def new_terminal():
    """Open a pseudoterminal and return its two ends; Windows has none, so the test is skipped."""
    pytest.importorskip("termios", reason="needs a pseudoterminal of POSIX")
    return os.openpty()


def lines_on_terminal(command, columns, stream="stdout", **options):
    """The exit status of a command, and the lines of its stdout or stderr, which is a terminal.

    The other stream is discarded. COLUMNS is not set unless `env` in `options` does so.
    """
    leader, follower = new_terminal()
    if columns is not None:
        import termios

        termios.tcsetwinsize(follower, (24, columns))
    shown = []
    reader = threading.Thread(target=lambda: shown.extend(read_terminal(leader)))
    reader.start()
    unset = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(command, **{
        "env": unset, "timeout": 120, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
        stream: follower, **options})
    os.close(follower)
    reader.join()
    return done.returncode, b"".join(shown).decode().replace("\r\n", "\n").splitlines()
