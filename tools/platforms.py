"""Run the wheels of a folder on every platform that can run them here, and record what ran.

    python tools/platforms.py WHEELS                     # x86-64 Linux, natively
    python tools/platforms.py WHEELS --aarch64 FOLDER --windows FOLDER --musl FOLDER --free FOLDER
    python tools/platforms.py WHEELS ... --record        # and bring the record up to date

A FOLDER is made by tools/aarch64.sh (QEMU), wine.sh, musl.sh or freethreaded.sh. Natively, each
CPython on the path and among pyenv's gets a fresh environment, once with the oldest NumPy that has
a wheel for it and once with the newest. Everything happens outside the checkout, beside a copy of
tests/: `fastbp check`, the digests of tests/digests.json in each variant with FMA, and SHARE of the
tests. A wheel that lists fewer variants than its CPU has is a failure. `python tools/figures.py`
puts the record into docs/platforms.md, and fastbp/platforms.json is what `show_config()` says.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from release.targets import PYTHONS, TARGETS, Python

from fastbp._command.machine import machine
from fastbp._kernels import dispatch

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "platforms.json"
SAID = ROOT / "fastbp" / "platforms.json"
OLDEST = {"3.11": "2.0.0", "3.12": "2.0.0", "3.13": "2.1.0", "3.14": "2.3.2",
          "3.13t": "2.1.0", "3.14t": "2.3.2"}
NEEDED = ["pytest>=8", "hypothesis>=6.100", "mpmath>=1.3", "gmpy2>=2.1"]
# What needs nothing but NumPy and what NEEDED names, and no compiler.
BITS = ["tests/bits", "--ignore=tests/bits/test_l4_arm.py", "--ignore=tests/bits/test_relaxed.py"]
SHARE = [*BITS, "tests/safety/test_threads.py", "tests/safety/test_concurrency.py",
         "tests/safety/test_interrupts.py", "tests/api/test_fit.py", "tests/api/test_epoch.py",
         "tests/api/test_errors.py", "tests/api/test_layers.py", "tests/api/test_population.py",
         "tests/exactness/test_losses.py", "tests/command/test_check.py"]
# Under QEMU a share of the share: tools/bits.py runs all of tests/bits there, in some 20 minutes.
EMULATED = [f"tests/bits/test_{name}.py" for name in (
    "l1_threads", "l2_batch", "n1_chains", "n1_widths", "n3_sums", "n4_single_output")]
EMULATED += ["-k", "not generic"]


class Run(NamedTuple):
    """One wheel on one Python: how it is started, and what the table says of it."""

    wheel: Path
    target: str
    python: str
    how: str
    command: list           # starts the Python; a fresh environment is made of it if `numpy`
    numpy: str = ""
    share: list = SHARE


def wheel_of(folder, target, python):
    """The wheel of a target for a Python, or None."""
    name = f"*-{Python(python).tag}-{TARGETS[target].tag}.whl"
    return next(iter(folder.glob(name)), None)


def native_pythons():
    """Every CPython that starts here, by its name: of each version the first on the path."""
    found = {}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for name in PYTHONS:
        for path in (shutil.which(f"python{name}"), *versions.glob(f"{name}.*/bin/python3")):
            if path and version_of([str(path)]) == name:
                found.setdefault(name, str(path))
    return found


def version_of(command):
    """ "3.13", or "3.13t" without the GIL; None if it does not start."""
    code = "import sys, sysconfig; print('%d.%d' % sys.version_info[:2] " \
           "+ 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    try:
        done = subprocess.run([*command, "-c", code], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def runs(given):
    """What is to be run, in the order of the table."""
    for target, folder, program, how, share in (
            ("windows-amd64", given.windows, "python", "Wine", SHARE),
            ("musllinux-x86_64", given.musl, "python", "natively, on musl", SHARE),
            ("manylinux-aarch64", given.aarch64, "python", "QEMU", EMULATED),
            ("manylinux-x86_64", given.free, "env/bin/python", "natively", SHARE)):
        if folder:
            command = [str(folder / program)]
            if (name := version_of(command)) is None:
                raise SystemExit(f"{command[0]} does not start")
            yield Run(wheel_of(given.wheels, target, name), target, name, how, command,
                      share=share)
    for name, path in native_pythons().items():
        for numpy in (f"=={OLDEST[name]}", ">=2"):
            target = "manylinux-x86_64"
            yield Run(wheel_of(given.wheels, target, name), target, name, "natively", [path],
                      f"numpy{numpy}")


class Place:
    """A folder with tests/ and a Python that has the wheel, outside the checkout."""

    def __init__(self, run, folder):
        self.folder, self.command = folder, run.command
        self.variables = {name: value for name, value in os.environ.items()
                          if not name.startswith(("FASTBP_", "PYTHON"))}
        for name in ("tests", "docs", "results"):
            shutil.copytree(ROOT / name, folder / name,
                            ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "setup.py", "README.md"):
            shutil.copy(ROOT / name, folder)
        paths = [folder / "tests" / "support"]
        if run.numpy:
            self.variables.pop("PYTHONPATH", None)
            subprocess.run([*run.command, "-m", "venv", folder / "env"], check=True)
            self.command = [str(folder / "env" / "bin" / "python")]
            self.answer("-m", "pip", "install", "-q", "--only-binary=:all:", run.numpy, run.wheel,
                        *NEEDED)
        else:
            shutil.unpack_archive(run.wheel, folder / "site", format="zip")
            paths.append(folder / "site")
        separator, root = (";", "Z:") if run.how == "Wine" else (":", "")
        self.variables["PYTHONPATH"] = separator.join(f"{root}{path}" for path in paths)

    def run(self, *arguments, **variables):
        done = subprocess.run([*self.command, *map(str, arguments)], cwd=self.folder, text=True,
                              capture_output=True, env=self.variables | variables)
        return done.returncode, done.stdout, done.stderr

    def answer(self, *arguments, **variables):
        status, output, errors = self.run(*arguments, **variables)
        if status:
            raise SystemExit(f"{self.command} {arguments}\n{output}\n{errors}")
        return output


def result(run):
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(run, Path(folder).resolve())
        config = json.loads(place.answer("-c", "import fastbp, json; print(json.dumps("
                                         "{**fastbp.show_config('dict'), 'f': fastbp.__file__}))"))
        assert "site" in config["f"], config["f"]
        variants = config["isas_supported"]
        if run.how != "QEMU" and variants != list(dispatch.cpu_isas()):
            raise SystemExit(f"{run.wheel.name} runs {variants} on a CPU that has "
                             f"{dispatch.cpu_isas()}")
        checks = re.search(r"(\d+) checks passed", place.answer("-m", "fastbp", "check"))
        recorded = json.loads((ROOT / "tests" / "digests.json").read_text())["digests"]
        found = [json.loads(place.answer("tests/support/record.py", "--print", FASTBP_ISA=isa))
                 for isa in variants if isa != "generic"]
        same = sum(each.get(name) == recorded[name] for each in found for name in recorded)
        status, output, errors = place.run("-m", "pytest", "-q", "-p", "no:cacheprovider",
                                           *run.share)
        print(run.wheel.name, output[-6000:], errors[-1000:], sep="\n", file=sys.stderr)
        if status not in (0, 1):        # of pytest: all passed, some failed
            raise SystemExit(f"{run.wheel.name}: pytest ended with {status}")
        if not found or same != len(found) * len(recorded):
            raise SystemExit(f"{run.wheel.name}: {same} digests are as recorded, of "
                             f"{len(found) * len(recorded)}")
        last = output.strip().rpartition("\n")[2]
        counted = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", last)}
        return {
            "wheel": run.target, "Python": config["python"] + "t" * run.python.endswith("t"),
            "NumPy": config["numpy"], "run": run.how, "variants": ", ".join(variants),
            "checks passed": int(checks[1]),
            "digests as recorded": f"{same} of {len(found) * len(recorded)}",
            "tests passed": counted.get("passed", 0),
            "failed": counted.get("failed", 0) + counted.get("error", 0)
            + counted.get("errors", 0),
            "skipped": counted.get("skipped", 0),
        }


def kind(row):
    """What a row replaces in the record."""
    return row["wheel"], row["Python"], row["NumPy"], row["run"]


def record(rows):
    """Write these rows in place of older ones of their kinds, and what never ran."""
    old = json.loads(RESULTS.read_text())["tables"]["ran"] if RESULTS.exists() else []
    rows = [row for row in old if kind(row) not in map(kind, rows)] + rows
    ran = {(row["wheel"], re.sub(r"\.\d+(?=t?$)", "", row["Python"])) for row in rows}
    never = [{"wheel": target, "Python": ", ".join(left)} for target in TARGETS
             if (left := [name for name in PYTHONS if (target, name) not in ran])]
    document = {"machine": machine(), "tables": {"ran": rows, "never": never}}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    said = {name: sorted({f"CPython {row['Python']} {row['run'].replace(',', '')}" for row in rows
                          if row["wheel"] == name and not row["failed"]}) for name in TARGETS}
    SAID.write_text(json.dumps(said, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path)
    for name in ("aarch64", "musl", "windows", "free"):
        parser.add_argument(f"--{name}", type=lambda text: Path(text).resolve(), metavar="FOLDER")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    if not any(given.wheels.glob("*.whl")):
        parser.error(f"WHEELS is {given.wheels}; it should be a folder with wheels")
    for name in ("aarch64", "musl", "windows"):
        if (folder := getattr(given, name)) and not (folder / "python").exists():
            parser.error(f"--{name} is {folder}; it should be a folder with a program python")
    rows = []
    for run in runs(given):
        if run.wheel is None:
            raise SystemExit(f"WHEELS has no wheel of {run.target} for CPython {run.python}")
        rows.append(result(run))
        print(*(f"{heading}: {value}" for heading, value in rows[-1].items()), sep="; ", flush=True)
        if given.record:
            record(rows)
    return any(row["failed"] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
