"""A network or an ensemble, trained on some rows until those of the validation no longer gain.

The columns are prepared by what the rows of the training hold, those of the validation with them.
The best epoch is the one with the lowest loss of the validation; its parameters are kept.
"""

import math
import time
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp._checkpoint import Checkpoint, OtherFit
from fastbp._command.tables.data import features, prepare
from fastbp._command.tables.metrics import figures
from fastbp._command.tables.splits import EPOCH, VALIDATION, stratified_split, stream
from fastbp._progress import progress
from fastbp._saved_model import Recipe, SavedModel

LEARNING_RATES = {"adam": 0.003, "sgd": 0.1}
# Answers to counts are exponentials: with relu units, which have no bound, they overshoot.
ACTIVATIONS = {"counts": "tanh"}  # elsewhere relu
FEWEST_ROWS = 40  # of a training from which some are taken for the validation
CAUSES = {  # of what the fit of a checkpoint has in another way
    "layer_sizes": "the columns or --hidden", "activation": "--activation",
    "loss": "the target or --task", "dtype": "--dtype", "loss_options": "--class-weight",
    "optimizer": "--optimizer or --lr", "batch_size": "--batch-size", "l2": "--l2",
    "patience": "--patience or --validation-fraction", "y": "the target",
    "X": "the cells of the table, or the rows of the training",
    "rows": "the rows of the training, by --test-fraction, --validation-fraction or --seed",
    "params": "--seed", "rng": "--seed"}


class Rows(NamedTuple):
    """Row numbers of one training."""

    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray


class Trained(NamedTuple):
    """What a training led to.

    Attributes
    ----------
    model : SavedModel
    rows : Rows
    figures : list of Figure
        Of the rows held out, or else of the validation; may be empty.
    losses, validation_losses : (n_epochs,) ndarray
        Of an ensemble the means; of counts by how much they are above the least loss that answers
        could have, which is half the deviance. The latter is None without a validation.
    best_epoch : int
        From 0; of an ensemble the median.
    n_made : int
        Epochs of this run; others were in a checkpoint.
    seconds : float
        That these took.
    interrupted : bool
    """

    model: SavedModel
    rows: Rows
    figures: list
    losses: np.ndarray
    validation_losses: np.ndarray | None
    best_epoch: int
    n_made: int
    seconds: float
    interrupted: bool

    @property
    def n_epochs(self):
        return len(self.losses)


def divided(data, train, held_out, args):
    """The rows of a training, some of which judge its epochs."""
    none = np.zeros(0, dtype=np.intp)
    if args.validation_fraction == 0 or len(train) < FEWEST_ROWS:
        return Rows(train, none, held_out)
    kept, validation = stratified_split(data.strata[train], args.validation_fraction, args.seed,
                                        VALIDATION)
    return Rows(train[kept], train[validation], held_out)


class Plan(NamedTuple):
    """What is to be trained.

    Attributes
    ----------
    model : SavedModel
        Not trained yet.
    words : list of (str, str)
        Each column and what is done with it.
    rows : Rows
    X, y : ndarrays
        As the network takes them.
    targets : ndarray
        As `target_of` gives them.
    """

    model: SavedModel
    words: list
    rows: Rows
    X: np.ndarray
    y: np.ndarray
    targets: np.ndarray


def plan(data, rows, args):
    """Prepare the columns by the rows of a training, and make its network."""
    learned = np.sort(np.concatenate([rows.train, rows.validation]))
    preparation, words = prepare(data, learned)
    target = data.target.learned(data.y[learned])
    X, y = features(data, preparation, args.dtype), target.for_network(data.y, args.dtype)
    model = SavedModel(
        _network(args, target, X.shape[1], data.y[learned]), preparation.mean, preparation.scale,
        preparation.features, target.classes[0] if target.task == "classes" else (),
        ", ".join(target.names), Recipe(preparation, target, data.marks, {}))
    return Plan(model, words, rows, X, y, data.y)


def trained(plan, args, caption="epoch", checkpoint=None):
    """Carry out a plan; returns `Trained`."""
    model, rows = plan.model, plan.rows
    course = _Course(plan, args, caption)
    history, interrupted = course.run(plan.y, checkpoint)
    looked_at = rows.held_out if len(rows.held_out) else rows.validation
    found = figures(model, plan.X[looked_at], plan.targets[looked_at]) if len(looked_at) else []
    return Trained(model, rows, found, *history, len(course.losses), course.seconds, interrupted)


def _network(args, target, n_features, y):
    sizes = (n_features, *args.hidden, target.n_outputs)
    activation = args.activation or ACTIVATIONS.get(target.task, "relu")
    options = {"activation": activation, "loss": target.loss, "dtype": args.dtype}
    if args.class_weight == "balanced":
        options["class_weight"] = _balanced(target, y)
    if args.ensemble > 1:
        return fastbp.Population(args.ensemble, sizes, seeds=range(args.seed,
                                 args.seed + args.ensemble), **options)
    return fastbp.MLP(sizes, seed=args.seed, **options)


