"""Write the tables of figures in docs/*.md from the files of results.

    python tools/figures.py             # rewrites every section
    python tools/figures.py --check     # 1 if one of them is not what its file says

A section lies between two HTML comments, of which the first names the file and a table of it, or
"machine" for what it was measured on. A file is {"machine": {...}, "tables": {name: [row, ...]}},
a row a dict with one value for each column: text, integers as they are, floats with three digits,
below 1 with a mark if the column is the ratio of a peer (its heading begins with "/ "). Of a file
of `fastbp bench --suite beyond` a table is a dtype, a colon and the methods, with commas between.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from fastbp._command.bench.beyond import GRADIENT
from fastbp._command.bench.tables import HEADINGS, machine_lines, ratio_cell, three_digits

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
    dtype, methods = name.split(":")
    return [{"network": f"{result['network']} ({result['batch']})",
             "gradient us": result["times"][GRADIENT]["median_us"],
             **{HEADINGS[method]: result["ratios"][method] for method in methods.split(",")}}
            for result in document["beyond"] if result["dtype"] == dtype]


def section(document, name):
    if name == "machine":
        lines = (*machine_lines(document["machine"]),
                 f"measured {document['machine']['time'][:10]}")
        return "\n".join(f"- {line}" for line in lines)
    return table(rows_of(document, name))


def rewritten(text):
    """A document's text with its sections as their files say."""
    def fill(found):
        document = json.loads((ROOT / found[1]).read_text())
        return f"{found[1]} {found[2]}{found[3]}\n{section(document, found[2])}\n\n"

    return SECTION.sub(fill, text)


def pages():
    return [page for page in sorted(ROOT.glob("docs/*.md")) if SECTION.search(page.read_text())]


def stale():
    """The pages that are not what the files of results say."""
    return [page for page in pages() if rewritten(page.read_text()) != page.read_text()]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    if parser.parse_args(arguments).check:
        for page in stale():
            print(f"{page.relative_to(ROOT)} is stale: run `python tools/figures.py`")
        return 1 if stale() else 0
    for page in stale():
        page.write_text(rewritten(page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
