"""The cost of the numerics contract: fastbp beside copies of itself that leave promises out.

    python bench/contract.py [--json results/contract.json]

Each copy has one kernel variant built again from changed texts:

    plain sigma      1 / (1 + e^-|z|) without residuals: three ulp instead of one, no exact tail
    contraction      the compiler may fuse any product and sum (-ffp-contract=fast)
    blocks of 512    sums in blocks of 512 instead of 256
    all              the three at once

Each has a process of its own; they take turns on one CPU, one sample of processor time each in a
round, and the table gives the contract's median over theirs: 1.05 is 5 % that the promise costs,
1.00 nothing. Memory falls differently to each process, which is worth a few percent. Blocks differ
only where a layer has more than 256 inputs, as in all but the first two networks, in which sigma
weighs most. Where a copy gives the contract's bits all the same, its figure has a mark, as one that
other work disturbed has.

Needs what the build needs; run it in a clone built in place. `tune.py` has the machinery.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import tune

from fastbp._command.bench.tables import DISTURBED, disturbed, time_cell
from fastbp._command.bench.timing import summary
from fastbp._command.machine import machine

NETWORKS = ("10-32-32-1@64", "30-64-64-1@256", "400-8-8-1@1", "400-64-64-1@256",
            "784-256-128-1@128", "1024-1024-1024-1@512")
SAME_BITS = "="         # after the figure of a copy that gives the contract's bits
KERNELS = "fastbp/_kernels"

# (file, what it says, what it says then); a text that is not there ends the run.
PLAIN_SIGMA = [
    (f"{KERNELS}/elementwise.pxi", """\
        out[u].E = scale2(e[u].head, e[u].sum)
        out[u].E_low = scale2(e[u].low, e[u].sum)
""", """\
        out[u].E = scale2(e[u].head, e[u].sum)
        out[u].E_low = splat(0)
"""),
    (f"{KERNELS}/elementwise.pxi", """\
        d = one + out[u].E
        d_low = ((one - d) + out[u].E) + out[u].E_low         # 1 + e^a = d + d_low
        q = e[u].head * out[u].inverse
        q = fma(fma(-q, d_low, e[u].low) + residual(e[u].head, q, d), out[u].inverse, q)
        out[u].q = scale2(q, e[u].sum)
""", """\
        out[u].q = out[u].E * out[u].inverse
"""),
    (f"{KERNELS}/elementwise.pxi", """\
        out[u].head = one + s
        out[u].low = (s - (out[u].head - one)) + (t - (s - r[u]))
""", """\
        out[u].head = one + s
        out[u].low = splat(0)
"""),
]
LONG_BLOCKS = [(f"{KERNELS}/table.pxd", "    KC = 256 ", "    KC = 512 ")]
CONTRACTION = ["-ffp-contract=fast"]
WITHOUT = {"plain sigma": (PLAIN_SIGMA, []), "contraction": ([], CONTRACTION),
           "blocks of 512": (LONG_BLOCKS, []), "all": (PLAIN_SIGMA + LONG_BLOCKS, CONTRACTION)}


def editor(changes):
    def edit(folder):
        for file, old, new in changes:
            text = (folder / file).read_text()
            if old not in text:
                raise SystemExit(f"contract: {file} no longer says\n{old}")
            (folder / file).write_text(text.replace(old, new))
    return edit


def row(network, sides, seconds):
    """The contract's time, and its ratio to each of the others', with their marks."""
    own_bits, *bits = (side.ask(network) for side in sides)
    own, *others = map(summary, tune.times_of(sides, network, seconds))
    found = {"network": network.replace("@", " (") + ")", "us": time_cell(own)}
    for side, digest, taken in zip(sides[1:], bits, others, strict=True):
        ratio = own["median_us"] / taken["median_us"]
        found[side.name] = (f"{ratio:.3f}" + SAME_BITS * (digest == own_bits)
                            + DISTURBED * (disturbed(own) or disturbed(taken)))
    print(found, flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--isa", default="avx512")
    parser.add_argument("--seconds", type=float, default=2.0, help="per candidate and network")
    options = parser.parse_args()
    path = options.json and options.json.resolve()
    tables = {}
    os.chdir(tune.ROOT)
    with tempfile.TemporaryDirectory() as temporary:
        for dtype in ("float32", "float64"):
            options.dtype, folders = dtype, {"contract": tune.ROOT}
            for name, (changes, flags) in WITHOUT.items():
                folders[name] = folder = Path(temporary) / dtype / name
                tune.build(folder, options.isa, dtype, [], flags, editor(changes))
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {max(before)})
            sides = [tune.Candidate(name, folder, options) for name, folder in folders.items()]
            tables[dtype] = [row(network, sides, options.seconds) for network in NETWORKS]
            for side in sides:
                side.process.stdin.close()
                side.process.wait()
            os.sched_setaffinity(0, before)
    if path:
        path.write_text(json.dumps({"machine": machine(), "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
