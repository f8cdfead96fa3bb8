"""Scripts in processes of their own, forked from one that has imported fastbp; no test is here.

So a script has a fresh fastbp, and its threads, settings and folder are its own, without the import
of NumPy or scikit-learn at each.
"""

import multiprocessing
import os
import runpy
import sys

from places import IMPORTED

LIMIT = 300     # seconds


def run_script(path):
    """The exit status of a script that is run in its folder, and its standard error."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fastbp", "fastbp.sklearn"])    # what is not there is left out
    said = path.with_suffix(".stderr")
    process = context.Process(target=_run, args=(path, said))
    process.start()
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode, said.read_text()


def _run(path, said):
    streams = [os.open(os.devnull, os.O_WRONLY), os.open(said, os.O_WRONLY | os.O_CREAT)]
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
    os.chdir(path.parent)
    os.environ["MKL_NUM_THREADS"] = "1"     # PyTorch's threads would spin
    sys.path[:0] = [str(path.parent), IMPORTED[0]]
    sys.argv = [str(path)]
    runpy.run_path(str(path), run_name="__main__")
