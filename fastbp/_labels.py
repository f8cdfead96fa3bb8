"""Labels of classes in a file: texts, and beside them the dtype of labels that are numbers.

| label         | its text, as that of a level of a table |
|---------------|-----------------------------------------|
| text          | itself                                  |
| truth value   | "true", "false"                         |
| number        | "1", "0.5"                              |
"""

import reprlib

import numpy as np

from fastbp import _arguments
from fastbp._preparation.columns import level_texts, plain_column

NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)
NATIVE = ("bool", "int64", "float64")     # which Python's own bool, int and float become
DTYPES = (*NATIVE, "int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "float16",
          "float32")
TRUTH = {"true": True, "false": False}


def labels_of(classes, n):
    """No labels, or ``n`` different ones, all texts or all numbers, as a tuple.

    Numbers are Python's own where these have their dtype, else scalars of NumPy.
    """
    given = [] if isinstance(classes, str) else _arguments.sequence("classes", classes)
    if not (given and all(isinstance(each, NUMBERS) for each in given)):
        return _arguments.distinct_names("classes", classes, n)
    values = np.array(given)
    if values.dtype.name not in DTYPES or not np.isfinite(values).all():
        raise ValueError(f"classes is {reprlib.repr(classes)}; labels should be texts, truth "
                         "values, or finite numbers of at most 64 bits")
    found = tuple(values.tolist() if values.dtype.name in NATIVE else values)
    _arguments.distinct_names("classes", texts_of(found), n)
    return found


def dtype_of(labels):
    """The name of the dtype of labels that are numbers; of others, and of none, ""."""
    return "" if not labels or isinstance(labels[0], str) else np.array(labels).dtype.name


def texts_of(labels):
    """The texts of labels."""
    return tuple(level_texts(plain_column("classes", np.array(labels)))) if dtype_of(
        labels) else tuple(labels)


def labels_from(texts, dtype, n):
    """The labels of texts, which a file has, and of its `dtype_of`."""
    texts = _arguments.distinct_names("classes", texts, n)
    if not dtype:
        return texts
    if dtype not in DTYPES:
        raise ValueError(f"damaged: class_dtype is {reprlib.repr(dtype)}; it should be one of "
                         f"{', '.join(sorted(DTYPES))}")
    kind = np.dtype(dtype)
    try:
        parse = {"b": TRUTH.__getitem__, "f": float}.get(kind.kind, int)
        labels = labels_of(np.array([*map(parse, texts)], kind), n)
    except (KeyError, OverflowError, ValueError):
        labels = ()
    if texts_of(labels) != texts:
        raise ValueError(f"damaged: classes is {reprlib.repr(texts)}; they should be of {dtype}")
    return labels
