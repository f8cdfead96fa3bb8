"""Time other values of the kernels' tuning constants beside the current ones, on this CPU.

    python bench/tune.py THIN=0,8 PREFETCH_C=0
    python bench/tune.py --dtype float64 --isa avx2 --networks 30-64-64-1@256 LOGISTICS=1,2,4
    python bench/tune.py --beside ../other --networks 784-256-128-1@128

The constants are in fastbp/_kernels/tuning.h.  Each value is compiled into a copy of the package,
with one variant built again; NAME=1,2 are two candidates, and a change of two constants at once is
NAME=1+OTHER=2.  `--beside` takes the package in another folder, built there, as one more candidate.
A gradient with other bits than the current one's ends the run: no constant may change them (N1).

Each candidate has a process of its own, all pinned to one CPU; they take turns, one sample each in
a round, of processor time, to which other programs add less; the table gives medians and their
ratio to the current values: above 1 is faster.
Memory falls differently to each process, which is worth a few percent: believe a smaller gain only
after several runs.

Needs what the build needs (setuptools, Cython, a compiler); run it in a clone built in place.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ("10-32-32-1@64,30-64-64-1@256,100-128-128-1@128,784-256-128-1@128,"
            "1024-1024-1024-1@1,1024-1024-1024-1@8,1024-1024-1024-1@512")
SAMPLE = 0.02           # seconds a sample lasts at least


# ---- one candidate, in a process of its own


def serve(dtype):
    """Answer each network on stdin: first with a digest of its gradient, then with a time."""
    import hashlib

    import numpy as np

    import fastbp

    known = {}
    for line in sys.stdin:
        name, batch = line.split("@")
        if line not in known:
            sizes = [int(size) for size in name.split("-")]
            rng = np.random.default_rng(1)
            net = fastbp.MLP(sizes, dtype=dtype, seed=0)
            X = rng.uniform(-1, 1, (int(batch), sizes[0])).astype(dtype)
            y = rng.integers(0, 2, (int(batch), sizes[-1])).astype(dtype)
            net.backprop(X, y)
            known[line] = net, X, y
            answer = hashlib.sha256(net.grad.tobytes()).hexdigest()
        else:
            answer = sample(*known[line])
        print(json.dumps(answer), flush=True)


def sample(net, X, y):
    """Seconds of processor time per gradient, after one that warms the caches up."""
    start = time.process_time()
    net.backprop(X, y)
    calls = max(1, int(SAMPLE / (time.process_time() - start)))
    start = time.process_time()
    for _ in range(calls):
        net.backprop(X, y)
    return (time.process_time() - start) / calls


class Candidate:
    """A package folder and the process that runs it."""

    def __init__(self, name, folder, options):
        self.name = name
        environment = {**os.environ, "PYTHONPATH": str(folder), "FASTBP_ISA": options.isa}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", "--dtype", options.dtype], cwd=folder, text=True,
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, network):
        self.process.stdin.write(network + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


# ---- building


def build(folder, isa, dtype, values, flags=(), edit=None):
    """A copy of the package in `folder`, one variant compiled with `values` on its command line.

    `flags` come after the build's own; `edit(folder)` may change the copy's texts first.
    """
    import runpy

    from Cython.Build import cythonize
    from setuptools import Distribution

    shutil.copytree(ROOT / "fastbp", folder / "fastbp")
    shutil.copy(ROOT / "setup.py", folder)
    if edit is not None:
        edit(folder)
    os.chdir(folder)
    of_build = runpy.run_path("setup.py")
    name = f"fastbp._kernels.{isa}_{dtype}"
    extension = next(e for e in of_build["extensions"]() if e.name == name)
    modules = cythonize([extension], compiler_directives=of_build["DIRECTIVES"],
                        build_dir=str(folder / "cython"))
    # Cython remembers the macros it was given for a name, of one candidate for the next
    modules[0].define_macros = [*extension.define_macros,
                                *(tuple(value.split("=")) for value in values)]
    modules[0].extra_compile_args += flags
    command = of_build["BuildExtensions"](Distribution({"ext_modules": modules}))
    command.force = True        # the copied one is newer than its sources
    command.build_lib, command.build_temp = str(folder), str(folder / "objects")
    command.ensure_finalized()
    command.run()
    os.chdir(ROOT)


def candidates(settings):
    """ROWS_2=12,14 FEW_ROWS=1+MC=128 -> [["ROWS_2=12"], ["ROWS_2=14"], ["FEW_ROWS=1", "MC=128"]]"""
    for setting in settings:
        if "+" in setting:
            yield setting.split("+")
        else:
            name, _, values = setting.partition("=")
            yield from ([f"{name}={value}"] for value in values.split(","))


# ---- the comparison


def times_of(sides, network, seconds):
    """Samples of each side, one of each in a round."""
    times = [[] for _ in sides]
    end = time.perf_counter() + seconds * len(sides)
    while len(times[0]) < 5 or time.perf_counter() < end:
        for side, taken in zip(sides, times, strict=True):
            taken.append(side.ask(network))
    return times


def compare(sides, network, seconds, average):
    """Print what all sides take for one network."""
    digests = [side.ask(network) for side in sides]
    for side, digest in zip(sides, digests, strict=True):
        if digest != digests[0]:
            sys.exit(f"tune: {network}: the gradient of {side.name} has other bits")
    medians = [average(taken) for taken in times_of(sides, network, seconds)]
    print(f"{network:24}" + "".join(f"{1e6 * median:12.1f} ({medians[0] / median:5.3f})"
                                    for median in medians), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE,...")
    parser.add_argument("--isa", default="avx512")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--networks", default=NETWORKS, metavar="SIZES@BATCH,...")
    parser.add_argument("--beside", action="append", default=[], metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=1.0, help="per candidate and network")
    parser.add_argument("--least", action="store_true",
                        help="the least sample, not the median: for a machine with other work")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.dtype)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as temporary:
        folders = {"current": ROOT}
        for i, values in enumerate(candidates(options.settings)):
            folders["+".join(values)] = folder = Path(temporary) / str(i)
            build(folder, options.isa, options.dtype, values)
        folders.update((folder, Path(folder).resolve()) for folder in options.beside)
        os.sched_setaffinity(0, {options.cpu})
        sides = [Candidate(name, folder, options) for name, folder in folders.items()]
        print(f"{options.isa} {options.dtype}, CPU {options.cpu}: us per gradient (ratio)")
        print(" " * 24 + "".join(f"{side.name[-19:]:>20}" for side in sides))
        for network in options.networks.split(","):
            compare(sides, network, options.seconds, min if options.least else statistics.median)
        for side in sides:
            side.process.stdin.close()
            side.process.wait()


if __name__ == "__main__":
    main()
