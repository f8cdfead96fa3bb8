"""A Python whose allocator counts, and refuses on demand (allocator.c); no test is here.

Preloaded, with the interpreter's objects on malloc, so that a count of blocks is one of everything.
glibc fills what is freed with junk, so that a use of it shows.
"""

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import sysconfig

import numpy as np
from places import PYTHONPATH, SUPPORT

SET_HANDLER = 304  # of PyDataMem_SetHandler in NumPy's table of C functions


def in_process(folder, function, *arguments, objects="malloc"):
    """The lines that ``function(*arguments)``, which is in a test module, prints there.

    ``objects`` is what Python allocates its objects with, unless it has no GIL and one way alone.
    """
    library = str(folder / "allocator.so")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, SUPPORT / "allocator.c"],
                   check=True)
    name = function.__name__
    script = f"import sys; from {function.__module__} import {name}; {name}(*sys.argv[1:])"
    env = {**os.environ, "LD_PRELOAD": library, "MALLOC_PERTURB_": "165",
           "PYTHONPATH": PYTHONPATH}
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        env["PYTHONMALLOC"] = objects
    run = subprocess.run([sys.executable, "-X", "faulthandler", "-c", script, *arguments], env=env,
                         text=True, capture_output=True)
    assert run.returncode == 0, (run.returncode, run.stdout.splitlines()[-3:], run.stderr)
    return run.stdout.splitlines()


class Allocator:
    """The one that is preloaded, from within; at most one refusal is asked for at a time."""

    def __init__(self):
        self.library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        for name in ("allocations", "blocks", "refusals"):
            function = getattr(self.library, name)
            function.restype = ctypes.c_long
            setattr(self, name, function)
        self.library.refuse.argtypes = [ctypes.c_long]
        self.library.refuse.restype = self.library.relent.restype = None
        self._take_arrays()
        gc.freeze()  # what is there is nobody's garbage

    def _take_arrays(self):
        python = ctypes.PyDLL(None)
        python.PyCapsule_GetPointer.restype = ctypes.c_void_p
        python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        python.PyCapsule_New.restype = ctypes.py_object
        python.PyCapsule_New.argtypes = [ctypes.c_void_p] * 3
        handler, name = (ctypes.c_char.in_dll(self.library, symbol)
                         for symbol in ("array_handler", "capsule_name"))
        capsule = python.PyCapsule_New(ctypes.addressof(handler), ctypes.addressof(name), None)
        table = ctypes.cast(python.PyCapsule_GetPointer(np._core.multiarray._ARRAY_API, None),
                            ctypes.POINTER(ctypes.c_void_p))
        ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[SET_HANDLER])(capsule)
        assert np._core.multiarray.get_handler_name() == "tests"

    def settled_blocks(self):
        """Blocks that are held, without the interpreter's garbage and the names in its caches."""
        gc.collect()
        sys._clear_type_cache()
        return self.blocks()

    def refusing(self, function, after):
        """What ``function()`` returns, the error it raises, and whether one request was refused."""
        result = error = None
        floats = [i + 0.5 for i in range(200)]  # the interpreter keeps a hundred that are free
        before = self.refusals()
        self.library.refuse(after)
        try:
            result = function()
        except BaseException as raised:
            error = raised.with_traceback(None)
        while True:
            with contextlib.suppress(MemoryError):
                self.library.relent()
                break
        return result, error, self.refusals() > before and len(floats) > 0
