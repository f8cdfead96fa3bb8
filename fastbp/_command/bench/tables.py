"""What `fastbp bench` prints: rows of at most 100 columns, as they come.

On a terminal that is wide enough rich draws the table, if it is installed; otherwise it is text.
"""

import shutil
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from textwrap import fill

from fastbp._arguments import DEFAULTS
from fastbp._command.bench.timing import LARGEST_SPREAD, spread
from fastbp._command.bench.widths import LIMIT, n_above, worst

WIDTH = 100
SLOWER = "!"            # after a ratio below 1
DISTURBED = "?"         # after a ratio to a time that other work disturbed
REFERENCE = "the loop of fastbp.reference, as accurate as fastbp"   # in older files
PEAK_TOLERANCE = 0.1    # of the ratio 2 : 1 of the FMA peaks, and of each to the best of its dtype

HEADINGS = {"torch.compile": "compile", "scikit-learn": "sklearn", "input_grad": "dL/dX",
            "hvp": "H v", "hvp_at_a_point": "H kept", "gnvp": "J'HJ v", "gnvp_at_a_point": "J kept",
            "per_sample_grad_norms": "norms", "gradient_with_norms": "+norms",
            "clipped_backprop": "clipped", "per_sample_grads": "each"}
MARKS = f"{SLOWER} where that is below 1, {DISTURBED} where other work disturbed it"
SPREAD = "below each time half the distance of its quartiles"
TITLES = {
    "gradient": "µs per gradient: fastbp's median; the least time possible here (`bound`), and its "
                "share of the median below it; the time of each peer over fastbp's "
                f"({MARKS}) and the least of these; GFLOP/s of the products and their share of the "
                f"FMA peak; {SPREAD}",
    "epoch": "µs per training step with Adam: fastbp's median; the time of each peer over "
             f"fastbp's ({MARKS}) and the least of these; {SPREAD}",
    "fit": "fits of 20 epochs by fastbp.sklearn, µs per training step; the time of scikit-learn's "
           f"over it ({MARKS}); {SPREAD}",
    "width": "µs per gradient of W-W-W-1, at the W with the largest ratio to the straight line "
             "between the neighbouring multiples of the vector; the number of W where it is above "
             f"{LIMIT}",
    "beyond": "µs per gradient; what else a network computes, as multiples of it "
              f"({DISTURBED} where other work disturbed it); half the distance of the quartiles; "
              "`kept` are the products at a linearized point, `+norms` is the gradient with them",
    "population": "an epoch of many networks in one call of Population.train_epoch, with Adam: µs "
                  "per network and training step; the time of a loop over MLP (`one by one`) and "
                  f"of JAX's vmap, divided by it ({MARKS}); `order`: each network takes the rows "
                  f"in an order of its own, or all in one; {SPREAD}",
    "outputs": "outputs of many networks for one row in one call of Population.forward: µs per "
               "network; the time of a loop over MLP and of PyTorch's vmap, divided by it "
               f"({MARKS}); {SPREAD}",
    "growth": "an epoch again, by the number of networks (`nets`), which are all of one shape: µs "
              "per network and training step; the time of a loop over MLP and of JAX's vmap, "
              f"divided by it ({MARKS}); {SPREAD}",
    "population_threads": "an epoch of many networks on one thread: µs per network and training "
                          "step; how many times faster it is on each number of threads "
                          f"({MARKS}); {SPREAD}",
    "threads": "µs per gradient on one thread; `bound` is that of all threads, below it its share "
               f"of their time; speed-up over one thread for each number of threads ({MARKS}); "
               f"{SPREAD}",
}