def _balanced(target, y):
    if target.task != "classes":
        raise ValueError("--class-weight needs a target of classes")
    n_classes = len(target.classes[0])
    counts = np.bincount(y, minlength=n_classes)
    return tuple(float(len(y) / (n_classes * max(n, 1))) for n in counts)


def optimizer_of(args):
    lr = LEARNING_RATES[args.optimizer] if args.lr is None else args.lr
    return fastbp.Adam(lr) if args.optimizer == "adam" else fastbp.SGD(lr, momentum=0.9)


def least_loss(target, y):
    """The mean loss of answers that are the counts y (n, n_outputs) themselves, else 0."""
    if target.task != "counts":
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(y > 0, y * np.log(y), 0.0)
    return float((y - logs).sum(axis=1).mean())


class _Course:
    """The epochs of one training, shown while they go on."""

    def __init__(self, plan, args, caption):
        self.model, self.X, self.rows = plan.model, plan.X, plan.rows
        self.targets, self.args, self.caption, self.seconds = plan.targets, args, caption, 0.0
        self.losses, self.validation_losses = [], []    # of the epochs of this run,
        self.earlier, self.first = ([], []), 0          # and of those in a checkpoint, how many
        self.least = [least_loss(self.model.target, self.targets[rows]) if len(rows) else 0.0
                      for rows in self.rows[:2]]

    def run(self, y, checkpoint):
        """Return (losses, validation losses, best epoch), and whether Ctrl-C came."""
        args, net, several = self.args, self.model.net, self.args.ensemble > 1
        judged = {} if not len(self.rows.validation) else {
            "validation_rows": self.rows.validation, "patience": args.patience}
        generators = [np.random.Generator(stream(args.seed, EPOCH, *[k] * several))
                      for k in range(args.ensemble)]
        options = dict(epochs=args.epochs, batch_size=args.batch_size, rows=self.rows.train,
                       l2=args.l2, callback=self.after_epoch, **judged)
        train = net.train if several else net.fit
        if checkpoint is not None:
            options["checkpoint"] = checkpoint
            self.earlier = _losses_in(checkpoint)
        self.start, interrupted = time.perf_counter(), False
        try:
            with progress(self.caption, args.epochs, bool(judged)) as self.show:
                history = train(self.X, y, optimizer_of(args),
                                rng=generators if several else generators[0], **options)
            found = self.of(history)
        except OtherFit as error:
            raise ValueError(_of_another_training(checkpoint, error.differences)) from None
        except KeyboardInterrupt:
            if not self.losses:  # nothing that is new, to report or to write over a file
                raise
            interrupted, found = True, self.so_far()
        self.seconds = time.perf_counter() - self.start
        losses, validation_losses, best = found
        if validation_losses is not None:
            validation_losses = validation_losses - self.least[1]
        return (losses - self.least[0], validation_losses, best), interrupted

    def after_epoch(self, epoch, loss, judged):
        """Keep and show the losses of an epoch."""
        loss, judged = (float(np.nanmean(each)) for each in (loss, judged))
        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} in epoch {epoch + 1}: try a smaller --lr")
        self.first = epoch - len(self.losses)
        self.losses.append(loss)
        self.validation_losses.append(judged)
        parts = [f"loss {loss - self.least[0]:.3g}"]
        if len(self.rows.validation):
            parts.append(f"validation {judged - self.least[1]:.3g}")
        self.show(epoch + 1, parts, self.metric)

    def metric(self):
        """The first figure of the rows of the validation, for the progress of the training."""
        validation = self.rows.validation
        if not len(validation):
            return ()
        metric = figures(self.model, self.X[validation], self.targets[validation])[0]
        return (f"{metric.name} {metric.value:.3g}",)

    def of(self, history):
        """Losses and the best epoch of a history, of an ensemble the means and the median."""
        judged = history.validation_losses
        if history.losses.ndim == 2:
            best = int(np.median(history.best_epoch))
            return (np.nanmean(history.losses, axis=1),
                    None if judged is None else np.nanmean(judged, axis=1), best)
        return history.losses, judged, history.best_epoch

    def so_far(self):
        """What `of` gives, of a fit that was stopped, with the epochs of its checkpoint."""
        losses, judged = (np.array([*earlier[:self.first], *now]) for earlier, now in zip(
            self.earlier, (self.losses, self.validation_losses), strict=True))
        if not len(self.rows.validation):
            return losses, None, len(losses) - 1
        return losses, judged, int(np.argmin(np.where(np.isnan(judged), np.inf, judged)))


def _of_another_training(checkpoint, differences):
    causes = [f"{CAUSES[name]} ({words})" for name, words in differences if name in CAUSES]
    return (f"--checkpoint {checkpoint} is of another training: what differs is "
            f"{'; '.join(causes or (words for _, words in differences))}. Give the same table and "
            "options to go on with it; to begin anew, give another FILE or remove this one")


def _losses_in(checkpoint):
    """The losses, and those of the validation, of the epochs in a checkpoint, if it is there."""
    tensors, _ = Checkpoint(checkpoint, {}).load() or ({}, {})
    return [tensors.get(name, ()) for name in ("losses", "validation_losses")]
