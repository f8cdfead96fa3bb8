"""What is in each partition, seen before training starts: a fault is named by its partition."""

from numbers import Number
from typing import NamedTuple

import numpy as np

from fastbp import _arguments


class Look(NamedTuple):
    """What is in a partition.

    Attributes
    ----------
    n_rows : int
    kind : dict of str to str
        The columns and their dtypes, or "shape" and "dtype" of an array: the same for all.
    n_columns : int or None
        None of what has one dimension.
    labels, counts : ndarrays or None
        The labels, sorted, and how often each is there.
    fault : str or None
        What a message says of the partition, where it cannot be used.
    """

    n_rows: int
    kind: dict
    n_columns: int | None
    labels: np.ndarray | None = None
    counts: np.ndarray | None = None
    fault: str | None = None


def kind_of(part):
    if hasattr(part, "columns"):
        return {f"column {name!r}": str(dtype) for name, dtype in part.dtypes.items()}
    shape = np.shape(part)[1:]
    columns = f"{shape[0]}" if len(shape) == 1 else "one" if not shape else f"shape {shape}"
    return {"dtype": str(getattr(part, "dtype", type(part).__name__)), "number of columns": columns}


MOST_LABELS = 2**16     # of a partition; all different ones come to the client


def numbers(part, dtype=None):
    """A partition as a C-contiguous array of floats; of float32 or float64 as it is for None.

    What is too large for `dtype` becomes infinite.
    """
    frame = hasattr(part, "columns")
    for name, kind in part.dtypes.items() if frame else [(None, getattr(part, "dtype", None))]:
        if getattr(kind, "kind", "O") not in "biuf":
            of = f"column {name!r} of " if frame else ""
            raise TypeError(f"has {of}dtype {kind}; it should be numbers")
    if dtype is None:
        dtype = np.float64 if frame and set(map(str, part.dtypes)) != {"float32"} or (
            not frame and str(part.dtype) != "float32") else np.float32
    with np.errstate(over="ignore"):
        if hasattr(part, "to_numpy"):
            return np.ascontiguousarray(part.to_numpy(dtype=dtype, na_value=np.nan))
        return np.ascontiguousarray(part, dtype=dtype)


def size_and_kind(part):
    n_rows, *others = np.shape(part)
    seen = Look(n_rows, kind_of(part), others[0] if others else None)
    if hasattr(part, "todense"):
        return seen._replace(fault=f"is sparse, of type {type(part).__name__}; it should be dense")
    if np.ma.is_masked(part):
        return seen._replace(fault="has masked cells; they should be filled or left out")
    return seen


def look_at_numbers(part, dtype=None, non_negative=False, domain=None):
    """The `Look` of a partition of X, of real targets, or of weights.

    `dtype` is what it will be cast to, None for as it is; `domain(part)` raises a ValueError for
    what a loss does not take.
    """
    seen = size_and_kind(part)
    if not seen.n_rows or seen.fault:
        return seen
    try:
        values = numbers(part, dtype)
    except TypeError as error:
        return seen._replace(fault=str(error))
    except (ValueError, OverflowError) as error:
        return seen._replace(fault=f"cannot be read as numbers: {error}")
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=0)
    if not finite.all():
        return seen._replace(fault=not_finite(part, dtype, int(np.argmin(finite))))
    if non_negative and (values < 0).any():
        return seen._replace(fault=f"has a weight of {values.min()}; it should not be negative")
    try:
        if domain is not None:
            domain(np.asarray(part))
    except ValueError as error:
        return seen._replace(fault=str(error).removeprefix("y "))
    return seen


def not_finite(part, dtype, column):
    """What is wrong with a column, in words."""
    where = ""
    if hasattr(part, "columns"):
        where = f" in column {part.columns[column]!r}"
    elif np.ndim(part) == 2:
        where = f" in column {column}"
    values = numbers(part).reshape(len(part), -1)[:, column]
    if np.isfinite(values).all():
        return f"has values{where} that are too large for {np.dtype(dtype).name}"
    return f"has NaN or infinite values{where}"


def look_at_labels(part):
    """The `Look` of a partition of class labels, (n,) or (n, 1), or of an indicator matrix."""
    seen = size_and_kind(part)
    if not seen.n_rows or seen.fault:
        return seen
    values = np.asarray(part)
    try:
        missing = np.sum(absent(part, values))
        labels, counts = (None, None) if missing else np.unique(values, return_counts=True)
    except TypeError:           # of comparisons, also with pandas.NA in an array
        return seen._replace(fault="has labels of several kinds")
    if missing:
        return seen._replace(fault="lacks the label of "
                                   + _arguments.counted(int(missing), "row"))
    return seen._replace(labels=labels, counts=counts, fault=not_classes(labels))


def not_classes(labels):
    """What labels are that are no classes, in words; None if they may be."""
    if labels.dtype.kind == "f" and not (whole := labels % 1 == 0).all():
        return (f"has labels that are not whole, such as {labels[~whole][0]}; for real targets "
                "there is DaskMLPRegressor")
    if labels.dtype.kind == "O" and isinstance(labels[0], Number):
        return "has numbers of dtype object for labels; .astype(int) makes integers of them"
    if len(labels) > MOST_LABELS:
        return f"has {len(labels)} different labels; it should have {MOST_LABELS} at most"
    return None


def absent(part, values):
    """Where labels are missing, as an array of bools."""
    if hasattr(part, "isna"):
        return np.asarray(part.isna())
    if values.dtype.kind == "O":
        return (values != values) | np.equal(values, None)
    return values != values


def require(name, looks):
    """Refuse partitions that cannot be used, or that are not like the first with rows."""
    first = None
    for i, seen in enumerate(looks):
        if seen.fault:
            raise ValueError(f"partition {i} of {name} {seen.fault}")
        if not seen.n_rows:
            continue
        if first is None:
            first, expected = i, seen.kind
        elif [*seen.kind.items()] != [*expected.items()]:
            raise ValueError(f"partition {i} of {name} {difference(seen.kind, expected)}, as in "
                             f"partition {first}")
    if first is None:
        raise ValueError(f"{name} has no rows in any partition; it should have at least one")


def difference(kind, expected):
    """How a partition differs from what it should be like, in words."""
    for key in expected:
        if key not in kind:
            return f"lacks {key}; it should have {'it' if key.startswith('column') else 'one'}"
        if kind[key] != expected[key]:
            what = f"{key} of {kind[key]}" if key.startswith("column") else f"{key} {kind[key]}"
            return f"has {what}; it should be {expected[key]}"
    more = next((key for key in kind if key not in expected), None)
    if more:
        return f"has {more}; it should not"
    return "has its columns in another order; they should be"
