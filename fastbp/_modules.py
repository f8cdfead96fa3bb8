"""The compiled modules above the kernels: one file holds them all, and this finds them there.

One file instead of fifty is smaller, because it has once what each of them would have, and is
loaded sooner. It is itself a module, `_cython_fastbp`: what Cython's modules have in common.
`setup.py` builds what is listed here. The kernels are files of their own, since not every processor
can run each of them.
"""

import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder

FILE = "fastbp._cython_fastbp"

# What a call of one network or one equation passes through: compiled for speed.
FAST = ("_kernels.dispatch", "_engine.team", "_engine.signals", "_engine.memory", "_engine.plan",
        "_engine.loop", "_engine.samples", "_engine.orders", "_engine.network",
        "_engine.recursion", "_engine.gradient", "_engine.per_sample", "_engine.backward",
        "_engine.jacobian", "_engine.certificate", "_engine.epoch", "_engine.tangent",
        "_engine.population", "_calls", "_arrays", "_loss", "_problem", "_equations",
        "_logit_losses", "_layers", "_unchecked", "_network", "_per_sample", "_second_order",
        "_input_grads", "_optimizer", "_optim", "_training", "_mlp", "torch._gate", "torch._watch",
        "torch._parameters", "torch._gradients", "torch._binding")
# The others, of fits, many networks and plans for C: compiled for size, since their calls are long.
SMALL = ("_copies", "_fitting", "_crew", "_given", "_members", "_evaluation", "_epochs",
         "_population", "_many", "_capi_problem", "_capi")


def advice(name, folder):
    """What to do where a module is not found: a sentence for the ImportError."""
    if getattr(sys, "frozen", False):
        return f"{name} is not in this program: freeze it with PyInstaller's --collect-all fastbp"
    if not os.path.isdir(folder):
        return f"fastbp cannot be imported from a zip file: unpack {os.path.dirname(folder)}"
    return (f"{name} is not compiled in {folder}: in a checkout run `pip install -e .`, or leave "
            "the folder so that Python finds the installed package")


class Finder:
    """Where Python's import system finds the modules of one file; see `sys.meta_path`."""

    def __init__(self, file):
        self.file, self.folder = file, os.path.dirname(__file__)
        self.names = {FILE, *(f"fastbp.{name}" for name in (*FAST, *SMALL))}

    def find_spec(self, name, path=None, target=None):
        """The specification of a module that the file holds, and None for any other name.

        None too where `fastbp` is by now the package of another folder, whose modules may be files
        of their own.
        """
        package = sys.modules.get("fastbp")
        if name not in self.names or self.folder not in getattr(package, "__path__", ()):
            return None
        spec = ModuleSpec(name, ExtensionFileLoader(name, self.file), origin=self.file)
        spec.has_location = True
        return spec


def require_numpy():
    """NumPy of a version that these modules work with; an ImportError otherwise."""
    try:
        import numpy
    except ModuleNotFoundError:
        raise ImportError("fastbp needs NumPy 2.0 or later: pip install numpy") from None
    if int(numpy.__version__.partition(".")[0]) < 2:
        raise ImportError(f"fastbp needs NumPy 2.0 or later, and this is {numpy.__version__}")


def install():
    """Have Python find the modules; an ImportError where their file is not beside this one.

    Before other finders, so that neither a file of one module, as older versions built them, nor
    one of another installation is taken; in the place of the finder of an earlier import.
    """
    found = PathFinder.find_spec(FILE, [os.path.dirname(__file__)])
    if found is None:
        raise ModuleNotFoundError(f"No module named {FILE!r}", name=FILE)
    finder = Finder(found.origin)
    ours = [place for place, other in enumerate(sys.meta_path)
            if type(other).__module__ == __name__]
    if ours:
        sys.meta_path[ours[0]] = finder
    else:
        sys.meta_path.insert(0, finder)
    require_numpy()     # last, since it takes long, and other threads may look for a module
