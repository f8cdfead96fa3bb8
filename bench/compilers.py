"""Gradients of fastbp from two builds in turns: is the code of one compiler slower than another's?

    unzip -q fastbp-...whl -d A                 # of `python tools/wheels.py`: Clang
    pip wheel --no-deps . -w W && unzip -q W/fastbp-...whl -d B         # GCC, for example
    python bench/compilers.py A B --json results/compilers.json

A and B are folders that hold unpacked wheels for this Python. Each round starts a process of each,
in turns, pinned to one CPU; a process takes the least of 15 processor times of some calls. The
table has the least of all rounds and the median of the rounds' ratios, float32 and float64, for
each variant with fused multiply-add. The gradients of both are compared first, to the bit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from fastbp._command.machine import machine

PROGRAM = """
import hashlib, json, sys, time
import numpy as np
import fastbp

def least(call):
    start = time.process_time(); call(); call()
    count = max(1, int(4e-3 / max((time.process_time() - start) / 2, 1e-6)))
    times = []
    for _ in range(15):
        start = time.process_time()
        for _ in range(count):
            call()
        times.append((time.process_time() - start) / count * 1e6)
    return min(times)

found = {"compiler": fastbp.show_config("dict")["compiler"].strip(), "bits": "", "us": {}}
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    for sizes, batch in (([2, 8, 8, 1], 1), ([2, 8, 8, 1], 32), ([10, 32, 32, 1], 64),
                         ([30, 64, 64, 1], 256), ([784, 256, 128, 1], 1),
                         ([784, 256, 128, 1], 128), ([512, 512, 512, 1], 256)):
        net = fastbp.MLP(sizes, seed=0, n_threads=1, dtype=dtype)
        X = np.random.default_rng(0).random((batch, sizes[0])).astype(dtype)
        y = np.ones(batch, dtype)
        name = f"{'-'.join(map(str, sizes))} ({batch}), {dtype}"
        found["us"][name] = least(lambda: net.backprop(X, y))
        digest.update(net.grad.tobytes())
found["bits"] = digest.hexdigest()
print(json.dumps(found))
"""


def run(folder, isa):
    """One process of a build."""
    variables = {**os.environ, "PYTHONPATH": str(folder), "FASTBP_ISA": isa}
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM], env=variables, check=True,
                          cwd=folder, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def rows(folders, isa, rounds):
    """The table of a variant."""
    found = {folder: [] for folder in folders}
    for turn in range(rounds):
        for folder in folders if turn % 2 else reversed(folders):
            found[folder].append(run(folder, isa))
    first, second = found.values()
    if first[0]["bits"] != second[0]["bits"]:
        raise SystemExit(f"the gradients of {folders} differ in {isa}")
    for name in first[0]["us"]:
        pairs = [(a["us"][name], b["us"][name]) for a, b in zip(first, second, strict=True)]
        yield {"network (batch)": name, "variant": isa,
               f"{first[0]['compiler']} us": min(a for a, _ in pairs),
               f"/ {second[0]['compiler']}": statistics.median(b / a for a, b in pairs)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs=2, type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    here, table = machine(), []
    for isa in ("avx512", "avx2"):
        for row in rows([folder.resolve() for folder in given.folders], isa, given.rounds):
            table.append(row)
            print(*(value if isinstance(value, str) else f"{value:.3f}" for value in row.values()),
                  sep="  ", flush=True)
    if given.json:
        document = {"machine": here, "tables": {"gradients": table}}
        given.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
