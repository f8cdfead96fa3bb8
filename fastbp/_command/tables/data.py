"""A table for training: read, its columns judged, its target found, and all that told."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from fastbp import _arguments
from fastbp._command.tables import marks as marks_
from fastbp._preparation import Preparation, Target, Wishes, judge
from fastbp._preparation.columns import plain_column
from fastbp._preparation.remarks import same_but_case
from fastbp._preparation.targets import MOST_CLASSES, target_of
from fastbp._table import ArrayTable, DataError, files_of, open_table
from fastbp._table.cells import MARKS
from fastbp._table.dates import date_form
from fastbp._table.faults import Faults, listed, one_line
from fastbp._table.numerals import is_number
from fastbp.datasets import DEFAULT_TARGETS, load_breast_cancer

LARGEST_COUNT = 1000  # of numbers that may be counts


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
    forms : dict
        {name: form} of the columns of dates, and {name: unit} of numbers with a unit.
    notes : list of (str, str)
        Names of columns, or none, and what is said of them.
    decimal : str or None
        The decimal mark of a CSV file, if a number has one.
    thousands : bool
        Whether the other mark may stand between thousands: see `Table`.
    """

    description: str
    columns: list
    target: Target
    y: np.ndarray
    marks: tuple
    wishes: Wishes
    forms: dict
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
    marks = marks_.chosen(args, MARKS)
    table = opened(args.data, marks, args)
    try:
        return _read(table, args, marks)
    except DataError as error:
        prefix = "" if str(error).startswith(f"{table.path}: ") else f"{table.path}: "
        remedy = marks_.remedy(error.strays)
        raise DataError(one_line(f"{prefix}{error}{remedy}"), error.faults) from None


def opened(path, marks, args, **options):
    """The table of a command's DATA; the options are those of `open_table`."""
    return open_table(path, missing=marks, decimal=args.decimal, delimiter=args.delimiter,
                      encoding=args.encoding, skip=args.skip, **options)


def _bundled(args):
    for option in ("target", "task", "decimal", "missing", "only_missing", "delimiter", "skip"):
        if getattr(args, option):
            raise ValueError(f"--{option.replace('_', '-')} needs DATA: the bundled data set is "
                             "not read so")
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
    kinds = dict.fromkeys(wishes.numeric, "number") | dict.fromkeys(
        wishes.categorical, "levels") | dict.fromkeys(targets, "label")
    table.settle([name for name in (*names, *targets) if name not in wishes.categorical])
    found = table.columns([*names, *targets], kinds)
    columns, labels = found[:len(names)], found[len(names):]
    if not len(labels[0].values):
        raise DataError("there is a header but no data row")
    target, y, there = target_of(labels, args.task, args.positive)
    notes = [("", sentence) for sentence in (*table.left_out, *table.renamed)]
    notes += [("", f"{name}: {sentence}") for name, sentence in table.told.items()]
    if not there.all():
        rows = np.flatnonzero(there)
        notes.append(("", f"{_arguments.counted(int((~there).sum()), 'row')} without a target"
                          f"{_marks_told(table, labels)}: left out"))
        y = y[rows]
        columns = [column._replace(values=column.values[rows], missing=column.missing[rows])
                   for column in columns]
    if not args.task:
        notes[:0] = [("", sentence) for sentence in _of_task(target, labels, y)]
    dates = [column.name for column in columns if column.values.dtype.kind == "M"]
    notes = notes + [("", each) for each in marks_.unseen(table, [*names, *targets], args)]
    data = Data(_described(args.data, there, names), columns, target, y, marks, wishes,
                table.units | _date_forms(table, dates), notes, table.decimal, table.thousands)
    if args.strict:
        _be_strict(table, data)
    return data


def _of_task(target, labels, y):
    """Sentences about a task that nobody named."""
    if target.is_one_of_several and labels[0].values.dtype.kind == "f":
        yield f"at most {MOST_CLASSES} whole numbers are classes; --task regression takes them " \
              "for numbers"
    if target.task == "regression" and (y >= 0).all() and (y == np.floor(y)).all() and (
            y.max() <= LARGEST_COUNT):
        yield "whole numbers of at least 0; --task counts takes them for counts"
    for classes in target.classes:
        pair = same_but_case(classes)
        if pair:
            yield f"{pair[0]!r} and {pair[1]!r} are two classes, which differ in their case alone"


def _marks_told(table, labels):
    """Which marks stand in the place of labels, and how often, in brackets."""
    names, counts = [label.name for label in labels], Counter()
    texts = table.columns(names, dict.fromkeys(names, "kept"))
    for column, label in zip(texts, labels, strict=True):
        if column.values.dtype == object:
            counts.update(column.values[label.missing & ~column.missing].tolist())
    found = ", ".join(f"{n} {mark!r}" for mark, n in counts.most_common())
    return f" ({found}; --only-missing MARK names other marks)" if found else ""


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
        hint = "" if table.has_types else _HEADER
        return tuple(dict.fromkeys(names_of(given, names, "--target", hint)))
    found = [name for name in names if name in DEFAULT_TARGETS]
    if len(found) == 1:
        return tuple(found)
    if found:
        raise DataError(f"{listed(found)} could each be the target: name one (--target NAME)")
    if all(is_number(name) for name in names):
        raise DataError("the first line holds numbers where a header with column names is expected")
    hint = "" if table.has_types else _HEADER
    raise DataError("name the target column (--target NAME): none is called target, y or label; "
                    f"the columns are {listed(names)}{hint}")


_HEADER = "; --skip N leaves out lines that stand before the line with the names"


def names_of(given, names, option, more=""):
    """The columns that an option names, each time one or several divided by commas; `more` is said
    behind an error."""
    found = []
    for text in given:
        parts = [text] if text in names else [part.strip() for part in text.split(",")]
        for part in parts:
            if part not in names:
                near = _arguments.nearest(part, names)
                hint = f"did you mean {near!r}? " if near else ""
                raise DataError(f"no column {part!r} ({option}); {hint}"
                                f"the columns are {listed(names)}{more}")
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
    """Refuse a table of which something would be filled, left out or guessed."""
    faults, rows = Faults(table.path), np.arange(data.n_rows)
    for _, sentence in data.notes:
        faults.add(sentence)
    for column in data.columns:
        judgement = judge(column, rows, data.wishes, data.forms.get(column.name, ""))
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
    judged = [judge(column, rows, data.wishes, data.forms.get(column.name, ""))
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