def machine_lines(machine):
    """The machine and the versions, in lines of text."""
    cpus = machine["affinity"]
    where = "CPUs unknown" if cpus is None else f"CPU {', '.join(map(str, cpus))}"
    kernel = machine.get("blas_kernel")
    versions = {"NumPy": machine["numpy"],
                machine["blas"]: f"with kernels for {kernel}" if kernel else "",
                "Python": machine["python"]}
    versions |= {name: version for name, version in machine["versions"].items()
                 if version and name != "numpy"}
    load = "unknown"                # on Windows
    if machine["load"] is not None:
        load = f"{machine['load']:.1f} before"
        load += " (other programs ran)" * (machine["load"] > machine["cpus"])
    yield f"{machine['cpu']}, {where} of {machine['cpus']}, load {load}"
    commit = machine.get("commit")
    yield (f"fastbp {machine['version']} {machine['isa']}{f' of commit {commit}' * bool(commit)}, "
           f"{machine['compiler']}")
    yield "; ".join(f"{name} {version}".strip() for name, version in versions.items())
    kind = {name: machine.get(name, default) for name, default in DEFAULTS.items()}
    if kind != DEFAULTS:
        yield "{activation} units, loss {loss}".format(**kind)
    if "left_out" in machine:       # peers are compared
        yield f"NumPy is {machine.get('numpy_is', REFERENCE)}"
    if "memory_gbytes_per_s" in machine:
        yield f"memory: {machine['memory_gbytes_per_s']:.1f} GB/s read and written by a large copy"
    for dtype, found in machine.get("element_ns", {}).items():
        yield f"{dtype}, ns per element in L1: " + ", ".join(
            f"{name} {three_digits(ns)}" for name, ns in found.items())
    for name, value in machine.get("unset", {}).items():
        yield f"measured without {name}={value}, which slows a peer down"
    for name, reason in machine.get("left_out", {}).items():
        yield f"{name} is left out: {reason}"


def startup_lines(result):
    """The import and the size, in lines of text."""
    added, numpy = result["added"], result["numpy"]
    whole = result.get("added_with_gradient")       # which older records lack
    gradient = f", and with a first gradient {whole['median_ms']:.1f} ms" if whole else ""
    yield (f"import: fastbp adds {added['median_ms']:.1f} ms to NumPy's "
           f"{numpy['median_ms']:.1f} ms{gradient}, "
           f"medians of {added['rounds']} fresh interpreters")
    yield f"wheel: {megabytes(result['wheel_bytes'])} MB"


def megabytes(n_bytes):
    return f"{n_bytes / 1e6:.2f}"


def columns(result):
    """Pairs of a heading and a width for rows like that of `result`."""
    if result["kind"] == "width":
        return [("activation", 10), ("batch", 5), ("fp", 3), ("widths", 7), ("W", 4), ("µs", 7),
                ("bound", 6), ("ratio", 6), ("above", 5)]
    headings = [HEADINGS.get(name, name) for name in _compared(result)]
    least = 6 if result["kind"] == "beyond" else 7
    peers = [(heading, max(len(heading), least)) for heading in headings]
    bound = [("bound", 6)] if "bound" in result else []     # older files have none
    many = [("nets", 5)] * ("n_networks" in result) + [("order", 5)] * ("order" in result)
    last = {"gradient": [("least", 5), ("GFLOP/s", 7), ("peak", 4)],
            "epoch": [("least", 5)]}.get(result["kind"], [])
    return [("network", 16), ("batch", 5), ("fp", 3), *many, ("µs", 7), *bound, *peers, *last]


def cells(result):
    """A pair of strings for each of `columns`, the second one below the first."""
    if result["kind"] == "width":
        return _width_cells(result)
    times, ratios = result["times"], _compared(result)
    own, *_ = times
    found = [(result["network"], ""), (str(result["batch"]), ""),
             (short_dtype(result["dtype"]), ""),
             *((str(result[name]), "") for name in ("n_networks", "order") if name in result),
             (time_cell(times[own]), _spread_cell(times[own])), *_bound_cells(result),
             *((ratio_cell(ratios[name], times[name], result["kind"] != "beyond"),
                _spread_cell(times[name])) for name in ratios)]
    several = result["kind"] in ("gradient", "epoch")
    last = [three_digits(min(ratios.values()))] if several else []
    if result["kind"] == "gradient":
        last += [three_digits(result["gflops"]), percent(result["fraction_of_peak"])]
    return [*found, *((cell, "") for cell in last)]


def _bound_cells(result):
    """The bound of a row that has one, and how much of the time it is."""
    if "bound" not in result:
        return []
    return [_bound_cell(result["bound"]["us"], result["fraction_of_bound"])]


