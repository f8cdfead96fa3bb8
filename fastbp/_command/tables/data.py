"""A table for training: read, its columns judged, its target found, and all that told."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from fastbp import _arguments
from fastbp._preparation import Preparation, Target, Wishes, judge
from fastbp._preparation.columns import plain_column
from fastbp._preparation.targets import MOST_CLASSES, target_of
from fastbp._table import ArrayTable, DataError, files_of, open_table
from fastbp._table.cells import MARKS, date_form, is_number
from fastbp._table.faults import Faults, listed, one_line
from fastbp.datasets import DEFAULT_TARGETS, load_breast_cancer

REMEDIES = ("(--drop NAME leaves a column out, --categorical NAME takes its cells for levels, "
            "--missing MARK names cells that stand for nothing)")


class Data(NamedTuple):
    """A table that a network can be trained on.

    Attributes
    ----------
    description : str
    columns : list of Column
        Those that may be features.
    target : Target
    y : ndarray
        As `target_of` gives it, of the rows that have a target.
    marks : tuple of str
        What stands for a missing cell.
    wishes : Wishes
    date_forms : dict
        {name: form} of the columns of dates.
    notes : list of (str, str)
        Names of columns, or none, and what is said of them.
    decimal : str or None
        The decimal mark of a CSV file.
    thousands : bool
        Whether the other mark may stand between thousands: see `Table`.
    """

    description: str
    columns: list
    target: Target
    y: np.ndarray
    marks: tuple
    wishes: Wishes
    date_forms: dict
    notes: list
    decimal: str | None = None
    thousands: bool = False

    @property
    def n_rows(self):
        return len(self.y)

    @property
    def strata(self):
        """The class of each row, zeros where there are no classes."""
        return self.y if self.target.task == "classes" else np.zeros(self.n_rows, np.int64)


def load(args):
    """Return the `Data` that the arguments of `fastbp train` name."""
    if args.data is None:
        return _bundled(args)
    marks = tuple(sorted(MARKS)) if args.missing is None else tuple(args.missing)
    table = opened(args.data, marks, args)
    try:
        return _read(table, args, marks)
    except DataError as error:
        prefix = "" if str(error).startswith(f"{table.path}: ") else f"{table.path}: "
        message = str(error)
        remedy = f" {REMEDIES}" if "is not a number" in message and "--task" not in message else ""
        raise DataError(one_line(f"{prefix}{error}{remedy}"), error.faults) from None


def opened(path, marks, args, **options):
    """The table of a command's DATA; the options are those of `open_table`."""
    return open_table(path, missing=marks, decimal=args.decimal, delimiter=args.delimiter,
                      encoding=args.encoding, **options)


def _bundled(args):
    for option in ("target", "task", "decimal", "missing", "delimiter"):
        if getattr(args, option):
            raise ValueError(f"--{option} needs DATA: the bundled data set is not read so")
    found = load_breast_cancer()
    columns = [plain_column(name, found.X[:, j]) for j, name in enumerate(found.feature_names)]
    target = Target((found.target_name,), "classes", (found.classes,), np.zeros(1), np.ones(1))
    names = [column.name for column in columns]
    keep, wishes = _wished(names, target.names, args)
    columns = [column for column in columns if column.name in keep]
    return Data(found.description, columns, target, found.y, (), wishes, {}, [])


def _read(table, args, marks):
    targets = _targets(table, args.target)
    names = table.features if isinstance(table, ArrayTable) else table.names
    keep, wishes = _wished(names, targets, args)
    names = [name for name in names if name not in targets and name in keep]
    if not names:
        raise DataError(f"there is no feature column beside {listed(targets)}")
    kinds = dict.fromkeys(wishes.numeric, "number") | dict.fromkeys(targets, "label")
    found = table.columns([*names, *targets], kinds)
    columns, labels = _dates_as_levels(table, found[:len(names)], wishes), found[len(names):]
    if not len(labels[0].values):
        raise DataError("there is a header but no data row")
    target, y, there = target_of(labels, args.task, args.positive)
    notes = [("", sentence) for sentence in (*table.left_out, *table.renamed)]
    if not there.all():
        rows = np.flatnonzero(there)
        notes.append(("", f"{_arguments.counted(int((~there).sum()), 'row')} without a target"
                          f"{_marks_told(table, labels)}: left out"))
        y = y[rows]
        columns = [column._replace(values=column.values[rows], missing=column.missing[rows])
                   for column in columns]
    if not args.task and target.is_one_of_several and labels[0].values.dtype.kind == "f":
        notes.insert(0, ("", f"at most {MOST_CLASSES} whole numbers are classes; --task regression "
                             "takes them for numbers"))
    dates = [column.name for column in columns if column.values.dtype.kind == "M"]
    data = Data(_described(args.data, there, names), columns, target, y, marks, wishes,
                _date_forms(table, dates), notes, table.decimal, table.thousands)
    if args.strict:
        _be_strict(table, data)
    return data


