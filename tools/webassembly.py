"""Make FOLDER/fastbp-*.whl for Pyodide, Python in a browser or Node.js, and FOLDER/page with it.

    python tools/webassembly.py PYODIDE NUMPY EMSCRIPTEN FOLDER
    python -m http.server --directory FOLDER/page

PYODIDE is the unpacked npm package `pyodide`, whose lock file names the Python and the NumPy that
it belongs to; NUMPY is that wheel; EMSCRIPTEN is a folder of its sources, of which only the headers
of C in system/ are read. This Python must have the version of Pyodide's, since its headers are
taken, and Cython, NumPy, setuptools, wheel and ziglang, whose Clang compiles. An extension of
Pyodide is a WebAssembly module that is linked when it is imported: no other part of Emscripten is
needed to make one. docs/webassembly.md says where to get all this.
"""

import argparse
import hashlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = "_sysconfigdata__emscripten_wasm32-emscripten"
# What every engine with SIMD has; Node.js 20 refuses the extended constants of Clang's default.
CPU = "mvp+mutable_globals+sign_ext+bulk_memory+nontrapping_fptoint"
HEADERS = ("include", *(f"lib/libc/musl/{name}" for name in ("arch/emscripten", "include",
                                                            "arch/generic")))
LINK = ("wasm-ld", "-shared", "--experimental-pic", "--no-entry", "--strip-all",
        "--export-dynamic", "--unresolved-symbols=import-dynamic")
RUNTIME = ("pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
MACHINE = "import platform\nplatform.machine = lambda: 'wasm32'\n"     # for setup.py
LINKS = "--as-linker"
ZIG = (sys.executable, "-m", "ziglang")


def link(arguments):
    """Link the objects that setuptools names; its other arguments are meant for a Unix linker."""
    output = arguments[arguments.index("-o") + 1]
    objects = [argument for argument in arguments if argument.endswith(".o")]
    sys.exit(subprocess.run([*ZIG, *LINK, *objects, "-o", output]).returncode)


def write_headers(folder, constants):
    """Copy this Python's headers, with the pyconfig.h of the one whose constants are given."""
    shutil.copytree(sysconfig.get_path("include"), folder)
    config = folder / "pyconfig.h"
    names = re.findall(r"^(?:#define|/\* #undef) (\w+)", config.read_text(), re.MULTILINE)
    config.write_text("".join(f"#define {name} {constants[name]}\n" for name in names
                              if constants.get(name, 0) not in (0, "")))


def copy_sources(folder):
    """What a wheel is made of, so that the objects of another machine stay out of build/."""
    shutil.copytree(ROOT / "fastbp", folder / "fastbp", ignore=shutil.ignore_patterns("*.so"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def unpack(path, folder, prefix):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith(prefix)])


def target_of(pyodide, numpy):
    """The lock file of Pyodide, once this Python and NUMPY are found to be of it."""
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    version = lock["info"]["python"].rpartition(".")[0]
    if version != sysconfig.get_python_version():
        sys.exit(f"Python is {sysconfig.get_python_version()}; it should be {version}, as "
                 f"{pyodide} has")
    if digest(numpy) != lock["packages"]["numpy"]["sha256"]:
        sys.exit(f"NUMPY is {numpy.name}; it should be the "
                 f"{lock['packages']['numpy']['file_name']} of Pyodide {lock['info']['version']}")
    return lock


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_wheel(pyodide, numpy, emscripten, output):
    """Compile and link fastbp; its wheel, in the folder `output`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(pyodide / "python_stdlib.zip", folder, DATA)
        unpack(numpy, folder, "numpy/_core/include/")
        write_headers(folder / "include",
                      runpy.run_path(str(folder / f"{DATA}.py"))["build_time_vars"])
        (folder / "sitecustomize.py").write_text(MACHINE)
        compiler = [*ZIG, "cc", "-target", "wasm32-emscripten", f"-mcpu={CPU}",
                    f"-I{folder}/include", f"-I{folder}/numpy/_core/include",
                    *(f"-isystem{emscripten / 'system' / name}" for name in HEADERS),
                    "-fPIC", "-fvisibility=hidden", "-DNDEBUG", "-fno-sanitize=undefined"]
        # How CPython's own cross builds tell sysconfig which Python is meant.
        cross = {"_PYTHON_SYSCONFIGDATA_NAME": DATA, "PYTHONPATH": name,
                 "SOURCE_DATE_EPOCH": "315532800",      # 1980: the same wheel from each run
                 "_PYTHON_HOST_PLATFORM": "emscripten-wasm32",
                 "CC": shlex.join(compiler),
                 "LDSHARED": shlex.join([sys.executable, __file__, LINKS])}
        subprocess.run([sys.executable, "setup.py", "-q", "bdist_wheel",
                        "--plat-name", numpy.stem.split("-")[-1], "--dist-dir", str(output)],
                       check=True, env={**os.environ, **cross},
                       cwd=copy_sources(folder / "sources"))
    return max(output.glob("fastbp-*.whl"), key=lambda path: path.stat().st_mtime)


def fill_page(folder, pyodide, numpy, wheel, lock):
    """The page of docs/browser, with all that it loads, in a folder to be served."""
    shutil.copytree(ROOT / "docs/browser", folder, dirs_exist_ok=True)
    beside = folder / "pyodide"
    beside.mkdir(exist_ok=True)
    for name in RUNTIME:
        shutil.copy(pyodide / name, beside)
    for path in (numpy, wheel):
        shutil.copy(path, beside)
    lock["packages"] = {"numpy": lock["packages"]["numpy"], "fastbp": {
        "name": "fastbp", "version": wheel.name.split("-")[1], "file_name": wheel.name,
        "install_dir": "site", "sha256": digest(wheel), "package_type": "package",
        "imports": ["fastbp"], "depends": ["numpy"], "unvendored_tests": False}}
    (beside / "pyodide-lock.json").write_text(json.dumps(lock, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("pyodide", "numpy", "emscripten", "folder"):
        parser.add_argument(name, metavar=name.upper(), type=lambda text: Path(text).resolve())
    options = parser.parse_args()
    lock = target_of(options.pyodide, options.numpy)
    wheel = make_wheel(options.pyodide, options.numpy, options.emscripten, options.folder)
    fill_page(options.folder / "page", options.pyodide, options.numpy, wheel, lock)
    print(wheel, f"{wheel.stat().st_size} bytes")


if __name__ == "__main__":
    if sys.argv[1:2] == [LINKS]:
        link(sys.argv[2:])
    main()
