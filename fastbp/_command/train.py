"""`fastbp train`: from a table to held-out figures, and to a model file if one is asked for.

Rows are held out, the columns prepared by what the others hold, and a network or an ensemble is
trained until the rows of a validation no longer gain. Every random number comes from `--seed`. What
can fail for want of a package or a writable file fails before training.
"""

import numpy as np

import fastbp
from fastbp import _files, io
from fastbp._command.exits import INTERRUPTED
from fastbp._command.figures import import_figure
from fastbp._command.outputs import check_suffix, refuse_overwriting
from fastbp._command.tables import report
from fastbp._command.tables.data import load
from fastbp._command.tables.fitting import divided, plan, trained
from fastbp._command.tables.pictures import draw_training, pages
from fastbp._command.tables.splits import folds, stratified_split
from fastbp._safetensors import import_safetensors
from fastbp._table import files_of

TEST_FRACTION = 0.25


def run(args):
    """Carry out `fastbp train` and return its exit code."""
    _check_options(args)
    _check_outputs(args)
    data = load(args)
    if args.folds or args.test_fraction == 0:
        train, test = np.arange(data.n_rows), np.zeros(0, dtype=np.intp)
    else:
        fraction = TEST_FRACTION if args.test_fraction is None else args.test_fraction
        train, test = stratified_split(data.strata, fraction, args.seed)
    final = plan(data, divided(data, train, test, args), args)
    report.tell_table(data, final.words, brief=args.data is None)
    report.tell_network(args, final.model, final.rows)
    figures, of = None, "held-out" if len(test) else "validation"
    if args.folds:
        figures, of = _over_folds(data, args), "held-out"
    report.tell_checkpoint(args.checkpoint)
    found = trained(final, args, checkpoint=args.checkpoint)
    if found.interrupted:
        report.tell_interruption(found, args)
    figures = found.figures if figures is None else figures
    try:
        report.tell_figures(figures, of)
        report.tell_course(found, args)
    finally:  # the network is saved even if the reader of stdout has gone
        paths = _written(args, data, final, found, figures, of)
    report.tell_next(args, paths)
    return INTERRUPTED if found.interrupted else 0


def _over_folds(data, args):
    """Train on all folds but one, each in turn, and return the figures over them."""
    found = []
    for k, (train, held_out) in enumerate(folds(data.strata, args.folds, args.seed), start=1):
        rows = divided(data, train, held_out, args)
        one = trained(plan(data, rows, args), args, f"fold {k}/{args.folds}, epoch")
        if one.interrupted:
            raise KeyboardInterrupt(
                f"interrupted in fold {k} of {args.folds}: nothing is written")
        found.append(one.figures)
    return report.over_folds(found)


def _check_options(args):
    """Refuse options that contradict each other."""
    if args.folds and args.test_fraction is not None:
        raise ValueError("--folds and --test-fraction were both given; the folds are what is held "
                         "out")
    if args.checkpoint and (args.folds or args.ensemble > 1):
        raise ValueError("--checkpoint goes with one network, without --folds and --ensemble")


def _check_outputs(args):
    """Raise what saving would raise, before any work is done."""
    if args.out or args.checkpoint:
        import_safetensors()
    if args.plot:
        import_figure()
        check_suffix(args.plot)
    taken = files_of(args.data) if args.data else []
    outputs = [("--out", args.out), ("--checkpoint", args.checkpoint)]
    outputs += [("--plot", path) for path in pages(args.plot)] if args.plot else []
    for option, path in outputs:
        if path:
            refuse_overwriting(option, path, taken)
            taken.append(path)
            if option != "--checkpoint":  # which may be read only
                _files.check_writable(path)


def _written(args, data, final, found, figures, of):
    """Write the model and the pictures; return their paths."""
    paths = []
    if args.out:
        recipe = found.model.recipe._replace(training=_training(args, data, found, figures, of))
        found.model.recipe = recipe
        io.save_model(args.out, found.model)
        paths.append(args.out)
    if args.plot:
        paths += draw_training(args.plot, found, final)
    return paths


def _training(args, data, found, figures, of):
    """What a model file says of its training."""
    options = {name: getattr(args, name) for name in (
        "epochs", "batch_size", "optimizer", "lr", "l2", "patience", "class_weight", "seed",
        "folds", "ensemble")}
    return {
        "data": data.description, "decimal": data.decimal, "thousands": data.thousands,
        "options": options,
        "rows": {"training": len(found.rows.train), "validation": len(found.rows.validation),
                 "held out": len(found.rows.held_out)},
        "epochs": found.n_epochs, "best epoch": found.best_epoch + 1,
        "interrupted": found.interrupted,
        "figures": [[f"{of} {figure.name}", *(  # JSON has no NaN
                        value if np.isfinite(value) else None
                        for value in (figure.value, figure.error)), figure.remark]
                    for figure in figures],
        "versions": {"fastbp": fastbp.__version__, "numpy": np.__version__}}
