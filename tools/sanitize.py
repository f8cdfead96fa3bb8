"""Run the tests under a sanitizer, in a copy of the working tree that is built for it.

    python tools/sanitize.py address            # AddressSanitizer and UndefinedBehaviorSanitizer
    python tools/sanitize.py thread             # ThreadSanitizer: the tests of threads
    python tools/sanitize.py address -k epoch   # what follows goes to pytest

Needs GCC and the test extras; some 20 minutes of one CPU for the first, an hour for the second.
Without options of pytest the result is a row of results/hardening.json.
Fails on a report or a failed test. Then it plants one error in the copy and fails if that is not
reported: a sanitizer that sees nothing proves nothing.

Of the interpreter and of other packages, which are not compiled for it, ThreadSanitizer follows
the locks but not the memory: every access that it compares is one of fastbp's.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from hardening import counts, record

ROOT = Path(__file__).parents[1]
REPORT = re.compile(r"ERROR: AddressSanitizer|runtime error:|WARNING: ThreadSanitizer")


class Plant(NamedTuple):
    """An error: in this file the second text for the first, which this test meets."""

    file: str
    text: str
    wrong: str
    test: str


class Sanitizer(NamedTuple):
    flags: str              # of -fsanitize=
    runtimes: tuple         # preloaded, because Python itself is not compiled for them
    options: dict           # environment
    prefix: tuple           # of the command
    tests: tuple            # all when empty
    excluded: dict          # test: why it cannot pass here
    plant: Plant


COUNT = "counts threads, of which the runtime has one of its own"
MALLOC = "preloads a malloc of its own before the sanitizer's"
TIME = "has a limit on time that the instrumented code does not keep"
SANITIZERS = {
    "address": Sanitizer(
        flags="address,undefined",
        runtimes=("libasan.so", "libstdc++.so"),
        # the interpreter's own leaks at exit are not looked for; malloc may refuse, as tests ask;
        # UBSan writes to stderr alone, so a process ends at its report
        options={"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:"
                                 "detect_stack_use_after_return=1:log_path={log}",
                 "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
                 "PYTHONMALLOC": "malloc"},
        prefix=(),
        tests=(),
        excluded={
            "tests/safety/test_allocation.py": MALLOC,
            "tests/safety/test_leaks.py::test_nothing_is_kept": MALLOC,
            "tests/safety/test_population_memory.py": MALLOC,
            "tests/safety/test_threads.py::test_no_threads_to_be_had":
                "limits memory, of which the sanitizer needs more",
            "tests/safety/test_memory.py::test_peak_of_a_million_rows":
                "measures memory, to which the sanitizer adds its own",
            "tests/safety/test_processes.py::test_a_thread_that_forks_is_the_main_one_of_the_child":
                "another thread may hold the lock of the sanitizer's allocator when it forks",
            "tests/sklearn/test_upstream.py":
                "starts a process with an empty environment, without the sanitizer's runtime",
            "tests/safety/test_concurrency.py::test_a_wide_network_is_interrupted": TIME,
            "tests/safety/test_threads.py::test_a_wide_network_is_interrupted": TIME,
            "tests/safety/test_processes.py::"
            "test_the_main_thread_is_not_the_one_that_imports_threading": TIME,
            "tests/safety/test_interrupts.py": TIME,
        },
        plant=Plant("fastbp/_engine/memory.pyx", "malloc(sizeof(Memory) + nbytes + ALIGNMENT)",
                    "malloc(sizeof(Memory) + nbytes - ALIGNMENT)", "tests/api/test_network.py"),
    ),
    "thread": Sanitizer(
        flags="thread",
        runtimes=("libtsan.so",),
        options={"TSAN_OPTIONS": "ignore_noninstrumented_modules=1:die_after_fork=0:"
                                 "history_size=4:log_path={log}"},
        prefix=("setarch", "-R"),       # GCC 12's runtime wants addresses where they used to be
        # all variants have the same threads, and the slowest adds half an hour
        tests=("tests/safety/test_threads.py", "tests/safety/test_concurrency.py",
               "tests/bits/test_l1_threads.py",
               "tests/bits/test_l5_population.py::test_any_number_of_threads",
               "tests/bits/test_l5_population.py::test_different_numbers_of_rows",
               "-k", "not generic"),
        excluded={
            "tests/safety/test_concurrency.py::test_a_second_gradient_is_refused":
                "looks at the parameters of a network while an epoch changes them, as it may",
            "tests/safety/test_concurrency.py::test_a_wide_network_is_interrupted": TIME,
            "tests/safety/test_threads.py::test_a_wide_network_is_interrupted": TIME,
            "tests/safety/test_threads.py::test_helpers_are_gone_before_the_interpreter": COUNT,
            "tests/safety/test_threads.py::test_no_threads_to_be_had": COUNT,
            "tests/safety/test_threads.py::test_number_in_automatic_mode": COUNT,
            "tests/safety/test_threads.py::test_a_number_is_used_as_it_is": COUNT,
        },
        # the wait for the parts of a phase that other threads do
        plant=Plant("fastbp/_engine/loop.pyx",
                    "while get_count(&meeting.done, ACQUIRE) < end - kept:", "while False:",
                    "tests/safety/test_threads.py::test_one_team_and_many_callers"),
    ),
}


def copy_of_tree(folder):
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():      # not deleted since the last commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def build(sanitizer, folder):
    built = subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=folder,
                           env=os.environ | {"CC": "gcc", "FASTBP_SANITIZE": sanitizer.flags},
                           capture_output=True, text=True)
    if built.returncode:
        sys.exit(built.stdout + built.stderr)


def environment(sanitizer, log):
    runtimes = (subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True,
                               check=True).stdout.strip() for name in sanitizer.runtimes)
    options = {name: value.format(log=log) for name, value in sanitizer.options.items()}
    return os.environ | options | {"LD_PRELOAD": " ".join(runtimes),
                                   "PYTHONPATH": "", "OPENBLAS_NUM_THREADS": "1"}


def test(sanitizer, folder, tests, options=()):
    """Counts of pytest, None if it did not end, and what the sanitizer reported."""
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    log = folder / "report"
    ended = subprocess.run(
        [*sanitizer.prefix, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "--capture=sys", f"--junitxml={results}", *tests, *options,
         *(f"--deselect={name}" for name in sanitizer.excluded)],
        cwd=folder, env=environment(sanitizer, log), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace")
    reports = [ended.stdout] if REPORT.search(ended.stdout) else []
    for path in folder.glob("report.*"):
        text = path.read_text(errors="replace")
        path.unlink()
        if REPORT.search(text):
            reports.append(text)
    if not results.exists():
        return None, reports, ended.stdout
    return counts(results), reports, ended.stdout


def finds_planted_error(sanitizer, folder):
    """Plant it, build again, and look for a report."""
    plant = sanitizer.plant
    path = folder / plant.file
    source = path.read_text()
    assert source.count(plant.text) == 1, f"{plant.text} is not in {plant.file}, or not once"
    path.write_text(source.replace(plant.text, plant.wrong))
    build(sanitizer, folder)
    return bool(test(sanitizer, folder, [plant.test])[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sanitizer", choices=SANITIZERS)
    arguments, options = parser.parse_known_args()
    sanitizer = SANITIZERS[arguments.sanitizer]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        copy_of_tree(folder)
        build(sanitizer, folder)
        found, reports, output = test(sanitizer, folder, sanitizer.tests, options)
        print(output[-20000:], *reports, sep="\n")
        if found is None or found["failed"] or reports:
            sys.exit(f"{arguments.sanitizer}: {len(reports)} processes with reports, {found}")
        if not finds_planted_error(sanitizer, folder):
            sys.exit(f"{arguments.sanitizer}: the planted error was not reported")
        compiler = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True)
        row = {"sanitizer": sanitizer.flags, **found, "excluded": len(sanitizer.excluded),
               "reports": 0, "planted error": "reported",
               "compiler": f"GCC {compiler.stdout.strip()}"}
        print(*row.items())
        if not options:
            record("sanitizers", "sanitizer", row)


if __name__ == "__main__":
    main()
