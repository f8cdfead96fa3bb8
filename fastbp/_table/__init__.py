"""Tables as columns: where they are read, and what is wrong with them is said.

    faults      all that is wrong with a file, in one error
    engine      DuckDB
    source      what a file is, and how to open it
    noted       what is seen of numbers meanwhile
    table       columns of one file or several
    temporary   files that go with a table
    text        files of text that DuckDB reads as they are, or a copy of them
    dialect     how a CSV file is written
    csv         a CSV file
    numerals    numbers as texts: decimal marks, thousands, units
    dates       dates as texts
    cells       text as numbers, truth values, dates or text
    typed       Parquet and JSON files
    arrays      NPZ and NPY files

DuckDB (extra `cli`) is imported where a file is opened, and by nothing else.
"""

from fastbp._table.arrays import ArrayTable
from fastbp._table.cells import Column
from fastbp._table.faults import DataError
from fastbp._table.source import files_of, open_table

__all__ = ["ArrayTable", "Column", "DataError", "files_of", "open_table"]
