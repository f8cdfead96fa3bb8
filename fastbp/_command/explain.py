"""`fastbp explain`: what a model is, and which columns its answers depend on.

For each column two figures, of the rows of a table. *Slope*: the mean absolute derivative of the
logits by the features of the column, each times its standard deviation, summed: by how much they
change for a typical change of the column. *Accuracy lost*, or what else the task is judged by:
what is lost if the cells of the column are shuffled among the rows, the mean of some repeats.
Nothing is printed before the table has been read.
"""

import sys
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _arguments, _files, _random, _screen
from fastbp._command.figures import import_figure
from fastbp._command.outputs import check_suffix, refuse_overwriting
from fastbp._command.predict import (
    encoded,
    marks_of,
    model_of,
    needed_columns,
    numerals_of,
    remedies,
)
from fastbp._command.tables import pictures, report
from fastbp._command.tables.data import files_and_rows, opened
from fastbp._command.tables.metrics import figures, measured
from fastbp._command.tables.splits import SHUFFLE, stream
from fastbp._preparation import Levels
from fastbp._preparation.judgement import filling
from fastbp._table import DataError, files_of

AT_ONCE = 1024  # rows of a Jacobian
MOST_LEVELS_SHOWN = 8
NARROWEST_NAME = 8  # cells, of a column in the list


class Looked(NamedTuple):
    """The rows of a table that a model is looked at with.

    Attributes
    ----------
    X : (n, n_features) ndarray
    y : ndarray or None
        As `target_of` gives it; None if the table has no target.
    columns : tuple of Number and Levels
    table : str
        The files, and how many rows they have.
    told : dict of str to str
        Sentences about columns, see `Noted`.
    """

    X: np.ndarray
    y: np.ndarray | None
    columns: tuple
    table: str
    told: dict


class Importance(NamedTuple):
    """A column: its slope, and what shuffling costs, mean and standard deviation of the repeats."""

    name: str
    slope: float
    lost: float
    spread: float


def run(args):
    """Carry out `fastbp explain` and return its exit code."""
    if args.plot:
        if args.data is None:
            raise ValueError("--plot needs DATA, on whose rows the columns are compared")
        import_figure()
        check_suffix(args.plot)
        refuse_overwriting("--plot", args.plot, [args.model, *files_of(args.data)])
        _files.check_writable(args.plot)
    model = model_of(args)
    looked = None if args.data is None else _read(model, args)
    _tell_model(args.model, model)
    if looked is None:
        report.say("columns", "name a table to see which columns the answers depend on: "
                   f"fastbp explain {args.model} DATA")
        return 0
    found, metric = importances(model, looked, args)
    _tell(model, looked, found, metric, args.repeats)
    if args.plot:
        for path in pictures.write(args.plot, [_picture(model, found, metric)]):
            report.say("written", path)
    return 0


def _tell_model(path, model):
    net, target = model.net, model.target
    n_networks = net.n_networks if isinstance(net, fastbp.Population) else 1
    names = [net.activation] if isinstance(net.activation, str) else net.activation
    report.say("model", f"{path}: {target.task} of {', '.join(target.names)}")
    several = f"{n_networks} networks " if n_networks > 1 else ""
    report.say("network", f"{several}{'-'.join(map(str, net.layer_sizes))} of {', '.join(names)} "
                          f"units, {net.loss}, {net.dtype.name}")
    if target.classes:
        for name, labels in zip(target.names, target.classes, strict=False):
            report.say("classes", (f"{name}: " if len(target.names) > 1 else "")
                       + ", ".join(map(repr, labels)))
    if model.recipe is None:
        return
    try:
        _tell_training(model.recipe.training)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{path}: damaged: what it says of its training cannot be read") from None
    report.tell_columns((column.name, _words(column))
                        for column in model.recipe.preparation.columns)


