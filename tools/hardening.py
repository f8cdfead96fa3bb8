"""Run tests that are too long for every change, and record how they went.

    python tools/hardening.py exhaustive        # pytest -m exhaustive
    FREE/bin/python tools/hardening.py free     # all tests on a Python without the GIL
    FREE/bin/python tools/hardening.py parallel # those of threads, each in four threads at once

The last two want the environment that tools/freethreaded.sh makes, with fastbp built for it. A row
of results/hardening.json is one run; `python tools/figures.py` puts it into
docs/reproducibility.md. Fails if a test does.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from cpuinfo import get_cpu_info

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "hardening.json"
THREADS = ("safety/test_concurrency", "safety/test_threads", "bits/test_l1_threads",
           "bits/test_n5_threads",
           "api/test_network", "api/test_layers", "api/test_layers_loss", "api/test_epoch",
           "api/test_optimisers", "api/test_optimiser_state")
# tests of scikit-learn or safetensors, which have no wheels for a Python 3.13 without GIL
NO_WHEELS = ("--ignore=tests/sklearn",
             *(f"--ignore=tests/{name}.py" for name in (
                 "command/test_command", "command/test_datasets", "command/test_models",
                 "command/test_properties_files", "command/test_bench", "command/test_bench_output",
                 "command/test_peers", "command/test_tables",
                 "api/test_calls", "api/test_copies", "api/test_numbers", "api/test_stubs",
                 "api/test_tables", "safety/test_error_state", "house/test_docs")),
             "--deselect=tests/exactness/test_twins.py::test_options_stay_with_the_network")
RUNS = {        # what it is called, and the options of pytest
    "exhaustive": ("pytest -m exhaustive", ("-m", "exhaustive")),
    "free": ("pytest, without a GIL", ("-k", "not generic", *NO_WHEELS)),
    "parallel": ("tests of threads, without a GIL, each in four threads at once",
                 ("-k", "not generic", "--parallel-threads=4",
                  *(f"tests/{name}.py" for name in THREADS))),
}


def counts(results):
    """The counts of a file of --junitxml: passed, failed, skipped."""
    suite = next(ElementTree.parse(results).iter("testsuite"))
    tests, failures, errors, skipped = (
        int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped"))
    return {"passed": tests - failures - errors - skipped, "failed": failures + errors,
            "skipped": skipped}


def record(table, key, row, path=RESULTS):
    """Put the row in the table of the file, in place of the last one with this key."""
    document = json.loads(path.read_text()) if path.exists() else {"tables": {}}
    row = row | {"CPU": get_cpu_info()["brand_raw"], "date": time.strftime("%Y-%m-%d")}
    rows = [r for r in document["tables"].get(table, []) if r[key] != row[key]]
    document["tables"][table] = sorted([*rows, row], key=lambda r: r[key])
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(*row.items(), f"in {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", choices=RUNS)
    name = parser.parse_args().run
    label, options = RUNS[name]
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    if free != (name != "exhaustive"):
        parser.error(f"{name} is for a Python {'with' if free else 'without'} the GIL")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        began = time.time()
        ended = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                                f"--junitxml={results}", *options], cwd=ROOT)
        if not results.exists():
            sys.exit(ended.returncode or 1)
        found = counts(results)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    record("runs", "run", {
        "run": label, "Python": platform.python_version() + ("t" if free else ""),
        **found, "minutes": round((time.time() - began) / 60, 1),
        "CPU minutes": round((used.ru_utime + used.ru_stime) / 60, 1)})
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
