"""Write the figures of docs/performance.md, docs/index.md and README.md, and the plots.

    python tools/performance.py             # writes the sections and docs/performance-*.png
    python tools/performance.py --check     # 1 if one of them is not what the file says

A section lies between two HTML comments, of which the first names the file of results.
"""

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path

from fastbp._command.bench import plots
from fastbp._command.bench.tables import (
    DISTURBED,
    SLOWER,
    machine_lines,
    megabytes,
    percent,
    ratio_cell,
    short_dtype,
    startup_lines,
    three_digits,
    time_cell,
)

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
STEM = ROOT / "docs" / "performance"
SECTION = re.compile(r"(?<=<!-- performance: )(\S+)( -->\n)(.*?)(?=<!-- end of performance -->)",
                     re.DOTALL)
STARTS = {ROOT / "README.md": "docs/", ROOT / "docs" / "index.md": ""}  # and where docs/ is from it
IMPORT_MS, WHEEL_MB = 30, 2     # what the project holds itself to


def images():
    """The paths of the plots: on a light ground, then on a dark one."""
    return [Path(name) for stem in (STEM, plots.dark(STEM))
            for name in plots.names(stem, ["gradients"])]


def picture(which, words, folder=""):
    """The plot of a name, as a page shows it from which docs/ is `folder`."""
    names = (folder + path.name for path in images() if path.stem.endswith(f"-{which}"))
    return plots.markup(*names, words)


def section(document):
    """The text between the comments."""
    gradients, epochs, threads = (document[name] for name in ("gradients", "epochs", "threads"))
    dtypes = dict.fromkeys(result["dtype"] for result in gradients)
    parts = [
        "\n".join(f"- {line}" for line in (*machine_lines(document["machine"]),
                                           f"measured {document['machine']['time'][:10]}")),
        "The figure of a peer is its time over fastbp's, of medians of rounds in which all sides "
        f"take\nturns on one core; {SLOWER} marks a figure below 1, where the other side is "
        f"faster, and {DISTURBED} one to a\ntime that other work disturbed.\n"
        "[bench/README.md](../bench/README.md) defines every column and says how to measure it "
        "again. On the site [a page to filter and plot them](measurements.html) has all of them.",
        picture("speedup", "Time of a gradient in other libraries over that in fastbp, at every "
                "network"),
        picture("roofline", "Operations per second of a gradient at every network, and the limits "
                "of the machine"),
        *(f"## One gradient, {dtype}\n\n" + gradient_table(
            [result for result in gradients if result["dtype"] == dtype]) for dtype in dtypes),
        "## One training step with Adam\n\n" + epoch_table(epochs),
        winners([*gradients, *epochs]),
        "## Threads\n\nSpeed-up over one thread; `auto` is `n_threads=None`. All give the same "
        "bits.\n\n" + threads_table(threads),
        "## Start and size\n\n" + startup_text(document["startup"]),
    ]
    return "\n" + "\n\n".join(parts) + "\n\n"