def _marks_told(table, labels):
    """Which marks stand in the place of labels, and how often, in brackets."""
    names, counts = [label.name for label in labels], Counter()
    texts = table.columns(names, dict.fromkeys(names, "kept"))
    for column, label in zip(texts, labels, strict=True):
        if column.values.dtype == object:
            counts.update(column.values[label.missing & ~column.missing].tolist())
    found = ", ".join(f"{n} {mark!r}" for mark, n in counts.most_common())
    return f" ({found}; --missing MARK names other marks)" if found else ""


def _dates_as_levels(table, columns, wishes):
    """The columns, and dates that are to be levels as the texts that a file of text has for them.

    So they are read for a prediction, which knows nothing of dates in a column of levels.
    """
    names = [column.name for column in columns
             if column.name in wishes.categorical and column.values.dtype.kind == "M"]
    if not names or table.has_types:
        return columns
    texts = dict(zip(names, table.columns(names, dict.fromkeys(names, "text")), strict=True))
    return [texts.get(column.name, column) for column in columns]


def files_and_rows(path, n_rows):
    """The files of a table, and how many rows they have."""
    first, *others = files_of(path)
    more = f" and {_arguments.counted(len(others), 'more file')}" * bool(others)
    return f"{first}{more}: {_arguments.counted(n_rows, 'row')}"


def _described(path, there, names):
    return (f"{files_and_rows(path, len(there))}, "
            f"{_arguments.counted(len(names), 'column')} beside the target")


def _targets(table, given):
    """The names of the target columns."""
    names = table.names
    if given:
        return tuple(dict.fromkeys(names_of(given, names, "--target")))
    found = [name for name in names if name in DEFAULT_TARGETS]
    if len(found) == 1:
        return tuple(found)
    if found:
        raise DataError(f"{listed(found)} could each be the target: name one (--target NAME)")
    if all(is_number(name) for name in names):
        raise DataError("the first line holds numbers where a header with column names is expected")
    raise DataError("name the target column (--target NAME): none is called target, y or label; "
                    f"the columns are {listed(names)}")


def names_of(given, names, option):
    """The columns that an option names, each time one or several divided by commas."""
    found = []
    for text in given:
        parts = [text] if text in names else [part.strip() for part in text.split(",")]
        for part in parts:
            if part not in names:
                near = _arguments.nearest(part, names)
                hint = f"did you mean {near!r}? " if near else ""
                raise DataError(f"no column {part!r} ({option}); {hint}"
                                f"the columns are {listed(names)}")
            found.append(part)
    return found


def _wished(names, targets, args):
    """The columns to look at, and what was said of them."""
    every = list(dict.fromkeys((*names, *targets)))
    said = {option: names_of(getattr(args, option) or (), every, f"--{option}")
            for option in ("drop", "only", "numeric", "categorical")}
    for option, chosen in said.items():
        wrong = [name for name in chosen if name in targets]
        if wrong:
            raise DataError(f"column {wrong[0]!r} is the target (--{option})")
    both = set(said["numeric"]) & set(said["categorical"])
    if both:
        raise DataError(f"column {sorted(both)[0]!r} cannot be both --numeric and --categorical")
    keep = set(said["only"] or names) - set(said["drop"])
    return keep, Wishes(frozenset(said["numeric"]) & keep, frozenset(said["categorical"]) & keep)


def _date_forms(table, names):
    """How the dates of each column are written, in a table of text."""
    if not names:
        return {}
    forms = {}
    for name, values, missing in table.columns(names, dict.fromkeys(names, "date")):
        if values.dtype == object:
            forms[name] = date_form(set(values[~missing].tolist()))
    return forms


def _be_strict(table, data):
    """Refuse a table of which anything had to be left out or filled."""
    faults, rows = Faults(table.path), np.arange(data.n_rows)
    for _, sentence in data.notes:
        faults.add(sentence)
    for column in data.columns:
        judgement = judge(column, rows, data.wishes, data.date_forms.get(column.name, ""))
        n_missing = int(column.missing.sum())
        if n_missing:
            faults.add(f"column {column.name!r}: {_arguments.counted(n_missing, 'cell')} missing")
        elif judgement.column is None:
            faults.add(f"column {column.name!r} would be {judgement.words}")
        elif column.values.dtype == object and column.name not in data.wishes.categorical:
            faults.add(f"column {column.name!r} holds text (--categorical)")
    faults.refuse()


def prepare(data, rows):
    """Learn how the columns become features, from the rows of a training.

    Returns
    -------
    preparation : Preparation
    words : list of (str, str)
        Each column and what is done with it.

    Raises
    ------
    DataError
        Nothing is left to learn from.
    """
    judged = [judge(column, rows, data.wishes, data.date_forms.get(column.name, ""))
              for column in data.columns]
    kept = [each for each in judged if each.column is not None]
    words = [(column.name, each.words) for column, each in zip(data.columns, judged, strict=True)]
    if not kept:
        said = "; ".join(f"{name}: {text}" for name, text in words[:5])
        raise DataError(f"no column is left to learn from: {said}")
    return Preparation(tuple(each.column for each in kept),
                       np.concatenate([each.mean for each in kept]),
                       np.concatenate([each.scale for each in kept])), words


def features(data, preparation, dtype):
    """The standardised features of all rows (n, n_features)."""
    columns = {column.name: column for column in data.columns}
    return preparation.encode([columns[name] for name in preparation.names], dtype)[0]
