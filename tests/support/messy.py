"""Small tables in files, and columns as they are read from them."""

import numpy as np
import pandas as pd

from fastbp._table import open_table

N = 60
K = np.arange(N)
FEW = ["--epochs", 2, "--hidden", 3, "--test-fraction", 0]
Y = np.where(K * 37 % 60 > 30, "p", "q")


def write(tmp_path, columns, name="t.csv"):
    pd.DataFrame(columns).to_csv(tmp_path / name, sep=";", index=False)
    return tmp_path / name


def column_of(tmp_path, cells, beside=("1",), kind=None, **options):
    """The cells of a column as they are read, beside others of the table."""
    frame = {"a": cells, "b": [beside[k % len(beside)] for k in range(len(cells))]}
    table = open_table(write(tmp_path, frame), **options)
    values, missing = table.columns(["a", "b"], {"a": kind} if kind else None)[0][1:]
    return [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]