def markdown(rows):
    """A table of dicts with the same keys."""
    lines = [list(rows[0]), ["---", *["--:"] * (len(rows[0]) - 1)]]
    lines += [row.values() for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def network(result):
    return f"{result['network']} ({result['batch']})"


def ratios(result):
    """The columns of the peers and the least of them."""
    cells = {name: ratio_cell(ratio, result["times"][name])
             for name, ratio in result["ratios"].items()}
    return {**cells, "least": three_digits(min(result["ratios"].values()))}


def own(result):
    return time_cell(next(iter(result["times"].values())))


def bound(result, otherwise=None):
    """The columns of the bound; of a file that has none that of the roofline, if it is named."""
    if "bound" in result:
        return {"bound µs": three_digits(result["bound"]["us"]),
                "of bound": percent(result["fraction_of_bound"])}
    return {otherwise: percent(result["fraction_of_roofline"])} if otherwise else {}


def gradient_table(results):
    return markdown([{"network (batch)": network(r), "fastbp µs": own(r), **ratios(r),
                      "GFLOP/s": three_digits(r["gflops"]),
                      "of FMA peak": percent(r["fraction_of_peak"]),
                      **bound(r, "of roofline")} for r in results])


def epoch_table(results):
    return markdown([{"network (batch)": network(r), "dtype": r["dtype"], "fastbp µs": own(r),
                      **ratios(r), **bound(r)} for r in results])


def threads_table(results):
    return markdown([{"network (batch)": network(r), "dtype": r["dtype"],
                      "one thread µs": own(r),
                      **{name: ratio_cell(x, r["times"][name])
                         for name, x in r["speedups"].items()}}
                     for r in results])


def winners(results):
    """Where a peer is faster, in words."""
    found = [f"{name} on {network(r)}, {r['kind']}, {short_dtype(r['dtype'])} "
             f"({three_digits(ratio)})"
             for r in results for name, ratio in r["ratios"].items() if ratio < 1]
    if not found:
        return "No peer is faster in any row of these tables."
    return "A peer is faster here:\n" + ";\n".join(found) + "."


def startup_text(result):
    late = result["added"]["median_ms"] > IMPORT_MS
    large = float(megabytes(result["wheel_bytes"])) > WHEEL_MB
    return "\n".join(f"- {line}" for line in (
        *startup_lines(result),
        f"limits of the project: {IMPORT_MS} ms and {WHEEL_MB} MB"
        f"{'; the first is exceeded' * late}{'; the second is exceeded' * large}"))


# ---- what README.md and the start page say of it

def summary(document, folder):
    """The picture, and a figure for each reader; those of faces are of their own results."""
    (result,) = (r for r in document["gradients"]
                 if (network(r), r["dtype"]) == (plots.FOUR[2], "float32"))
    peers = ", ".join(f"{name} {three_digits(result['ratios'][name])}"
                      for name in ("NumPy", "PyTorch", "JAX", "scikit-learn"))
    added, wheel, *_ = startup_lines(document["startup"])
    lines = (
        f"one gradient of a {network(result)} network takes {own(result)} µs on one core; times as "
        f"long: {peers};",
        f"a fit by scikit-learn's own `MLPClassifier` and `MLPRegressor` takes "
        f"{spread('sklearn', 'fit', '/ scikit-learn')} times as long as by `fastbp.sklearn`'s;",
        f"PyTorch's own gradient {spread('torch-training', 'gradient', '/ loss_and_grad_')} times "
        "as long as `fastbp.torch.loss_and_grad_`;",
        f"SciPy's L-BFGS on a loss in NumPy {spread('scipy', 'solve', '/ NumPy')} times as long as "
        "on `MLP.objective`;",
        f"{added};", f"{wheel}.")
    return "\n".join((
        "", picture("four", "Time of a gradient in other libraries over that in fastbp, at four "
                    "networks", folder), "", *(f"- {line}" for line in lines), "", ""))


def spread(results, table, heading):
    """The least and the largest figure of a column, in words."""
    rows = json.loads((ROOT / "results" / f"{results}.json").read_text())["tables"][table]
    figures = [row[heading] for row in rows]
    return f"{three_digits(min(figures))} to {three_digits(max(figures))}"


# ---- the pages

def rewritten(text, make=section):
    """A page's text with its section as its file of results says, and that document."""
    found = SECTION.search(text)
    document = json.loads((ROOT / found[1]).read_text())
    return text[:found.start(3)] + make(document) + text[found.end(3):], document


def stale(text, images):
    """What of the page's text and the plots' bytes is not what the file of results says."""
    wanted, document = rewritten(text)
    drawn = all(plots.digest(document).encode() in image for image in images)
    return ["docs/performance.md"] * (text != wanted) + ["docs/performance-*.png"] * (not drawn)


def starts():
    """(page, its text as the file of results says) of README.md and the start page."""
    for page, folder in STARTS.items():
        yield page, rewritten(page.read_text(), partial(summary, folder=folder))[0]


def stale_starts():
    return [str(page.relative_to(ROOT)) for page, text in starts() if page.read_text() != text]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    if parser.parse_args(arguments).check:
        found = stale(PAGE.read_text(), [path.read_bytes() for path in images()])
        found += stale_starts()
        for name in found:
            print(f"{name} is stale: run `python tools/performance.py`")
        return 1 if found else 0
    for page, text in starts():
        page.write_text(text)
    text, document = rewritten(PAGE.read_text())
    PAGE.write_text(text)
    plots.draw_both(document, STEM)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
