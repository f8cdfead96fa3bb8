"""Write the tables of figures in docs/*.md, and the pictures, from the files of results.

    python tools/figures.py             # rewrites every section and picture
    python tools/figures.py --check     # 1 if one of them is not what its file says

A section lies between two HTML comments, of which the first names the file and a table of it,
"machine" for what it was measured on, or "picture" for docs/NAME-networks.png, where the file is
NAME.json. A file is {"machine": {...}, "tables": {name: [row, ...]}}, a row a dict with one value
for each column: text, integers as they are, floats with three digits, below 1 with a mark if the
column is the ratio of a peer (its heading begins with "/ "). Of a file of `fastbp bench` with the
suite beyond a table is a dtype, a colon and the methods, with commas between; with the suite
population it is a dtype and "epochs", "threads" and so on: those of `POPULATION`.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from fastbp._command.bench import plots
from fastbp._command.bench.beyond import GRADIENT
from fastbp._command.bench.tables import (
    HEADINGS,
    machine_lines,
    ratio_cell,
    three_digits,
    time_cell,
)

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"(?<=<!-- figures: )(\S+) (\S+)( -->\n)(.*?)(?=<!-- end of figures -->)",
                     re.DOTALL)


def cell(heading, value):
    if isinstance(value, float):
        return ratio_cell(value) if heading.startswith("/ ") else three_digits(value)
    return str(value)


def table(rows):
    """Rows of dicts with the same keys, as Markdown."""
    lines = [list(rows[0]), ["---", *["--:"] * (len(rows[0]) - 1)]]
    lines += [[cell(heading, value) for heading, value in row.items()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rows_of(document, name):
    """The rows of a table, by its name."""
    if "tables" in document:
        return document["tables"][name]
    dtype, methods = name.split(":") if ":" in name else ("", name)
    if methods in POPULATION:
        return POPULATION[methods](document, dtype)
    return [beyond(result, methods.split(",")) for result in document["beyond"]
            if result["dtype"] == dtype]


def beyond(result, methods):
    """A row of multiples of a gradient's time, with marks at disturbed ones."""
    times = result["times"]
    return {"network": f"{result['network']} ({result['batch']})",
            "gradient us": time_cell(times[GRADIENT]),
            **{HEADINGS[method]: ratio_cell(result["ratios"][method], times[method], peer=False)
               for method in methods}}


# ---- of the suite population


def us(result, heading="us"):
    """The column of fastbp's time."""
    return {heading: time_cell(next(iter(result["times"].values())))}


def ratios(result, last=""):
    """The columns of the others' times over fastbp's."""
    return {f"/ {name}{last}": ratio_cell(ratio, result["times"][name])
            for name, ratio in result["ratios"].items()}


def epochs(document, dtype):
    """A row for each network, first in an order of each, then in one order for all."""
    of = {order: [r for r in document["population"] if (r["dtype"], r["order"]) == (dtype, order)]
          for order in ("own", "one")}
    return [{"network": f"{own['network']} ({own['batch']})", **us(own, "own order us"),
             **ratios(own), **us(one, "one order us"), **ratios(one, ", so")}
            for own, one in zip(*of.values(), strict=True)]


def outputs(document, dtype):
    return [{"dtype": r["dtype"], **us(r), **ratios(r)} for r in document["outputs"]]


def threads(document, dtype):
    return [{"network": f"{r['network']} ({r['batch']})", "dtype": r["dtype"],
             **us(r, "one thread us"), **{name: ratio_cell(ratio, r["times"][name])
                                          for name, ratio in r["speedups"].items()}}
            for r in document["population_threads"]]


def opening(document, dtype):
    """Two of the networks in an order of each, and the outputs; vmap is that which was timed."""
    def row(what, result):
        alone, *vmap = ratios(result).values()
        return {"for each network": what.format(f"{result['n_networks']:,}"), **us(result),
                "/ one by one": alone, "/ vmap": "".join(vmap)}

    trained = [r for r in document["population"] if (r["dtype"], r["order"]) == (dtype, "own")]
    (answer,) = (r for r in document["outputs"] if r["dtype"] == dtype)
    return [*(row(f"a step of Adam, {{}} networks {r['network']} ({r['batch']})", r)
              for r in trained if (r["network"], r["batch"]) in OPENING),
            row(f"outputs of one row, {{}} networks {answer['network']}", answer)]


OPENING = {("2-8-8-1", 1), ("4-16-1", 32)}
POPULATION = {"epochs": epochs, "outputs": outputs, "threads": threads, "opening": opening}


def picture_of(file):
    """The path of the picture of a file of results, without its end."""
    return ROOT / "docs" / Path(file).stem


def paths_of(file):
    """The paths of the picture on a light and on a dark ground."""
    stem, document = picture_of(file), json.loads((ROOT / file).read_text())
    section = "scaling" if "scaling" in document else "growth"
    return [Path(*plots.names(name, [section])) for name in (stem, plots.dark(stem))]


def picture(document, file):
    """The line of a page that shows it."""
    if "scaling" in document:
        words = (f"Speed of a pass on 1 to {document['scaling'][0]['workers'][-1]} workers over "
                 "that on one, simulated")
    else:
        counts = [result["n_networks"] for result in document["growth"]]
        words = (f"Time to train {min(counts):,} to {max(counts):,} networks "
                 f"{document['growth'][0]['network']}, at once, one by one, and by vmap")
    return plots.markup(*(path.name for path in paths_of(file)), words)


# ---- the pages


def section(document, name, file):
    if name == "picture":
        return picture(document, file)
    if name == "machine":
        lines = (*machine_lines(document["machine"]),
                 f"measured {document['machine']['time'][:10]}")
        return "\n".join(f"- {line}" for line in lines)
    return table(rows_of(document, name))


def rewritten(text):
    """A document's text with its sections as their files say."""
    def fill(found):
        document = json.loads((ROOT / found[1]).read_text())
        return f"{found[1]} {found[2]}{found[3]}\n{section(document, found[2], found[1])}\n\n"

    return SECTION.sub(fill, text)


def pages():
    return [page for page in sorted(ROOT.glob("docs/*.md")) if SECTION.search(page.read_text())]


def pictures():
    """(file of results, path of its picture) of the pages that show one."""
    found = dict.fromkeys(file for page in pages() for file, name, *_ in
                          SECTION.findall(page.read_text()) if name == "picture")
    return [(ROOT / file, path) for file in found for path in paths_of(file)]


def is_current(file, picture):
    """Whether the picture carries the digest of the results."""
    return (picture.exists()
            and plots.digest(json.loads(file.read_text())).encode() in picture.read_bytes())


def stale():
    """The pages and pictures that are not what the files of results say."""
    return [*(page for page in pages() if rewritten(page.read_text()) != page.read_text()),
            *(picture for file, picture in pictures() if not is_current(file, picture))]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    found = stale()
    if parser.parse_args(arguments).check:
        for path in found:
            print(f"{path.relative_to(ROOT)} is stale: run `python tools/figures.py`")
        return 1 if found else 0
    for page in set(found) & set(pages()):
        page.write_text(rewritten(page.read_text()))
    for file in dict.fromkeys(file for file, picture in pictures() if picture in found):
        plots.draw_both(json.loads(file.read_text()), picture_of(file))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
