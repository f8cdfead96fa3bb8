"""Whether a width is unlucky: the time of a gradient of W-W-W-1 over W, for every W of a range.

    python bench/widths.py [--json FILE] [--plot FILE]
    python bench/widths.py --widths 4-80 --batches 128 --activations relu --dtypes float32

Between two neighbouring multiples of the vector, at which no lane is empty, time should grow along
a straight line. Below the first multiple the line begins at half a vector, and below that, where
what a call costs is most of the time, it is level. The table gives the largest ratio of a time to
that line, where it is, and at how many widths it is above LIMIT: 1.5 is a width that takes half as
long again as its neighbours lead one to expect.

Every gradient is held to `fastbp.reference`, within what rounding explains, before anything is
timed. The widths take turns, in rounds, on one core, and the least of the samples of each counts: a
drift of the machine meets a width and its line alike. The largest ratios of short samples owe
something to chance: believe one that stays with more rounds.

`--plot` draws time over width, a line for each batch and a panel for each dtype and activation; it
needs the extra `plot`.
"""

import argparse
import json
import timeit
from pathlib import Path

import fastbp
from fastbp._arguments import ACTIVATIONS
from fastbp._command.bench.gradients import by_fastbp, by_numpy
from fastbp._command.bench.timing import one_core
from fastbp._command.bench.verify import verify
from fastbp._command.figures import import_figure
from fastbp._command.machine import machine
from fastbp._command.problems import problem

LIMIT = 1.12
SAMPLE_SECONDS = 0.0005         # a sample lasts that long at least
VECTOR_BYTES = {"avx512": 64, "avx2": 32}       # 16 in the other variants


def lanes(dtype):
    """Numbers in a vector of the active variant."""
    return VECTOR_BYTES.get(fastbp.get_isa(), 16) // (4 if dtype == "float32" else 8)


def neighbours(width, vector):
    """The widths without empty lanes, or half a vector, between which the line is drawn."""
    low, half = width // vector * vector, vector // 2
    if width < half:
        return half, half
    return low or half, low + vector * (width > low)


def call(width, batch, dtype, activation):
    """One gradient, verified."""
    net, X, y = problem((width, width, width, 1), batch, dtype, activation=activation)
    sides = {"fastbp": by_fastbp(net, X, y), "reference": by_numpy(net, X, y)}
    verify(net, X, y, sides)
    return sides["fastbp"].call


def least_times(calls, rounds):
    """Seconds per call, the least sample of each of `calls` in turns."""
    timers = [timeit.Timer(each) for each in calls]
    counts = [max(1, int(SAMPLE_SECONDS / min(timer.repeat(3, 1)))) for timer in timers]
    times = [float("inf")] * len(timers)
    for _ in range(rounds):
        for i, (timer, count) in enumerate(zip(timers, counts, strict=True)):
            times[i] = min(times[i], timer.timeit(count) / count)
    return times


def curve(widths, batch, dtype, activation, rounds):
    """Microseconds at each width, and their ratios to the line."""
    vector = lanes(dtype)
    needed = sorted({w for width in widths for w in (width, *neighbours(width, vector))})
    times = least_times([call(width, batch, dtype, activation) for width in needed], rounds)
    us = dict(zip(needed, (1e6 * t for t in times), strict=True))
    ratios = {}
    for width in widths:
        low, high = neighbours(width, vector)
        share = (width - low) / (high - low) if high > low else 0
        ratios[width] = us[width] / (us[low] + share * (us[high] - us[low]))
    return {"dtype": dtype, "activation": activation, "batch": batch,
            "us": {width: us[width] for width in widths}, "ratios": ratios}


def row(found):
    """One line of the table: the three largest ratios, and how many are above LIMIT."""
    ratios = found["ratios"]
    worst = sorted(ratios, key=ratios.get, reverse=True)[:3]
    above = sum(ratio > LIMIT for ratio in ratios.values())
    return (f"{found['dtype']:>8} {found['activation']:>9} {found['batch']:5}   "
            + " ".join(f"{ratios[width]:6.3f} at {width:3}" for width in worst)
            + f" {above:6} of {len(ratios)}")


def draw(document, path):
    """Time over width, with the line, for each batch."""
    figure = import_figure()(figsize=(12, 8), layout="constrained")
    panels = list(dict.fromkeys((c["dtype"], c["activation"]) for c in document["curves"]))
    dtypes = len({dtype for dtype, _ in panels})
    grid = figure.subplots(dtypes, len(panels) // dtypes, sharex=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=True):
        for found in document["curves"]:
            if (found["dtype"], found["activation"]) == panel:
                widths, us = list(found["us"]), list(found["us"].values())
                line = [t / r for t, r in zip(us, found["ratios"].values(), strict=True)]
                drawn, = axes.semilogy(widths, us, ".-", markersize=3, linewidth=0.7,
                                       label=f"batch {found['batch']}")
                axes.semilogy(widths, line, "--", color=drawn.get_color(), linewidth=0.7)
        axes.set(title=", ".join(panel), xlabel="W", ylabel="µs per gradient of W-W-W-1")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path)


def numbers(text):
    """4-300 -> every number from 4 to 300; 16,50 -> these two."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if last else [int(n) for n in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=numbers, default=numbers("4-300"), metavar="FROM-TO")
    parser.add_argument("--batches", type=numbers, default=[16, 50, 128, 200], metavar="N,...")
    parser.add_argument("--activations", nargs="+", choices=ACTIVATIONS,
                        default=["sigmoid", "relu"])
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"),
                        default=["float32", "float64"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.plot:
        import_figure()         # rather than after minutes
    document = {"machine": machine(), "limit": LIMIT, "curves": []}
    print("   dtype activation batch   largest ratios to the line         above", LIMIT)
    with one_core():
        for dtype in options.dtypes:
            for activation in options.activations:
                for batch in options.batches:
                    document["curves"].append(
                        curve(options.widths, batch, dtype, activation, options.rounds))
                    print(row(document["curves"][-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.plot:
        draw(document, options.plot)


if __name__ == "__main__":
    main()
