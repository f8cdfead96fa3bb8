"""The extensions: one kernel text x instruction set x dtype, and the modules above it.

pyproject.toml has what does not depend on the machine. Switches, by environment variable:
FASTBP_DEBUG=1       Cython's bounds checks on, -Og -g; the kernels' pointers need the next one
FASTBP_OPTIMIZE=...  one level for all, -O3 too; no bit depends on it (tools/bits.py)
FASTBP_SANITIZE=...  the argument of -fsanitize=, for example address,undefined
FASTBP_ANNOTATE=1    Cython's annotated HTML in build/cython
"""

import os
import platform
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython import __version__ as cython_version
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

DEBUG, ANNOTATE = (os.environ.get(f"FASTBP_{name}", "0") not in ("", "0")
                   for name in ("DEBUG", "ANNOTATE"))
SANITIZE = os.environ.get("FASTBP_SANITIZE", "")
X86 = {"avx512": [*(f"-mavx512{part}" for part in ("f", "cd", "vl", "bw", "dq")), "-mfma",
                  "-mprefer-vector-width=512"], "avx2": ["-mavx2", "-mfma"], "generic": []}
ARM = {"neon": [], "generic": []}
WASM = {"relaxed": ["-msimd128", "-mrelaxed-simd"], "generic": ["-msimd128"]}
MACHINES = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM, "wasm32": WASM}
VARIANTS = MACHINES.get(platform.machine().lower(), {"generic": []})

# -ffp-contract=off: an FMA stands where the text says fma, and nowhere else.
# -fno-inline-functions: what should be inlined says `inline`; an epilogue should not be.
FLAGS = ["-Og", "-g"] if DEBUG else [os.environ.get("FASTBP_OPTIMIZE") or "-O3", "-g0"]
FLAGS += ["-ffp-contract=off", "-fno-inline-functions", "-fno-math-errno", "-fno-strict-aliasing"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-psabi"]
# Clang leaves the loops over a large register tile rolled, and what says `inline` a call.
CLANG = ["-mllvm", "-unroll-threshold=2000", "-finline-hint-functions",
         "-Wno-ignored-optimization-argument"]
# What stands above the kernels has no loops worth more.
FAST, SMALL = ([], []) if DEBUG or SANITIZE or os.environ.get("FASTBP_OPTIMIZE") else (
    ["-O2", "-fno-align-functions", "-fno-align-jumps", "-fno-align-loops"], ["-Os"])
LINK = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
FLAGS += [*LINK, "-fno-omit-frame-pointer", "-g"] if SANITIZE else []
if "bdist_wheel" in sys.argv and sys.platform == "linux" and not (DEBUG or SANITIZE):
    LINK += ["-Wl,--strip-all"]         # names of static functions, which perf shows in a clone

DIRECTIVES = dict(language_level=3, boundscheck=DEBUG, initializedcheck=DEBUG, cdivision=True,
                  freethreading_compatible=True, binding=True, auto_pickle=False)
# Cython 3.3 calls __init__ with keywords through an array that it releases before it is filled
# when memory runs out.
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("CYTHON_VECTORCALL_TPNEW", "0")]
ABOVE = runpy.run_path("fastbp/_modules.py")
SHARED = "_cython_fastbp"   # the file of these modules, and what they have in common

# A change of flags rebuilds everything: a file holds those of the last whole build.
STAMP = Path("build/flags.txt")
SETTINGS = FLAGS, FAST, SMALL, CLANG, LINK, DIRECTIVES, *map(os.environ.get, ("CC", "CFLAGS"))
CURRENT = repr((SETTINGS, cython_version, sys.version))
CHANGED = not STAMP.exists() or STAMP.read_text() != CURRENT
TEXTS = [path for kind in ("px[di]", "h") for path in Path("fastbp").rglob(f"*.{kind}")]
DEPENDS = ["setup.py", "fastbp/_modules.py", *map(str, TEXTS)]


