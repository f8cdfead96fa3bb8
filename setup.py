"""The extensions: one kernel text x instruction set x dtype, and the modules above it.

pyproject.toml has what does not depend on the machine. Switches, by environment variable:
FASTBP_DEBUG=1       Cython's bounds checks on, -Og -g; the kernels' pointers need the next one
FASTBP_OPTIMIZE=...  one level for all, -O3 too; no bit depends on it (tools/bits.py)
FASTBP_SANITIZE=...  the argument of -fsanitize=, for example address,undefined
FASTBP_ANNOTATE=1    Cython's annotated HTML in build/cython
"""

import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from glob import glob
from pathlib import Path

import numpy
from Cython import __version__ as cython_version
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

DEBUG = os.environ.get("FASTBP_DEBUG", "0") not in ("", "0")
SANITIZE = os.environ.get("FASTBP_SANITIZE", "")
ANNOTATE = os.environ.get("FASTBP_ANNOTATE", "0") not in ("", "0")

X86_VARIANTS = {
    "avx512": ["-mavx512f", "-mavx512cd", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma",
               "-mprefer-vector-width=512"],
    "avx2": ["-mavx2", "-mfma"],
    "generic": [],
}
ARM_VARIANTS = {"neon": [], "generic": []}
MACHINES = {"x86_64": X86_VARIANTS, "AMD64": X86_VARIANTS, "aarch64": ARM_VARIANTS,
            "arm64": ARM_VARIANTS}
VARIANTS = MACHINES.get(platform.machine(), {"generic": []})

# -ffp-contract=off: an FMA stands where the text says fma, and nowhere else.
# -fno-inline-functions: what should be inlined says `inline`; an epilogue should not be.
FLAGS = ["-Og", "-g"] if DEBUG else [os.environ.get("FASTBP_OPTIMIZE") or "-O3", "-g0"]
FLAGS += ["-ffp-contract=off", "-fno-inline-functions", "-fno-math-errno", "-fno-strict-aliasing"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-psabi"]
# Clang leaves the loops over a large register tile rolled, and the tile in memory.
UNROLL = ["-mllvm", "-unroll-threshold=2000"]
# What stands above the kernels has no loops worth more; -Os would be slower for tiny networks.
ABOVE = [] if DEBUG or SANITIZE or os.environ.get("FASTBP_OPTIMIZE") else ["-O2"]
LINK = []
if SANITIZE:
    FLAGS += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
    LINK += [f"-fsanitize={SANITIZE}"]
elif "bdist_wheel" in sys.argv and sys.platform == "linux" and not DEBUG:
    LINK += ["-Wl,--strip-all"]         # names of static functions, which perf shows in a clone

DIRECTIVES = {
    "language_level": 3, "cdivision": True, "binding": True, "auto_pickle": False,
    "freethreading_compatible": True, "boundscheck": DEBUG, "initializedcheck": DEBUG,
}
# Cython 3.3 calls __init__ with keywords through an array that it releases before it is filled
# when memory runs out.
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("CYTHON_VECTORCALL_TPNEW", "0")]
# Every .pyx is a module; a text of the kernels is compiled for a machine that has its variant.
KERNELS = re.compile(r"_kernels\.\w+_float(32|64)")
NAMES = sorted(".".join(path.with_suffix("").parts[1:]) for path in Path("fastbp").rglob("*.pyx"))
MODULES = [name for name in NAMES if not KERNELS.fullmatch(name)]
SHARED = "_cython_fastbp"       # what they have in common, which Cython writes


# A change of flags rebuilds everything: the modules depend on a file that holds them.
STAMP = Path("build/flags.txt")
CURRENT = repr((FLAGS, ABOVE, LINK, DIRECTIVES, SHARED, *map(os.environ.get, ("CC", "CFLAGS")),
                cython_version, sys.version))
if CHANGED := not STAMP.exists() or STAMP.read_text() != CURRENT:
    STAMP.parent.mkdir(exist_ok=True)
    STAMP.write_text(CURRENT)
DEPENDS = [str(STAMP), "setup.py", *glob("fastbp/**/*.p[xy][di]", recursive=True),
           *glob("fastbp/**/*.h", recursive=True)]


def extension(name, flags=(), macros=(), suffix="pyx"):
    return Extension(
        f"fastbp.{name}", [f"fastbp/{name.replace('.', '/')}.{suffix}"], depends=DEPENDS,
        include_dirs=["fastbp/_kernels", "fastbp/include", numpy.get_include()],
        define_macros=[*MACROS, *macros],
        extra_compile_args=[*FLAGS, *WARNINGS, *flags], extra_link_args=LINK)


def extensions(variants=VARIANTS):
    for isa, flags in variants.items():
        for dtype in ("float32", "float64"):
            yield extension(f"_kernels.{isa}_{dtype}", flags,
                            [(f"FASTBP_{isa.upper()}", 1), (f"FASTBP_{dtype.upper()}", 1)])
    yield from (extension(name, ABOVE) for name in MODULES)
    yield extension(SHARED, ABOVE, suffix="c")


@cache
def added_flags(*compiler):
    try:
        version = subprocess.run([*compiler, "--version"], capture_output=True).stdout
    except OSError:
        return []                       # the compilation will say what is missing
    return UNROLL if b"clang" in version else []


def adapt(ext, compiler, variants=VARIANTS):
    """Add the flags of a compiler, a list of words, and tell `dispatch.FLAGS` of all flags: those
    of every module, then those of each variant."""
    added = added_flags(*compiler)
    ext.extra_compile_args += added
    if ext.name == "fastbp._kernels.dispatch":
        own = [" ".join([f"{isa}:", *flags]) for isa, flags in variants.items() if flags]
        text = "; ".join([" ".join([*FLAGS, *added]), *own])
        ext.define_macros.append(("FASTBP_FLAGS", f'"{text}"'))


class BuildExtensions(build_ext):
    """Compile as many extensions at once as there are CPUs; say what is missing."""

    def build_extensions(self):
        self.check_extensions_list(self.extensions)
        for ext in self.extensions:
            adapt(ext, self.compiler.compiler_so[:1])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.build_extension, self.extensions))

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except CompileError as error:
            sys.exit(f"fastbp: cannot compile {ext.name} ({error}). It needs GCC 12 or Clang 14, "
                     "or later, and Python's headers: on Debian and Ubuntu "
                     "`apt install gcc python3-dev`, on Fedora `dnf install gcc python3-devel`, "
                     "on macOS `xcode-select --install`. CC=... chooses the compiler.")


if __name__ == "__main__":
    setup(
        ext_modules=cythonize(
            list(extensions()), compiler_directives=DIRECTIVES, build_dir="build/cython",
            shared_utility_qualified_name=f"fastbp.{SHARED}", force=CHANGED, annotate=ANNOTATE,
            nthreads=os.cpu_count()),
        cmdclass={"build_ext": BuildExtensions},
    )
