"""`fastbp predict`: a model's answers to the rows of a table, which may be larger than memory."""

import sys
from contextlib import contextmanager

import numpy as np

from fastbp import _arguments, _files
from fastbp._command.outputs import refuse_overwriting
from fastbp._command.tables import answers, marks, report
from fastbp._command.tables.data import names_of, opened
from fastbp._preparation import Number, Told
from fastbp._table import DataError, files_of
from fastbp._table.cells import Column, shortened
from fastbp._table.faults import listed, one_line
from fastbp.io import load_model

AT_ONCE = 65536  # rows
NOT_READ = ("is not a number", "is not a date", "is neither true nor false")
REMEDY = "(--missing MARK names cells that stand for nothing, beside those of the training)"
MOST_NAMED = 3  # new levels of a column
SPREADSHEETS = (".xlsx", ".xls", ".ods")


def run(args):
    """Carry out `fastbp predict` and return its exit code."""
    model = model_of(args)
    if args.out:
        if args.out.lower().endswith(SPREADSHEETS):
            raise ValueError(f"--out {args.out}: answers are written as CSV or Parquet; the name "
                             "should end in .csv, which a spreadsheet imports, or in .parquet")
        if args.out_decimal == "," and answers.is_parquet(args.out):
            raise ValueError(f"--out-decimal is ',' and --out {args.out} is Parquet, whose numbers "
                             "have no decimal mark; the name should end in .csv")
        refuse_overwriting("--out", args.out, [args.model, *files_of(args.data)])
        _files.check_writable(args.out)
    table = opened(args.data, marks_of(model, args), args, **numerals_of(model))
    columns = needed_columns(model, table)
    table.settle([column.name for column in columns if column.reads == "number"])
    kept = list(table.names) if args.keep == ["all"] else list(dict.fromkeys(
        names_of(args.keep or (), table.names, "--keep")))
    told = _Done()
    batches = _batches(model, table, columns, kept, told)
    with remedies():
        answers.write(args.out, _distinct([*kept, *answer_names(model.target)]), batches,
                      args.out_decimal)
    stream = sys.stdout if args.out else sys.stderr
    if stream is not None:              # started with it closed
        for name, sentence in table.told.items():
            report.say(name, sentence, stream)
    told.tell(args, stream)
    return 0


def model_of(args):
    """The model of a command; an error that says what comes first if that is no model."""
    try:
        return load_model(args.model)
    except ValueError as error:
        if "not a safetensors file" not in str(error):
            raise
        turned = f": {args.data} {args.model}" if _is_model(args.data or "") else ""
        raise ValueError(f"{args.model} is no model, which fastbp train --out writes; the model "
                         f"comes first, then the table{turned}") from None


def _is_model(path):
    """Whether a file is a model, or has the name of one."""
    try:
        return path.endswith(".safetensors") or bool(load_model(path))
    except (OSError, ValueError):
        return False


@contextmanager
def remedies():
    """Add to the error of a cell that cannot be read what can be done about it."""
    try:
        yield
    except ValueError as error:  # DataError, too
        message = str(error)
        if not any(words in message for words in NOT_READ) or "(--" in message:
            raise
        raise type(error)(f"{message} {REMEDY}") from None


def marks_of(model, args):
    """What stands for missing cells: what did in the training, and what the user says."""
    return marks.chosen(args, () if model.recipe is None else model.recipe.marks)


def numerals_of(model):
    """How numbers were written in the table of the training, as `open_table` takes it."""
    if model.recipe is None:
        return {}
    units = {column.name: column.form for column in model.recipe.preparation.columns
             if getattr(column, "kind", "") == "number"}
    return {"likely_decimal": model.recipe.decimal, "likely_thousands": model.recipe.thousands,
            "units": units}


