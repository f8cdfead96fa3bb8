"""The columns of a table as inputs, each (n, 1), and their preparation as nodes.

| column | input                                              | a missing cell           |
|--------|----------------------------------------------------|--------------------------|
| number | float64                                            | NaN                      |
| date   | days since 1970-01-01, in UTC, as float64          | NaN                      |
| truth  | 1 and 0, as float64                                | NaN                      |
| levels | text; of numbers "1", "0.5"; "true" and "false"    | "", or a mark such as NA |

The features, their order and the standardisation are those of `_preparation`, in float64, with the
same operations: the network reads the same bits.
"""

import numpy as np

SAID = {"number": "a number; NaN: missing", "truth": "1: true, 0: false; NaN: missing",
        "date": "days since 1970-01-01, UTC; NaN: missing", "levels": "text; empty: missing"}


def kind_of(column):
    """A key of SAID."""
    return getattr(column, "kind", "levels")


def has_text(columns):
    """Whether texts are compared, which the operators of OPSET cannot."""
    return any(kind_of(column) == "levels" for column in columns)


def add_inputs(graph, columns):
    """Add an input for each column and return their names."""
    for column in columns:
        if not column.name:
            raise ValueError("model has a column without a name; each should have one, which an "
                             "input of ONNX needs")
    return [graph.input(column.name, object if kind_of(column) == "levels" else np.float64,
                        ["n", 1], SAID[kind_of(column)]) for column in columns]


def add_features(graph, inputs, columns, marks):
    """Add the nodes of all columns and return the features (n, n_features)."""
    parts = []
    for cells, column in zip(inputs, columns, strict=True):
        if kind_of(column) == "levels":
            parts += _levels(graph, cells, column, marks)
        else:
            parts += _number(graph, cells, column)
    return graph.node("Concat", *parts, axis=1)


def _number(graph, cells, column):
    missing = graph.node("IsNaN", cells)
    fill = graph.constant("fill", np.float64(column.fill))
    values = graph.node("Where", missing, fill, cells)
    return [values, graph.cast(missing, np.float64)] if column.flag else [values]


def _levels(graph, cells, column, marks):
    """1 in the feature of the level of a cell; a cell of none is missing or other."""
    parts = [_equal(graph, cells, column.levels, "levels")] if column.levels else []
    if not (column.missing or column.other):
        return parts
    missing = _sum(graph, _equal(graph, cells, ["", *marks], "missing"))
    if not column.other:
        return [*parts, missing]
    other = graph.node("Sub", graph.scalar(1, np.float64), missing)
    for part in parts:
        other = graph.node("Sub", other, _sum(graph, part))
    return [*parts, *[missing] * column.missing, other]


def _equal(graph, cells, texts, name):
    """Which of the texts each cell is, (n, n_texts) zeros and ones."""
    texts = graph.constant(name, np.array([texts], object))
    return graph.cast(graph.node("Equal", cells, texts), np.float64)


def _sum(graph, ones):
    return graph.node("ReduceSum", ones, graph.constant("axis", np.array([1])), keepdims=1)
