"""Fits in lockstep: an epoch of each network that is still trained, then the next of each.

A fit is a generator. It yields an `Epoch` when it wants one, and goes on when that has been carried
out; an error of the epoch is raised where it was yielded. `alone` runs one fit, `together` many.
All epochs of all fits pass through `train_epochs`.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastbp import _arguments
from fastbp._many import Lockstep

OF_X = ("n_features_in_", "feature_names_in_")      # what `_read` learns


class Setting:
    """What is the same in every epoch of a fit: arguments of `MLP.train_epoch`."""

    def __init__(self, net, X, y, weight, rule, batch_size, l2):
        self.given = net, X, y, weight, rule, batch_size, l2
        self.X, self.y, self.rule = X, y, rule
        self.lockstep = self.number = None      # where it is among others

    @cached_property
    def all_rows(self):
        return np.arange(len(self.X))


class Epoch(NamedTuple):
    """One pass over the samples of a setting."""

    setting: Setting
    order: np.ndarray | None    # rows of X, of any number; None: each, as they come
    losses: np.ndarray          # receives `batch_losses`

    def carry_out(self):
        net, X, y, weight, rule, batch_size, l2 = self.setting.given
        order = self.order
        if order is not None and len(order) != len(X):
            order = [order[start:start + batch_size] for start in range(0, len(order), batch_size)]
        net.train_epoch(X, y, rule, batch_size=batch_size, shuffle=False, order=order,
                        sample_weight=weight, l2=l2, batch_losses=self.losses)


def train_epochs(epochs):
    """Carry out epochs of different networks, {key: Epoch}; {key: Exception} of those that fail.

    In one call, which refuses all where one would fail, before the first step: then one by one.
    """
    if len(epochs) > 1:
        steps = [epoch.setting.rule.t for epoch in epochs.values()]
        try:
            train_many([*epochs.values()])
            return {}
        except (TypeError, ValueError, RuntimeError):
            if steps != [epoch.setting.rule.t for epoch in epochs.values()]:
                raise           # no refusal: a handler of signals raised it
    errors = {}
    for key, epoch in epochs.items():
        try:
            epoch.carry_out()
        except Exception as error:
            errors[key] = error
    return errors


def train_many(epochs):
    settings = [epoch.setting for epoch in epochs]
    lockstep = settings[0].lockstep
    if lockstep is None or any(setting.lockstep is not lockstep for setting in settings):
        lockstep = lockstep_of(settings)
    rows = [epoch.setting.all_rows if epoch.order is None else epoch.order for epoch in epochs]
    lockstep.epoch([setting.number for setting in settings], rows,
                   [epoch.losses for epoch in epochs])


def lockstep_of(settings):
    """What checks the settings once; they use it as long as all of an epoch's have the same."""
    nets, X, y, weights, rules, batch_sizes, penalties = zip(
        *(setting.given for setting in settings), strict=True)
    numbers = [net.n_threads for net in nets]
    lockstep = Lockstep([*nets], X, y, weights, rules, batch_sizes, penalties,
                        None if None in numbers else max(numbers))
    for number, setting in enumerate(settings):
        setting.lockstep, setting.number = lockstep, number
    return lockstep


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
    """X and y that estimators are fitted to, and what all of one kind make of them.

    What scikit-learn says of them names `owner`, the estimator that the user has, or else the model
    that reads them.
    """

    def __init__(self, X, y, owner=None):
        self.X, self.y, self.owner, self.read, self.made = X, y, owner, {}, {}

    def __call__(self, model, dtype, reset):
        """X and y as `model._read` returns them, and None: each row is a sample."""
        key = type(model), dtype
        if key not in self.read:
            X, y = model._read(self.X, self.y, dtype, reset, self.owner)
            reader = vars(self.owner or model)
            self.read[key] = X, y, {name: reader[name] for name in OF_X if name in reader}
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
        self.data, self.places, self.owner = data, places, data.owner

    def __call__(self, model, dtype, reset):
        X, y, _ = self.data(model, dtype, reset)
        return X, y[self.places], self.places
