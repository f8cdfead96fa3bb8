"""Fits in lockstep: an epoch of each network that is still trained, then the next of each.

A fit is a generator. It yields an `Epoch` when it wants one, and goes on when that has been carried
out; an error of the epoch is raised where it was yielded. `alone` runs one fit, `together` many.
All epochs of all fits pass through `train_epochs`.
"""

from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _arguments

OF_X = ("n_features_in_", "feature_names_in_")      # what `_read` learns


class Epoch(NamedTuple):
    """One pass of `net` over samples: the arguments of its `train_epoch`, until that is done."""

    net: fastbp.MLP
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    rule: fastbp.SGD | fastbp.Adam
    order: np.ndarray | None    # rows of X, of any number; None: each, as they come
    batch_size: int
    l2: float
    losses: np.ndarray          # receives `batch_losses`

    def carry_out(self):
        order = self.order
        if order is not None and len(order) != len(self.X):
            starts = range(0, len(order), self.batch_size)
            order = [order[start:start + self.batch_size] for start in starts]
        self.net.train_epoch(self.X, self.y, self.rule, batch_size=self.batch_size, shuffle=False,
                             order=order, sample_weight=self.weight, l2=self.l2,
                             batch_losses=self.losses)


def train_epochs(epochs):
    """Carry out epochs of different networks, {key: Epoch}; {key: Exception} of those that fail.

    In one call, which refuses all where one would fail, before the first step: then one by one.
    """
    if len(epochs) > 1:
        steps = [epoch.rule.t for epoch in epochs.values()]
        try:
            train_many([*epochs.values()])
            return {}
        except (TypeError, ValueError, RuntimeError):
            if steps != [epoch.rule.t for epoch in epochs.values()]:
                raise           # no refusal: a handler of signals raised it
    errors = {}
    for key, epoch in epochs.items():
        try:
            epoch.carry_out()
        except Exception as error:
            errors[key] = error
    return errors


def train_many(epochs):
    nets, Xs, ys, weights, rules, orders, batch_sizes, penalties, losses = zip(*epochs, strict=True)
    rows = [np.arange(len(X)) if order is None else order
            for X, order in zip(Xs, orders, strict=True)]
    numbers = [net.n_threads for net in nets]
    fastbp.train_many(nets, Xs, ys, rules, batch_size=batch_sizes, shuffle=False, rows=rows,
                      sample_weight=weights, l2=penalties, batch_losses=losses,
                      n_threads=None if None in numbers else max(numbers))


@_arguments.quiet
def alone(fit):
    """Run one fit. It may catch the exceptions of its epochs, a KeyboardInterrupt too."""
    error = None
    while True:
        try:
            epoch = next(fit) if error is None else fit.throw(error)
            while True:     # inside `try`: a signal is looked at when a loop jumps back
                epoch.carry_out()
                epoch = next(fit)
        except StopIteration:
            return
        except BaseException as raised:
            if fit.gi_frame is None:        # the fit raised it, and has ended
                raise
            error = raised


@_arguments.quiet
def together(fits, on_error):
    """Run fits in lockstep until each has ended.

    Ctrl-C is for all of them: each gets the KeyboardInterrupt where it waits for its epoch.

    Parameters
    ----------
    fits : dict of generator
        Of `Epoch`s, of different networks; they return whether Ctrl-C ended them.
    on_error : callable
        Is called with the key and the Exception of a fit that fails, and may raise it. If it does
        not the others go on.

    Returns
    -------
    bool
        Whether Ctrl-C ended a fit.
    """
    running, epochs, errors, interrupted = dict(fits), {}, {}, False
    while running:
        try:        # around all: a signal may come anywhere
            for key, fit in list(running.items()):
                error = KeyboardInterrupt() if interrupted else errors.get(key)
                try:
                    epochs[key] = next(fit) if error is None else fit.throw(error)
                except StopIteration as end:
                    del running[key]
                    if end.value and not interrupted:
                        raise KeyboardInterrupt from None
                except Exception as raised:
                    del running[key]
                    on_error(key, raised)
            errors = train_epochs(epochs) if epochs else {}
        except KeyboardInterrupt:
            if interrupted:     # by a second one, or before a fit has begun
                raise
            interrupted = True
        epochs = {}
    return interrupted


def now(make, y, *key):
    """In the place of `Data.once`, where no other estimator has the same y: `make(y)`."""
    return make(y)


class Data:
    """X and y that estimators are fitted to, and what all of one kind make of them."""

    def __init__(self, X, y):
        self.X, self.y, self.read, self.made = X, y, {}, {}

    def __call__(self, model, dtype, reset):
        """X and y as `model._read` returns them, and None: each row is a sample."""
        key = type(model), dtype
        if key not in self.read:
            X, y = model._read(self.X, self.y, dtype, reset)
            self.read[key] = X, y, {name: vars(model)[name] for name in OF_X if name in vars(model)}
        X, y, seen = self.read[key]
        vars(model).update(seen)
        return X, y, None

    def once(self, make, y, *key):
        """`make(y)`; of a y that was read, the same for all who ask with the same key."""
        key = id(y), *key
        if key in self.made:
            return self.made[key]
        made = make(y)
        if any(y is each for _, each, _ in self.read.values()):     # which keeps its id
            self.made[key] = made
        return made


class Resampled:
    """Some rows of `Data`, each as often as it is in an index set."""

    once = staticmethod(now)

    def __init__(self, data, places):
        self.data, self.places = data, places

    def __call__(self, model, dtype, reset):
        X, y, _ = self.data(model, dtype, reset)
        return X, y[self.places], self.places
