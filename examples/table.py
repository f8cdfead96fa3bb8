"""From a table to the rows to look at first, with the command's model in a program of your own.

    pip install '.[cli]' pandas
    python examples/table.py

The tables are those of docs/tutorial.md: old orders of a shop, some of which came back, and new
ones. The command reads and prepares the old ones, trains an ensemble, and keeps all of this in one
file. The program reads new rows with pandas, as they are, and sorts them by probability.
"""

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ["duckdb", "safetensors", "pandas"]
DOCS = Path(__file__).parents[1] / "docs"


def trained(table, target):
    """The model of a table, by the command, which prints what it does."""
    from fastbp.io import load_model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        subprocess.run([sys.executable, "-m", "fastbp", "train", table, "--target", target,
                        "--ensemble", "10", "--out", path], check=True)
        return load_model(path)


def main():
    """Print the new rows, the most probable first, and return them as a frame."""
    if not all(map(find_spec, PACKAGES)):
        sys.exit(f"examples/table.py needs packages: pip install {' '.join(PACKAGES)}")
    import pandas as pd
    model = trained(DOCS / "orders.csv", "returned")
    rows = pd.read_csv(DOCS / "new-orders.csv", sep=";", decimal=",")
    rows["probability"] = model.predict_proba(rows)[:, 1]      # of "yes", the second of its classes
    rows = rows.sort_values("probability", ascending=False)
    print(f"\nof {len(rows)} new orders the likeliest to come back:")
    print(rows[["order", "size", "price", "days", "probability"]].head(3).to_string(index=False))
    return rows


if __name__ == "__main__":
    main()
