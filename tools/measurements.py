"""Write docs/measurements.html, a page to filter and plot the measurements, from results.

    python tools/measurements.py             # writes the page
    python tools/measurements.py --check     # 1 if it is not what the files say

The page is tools/measurements.html with the results of `fastbp bench` in it: gradients, steps of
Adam, and steps of a population, of fastbp and of every library. It fetches nothing.
"""

import argparse
import json
import sys
from pathlib import Path

from fastbp._command.bench import plots
from fastbp._command.bench.tables import disturbed, machine_lines

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "measurements.html"
TEMPLATE = ROOT / "tools" / "measurements.html"
RECORD, POPULATION = ("results/amd-epyc-avx512.json", "results/population.json")
MARK = "/* results */ {}"
# C0, C1, ... of matplotlib, as the browser needs them.
TABLEAU = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")
OTHER = "#7f7f7f"


def colours(libraries):
    """The colour of each library, that of the plots."""
    return {library: TABLEAU[int(plots.COLOURS[library][1:])] if library in plots.COLOURS else OTHER
            for library in libraries}


def rows_of(what, results, names=()):
    """A row for each library of each result; `names` says how a library is called here."""
    names = dict(names)
    for result in results:
        own = next(iter(result["times"]))
        for library, times in result["times"].items():
            yield {"what": what, "network": f"{result['network']} ({result['batch']})",
                   "dtype": result["dtype"], "library": names.get(library, library),
                   "us": times["median_us"], "disturbed": disturbed(times),
                   "ratio": 1.0 if library == own else result["ratios"][library]}


def results():
    """What the page knows, as a dict for JSON."""
    record, many = (json.loads((ROOT / file).read_text()) for file in (RECORD, POPULATION))
    own_order = [result for result in many["population"] if result["order"] == "own"]
    rows = [*rows_of("gradient", record["gradients"]),
            *rows_of("step of Adam", record["epochs"]),
            *rows_of("step of Adam, one of many networks", own_order,
                     {"one by one": "fastbp, one by one"})]
    lines = [*machine_lines(record["machine"]),
             f"measured {record['machine']['time'][:10]}; many networks at once "
             f"{many['machine']['time'][:10]}"]
    return {"machine": lines, "rows": rows,
            "colours": colours(dict.fromkeys(row["library"] for row in rows))}


def page():
    """The text of the page."""
    # In a script no "</" may stand, which would end it.
    filled = json.dumps(results(), ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    before, after = TEMPLATE.read_text().split(MARK)
    return before + filled + after


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it is stale")
    if parser.parse_args(arguments).check:
        current = PAGE.exists() and PAGE.read_text() == page()
        if not current:
            print(f"{PAGE.relative_to(ROOT)} is stale: run `python tools/measurements.py`")
        return 0 if current else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
