"""Count the ulps of every function on every variant, and write them into docs/accuracy.md.

    python tools/accuracy.py            # every float32, 10^8 float64 and more: minutes
    python tools/accuracy.py --quick    # a few of them, in seconds; prints, and writes nothing
    python tools/accuracy.py --sweep float64    # one sweep; the results of the others are kept
    python tools/accuracy.py --tables   # only the tables, from results that are there

The sweeps are those of tests/support/sweeps.py, which `pytest -m exhaustive` runs too. Results go
to results/accuracy.json, from which tools/figures.py writes the tables.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tools")]

import figures  # noqa: E402
import numpy as np  # noqa: E402
import sweeps  # noqa: E402
from families import FAMILIES, OF_ONE_NUMBER, PROMISES  # noqa: E402
from ulps import GENERIC, PROMISED  # noqa: E402

from fastbp._command.machine import machine  # noqa: E402

FILE = ROOT / "results" / "accuracy.json"
SEED = 2


def plan(quick):
    """{what is gone through: tasks}."""
    points = {name: 1 << 13 if quick else n for name, n in sweeps.POINTS.items()}
    others = [name for name in FAMILIES if name not in OF_ONE_NUMBER]

    def many(names, dtype):
        return [task for name in names
                for task in sweeps.many_points(name, dtype, points[name], SEED)]

    return {
        "every float32": sweeps.every_float32(99_991 if quick else 1),
        "float64": many(OF_ONE_NUMBER, "float64"),
        "weights and softmax, float32": many(others, "float32"),
        "weights and softmax, float64": many(others, "float64"),
    }


def cpu_minutes():
    """The time of this process and of those that it has waited for."""
    return sum(os.times()[:4]) / 60


def measure(quick=False, processes=1, sweep=None):
    """The machine, how long each sweep took, and the largest errors."""
    facts, results, runs = machine(), [], []
    for what, tasks in plan(quick).items():
        if sweep not in (None, what):
            continue
        start, cpu = time.perf_counter(), cpu_minutes()
        largest = sweeps.run(tasks, processes)
        runs.append({"sweep": what, "CPU": facts["cpu"], "processes": processes,
                     "minutes": (time.perf_counter() - start) / 60,
                     "CPU minutes": cpu_minutes() - cpu})
        results += [{"function": function, "dtype": dtype, "isa": isa, "ulp": worst.error,
                     "at": worst.at, "points": worst.n_seen,
                     "all": what == "every float32" and not quick}
                    for (function, dtype, isa), worst in largest.items()]
        print(runs[-1], flush=True)
    return {"machine": facts, "runs": runs, "results": results}


def try_again(old, new):
    """Count at the inputs of an earlier run, too; whatever is larger there is the largest found."""
    found = {(r["function"], r["dtype"], r["isa"]): r for r in new}
    for before in old:
        now = found.get((before["function"], before["dtype"], before["isa"]))
        if now is not None and not now["all"]:
            family, inputs = witness(before)
            error = float(sweeps.error_of(family, now["function"], now["isa"], *inputs)[0])
            if error > now["ulp"]:
                now |= {"ulp": error, "at": before["at"]}


def witness(result):
    """The family of a result's function, and the inputs that it names, of one sample."""
    rows = [[float.fromhex(x) for x in entry.split()] for entry in result["at"]]
    if result["function"].startswith("softmax"):
        z, (y,) = rows
        return f"softmax of {len(z)}", (np.array([z], result["dtype"]), np.array([int(y)]))
    family, = (name for name, family in FAMILIES.items() if result["function"] in family.functions)
    return family, [np.array(row, result["dtype"]) for row in rows]


def merged(old, new):
    """The results of a sweep among those of others."""
    seen = {(r["function"], r["dtype"]) for r in new["results"]}
    kept = [r for r in old["results"] if (r["function"], r["dtype"]) not in seen]
    runs = {run["sweep"]: run for run in old["runs"] + new["runs"]}
    return {"machine": new["machine"], "runs": list(runs.values()),
            "results": sorted(kept + new["results"], key=lambda r: r["dtype"])}


# ---- tables


def tables(document):
    """The tables of the runs and dtypes; variants with the same error and input share a row."""
    found = {}
    for r in document["results"]:
        key = r["dtype"], r["function"], r["ulp"], tuple(r["at"])
        found.setdefault(key, []).append(r)
    version = document["machine"]["contract_version"]
    return {"runs": [{**run, "contract": version} for run in document["runs"]],
            **{dtype: [row(same) for (of, *_), same in found.items() if of == dtype]
               for dtype in ("float32", "float64")}}


def row(same):
    """Results of variants that agree. The error is rounded up."""
    r = same[0]
    promises = {(GENERIC if s["isa"] == "generic" else PROMISED)[PROMISES[r["function"]]]
                for s in same}
    return {"function": r["function"], "variant": ", ".join(s["isa"] for s in same),
            "largest error, ulp": f"{math.ceil(r['ulp'] * 1e4) / 1e4:.4f}",
            "promised": f"{min(promises):g}", "at": place(r["at"]),
            "found": "every float32" if r["all"] else f"largest of {r['points']:,}"}


def place(at):
    """The inputs: z, then the label or class and the weight."""
    z, *rest = at
    if len(z.split()) > 2:
        z = f"{len(z.split())} classes"
    labels = [f"{name} = {float.fromhex(x):g}" if name == "y" else f"{name} = {x}"
              for name, x in zip(("y", "p"), rest, strict=False)]
    return ", ".join([z, *labels])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--sweep", choices=plan(quick=True))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    old = json.loads(FILE.read_text()) if FILE.exists() else None
    document = old
    if not options.tables:
        document = measure(options.quick, options.processes, options.sweep)
        if old:
            try_again(old["results"], document["results"])
        if options.sweep:
            document = merged(old, document)
    document["tables"] = tables(document)
    if options.quick:
        for dtype in ("float32", "float64"):
            print(dtype, figures.table(document["tables"][dtype]), sep="\n\n", end="\n\n")
    else:
        FILE.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        figures.main([])


if __name__ == "__main__":
    main()
