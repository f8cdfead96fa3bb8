"""Epochs of many networks until each has learned: rates, validation, early stopping.

A network that stops costs nothing from then on. With validation each has the parameters of its best
epoch in the end, whatever ended it.
"""

import copy
import reprlib
import sys
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from fastbp import _arguments


class History(NamedTuple):
    """What happened in the epochs of a fit; NaN where a network had stopped.

    Of `MLP.fit`, which has one network, the arrays have no axis of networks, and two are ints.

    Attributes
    ----------
    losses : (n_epochs, n_networks) ndarray of float64
        What each epoch returned: the mean loss, with the penalty, while it was trained.
    validation_losses : (n_epochs, n_networks) ndarray of float64, or None
        The mean loss after each epoch, without the penalty.
    n_epochs : (n_networks,) ndarray of int
        Epochs that each network made.
    best_epoch : (n_networks,) ndarray of int
        The epoch whose loss was the best, from 0: with validation that of the parameters that the
        network has now. -1 where no loss was a number; with validation the network then has the
        parameters that it began with.
    """

    losses: np.ndarray
    validation_losses: np.ndarray | None
    n_epochs: np.ndarray
    best_epoch: np.ndarray


JUDGED = "active", "least", "waited", "best_epoch", "n_epochs"      # arrays, with that of each


class Judge:
    """Which networks go on, and the best parameters of each."""

    def __init__(self, vectors, patience, min_delta, keeps):
        n = len(vectors)
        self.vectors, self.patience, self.min_delta = vectors, patience, min_delta
        self.active, self.least = np.ones(n, bool), np.full(n, np.inf)
        self.waited, self.best_epoch = np.zeros(n, int), np.full(n, -1)
        self.n_epochs = np.zeros(n, int)
        self.kept = [vector.copy() for vector in vectors] if keeps else None

    def after_epoch(self, epoch, losses):
        """Judge the epoch by its losses; those that are NaN are not better."""
        better = self.active & (losses < self.least - self.min_delta)
        self.n_epochs[self.active] += 1
        self.least[better], self.best_epoch[better] = losses[better], epoch
        self.waited = np.where(better, 0, self.waited + 1)
        if self.kept is not None:
            for k in np.flatnonzero(better):
                self.kept[k][:] = self.vectors[k]
        if self.patience is not None:
            self.active &= self.waited < self.patience

    def of(self, members):
        """That of some networks, without their vectors, for another process to go on with."""
        part = copy.copy(self)
        part.vectors = None
        for name in JUDGED:
            setattr(part, name, getattr(self, name)[members])
        if self.kept is not None:
            part.kept = [self.kept[k] for k in members]
        return part

    def take(self, members, part):
        """What another process has made of `of(members)`."""
        for name in JUDGED:
            getattr(self, name)[members] = getattr(part, name)
        for k, kept in zip(members, part.kept or (), strict=False):
            self.kept[k][:] = kept

    def restore(self):
        """The best parameters of each, or its first ones, where there is validation."""
        for k, best in enumerate(self.kept or ()):
            self.vectors[k][:] = best


def fit(run_epoch, validate, vectors, options):
    """Epochs until all networks have stopped.

    Parameters
    ----------
    run_epoch : callable
        ``run_epoch(epoch, active)`` returns the loss of each network, NaN where it is not active.
    validate : callable or None
        ``validate(active)``, the same.
    vectors : sequence of (n_params,) ndarrays
        The parameters of each.
    options : Options

    Returns
    -------
    History
    """
    judge = Judge(vectors, options.patience, options.min_delta, validate is not None)
    losses, validation_losses = [], []
    try:
        with shown(options, len(vectors)) as show:
            for epoch, trained, judged in epochs(run_epoch, validate, judge, range(options.epochs)):
                losses.append(trained)
                validation_losses.append(judged)
                show(epoch + 1, judge)
                if options.callback is not None and ends(options.callback, epoch, trained.copy(),
                                                         judged.copy()):
                    break
    finally:
        judge.restore()
    return History(np.array(losses), None if validate is None else np.array(validation_losses),
                   judge.n_epochs, judge.best_epoch)


