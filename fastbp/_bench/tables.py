"""What `fastbp bench` prints: rows of at most 100 columns, as they come.

On a terminal that is wide enough rich draws the table, if it is installed; otherwise it is text.
"""

import shutil
import sys
from contextlib import contextmanager
from importlib.util import find_spec

WIDTH = 100
DISTURBED = 10          # percent of spread that a reader is told about
SLOWER = "!"            # after a ratio below 1

HEADINGS = {"torch.compile": "compile", "scikit-learn": "sklearn"}
TITLES = {
    "gradient": "µs per gradient: fastbp's median, half the distance of its quartiles; the time of "
                f"each peer\nover fastbp's ({SLOWER} where the peer is faster) and the least of "
                "these; GFLOP/s of the products, their\nshare of the FMA peak, and the least time "
                "of the roofline over fastbp's, in percent",
    "epoch": "µs per training step with Adam: the same columns",
    "threads": "µs per gradient on one thread; speed-up over it for each number of threads "
               f"({SLOWER} below 1)",
}


def machine_lines(machine):
    """What was measured on what, in lines of text."""
    cpus = machine["affinity"]
    where = "CPUs unknown" if cpus is None else f"CPU {', '.join(map(str, cpus))}"
    versions = {"NumPy": machine["numpy"], machine["blas"]: "", "Python": machine["python"]}
    versions |= {name: version for name, version in machine["versions"].items()
                 if version and name != "numpy"}
    yield f"{machine['cpu']}, {where} of {machine['cpus']}, load {machine['load']:.1f} before"
    yield f"fastbp {machine['version']} {machine['isa']}, {machine['compiler']}"
    yield "; ".join(f"{name} {version}".strip() for name, version in versions.items())
    kind = machine.get("activation", "sigmoid"), machine.get("loss", "bce")
    if kind != ("sigmoid", "bce"):
        yield "{} units, loss {}".format(*kind)
    if "memory_gbytes_per_s" in machine:
        yield f"memory: {machine['memory_gbytes_per_s']:.1f} GB/s read and written by a large copy"
    for name, reason in machine.get("left_out", {}).items():
        yield f"{name} is left out: {reason}"


def startup_lines(result):
    """The import and the size, in lines of text."""
    added, numpy = result["added"], result["numpy"]
    yield (f"import: fastbp adds {added['median_ms']:.1f} ms to NumPy's "
           f"{numpy['median_ms']:.1f} ms, medians of {added['rounds']} fresh interpreters")
    yield f"wheel: {megabytes(result['wheel_bytes'])} MB"


def megabytes(n_bytes):
    return f"{n_bytes / 1e6:.2f}"


def columns(result):
    """Pairs of a heading and a width for rows like that of `result`."""
    peers = [(HEADINGS.get(name, name), max(6, len(HEADINGS.get(name, name))))
             for name in _compared(result)]
    last = {"gradient": [("least", 6), ("GFLOP/s", 7), ("peak", 4), ("roof", 4)],
            "epoch": [("least", 6)], "threads": []}[result["kind"]]
    return [("network", 16), ("batch", 5), ("fp", 3), ("µs", 6), ("±%", 3), *peers, *last]


def cells(result):
    """One string for each of `columns`."""
    own, *_ = result["times"].values()
    ratios = _compared(result)
    found = [result["network"], str(result["batch"]), short_dtype(result["dtype"]),
             three_digits(own["median_us"]), f"{spread(own):.0f}",
             *(ratio_cell(ratio) for ratio in ratios.values())]
    if result["kind"] != "threads":
        found.append(three_digits(min(ratios.values())))
    if result["kind"] == "gradient":
        found += [three_digits(result["gflops"]), percent(result["fraction_of_peak"]),
                  percent(result["fraction_of_roofline"])]
    return found


def _compared(result):
    return result["speedups" if result["kind"] == "threads" else "ratios"]


def spread(times):
    """Half the distance between the quartiles, in percent of the median."""
    low, high = times["quartiles_us"]
    return 50 * (high - low) / times["median_us"]


def disturbed(results):
    """How many medians of these results have a spread that a reader should know of."""
    return sum(spread(times) > DISTURBED for result in results
               for times in result["times"].values())


def ratio_cell(ratio):
    """Three digits, and a mark where the other side is faster than what it is compared with."""
    return three_digits(ratio) + SLOWER * (ratio < 1)


def short_dtype(dtype):
    return dtype.replace("float", "f")


def percent(fraction):
    return f"{100 * fraction:.0f}%"


def three_digits(x):
    return f"{x:.0f}" if x >= 100 else f"{x:#.3g}".rstrip(".")


@contextmanager
def table(result):
    """Print the head of a table for rows like that of `result`; give a function that adds one."""
    headings, widths = zip(*columns(result), strict=True)
    print(f"\n{TITLES[result['kind']]}")
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich") \
            and shutil.get_terminal_size().columns >= WIDTH:
        from rich.box import SIMPLE_HEAD
        from rich.live import Live
        from rich.table import Table

        grid = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
        for heading in headings:
            grid.add_column(heading, justify="right", no_wrap=True)
        with Live(grid, auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda row: (grid.add_row(*row), live.refresh())
        return

    def add(row):
        print(*(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)), flush=True)

    add(headings)
    yield add