def extension(name, flags=(), macros=(), suffix="pyx"):
    return Extension(
        f"fastbp.{name}", [f"fastbp/{name.replace('.', '/')}.{suffix}"], depends=DEPENDS,
        include_dirs=["fastbp/_kernels", "fastbp/include", numpy.get_include()],
        define_macros=[*MACROS, *macros], extra_link_args=LINK,
        extra_compile_args=[*FLAGS, *WARNINGS, *flags])


def extensions(variants=VARIANTS):
    """The kernels, each a module of its own, then the parts of the file SHARED."""
    for isa, flags in variants.items():
        for dtype in ("float32", "float64"):
            macros = [(f"FASTBP_{isa.upper()}", 1), (f"FASTBP_{dtype.upper()}", 1)]
            yield extension(f"_kernels.{isa}_{dtype}", flags, macros)
    yield from (extension(name, FAST) for name in ABOVE["FAST"])
    yield from (extension(name, SMALL) for name in ABOVE["SMALL"])
    yield extension(SHARED, FAST, suffix="c")


def translate(parts, **options):
    """Cython's C files, by the names of the extensions."""
    return {ext.name: ext.sources for ext in cythonize(
        parts, compiler_directives=DIRECTIVES, build_dir="build/cython", nthreads=os.cpu_count(),
        shared_utility_qualified_name=f"fastbp.{SHARED}",
        shared_utility_features_disabled=["MemoryView"], **options)}


def adapt(parts, sources, compiler, variants=VARIANTS):
    """Give parts their C files and a compiler's flags; `dispatch.FLAGS` tells of all flags."""
    version = subprocess.run([*compiler, "--version"], capture_output=True)
    added = CLANG if b"clang" in version.stdout else []
    own = [" ".join([f"{isa}:", *flags]) for isa, flags in variants.items() if flags]
    text = "; ".join([" ".join([*FLAGS, *added]), *own])
    for ext in parts:
        ext.sources, ext.extra_compile_args = sources[ext.name], ext.extra_compile_args + added
        if ext.name == "fastbp._kernels.dispatch":
            ext.define_macros.append(("FASTBP_FLAGS", f'"{text}"'))


class BuildExtensions(build_ext):
    """Compile as many files at once as there are CPUs, and link what is above the kernels."""

    def build_extensions(self):
        self.require_compiler()         # before Cython is asked to work for half a minute
        self.force = self.force or CHANGED
        sources = translate(self.extensions, force=CHANGED, annotate=ANNOTATE)
        adapt(self.extensions, sources, self.compiler.compiler_so)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [*filter(None, pool.map(self.build_part, self.extensions))]
        if objects:                     # there are none where a kernel is built alone
            *parts, one = self.extensions
            one.sources, one.extra_objects, one.depends = [], objects, objects
            self.build_extension(one)
            self.extensions = [ext for ext in parts if "_float" in ext.name] + [one]
            STAMP.write_text(CURRENT)

    def build_part(self, ext):
        """A kernel as a module; of another extension the object file, compiled if it is stale."""
        if "_float" in ext.name:
            return self.build_extension(ext)
        result, = self.compiler.object_filenames(ext.sources, output_dir=self.build_temp)
        if self.force or newer_group([*ext.sources, *ext.depends], result):
            self.compiler.compile(ext.sources, self.build_temp, ext.define_macros, ext.include_dirs,
                                  self.debug, extra_postargs=ext.extra_compile_args)
        return result

    def require_compiler(self):
        STAMP.parent.mkdir(exist_ok=True)
        probe = STAMP.with_name("probe.c")
        probe.write_text(
            "#include <Python.h>\n#if __clang_major__ ? __clang_major__ < 14 : __GNUC__ < 12\n"
            "#error the compiler is too old\n#endif\n")
        try:
            self.compiler.compile([str(probe)], self.build_temp)
        except CompileError as error:
            sys.exit(f"fastbp: cannot compile a file with Python.h ({error}). It needs GCC 12 or "
                     "Clang 14, or later, and Python's headers: `apt install gcc python3-dev`, "
                     "`dnf install gcc python3-devel`, `xcode-select --install`. CC=... names it.")


if __name__ == "__main__":
    setup(ext_modules=list(extensions()), cmdclass={"build_ext": BuildExtensions})
