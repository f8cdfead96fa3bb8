"""`fastbp bench`: options in, tables and JSON out; what is timed is in `_sides`, how in `_measure`.

The measurements come from a process of their own, in whose environment every BLAS finds that it may
use one thread (`_measure` says why), one dict after the other; rows are printed as they come.
"""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import chain, groupby

import fastbp
from fastbp import io
from fastbp._kernels.dispatch import DTYPES
from fastbp._measure import Deviation
from fastbp._sides import EPOCHS, NETWORKS

QUICK = tuple(NETWORKS[i] for i in (0, 1, 3, 4))
SECONDS, QUICK_SECONDS = 1.0, 0.1   # of timing for each network and dtype
DEFAULT_BATCH = 32                  # of a network that is not in the list
DISTURBED = 10                      # percent of spread that a reader is told about

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
     "VECLIB_MAXIMUM_THREADS", "FASTBP_NUM_THREADS"), "1")

TITLES = {
    "gradient": "µs per gradient: medians, half the distance of the quartiles, NumPy / fastbp;\n"
                "GFLOP/s of the products, and their share of the FMA peak of the same rounds",
    "epoch": "µs per training step with Adam: medians, half the distance of the quartiles",
}


def run(args, measure=None):
    """Carry out `fastbp bench`.

    Parameters
    ----------
    args : argparse.Namespace
        networks, dtype (None for both), quick, json.
    measure : callable, optional
        Takes the options of `_measure.measure` as keywords and gives its results; by default in a
        process of its own.

    Returns
    -------
    int
        0, or 1 if fastbp and a peer computed different gradients.
    """
    options = {
        "networks": parse_networks(args.networks) or (QUICK if args.quick else NETWORKS),
        "dtypes": [args.dtype] if args.dtype else DTYPES,
        "epochs": () if args.quick or args.networks else EPOCHS,
        "seconds": QUICK_SECONDS if args.quick else SECONDS,
    }
    if args.json:
        io.check_writable(args.json)
    found = {"gradient": [], "epoch": []}
    try:
        for kind, results in groupby((measure or spawn)(**options), lambda result: result["kind"]):
            if kind == "machine":
                found[kind] = next(results)
                _print_machine(found[kind])
                continue
            first = next(results)
            with _table(TITLES[kind], _columns(first)) as add:
                for result in chain([first], results):
                    found[kind].append(result)
                    add(_cells(result))
    except Deviation as error:
        print(f"fastbp: {error}; it is not timed", file=sys.stderr)
        return 1
    disturbed = sum(_spread(times) > DISTURBED for results in (found["gradient"], found["epoch"])
                    for result in results for times in result["times"].values())
    if disturbed:
        print(f"fastbp: {disturbed} of the medians have more than ±{DISTURBED}%: other work ran on "
              "the core; measure again when it is idle", file=sys.stderr)
    if args.json:
        document = {"machine": found["machine"], "gradients": found["gradient"],
                    "epochs": found["epoch"]}
        io.write_file(args.json, json.dumps(document, indent=1).encode())
    return 0


def parse_networks(text):
    """"2-8-8-1@32,30-64-64-1" as (sizes, batch) pairs; without @, the batches of `NETWORKS`."""
    pairs = []
    for item in text.split(",") if text else ():
        sizes, at, batch = item.strip().partition("@")
        try:
            sizes = tuple(int(size) for size in sizes.split("-"))
            batches = [int(batch)] if at else [n for known, n in NETWORKS if known == sizes]
        except ValueError:
            sizes, batches = (), []
        batches = batches or [DEFAULT_BATCH]
        if len(sizes) < 2 or min(*sizes, *batches) < 1:
            raise ValueError(f"--networks has {item.strip()!r}; it should list networks such as "
                             "30-64-64-1, or 30-64-64-1@32 with the batch size")
        pairs += [(sizes, batch) for batch in batches]
    return pairs


def spawn(**options):
    """Yield what `_measure.measure(**options)` yields in a process whose BLAS has one thread.

    Raises
    ------
    Deviation
        A side computed something else.
    ChildProcessError
        The process failed; it has said why on stderr.
    """
    package = os.path.dirname(fastbp.__path__[0])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    env = {**os.environ, **ONE_THREAD, "PYTHONPATH": path, "FASTBP_ISA": fastbp.get_isa()}
    command = [sys.executable, "-P", "-m", "fastbp._measure", json.dumps(options)]
    with subprocess.Popen(command, env=env, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as process:
        try:
            for line in process.stdout:
                result = json.loads(line)
                if result["kind"] == "deviation":
                    raise Deviation(result["message"])
                yield result
            if process.wait() != 0:
                raise ChildProcessError(f"the measuring process ended with {process.returncode}")
        finally:
            process.kill()  # nothing, if it has ended


# ---- what is printed


def _print_machine(machine):
    pinned, load = machine["pinned_to"], machine["load"]
    where = "not pinned" if pinned is None else f"pinned to CPU {pinned} of {machine['cpus']}"
    print(f"{machine['cpu']}, {where}, load {load:.1f} of other work\n"
          f"fastbp {machine['version']} {machine['isa']}, {machine['compiler']}; "
          f"NumPy {machine['numpy']}, {machine['blas']}; Python {machine['python']}", flush=True)


def _columns(result):
    """Pairs of a heading and a width for rows like that of `result`."""
    own, *peers = result["times"]
    times = [column for name in (*peers, own) for column in ((name, 8), ("±%", 3))]
    products = [("GFLOP/s", 7), ("peak", 5)] if "gflops" in result else []
    return [("network", 16), ("batch", 5), ("dtype", 7), *times, ("ratio", 6), *products]


def _cells(result):
    """Medians, half the distance of the quartiles in percent, the fastest peer over fastbp."""
    own, *peers = result["times"]
    cells = [result["network"], str(result["batch"]), result["dtype"]]
    for name in (*peers, own):
        times = result["times"][name]
        cells += [_three_digits(times["median_us"]), f"{_spread(times):.0f}"]
    cells.append(_three_digits(min(result["ratios"].values())))
    if "gflops" in result:
        cells += [_three_digits(result["gflops"]), f"{100 * result['fraction_of_peak']:.1f}%"]
    return cells


def _spread(times):
    """Half the distance between the quartiles, in percent of the median."""
    low, high = times["quartiles_us"]
    return 50 * (high - low) / times["median_us"]


def _three_digits(x):
    return f"{x:.0f}" if x >= 100 else f"{x:#.3g}".rstrip(".")


@contextmanager
def _table(title, columns):
    """Give a function that adds a row: by rich on a terminal, if it is installed; as plain text."""
    headings, widths = zip(*columns, strict=True)
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich"):
        from rich.box import SIMPLE_HEAD
        from rich.live import Live
        from rich.table import Table

        grid = Table(title=title, box=SIMPLE_HEAD, padding=0)
        for heading in headings:
            grid.add_column(heading, justify="right", no_wrap=True)
        with Live(grid, auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda cells: (grid.add_row(*cells), live.refresh())
        return

    def add(cells):
        print(*(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), flush=True)

    print(f"\n{title}")
    add(headings)
    yield add
