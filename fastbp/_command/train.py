"""`fastbp train`: from a table to held-out figures, and to a model file if one is asked for.

The rows are split within each class, the features standardised by the training rows alone, and a
network with one output, of sigmoid units by default, is trained for a number of epochs. Every
random number comes from `--seed`. What can fail for want of a package or a writable file fails
before training.
"""

import math
import os
import sys
import time
from io import BytesIO
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _arguments, _files, _random, io
from fastbp._command.exits import INTERRUPTED
from fastbp._command.figures import import_figure
from fastbp._progress import progress
from fastbp._table import files_of
from fastbp.datasets import load_breast_cancer, read_table

LEARNING_RATES = {"adam": 0.005, "sgd": 0.1}
PLOT_SUFFIXES = (".png", ".pdf", ".svg")
SPLIT_STREAM, EPOCH_STREAM = 1, 2  # beside the stream of --seed itself, which makes the weights


class Fit(NamedTuple):
    """What happened during training."""

    n_epochs: int  # completed
    seconds: float  # in `MLP.train_epoch` alone
    losses: list  # after each epoch, (training, held out), nats per sample; only for --plot
    interrupted: bool


class Rows(NamedTuple):
    """Standardised features (n, n_features) and labels (n,), in the dtype of the network."""

    X: np.ndarray
    y: np.ndarray


def run(args):
    """Carry out `fastbp train` and return its exit code."""
    _check_outputs(args)
    if args.data is None and args.target is not None:
        raise ValueError("--target needs DATA: the bundled data set has its own target")
    if args.data is None and args.decimal is not None:
        raise ValueError("--decimal needs DATA: the bundled data set has decimal points")
    data = load_breast_cancer() if args.data is None else read_table(
        args.data, args.target, decimal=args.decimal
    )

    train, test = stratified_split(data.y, args.test_fraction, args.seed)
    mean, scale = _standardisation(data.X[train], data.feature_names)
    X, y = ((data.X - mean) / scale).astype(args.dtype), data.y.astype(args.dtype)
    train, test = Rows(X[train], y[train]), Rows(X[test], y[test])

    sizes = (X.shape[1], *args.hidden, 1)
    net = fastbp.MLP(sizes, activation=args.activation, dtype=args.dtype, seed=args.seed)
    lr = LEARNING_RATES[args.optimizer] if args.lr is None else args.lr
    optimizer = fastbp.Adam(lr) if args.optimizer == "adam" else fastbp.SGD(lr, momentum=0.9)
    _print_task(args, data, net, lr, len(train.y), len(test.y))

    fit = _fit(net, optimizer, train, test, args)
    try:
        _print_result(net, fit, test, len(train.y))
    finally:  # the network is saved even if the reader of stdout has gone
        if args.out:
            io.save_model(
                args.out,
                net,
                feature_mean=mean,
                feature_scale=scale,
                feature_names=data.feature_names,
                classes=data.classes,
                target_name=data.target_name,
            )
        if args.plot:
            _plot(args.plot, fit)
    return INTERRUPTED if fit.interrupted else 0


def _check_outputs(args):
    """Raise what saving would raise, before any work is done."""
    if args.out:
        io.import_safetensors()
    if args.plot:
        import_figure()
        if os.path.splitext(args.plot)[1].lower() not in PLOT_SUFFIXES:
            raise ValueError(f"--plot {args.plot}: the suffix must be .png, .pdf or .svg")
    taken = [os.path.realpath(path) for path in files_of(args.data)] if args.data else []
    for option, path in (("--out", args.out), ("--plot", args.plot)):
        if path:
            if os.path.realpath(path) in taken:
                raise ValueError(f"{option} {path} would overwrite another file of this command")
            taken.append(os.path.realpath(path))
            _files.check_writable(path)


