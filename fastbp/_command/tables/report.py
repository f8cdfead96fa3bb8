"""What `fastbp train` prints: the table, its columns, the network, figures, and what comes next."""

import os
import shlex
import sys

import numpy as np

from fastbp import _arguments, _screen
from fastbp._command.tables.advice import advice
from fastbp._command.tables.fitting import LEARNING_RATES
from fastbp._command.tables.metrics import measured

WIDTH = 18  # of the first column
MOST_COLUMNS = 60  # that are told one by one; of more, only those that are no plain numbers


def say(name, text, stream=None, column=WIDTH + 1):
    """Print a name and what is said of it, on a terminal wrapped between words.

    Nothing is flushed: a reader that has gone must not end a training.
    """
    stream = stream or sys.stdout
    print(*_screen.rows(name, text, column, _screen.width_of(stream)), sep="\n", file=stream)


def tell_table(data, words, brief=False):
    """The table, its target and what is done with each column, in one line if it is to be brief."""
    say("data", data.description)
    say("target", _target(data))
    for name, sentence in data.notes:
        say(name, sentence)
    plain = [name for name, text in words if text == "number"]
    told = words if len(words) <= MOST_COLUMNS else [
        (name, text) for name, text in words if text != "number"]
    if brief:
        say("columns", f"{len(words)} numbers")
        return
    tell_columns(told, [f"{len(plain)} others"] * (len(told) < len(words)))


def tell_columns(words, numbers=()):
    """Each column and what is said of it; the last lines are of numbers."""
    rows = [(shortened(name), text) for name, text in words]
    rows += [(name, "numbers") for name in numbers]
    print("columns")
    width = max([WIDTH - 2, *(len(name) for name, _ in rows)])
    for name, text in rows:
        say(f"  {name}", text, column=width + 3)


def shortened(name, most=40):
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[:most - 3]}..."


def _target(data):
    target, names = data.target, ", ".join(data.target.names)
    if target.task == "classes":
        counts = np.bincount(data.y, minlength=len(target.classes[0]))
        classes = [f"{label!r} ({_arguments.counted(int(n), 'row')})"
                   for label, n in zip(target.classes[0], counts, strict=True)]
        if target.n_outputs == 1:
            return f"{names}: positive class {classes[1]}, negative class {classes[0]}"
        more = f", and {len(classes) - 10} more" if len(classes) > 10 else ""
        return f"{names}: {len(classes)} classes, {', '.join(classes[:10])}{more}"
    if target.task == "labels":
        return f"{len(target.names)} labels: " + ", ".join(
            f"{name} ({int(n)} times {pair[1]!r})" for name, pair, n in
            zip(target.names, target.classes, data.y.sum(axis=0), strict=True))
    what = "a number" if target.task == "regression" else "a count"
    return "; ".join(f"{name}: {what}, {y.min():g} to {y.max():g}, mean {y.mean():g}"
                     for name, y in zip(target.names, data.y.T, strict=True))


def tell_network(args, model, rows):
    """The network and what it is trained on."""
    use = f"{len(rows.train)} for training, {len(rows.validation)} to judge its epochs"
    if args.folds:
        n = len(rows.train) + len(rows.validation)
        say("rows", f"all {n}: {use}; the held-out figures are those of {args.folds} folds")
    else:
        say("rows", f"{use}, {len(rows.held_out)} held out")
    net = model.net
    sizes = "-".join(map(str, net.layer_sizes))
    if args.ensemble > 1:
        sizes = f"{args.ensemble} networks {sizes}"
    names = [net.activation] if isinstance(net.activation, str) else net.activation
    lr = LEARNING_RATES[args.optimizer] if args.lr is None else args.lr
    say("network", f"{sizes} of {', '.join(names)} units, {net.loss}, {args.dtype}, "
                   f"{args.optimizer} with lr {lr:g}, l2 {args.l2:g}, batch size "
                   f"{args.batch_size}, seed {args.seed}")


def tell_figures(figures, of):
    """Figures of held-out rows with their standard errors."""
    for figure in figures:
        remark = f" ({figure.remark})" if figure.remark else ""
        value = "none" if np.isnan(figure.value) else measured(figure.value, figure.error)
        say(f"{of} {figure.name}", value + remark)


def over_folds(all_figures):
    """The mean of each figure, and its standard deviation, over the folds that have it.

    A fold of one class has no AUC, and one of a single row no share of a variance.
    """
    by_name = {}
    for figure in (figure for figures in all_figures for figure in figures):
        by_name.setdefault(figure.name, []).append(figure)
    found = []
    for same in by_name.values():
        values = np.array([figure.value for figure in same if not np.isnan(figure.value)])
        remark = f"mean and deviation of {len(values)} folds"
        if len(values) < len(all_figures):
            remark += ", the others have none"
        found.append(same[0]._replace(
            value=float(values.mean()) if len(values) else np.nan,
            error=float(values.std(ddof=1)) if len(values) > 1 else np.nan, remark=remark))
    return found


def tell_checkpoint(path):
    """That a training goes on from a file, if it is there."""
    if path and os.path.exists(path):
        say("checkpoint", f"{path} is there: the training goes on from it")


def tell_interruption(trained, args):
    """That Ctrl-C came, on stderr."""
    if sys.stderr is not None:
        there = args.checkpoint and os.path.exists(args.checkpoint)
        more = f"; the same command goes on from {args.checkpoint}" if there else ""
        _screen.show("fastbp:", f"interrupted after {trained.n_epochs} of {args.epochs} epochs"
                     f"{more}", len("fastbp: "), sys.stderr)


def tell_course(trained, args):
    """How the training went, and what that suggests."""
    made = _arguments.counted(trained.n_epochs, "epoch")
    best = f", the best was epoch {trained.best_epoch + 1}" * (
        trained.validation_losses is not None and trained.best_epoch >= 0)
    if trained.n_epochs and not trained.n_made:
        say("training", f"{made}, all of them in the checkpoint: nothing was left to do{best}")
    else:
        rate = trained.n_made * len(trained.rows.train) / max(trained.seconds, 1e-9)
        resumed = "" if trained.n_made == trained.n_epochs else f", {trained.n_made} of them now,"
        say("training", f"{made}{resumed} in {trained.seconds:.3f} s, {rate:.0f} rows per second"
                        f"{best}")
    for name, sentence in advice(trained, args):
        say(name, sentence)


def tell_next(args, paths):
    """The files written, and what to type next."""
    for path in paths:
        say("written", path)
    if args.out:
        out = shlex.quote(args.out)
        data = shlex.quote(args.data if isinstance(args.data, str) else "DATA")
        commands = [f"fastbp predict {out} NEW_DATA.csv --out predictions.csv"]
        commands += [f"fastbp explain {out} {data}"] * bool(args.data)
        for name, command in zip(("next", ""), commands, strict=False):
            print(f"{name:<{WIDTH}} {command}")  # in one line, which can be copied
    elif args.data:
        say("next", "the same with --out MODEL.safetensors saves the network, for fastbp predict")
    if sys.stdout is not None:
        sys.stdout.flush()