def _bound_cell(us, fraction):
    return three_digits(us) if us >= 0.01 else f"{us:.4f}", percent(fraction)


def _width_cells(result):
    """The width with the largest ratio of a curve."""
    (i,), widths = worst(result), result["widths"]
    us, bound = result["us"][i], result["bounds_us"][i]
    line = [result["activation"], str(result["batch"]), short_dtype(result["dtype"]),
            f"{widths[0]}-{widths[-1]}", str(widths[i]), three_digits(us)]
    return [*((cell, "") for cell in line), _bound_cell(bound, bound / us),
            (f"{result['ratios'][i]:.3f}", ""), (str(n_above(result)), "")]


def _spread_cell(times):
    return f"±{spread(times):.0f}%"


def _compared(result):
    return result["speedups" if "speedups" in result else "ratios"]


def disturbed(times):
    """Whether other work disturbed a time; in older results, whether it spreads."""
    return times.get("disturbed", spread(times) > LARGEST_SPREAD)


def warnings(document):
    """Warnings about the figures, in lines of text."""
    unset = (document["machine"] or {}).get("unset")
    if unset:
        yield (f"{', '.join(unset)} would slow a peer down and was left out; what else you start "
               "from here has it")
    results = [result for results in document.values() if isinstance(results, list)
               for result in results if "times" in result]
    n_disturbed = sum(disturbed(times) for result in results for times in result["times"].values())
    if n_disturbed:
        yield (f"{n_disturbed} of the medians ({DISTURBED}) were disturbed: they have more than "
               f"±{LARGEST_SPREAD}%, or other work had the core; measure again when it is idle")


def doubts(gradients):
    """Why the FMA peaks of a run, and with them its shares, are not to be trusted.

    The registers hold twice as many float32, so twice as many operations are done at a time; and
    one core has the same peak beside each network.
    """
    peaks = {}
    for result in gradients:
        peaks.setdefault(result["dtype"], []).append(result["fma_peak_gflops"])
    best = {dtype: max(found) for dtype, found in peaks.items()}
    if len(best) == 2 and abs(best["float32"] / best["float64"] / 2 - 1) > PEAK_TOLERANCE:
        yield (f"the FMA peaks of float32 and float64 are {three_digits(best['float32'])} and "
               f"{three_digits(best['float64'])} GFLOP/s, not near 2 : 1")
    for dtype, found in peaks.items():
        n_low = sum(peak < (1 - PEAK_TOLERANCE) * best[dtype] for peak in found)
        if n_low:
            yield (f"beside {n_low} of {len(found)} networks the FMA peak of {dtype} was below "
                   f"{percent(1 - PEAK_TOLERANCE)} of {three_digits(best[dtype])} GFLOP/s, the "
                   "best one")


def ratio_cell(ratio, times=None, peer=True):
    """Three digits; marks where a peer is faster, and where the `times` are disturbed."""
    marks = SLOWER * (peer and ratio < 1) + DISTURBED * (times is not None and disturbed(times))
    return three_digits(ratio) + marks


def time_cell(times):
    """Microseconds in three digits, and the mark of a disturbed time."""
    return three_digits(times["median_us"]) + DISTURBED * disturbed(times)


def short_dtype(dtype):
    return dtype.replace("float", "f")


def percent(fraction):
    return f"{100 * fraction:.0f}%"


def three_digits(x):
    return f"{x:.0f}" if x >= 100 else f"{x:#.3g}".rstrip(".")


@contextmanager
def table(result):
    """Print the head of a table for rows like that of `result`; give what adds `cells` to it."""
    headings, widths = zip(*columns(result), strict=True)
    print("", fill(TITLES[result["kind"]], WIDTH), sep="\n")
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich") \
            and shutil.get_terminal_size().columns >= WIDTH:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table

        grid = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
        for heading in headings:
            grid.add_column(heading, justify="right", no_wrap=True)
        # The console that rich shares has the width that the terminal had when it was first used.
        with Live(grid, console=Console(), auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda row: (grid.add_row(*map("\n".join, row)), live.refresh())
        return

    def line(row):
        cells = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        print(" ".join(cells).rstrip(), flush=True)

    line(headings)
    yield lambda row: [line(part) for part in zip(*row, strict=True)]