def epochs(run_epoch, validate, judge, numbers):
    """Yield (epoch, losses, those that `judge` has judged it by) until all networks have stopped.
    """
    for epoch in numbers:
        losses = run_epoch(epoch, judge.active)
        judged = losses if validate is None else validate(judge.active)
        judge.after_epoch(epoch, judged)
        yield epoch, losses, judged
        if not judge.active.any():
            break


def ends(callback, *figures):
    """Call the callback; whether it ends the fit."""
    answer = callback(*figures)
    if answer is None:
        return False
    if not isinstance(answer, (bool, np.bool_)):
        raise TypeError(f"callback returned {reprlib.repr(answer)}; it should return True, which "
                        "ends the fit, False or None")
    return bool(answer)


def checked(history):
    """The history, after a warning if a network ended with a loss that is no finite number.

    For compiled callers, which have no frame of their own: the warning is of the line that calls
    them.
    """
    for name, losses in (("loss", history.losses),
                         ("validation loss", history.validation_losses)):
        if losses is not None and (words := _diverged(losses, np.atleast_1d(history.n_epochs))):
            warnings.warn(f"the {name}{words}: look for NaN or infinity in X and y, or take a "
                          "smaller learning rate", RuntimeWarning, stacklevel=2)
            break
    return history


def _diverged(losses, n_epochs):
    """Which network, and from which epoch on; empty where all are finite in the end."""
    of_each = losses.reshape(len(losses), -1)
    networks = [k for k, n in enumerate(n_epochs) if not np.isfinite(of_each[n - 1, k])]
    if not networks:
        return ""
    own = of_each[:n_epochs[networks[0]], networks[0]]
    finite = np.flatnonzero(np.isfinite(own))
    words = f" is {own[-1]} from epoch {finite[-1] + 1 if finite.size else 0} on"
    if losses.ndim == 1:
        return words
    several = f", and that of {len(networks) - 1} more" if len(networks) > 1 else ""
    return f" of network {networks[0]}{words}{several}"


class Options(NamedTuple):
    """The options of a fit, checked."""

    epochs: int
    patience: int | None
    min_delta: float
    callback: object
    progress: bool


def options(epochs, patience, min_delta, callback, progress,
            figures=("losses", "validation_losses")):
    """The options of a fit that do not depend on its networks."""
    if callback is not None:
        _arguments.function("callback", callback, "epoch", *figures)
    return Options(
        _arguments.count("epochs", epochs, most=sys.maxsize),
        None if patience is None else _arguments.count("patience", patience),
        _arguments.non_negative("min_delta", min_delta),
        callback, _arguments.boolean("progress", progress))


@contextmanager
def shown(given, n_networks):
    """Yield ``show(n_epochs, judge)``, which says how far the fit has come if that is wished."""
    if not given.progress:
        yield lambda n_epochs, judge: None
        return
    from fastbp._progress import progress

    def parts(n_epochs, judge):
        done = n_networks if n_epochs == given.epochs else n_networks - judge.active.sum()
        return (f"{done} of {_arguments.counted(n_networks, 'network')} done",
                f"best loss {judge.least.min():.4g}")

    with progress("epoch", given.epochs, given.patience is not None) as show:
        yield lambda n_epochs, judge: show(n_epochs, parts(n_epochs, judge))


@contextmanager
def shown_alone(given, judged):
    """Yield the same of one network, ``show(n_epochs, loss, validation_loss, best_epoch)``."""
    if not given.progress:
        yield None
        return
    from fastbp._progress import progress

    def parts(loss, validation_loss, best_epoch):
        held_out = [f"validation {validation_loss:.4g}"] * judged
        return (f"loss {loss:.4g}", *held_out, f"best epoch {best_epoch + 1}")

    with progress("epoch", given.epochs, given.patience is not None) as show:
        yield lambda n_epochs, *figures: show(n_epochs, parts(*figures))


def set_rates(optimizer, rates):
    """Set the learning rate of all networks, or of each from an array."""
    if isinstance(optimizer, list):
        for k, one in enumerate(optimizer):
            one.lr = rates if np.ndim(rates) == 0 else rates[k]
    else:
        optimizer.lr = rates