def _tell_training(training):
    report.say("trained on", str(training.get("data", "")))
    rows = training.get("rows", {})
    report.say("rows", ", ".join(f"{n} {what}" for what, n in rows.items() if n))
    if "epochs" in training:
        report.say("training", _epochs(training))
    for name, value, error, remark in training.get("figures", ()):
        shown = "none" if value is None else measured(
            value, np.nan if error is None else error)
        report.say(name, shown + (f" ({remark})" if remark else ""))


def _epochs(training):
    """How many epochs there were, whether somebody stopped them, and which was the best."""
    n, best = int(training["epochs"]), int(training.get("best epoch", 0))
    made = _arguments.counted(n, "epoch")
    if training.get("interrupted"):
        made = f"interrupted after {n} of {int(training['options']['epochs'])} epochs"
    judged = training.get("rows", {}).get("validation")
    return made + f", the best was epoch {best}" * bool(judged and best > 0)


def _words(column):
    if isinstance(column, Levels):
        shown = ", ".join(map(repr, column.levels[:MOST_LEVELS_SHOWN]))
        more = len(column.levels) - MOST_LEVELS_SHOWN
        return (f"levels {shown}" + f" and {more} more" * (more > 0)
                + ", others together" * column.other + ", missing ones" * column.missing)
    unit = f" ({column.form!r} behind each)" * bool(column.form)
    kind = {"number": f"number{unit}", "date": f"dates ({column.form}), as days",
            "truth": "true or false"}[column.kind]
    return f"{kind}, {filling(column)} where missing" + ", and a flag" * column.flag


def _read(model, args):
    """Return what is `Looked` at."""
    target, marks = model.target, marks_of(model, args)
    labels = {label for classes in target.classes for label in classes}
    table = opened(args.data, marks, args, label_missing=sorted({*marks} - labels),
                   **numerals_of(model))
    columns = needed_columns(model, table)
    names = [column.name for column in columns]
    with_target = all(name in table.names and name not in names for name in target.names)
    targets = [*target.names] if with_target else []
    table.settle([column.name for column in columns if column.reads == "number"] + targets)
    kinds = {column.name: column.reads for column in columns} | dict.fromkeys(targets, "label")
    with remedies():
        found = table.columns([*names, *targets], kinds, complete=model.recipe is None)
        X, _ = encoded(model, found[:len(names)])
    if not len(X):
        raise DataError(f"{table.path}: there is a header but no data row")
    without = Looked(X, None, columns, files_and_rows(args.data, len(X)), table.told)
    if not with_target:
        return without
    try:
        y, there = target.numbers_of(found[len(names):])
    except DataError as error:
        raise DataError(f"{table.path}: {error}") from None
    return without._replace(X=X[there], y=y[there]) if there.any() else without


def importances(model, looked, args):
    """Return an `Importance` of each column, and the `Figure` that shuffling lowers, or None."""
    X, y, columns = looked[:3]
    slopes = _slopes(model.net, X) * X.std(axis=0)
    metric = None if y is None else figures(model, X, y)[0]
    if metric is not None and np.isnan(metric.value):  # of a target with one value
        metric = None
    found, first = [], 0
    for k, column in enumerate(columns):
        here = slice(first, first + len(column.features))
        lost = [] if metric is None else [
            metric.value - figures(model, _shuffled(X, here, (args.seed, k, i)), y)[0].value
            for i in range(args.repeats)]
        found.append(Importance(
            column.name, float(slopes[here].sum()),
            float(np.mean(lost)) if lost else np.nan, float(np.std(lost)) if lost else np.nan))
        first = here.stop
    return sorted(found, key=lambda each: -(each.slope if metric is None else each.lost)), metric


def _slopes(net, X):
    """The mean absolute derivatives of the logits by each feature (n_features,)."""
    members = [net.member(k) for k in range(net.n_networks)] if isinstance(
        net, fastbp.Population) else [net]
    total = np.zeros(X.shape[1])
    for first in range(0, len(X), AT_ONCE):
        rows = X[first:first + AT_ONCE]
        jacobians = sum(member.jacobian(rows, of="logits", wrt="input").astype(np.float64)
                        for member in members) / len(members)
        total += np.abs(jacobians).mean(axis=1).sum(axis=0)
    return total / len(X)


