"""Tests in a process beside pytest's: one that crashes or hangs has failed, and the next goes on.

    @apart
    def test(name): ...             # the arguments go over by pickle

The process imports the module of the test, is kept for the tests that follow, and made again after
a crash. No test is here.
"""

import atexit
import functools
import importlib
import multiprocessing
import os
import sys
import threading
import traceback

import pytest
from places import IMPORTED

LIMIT = 60      # seconds


def apart(test):
    """The test, run in the other process."""
    @functools.wraps(test)
    def run(**arguments):
        failure = _other.ask(test.__module__, test.__name__, arguments)
        if failure:
            pytest.fail(failure, pytrace=False)
    return run


class Other:
    def __init__(self):
        self.process, self.lock = None, threading.Lock()

    def start(self):
        spawn = multiprocessing.get_context("spawn")
        self.line, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()      # so that its end is the end of the line

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None

    def ask(self, *call):
        """What went wrong, or None."""
        with self.lock:
            if self.process is None:
                self.start()
            try:
                self.line.send(call)
                if self.line.poll(LIMIT):
                    return self.line.recv()
                failure = f"no end within {LIMIT} seconds"
            except (EOFError, OSError):
                self.process.join()
                failure = f"the process ended with exit status {self.process.exitcode}"
            self.stop()
            return failure


def _serve(line):
    sys.path += IMPORTED
    os.environ["MKL_NUM_THREADS"] = "1"     # PyTorch's threads spin while they wait
    while True:
        try:
            module, name, arguments = line.recv()
        except EOFError:
            return
        try:
            getattr(importlib.import_module(module), name).__wrapped__(**arguments)
            failure = None
        except BaseException:
            failure = traceback.format_exc()
        line.send(failure)


_other = Other()
atexit.register(_other.stop)
