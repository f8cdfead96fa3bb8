"""Build fastbp with several compilers, at several levels and for ARM: are the bits the same?

    python tools/bits.py                        # every build below; 1 if one differs
    python tools/bits.py gcc-O2 clang-O2        # these
    python tools/bits.py --record               # every build, and write results/bits.json

A build is made from a copy of the tracked files in a temporary folder; what is installed stays as
it is. Its digests, in each variant with FMA that the CPU has, are compared with those that
tests/digests.json and digests-to-confirm.json record for the contract (levels L3 and L4); --record
moves the latter to the former once all builds have found them. TESTS run, too, which have the
other levels. `aarch64` is cross-compiled and run under QEMU, so without the tests of `generic`;
tools/aarch64.sh makes its Python, says what that needs, and keeps it in the folder that --arm
names. `python tools/figures.py` puts the record into docs/reproducibility.md. Half an hour in all.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fastbp._command.machine import machine

ROOT = Path(__file__).parents[1]
DIGESTS = ROOT / "tests" / "digests.json"
TO_CONFIRM = ROOT / "tests" / "digests-to-confirm.json"
RESULTS = ROOT / "results" / "bits.json"
# All but the test that reads RESULTS, that which starts many processes, and that which needs V8.
TESTS = ["tests/bits", "tests/command/test_check.py", "--ignore=tests/bits/test_l4_arm.py",
         "--ignore=tests/bits/test_n5_threads.py", "--ignore=tests/bits/test_relaxed.py"]
SWITCHES = ("CC", "CFLAGS", "FASTBP_ISA", "FASTBP_DEBUG", "FASTBP_OPTIMIZE", "FASTBP_SANITIZE",
            "FASTBP_NUM_THREADS", "PYTHONPATH")


class Build(NamedTuple):
    """A way to build: compilers by preference, and switches of setup.py."""

    compilers: tuple
    variables: dict
    emulated: bool = False


GCC, CLANG = ("gcc",), ("clang", *(f"clang-{version}" for version in range(22, 13, -1)))
BUILDS = {
    "gcc-O3": Build(GCC, {}),
    "gcc-O2": Build(GCC, {"FASTBP_OPTIMIZE": "-O2"}),
    "gcc-Og": Build(GCC, {"FASTBP_DEBUG": "1"}),
    "clang-O3": Build(CLANG, {}),
    "clang-O2": Build(CLANG, {"FASTBP_OPTIMIZE": "-O2"}),
    "aarch64": Build(("aarch64-linux-gnu-gcc",), {}, emulated=True),
}


class Tree:
    """A copy of the tracked files in `folder`, its Python and its environment."""

    def __init__(self, build, folder, arm):
        self.folder, self.python = folder, [sys.executable]
        self.variables = {name: value for name, value in os.environ.items()
                          if name not in SWITCHES} | build.variables
        compiler = next(filter(None, map(shutil.which, build.compilers)), None)
        if compiler is None:
            raise SystemExit(f"none of {', '.join(build.compilers)} is on the path")
        self.variables |= {"CC": compiler, "PYTHONPATH": os.pathsep.join(
            (str(folder), str(folder / "tests" / "support")))}
        if build.emulated:
            if not (arm / "python").exists():
                subprocess.run([ROOT / "tools" / "aarch64.sh", arm], check=True,
                               env=os.environ | {"PYTHON": sys.executable})
            self.python = [str(arm / "python")]
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split("\0")
        for name in filter(None, names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)

    def run(self, *arguments, **variables):
        """Its Python with these arguments; stdout and stderr."""
        ended = subprocess.run([*self.python, *arguments], cwd=self.folder, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=self.variables | variables)
        return ended.returncode, ended.stdout

    def answer(self, *arguments, **variables):
        """Its output, read as JSON."""
        status, output = self.run(*arguments, **variables)
        if status:
            raise SystemExit(output)
        return json.loads(output)


def counted(output, word):
    """How many tests `word`, after pytest's last line."""
    found = re.search(rf"(\d+) {word}", output.strip().rpartition("\n")[2])
    return int(found[1]) if found else 0


def result(build, arm):
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        tree, start = Tree(build, Path(folder).resolve(), arm), time.monotonic()
        status, log = tree.run("setup.py", "build_ext", "--inplace")
        if status:
            raise SystemExit(log)
        built = time.monotonic()
        config = tree.answer("-c", "import fastbp, json; print(json.dumps("
                             "{**fastbp.show_config('dict'), 'file': fastbp.__file__}))")
        assert Path(config["file"]).is_relative_to(folder), config["file"]
        recorded = {name: each for path in (DIGESTS, TO_CONFIRM) if path.exists()
                    for name, each in json.loads(path.read_text())["digests"].items()}
        variants = [isa for isa in config["isas_supported"] if isa != "generic"]
        found = [tree.answer("tests/support/record.py", "--print", FASTBP_ISA=isa)
                 for isa in variants]
        same = sum(digests.get(name) == recorded[name] for digests in found for name in recorded)
        _, output = tree.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS,
                             *(["-k", "not generic"] if build.emulated else []))
        warnings = [line for line in log.splitlines() if "warning:" in line]
        print(*warnings, output[-2000:], sep="\n", file=sys.stderr)
        passed, failed = counted(output, "passed"), counted(output, "failed")
        return {
            "build": " ".join([*config["compiler"].split(), config["flags"].split()[0],
                               "for", config["machine"]]),
            "run by": emulator() if build.emulated else "the CPU",
            "variants": ", ".join(variants),
            "digests as recorded": f"{same} of {len(variants) * len(recorded)}",
            "tests passed": passed,
            "failed": failed + counted(output, "error"),
            "skipped": counted(output, "skipped"),
            "warnings": len(warnings),
            "build s": round(built - start),
            "run s": round(time.monotonic() - built),
        }


def emulator():
    return subprocess.run(["qemu-aarch64-static", "--version"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout.split(" (")[0].replace(
                              "qemu-aarch64 version", "QEMU")


def holds(row):
    same, _, all_of_them = row["digests as recorded"].split()
    return same == all_of_them != "0" and row["tests passed"] > 0 == row["failed"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("builds", nargs="*", metavar="BUILD", help=", ".join(BUILDS))
    parser.add_argument("--arm", type=Path, metavar="FOLDER",
                        default=Path(tempfile.gettempdir(), "fastbp-aarch64"))
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    names = arguments.builds or list(BUILDS)
    if unknown := set(names) - set(BUILDS):
        parser.error(f"{', '.join(unknown)}: there are {', '.join(BUILDS)}")
    if arguments.record and names != list(BUILDS):
        parser.error("--record takes every build")
    document = {"machine": machine() | {"versions": {}}, "digests": "", "tables": {"builds": []}}
    for name in names:
        row = result(BUILDS[name], arguments.arm.resolve())
        print(json.dumps(row), flush=True)
        document["tables"]["builds"].append(row)
    all_hold = all(map(holds, document["tables"]["builds"]))
    if arguments.record:
        if all_hold and TO_CONFIRM.exists():
            confirm()
        document["digests"] = hashlib.sha256(DIGESTS.read_bytes()).hexdigest()
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all_hold else 1


def confirm():
    """Move the digests that every build has found to those on record."""
    record = json.loads(DIGESTS.read_text())
    record["digests"] |= json.loads(TO_CONFIRM.read_text())["digests"]
    DIGESTS.write_text(json.dumps(record, indent=1) + "\n")
    TO_CONFIRM.unlink()


if __name__ == "__main__":
    sys.exit(main())