def _shuffled(X, here, which):
    seed, *rest = which
    order = _random.permutation(len(X), stream(seed, SHUFFLE, *rest).random_raw(len(X) - 1))
    X = X.copy()
    X[:, here] = X[order, here]
    return X


def _tell(model, looked, found, metric, repeats):
    """The figures of the columns, and what they are."""
    for name, sentence in looked.told.items():
        report.say(name, sentence)
    report.say("rows", f"{len(looked.X)} looked at")
    if metric is None:
        report.say("", "the table has no target, or one value of it: answers can be compared, not "
                       "judged")
    else:
        report.say(metric.name, f"{measured(metric.value, metric.error)} on these rows, "
                   + _what_they_judge(model, looked))
    report.say("slope", f"by how much {_moved(model.target)}, for a change of the column by its "
                        "standard deviation")
    titles = ["column", "slope"]
    rows = [[each.name, f"{each.slope:.4f}"] for each in found]
    if metric is not None:
        titles.append(f"{report.shortened(metric.name, 20)} lost")
        report.say(titles[-1], "if the cells of the column are shuffled among the rows, mean and "
                   f"deviation of {_arguments.counted(repeats, 'time')}")
        for row, each in zip(rows, found, strict=True):
            row.append(f"{each.lost:z.4f} ± {each.spread:.4f}")
    for line in _aligned(titles, rows, _screen.width_of(sys.stdout)):
        print(line)


def _what_they_judge(model, looked):
    """Whether the network was trained on some of these rows."""
    training = {} if model.recipe is None else model.recipe.training
    if str(training.get("data", "")).startswith(f"{looked.table}, "):
        return "on some of which it was trained: no judgement of the model"
    return "a judgement of the model if it was trained on none of them"


def _moved(target):
    """What the slopes are of."""
    name = target.names[0]
    if target.task == "regression":
        of = f" ({target.scale[0]:.4g} each)" if len(target.names) == 1 else ""
        which = repr(name) if len(target.names) == 1 else "each target"
        return f"the answer moves, in standard deviations of {which}{of}"
    if target.task == "counts":
        return "the logarithm of the expected count moves"
    if target.task == "classes" and target.n_outputs == 1:
        return f"the logit of {target.classes[0][1]!r} moves"
    return f"the logit of a {'class' if target.task == 'classes' else 'label'} moves, on average"


def _aligned(titles, rows, width):
    """The lines of a list whose names are on the left, and whose figures end below their titles.

    Names are shortened where a line would be wider than a terminal of `width` cells.
    """
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)][1:]
    most = 40 if width is None else min(40, width - sum(widths) - 2 * len(widths))
    names = [report.shortened(row[0], max(most, NARROWEST_NAME)) for row in (titles, *rows)]
    first = max(map(_screen.cells, names))
    for name, (_, *texts) in zip(names, (titles, *rows), strict=True):
        padded = (f"{text:>{w}}" for text, w in zip(texts, widths, strict=True))
        yield "  ".join([name + " " * (first - _screen.cells(name)), *padded])


def _picture(model, found, metric):
    found = found[:30][::-1]
    n_columns = 2 if metric else 1
    figure = import_figure()(figsize=(4.8 * n_columns, 1.2 + 0.28 * len(found)),
                             layout="constrained")
    figure.suptitle(f"{model.target_name}: what the answers depend on")
    axes = np.atleast_1d(figure.subplots(1, n_columns, sharey=True))
    names = [report.shortened(each.name, 25) for each in found]
    axes[-1].barh(names, [each.slope for each in found], color=pictures.BLUE)
    of = {"regression": ", in standard deviations of the target",
          "counts": " of the logarithm of the expected count"}
    axes[-1].set_xlabel("slope" + of.get(model.target.task, " of the logits"))
    if metric:
        axes[0].barh(names, [each.lost for each in found], xerr=[each.spread for each in found],
                     color=pictures.ORANGE)
        axes[0].set_xlabel(f"{metric.name} lost by shuffling")
    return figure