def stratified_split(y, test_fraction, seed):
    """Split rows at random into a training and a test part with the same shares of the classes.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels 0 and 1.
    test_fraction : float
        The share of each class in the test part; rounded to rows, but each part gets one at least.
    seed : int
        The rows are shuffled by `_random.permutation` from the stream PCG64([seed, 1]).

    Returns
    -------
    train, test : ndarray of int
        Row numbers, ascending.

    Raises
    ------
    ValueError
        `test_fraction` is not between 0 and 1, or a class has fewer than two rows.
    """
    if not 0.0 < test_fraction < 1.0:
        raise ValueError(f"the test fraction must be between 0 and 1, it is {test_fraction}")
    raw = _stream(seed, SPLIT_STREAM).random_raw(len(y) - 1)
    order = _random.permutation(len(y), raw)
    test = np.zeros(len(y), dtype=bool)
    for label in (0, 1):
        rows = order[y[order] == label]
        if len(rows) < 2:
            raise ValueError("a class has fewer than two rows: none can be held out")
        test[rows[: min(max(round(test_fraction * len(rows)), 1), len(rows) - 1)]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def _stream(seed, stream):
    return np.random.PCG64(np.random.SeedSequence([seed, stream]))


def _standardisation(X, names):
    """Return mean and standard deviation of each column; 1 in place of the latter if constant."""
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        mean, scale = X.mean(axis=0), X.std(axis=0)
    bad = np.flatnonzero(~np.isfinite(scale))
    if len(bad):
        raise ValueError(f"column {names[bad[0]]!r}: the values are too large to standardise")
    # Rounding can give a constant column a tiny deviation, and a tiny spread can underflow to 0.
    scale[(X.min(axis=0) == X.max(axis=0)) | (scale == 0.0)] = 1.0
    return mean, scale


def _fit(net, optimizer, train, test, args):
    """Train until the last epoch or Ctrl-C."""
    rng = np.random.Generator(_stream(args.seed, EPOCH_STREAM))
    parts = train, test
    n_epochs, seconds, losses, interrupted = 0, 0.0, [], False
    caption = "loss with penalty" if args.l2 else "loss"
    try:
        with progress("epoch", args.epochs) as show:
            for epoch in range(1, args.epochs + 1):
                start = time.perf_counter()
                loss = net.train_epoch(
                    *train, optimizer, batch_size=args.batch_size, rng=rng, l2=args.l2
                )
                seconds += time.perf_counter() - start
                if not math.isfinite(loss):
                    raise ValueError(f"the loss is {loss} in epoch {epoch}: try a smaller --lr")
                n_epochs = epoch
                if args.plot:
                    losses.append([net.loss_value(*part, reduction="mean") for part in parts])
                show(epoch, f"{caption} {loss:.4f}")
    except KeyboardInterrupt:
        interrupted = True
        print(f"fastbp: interrupted after {n_epochs} of {args.epochs} epochs", file=sys.stderr)
    return Fit(n_epochs, seconds, losses, interrupted)


def _print_task(args, data, net, lr, n_train, n_test):
    network = "-".join(map(str, net.layer_sizes))
    if net.activation != _arguments.DEFAULTS["activation"]:
        names = net.activation if isinstance(net.activation, tuple) else [net.activation]
        network += f" of {', '.join(names)} units"
    negative, positive = data.classes
    n_positive = int(data.y.sum())
    print(f"data               {data.description}")
    print(f"rows               {n_train} for training, {n_test} held out")
    print(
        f"target             {data.target_name}: positive class {positive!r} "
        f"({_arguments.counted(n_positive, 'row')}), negative class {negative!r} "
        f"({_arguments.counted(len(data.y) - n_positive, 'row')})"
    )
    print(
        f"network            {network}, {args.dtype}, {args.optimizer} with lr {lr:g}, "
        f"l2 {args.l2:g}, batch size {args.batch_size}, seed {args.seed}"
    )


def _print_result(net, fit, test, n_train):
    z = net.logits(test.X)[:, 0]
    n_right = int(np.count_nonzero((z >= 0.0) == (test.y == 1.0)))
    print(f"held-out accuracy  {n_right / len(z):.4f} ({n_right} of {len(z)})")
    print(f"held-out AUC       {auc(test.y, z):.4f}")
    print(f"held-out loss      {net.loss_value(*test, reduction='mean'):.4f} nats per sample")
    rate = fit.n_epochs * n_train / fit.seconds if fit.n_epochs else 0.0
    print(
        f"training           {fit.n_epochs} epochs in {fit.seconds:.3f} s, "
        f"{rate:.0f} samples per second"
    )
    if sys.stdout is not None:
        sys.stdout.flush()


def auc(y, score):
    """Return the area under the ROC curve, exactly: the share of pairs in the right order.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels 0 and 1, at least one of each.
    score : ndarray of shape (n_samples,)
        Larger for what is more likely 1.

    Returns
    -------
    float
        P(score of a random 1 > score of a random 0), ties counted half, from integer rank sums.
    """
    _, group, counts = np.unique(score, return_inverse=True, return_counts=True)
    doubled_ranks = 2 * np.cumsum(counts) - counts + 1  # twice the mean rank of each tied group
    positive = y == 1
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    doubled_wins = int(doubled_ranks[group[positive]].sum()) - n_pos * (n_pos + 1)
    return doubled_wins / (2 * n_pos * n_neg)


def _plot(path, fit):
    """Draw the losses without pyplot, so that no window system is asked for."""
    figure = import_figure()(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    losses = np.reshape(fit.losses, (-1, 2))  # also if Ctrl-C came before the first entry
    lines = axes.plot(range(1, len(losses) + 1), losses)
    axes.legend(lines, ["training", "held out"])
    axes.set(xlabel="epoch", ylabel="loss (nats per sample)", ylim=(0.0, None))
    content = BytesIO()
    figure.savefig(content, dpi=150, format=os.path.splitext(path)[1][1:].lower())
    _files.write_file(path, content.getvalue())
