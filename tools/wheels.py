"""Make the sdist and a wheel for every system, machine and Python, on one Linux machine.

    pip install '.[wheels]'             # ziglang, a compiler for every target, and the checkers
    python tools/wheels.py OUT          # all of them: 40 minutes on two cores
    python tools/wheels.py OUT --target windows-amd64 macos-arm64 --python 3.13 3.13t
    python tools/wheels.py --list

Everything is made from the sdist, which is made from the tracked files as they are now, so that it
is known to be whole. setup.py says what is built and with which flags; a target, in
release/targets.py, adds a compiler, a machine and the headers that tools/headers.sh fetches, once,
to --headers. Two runs from the same commit give the same bytes. OUT gets the sdist, the wheels,
each with its bill of materials, and SHA256SUMS. `tools/platforms.py` says what ran where.
"""

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from release.targets import PYTHONS, TARGETS, Python

ROOT = Path(__file__).parents[1]


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, help="the folder of the results")
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=TARGETS, metavar="NAME")
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=PYTHONS, metavar="3.x")
    parser.add_argument("--headers", type=Path, default=ROOT / "build" / "headers",
                        help="the folder of tools/headers.sh, which is run if it is not there")
    parser.add_argument("--list", action="store_true", help="print the targets and end")
    given = parser.parse_args()
    if given.list:
        print(*(f"{target.name:22}{target.tag}" for target in TARGETS.values()), sep="\n")
        sys.exit()
    if given.out is None:
        parser.error("OUT is missing; it should be the folder of the results")
    if given.out.exists() and not given.out.is_dir():
        parser.error(f"OUT is {given.out}, a file; it should be a folder")
    if not shutil.which("git") or not (ROOT / ".git").exists():
        parser.error("wheels are made in a clone of the repository, with git")
    return given


def headers(folder):
    """The folder of tools/headers.sh, made if it is not there."""
    version = importlib.metadata.version("numpy")
    if not folder.exists():
        fetch = [ROOT / "tools" / "headers.sh", folder, version]
        if subprocess.run(fetch, env={**os.environ, "PYTHON": sys.executable}).returncode:
            sys.exit("tools/headers.sh failed: it says above what it lacks")
    if (found := (folder / "numpy" / "version").read_text().strip()) != version:
        sys.exit(f"{folder} has headers of NumPy {found}, and {version} is installed: remove it")
    return folder


def main():
    given = arguments()
    try:
        from release import archive, checks, native, source
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is missing: pip install '.[wheels]' brings what this needs")
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    found, epoch = native.Headers(headers(given.headers.resolve())), source.epoch()
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    for switch in ("DEBUG", "OPTIMIZE", "SANITIZE", "ANNOTATE"):    # a release knows none of them
        os.environ.pop(f"FASTBP_{switch}", None)
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(os.cpu_count()) as pool:
        work = Path(work)
        os.environ["ZIG_GLOBAL_CACHE_DIR"] = os.environ["ZIG_LOCAL_CACHE_DIR"] = str(work / "zig")
        source.copy_tracked(work / "tree")
        os.chdir(work / "tree")
        made = [sdist := source.sdist(out)]
        os.chdir(source.unpack(sdist, work / "source"))
        metadata = source.pure_files(work / "pure")
        setup = native.description()
        texts = native.c_texts(setup)
        for name in given.target:
            target = TARGETS[name]
            for python in map(Python, given.python):
                start = time.monotonic()
                folder = work / f"{name}-{python.name}"
                modules = native.build(setup, texts, target, python, found, folder, pool)
                wheel = archive.pack(work / "pure", modules, metadata, target, python, epoch, out)
                checks.check(wheel, modules, target, python)
                made.append(wheel)
                print(f"{wheel.name}  {wheel.stat().st_size / 1e6:.2f} MB  "
                      f"{time.monotonic() - start:.0f} s", flush=True)
    archive.checksums(made, out)


if __name__ == "__main__":
    main()
