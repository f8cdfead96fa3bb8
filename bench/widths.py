"""Whether a width is unlucky: the time of a gradient of W-W-W-1 over W, for every W of a range.

    python bench/widths.py [--json FILE] [--plot FILE]
    python bench/widths.py --widths 4-80 --batches 128 --activations relu --dtypes float32

`fastbp/_command/bench/widths.py` says what is measured; `fastbp bench --suite widths` prints the
largest ratio of each curve. The table here gives the three largest ratios of a time to the straight
line between the neighbouring multiples of the vector, where they are, and at how many widths the
ratio is above LIMIT.

`--plot` draws time over width, a line for each batch and a panel for each dtype and activation; it
needs the extra `plot`.
"""

import argparse
import json
from pathlib import Path

from fastbp._arguments import ACTIVATIONS
from fastbp._command.bench.timing import one_core
from fastbp._command.bench.widths import BATCHES, LIMIT, ROUNDS, measure_widths, n_above, worst
from fastbp._command.figures import import_figure


def row(found):
    """One line of the table: the three largest ratios, and how many are above LIMIT."""
    return (f"{found['dtype']:>8} {found['activation']:>9} {found['batch']:5}   "
            + " ".join(f"{found['ratios'][i]:6.3f} at {found['widths'][i]:3}"
                       for i in worst(found, 3))
            + f" {n_above(found):6} of {len(found['ratios'])}")


def draw(document, path):
    """Time over width, with the line, for each batch."""
    figure = import_figure()(figsize=(12, 8), layout="constrained")
    panels = list(dict.fromkeys((c["dtype"], c["activation"]) for c in document["curves"]))
    dtypes = len({dtype for dtype, _ in panels})
    grid = figure.subplots(dtypes, len(panels) // dtypes, sharex=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=True):
        for found in document["curves"]:
            if (found["dtype"], found["activation"]) == panel:
                line = [t / r for t, r in zip(found["us"], found["ratios"], strict=True)]
                drawn, = axes.semilogy(found["widths"], found["us"], ".-", markersize=3,
                                       linewidth=0.7, label=f"batch {found['batch']}")
                axes.semilogy(found["widths"], line, "--", color=drawn.get_color(), linewidth=0.7)
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
    parser.add_argument("--batches", type=numbers, default=BATCHES, metavar="N,...")
    parser.add_argument("--activations", nargs="+", choices=tuple(ACTIVATIONS),
                        default=["sigmoid", "relu"])
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"),
                        default=["float32", "float64"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.plot:
        import_figure()         # rather than after minutes
    print("   dtype activation batch   largest ratios to the line         above", LIMIT)
    with one_core():
        machine, *curves = _printed(measure_widths(
            options.dtypes, options.widths, options.batches, options.activations, options.rounds))
    document = {"machine": machine, "limit": LIMIT, "curves": curves}
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.plot:
        draw(document, options.plot)


def _printed(results):
    for result in results:
        if result["kind"] == "width":
            print(row(result), flush=True)
        yield result


if __name__ == "__main__":
    main()
