"""DuckDB, imported where a table is opened."""

from contextlib import contextmanager

N_THREADS = 2
# They look at every pair of columns, of which no two have a part in common here.
WITHOUT = "common_subexpressions,column_lifetime"


def connect():
    """A connection to a database in memory that asks for nothing and leaves nothing behind."""
    try:
        import duckdb
    except ModuleNotFoundError:
        raise ImportError("reading a table needs DuckDB, which is not installed: "
                          "pip install 'fastbp[cli]'") from None
    except ImportError as error:  # no memory for its library, say
        raise ImportError("reading a table needs DuckDB (pip install 'fastbp[cli]'), which cannot "
                          f"be imported: {error}") from None
    found = duckdb.connect(config={
        "threads": N_THREADS, "autoinstall_known_extensions": False,
        "autoload_known_extensions": False, "temp_directory": "",
        "disabled_optimizers": WITHOUT})
    found.execute("SET TimeZone = 'UTC'")  # moments with a zone are the same on every machine
    return found


@contextmanager
def interruptible():
    """Ctrl-C as the exception that it is in Python: DuckDB makes a RuntimeError of it."""
    try:
        yield
    except RuntimeError as error:
        if "interrupted" not in str(error):
            raise
        raise KeyboardInterrupt from None