def needed_columns(model, table):
    """The model's columns as `Number` and `Levels`; DataError if the table lacks one."""
    if model.recipe is not None:
        columns = model.recipe.preparation.columns
    else:
        n_features = model.net.layer_sizes[0]
        names = model.feature_names or getattr(table, "features", table.names)
        if len(names) != n_features:
            raise DataError(f"{table.path}: the model has {n_features} features and no names of "
                            f"columns; the table has {len(names)} columns")
        columns = tuple(Number(name, "number", "", np.nan, False) for name in names)
    lacking = [column.name for column in columns if column.name not in table.names]
    if lacking:
        near = _arguments.nearest(lacking[0], table.names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise DataError(one_line(
            f"{table.path}: there is no column {listed(lacking)}, which the model needs; the "
            f"columns are {listed(table.names)}{hint}"))
    return columns


def encoded(model, columns):
    """The features of columns of a table, and what was done to cells."""
    if model.recipe is not None:
        return model.recipe.preparation.encode(columns, model.net.dtype)
    X = np.stack([column.values.astype(np.float64) for column in columns], axis=1)
    return (X - model.feature_mean) / model.feature_scale, None


def _batches(model, table, columns, kept, told):
    """Yield the kept columns and the answers of some rows at a time."""
    wanted = [column.name for column in columns]
    kinds = {column.name: column.reads for column in columns}
    for found in table.batches(AT_ONCE, wanted, kinds, kept):
        inputs, originals = found[:len(wanted)], found[len(wanted):]
        if model.recipe is None:
            _refuse_missing(table, inputs)
        X, what = encoded(model, inputs)
        told.add(len(X), what)
        outputs = model.outputs(X)
        bad = np.flatnonzero(np.isnan(outputs).any(axis=1))
        if len(bad):
            row = told.n_rows - len(X) + int(bad[0]) + 1
            raise DataError(f"{table.path}: the answer to data row {row}"
                            " is not a number: its values are too large for the network")
        yield originals + answer_columns(model.target, outputs)


def _refuse_missing(table, columns):
    for column in columns:
        if column.missing.any():
            raise DataError(f"{table.path}: column {column.name!r} lacks a cell, and the model "
                            "does not say how to fill it")


def answer_names(target):
    """The names of the columns of answers."""
    names = [f"predicted_{name}" for name in target.names]
    if target.task == "classes":
        return names + [f"probability_{label}" for label in target.classes[0]]
    if target.task == "labels":
        return names + [f"probability_{name}" for name in target.names]
    return names


def answer_columns(target, outputs):
    """The columns of answers, as many as `answer_names`."""
    found = target.answers(outputs)
    columns = [found] if found.ndim == 1 else [*found.T]
    if target.task in ("classes", "labels"):
        columns += [*target.values(outputs).T]
    return [Column("", values, np.zeros(len(values), dtype=bool)) for values in columns]


def _distinct(names):
    """The names, with a number where two are the same."""
    found, seen = [], set()
    for name in names:
        new, k = name, 2
        while new in seen:
            new, k = f"{name}_{k}", k + 1
        seen.add(new)
        found.append(new)
    return found


def _named(levels):
    """The first of some levels."""
    return ", ".join(map(shortened, levels[:MOST_NAMED])) + (
        " and others" * (len(levels) > MOST_NAMED))


class _Done:
    """What was done, in all batches."""

    def __init__(self):
        self.n_rows, self.told = 0, Told({}, {}, {}, {})

    def add(self, n_rows, told):
        self.n_rows += n_rows
        if told is not None:
            self.told.update(told)

    def tell(self, args, file):
        """Print the counts, on stderr where the answers are on stdout."""
        if file is None:  # started with the stream closed
            return
        report.say("rows", f"{self.n_rows} answered", file)
        for name, counts, what in (
                ("filled", self.told.filled, "missing"),
                ("rare", self.told.rare, "of a level that was rare in the training"),
                ("unknown", self.told.unknown, "of a level that the training did not have")):
            for column, n in counts.items():
                levels = self.told.new[column] if name == "unknown" else ()
                named = f": {_named(levels)}" * bool(levels)
                report.say(name, f"{report.shortened(column)}: {_arguments.counted(n, 'cell')} "
                                 f"{what}{named}", file)
        if args.out:
            report.say("written", args.out, file)
