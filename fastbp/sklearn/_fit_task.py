"""What a worker does for a search or an ensemble: fits in lockstep, for some seconds at a time.

A fit of "adam" or "sgd" that is not done by then is paused before an epoch. What it has reached
goes back, and another task goes on from there, with the bits of a fit that never paused: it begins
as that one did, and then takes over what the epochs have changed. Fits of other solvers are carried
out one by one, and a task begins no further one when its seconds are over.
"""

import copy
import time
from typing import NamedTuple

import numpy as np
from sklearn import config_context

from fastbp.sklearn._base import STOCHASTIC
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._samples import which_of
from fastbp.sklearn._together import OF_X, Data, Resampled, together

NETWORK = ("_net", "coefs_", "intercepts_")     # attributes of a model that hold its parameters


class Given:
    """What fits read: `Data`, and (X_val, y_val, sample_weight_val)."""

    def __init__(self, data, weight, held_out):
        self.data, self.weight, self.held_out = data, weight, held_out

    def ready(self, models):
        """The same, X and y as these models read them, so that no worker has to."""
        read = self.data
        for model in models:
            try:
                read(copy.copy(model), model._dtypes(), True)
            except Exception:           # which the fit raises
                return self
        sent = Data(None, None, bare(self.data.owner))
        sent.read = read.read
        return Given(sent, self.weight, self.held_out)


def bare(owner):
    """An estimator with its parameters and what it has learned of X, without its models."""
    if owner is None:
        return None
    made = type(owner).__new__(type(owner))
    vars(made).update(owner.get_params(deep=False))
    vars(made).update({name: vars(owner)[name] for name in OF_X if name in vars(owner)})
    return made


class Fit(NamedTuple):
    """A fit of a model that has not begun."""

    model: object
    given: Given
    rows: np.ndarray | None     # of a bootstrap sample

    def begun(self, task):
        data, weight = self.given.data, self.given.weight
        if self.rows is not None:
            data, weight = Resampled(data, self.rows), which_of(weight, self.rows)
        return self.model._fit(data, weight, self.given.held_out, False, task)


class Reached(NamedTuple):
    """What the epochs of a paused fit have changed."""

    attributes: dict                # of the model
    params: np.ndarray              # of its network
    best_params: np.ndarray | None
    order: np.ndarray
    draws: dict                     # the state of its generator
    round: int                      # the epoch before which it paused
    said: list
    seconds: float


class Answer(NamedTuple):
    """What came of a fit in a worker."""

    model: object               # fitted
    error: Exception | None
    round: int                  # the epoch of the error
    said: list                  # warnings, each a message and a category
    seconds: float


class TaskResult(NamedTuple):
    """What came of a task."""

    answers: dict               # {key: Answer}
    left: dict                  # {key: Reached or None, where the fit has not begun}
    seconds: float


class Paused(Exception):
    """The seconds of a task are over."""


class Run(NoTask):
    """A fit in a worker, as `together` takes it, and the task that the fit sees.

    It keeps warnings for the process in which the fit was asked for, counts how often the fit goes
    on, and pauses it at time `until`, after one epoch at least.
    """

    def __init__(self, fit, reached, until):
        self.model, self.reached, self.until = fit.model, reached, until
        self.said, self.seconds, self.round = [], 0.0, -1
        self.course = self.error = None
        self.n_begun = self.work_before = 0
        if reached is not None:
            self.seconds, self.round = reached.seconds, reached.round - 1
        self.fit = fit.begun(self)

    # ---- the generator

    def __next__(self):
        self.round += 1
        return next(self.fit)

    def throw(self, error):
        self.round += 1
        return self.fit.throw(error)

    # ---- the task

    def enter(self, *course):
        """Before the first epoch: go on from where the fit was paused."""
        self.course = net, order, random_state, best = course
        if self.reached is not None:
            vars(self.model).update(self.reached.attributes)
            net.params[:], order[:] = self.reached.params, self.reached.order
            random_state.set_state(self.reached.draws)
            if best is not None:
                best.params[:] = self.reached.best_params
            self.said = self.reached.said
            self.work_before = work_of(self.model)

    def begin(self):
        if self.course is not None:
            if self.n_begun and time.monotonic() >= self.until:
                raise Paused
            self.n_begun += 1

    def warn(self, message, category=UserWarning, further=0):
        self.said.append((message, category))

    # ---- what came of it

    def work(self):
        return max(work_of(self.model) - self.work_before, 1)

    def now_reached(self):
        net, order, random_state, best = self.course
        kept = {*NETWORK, *self.model.get_params(deep=False)}
        return Reached({name: value for name, value in vars(self.model).items()
                        if name not in kept}, net.params, None if best is None else best.params,
                       order, random_state.get_state(legacy=False), self.round, self.said,
                       self.seconds)

    def answer(self):
        return Answer(self.model, self.error, self.round, self.said, self.seconds)


def carry_out_fits(task, *given):
    """In a worker: the `TaskResult` of some fits.

    `task` has (key, model, which of `given`, rows, `Reached` or None) of each, scikit-learn's
    configuration, and the seconds after which what is left is sent back.
    """
    fits, config, seconds = task
    start = time.monotonic()
    answers, left = {}, {}
    with config_context(**{**config, "skip_parameter_validation": True}):
        for group in groups_of(fits):
            if answers and time.monotonic() >= start + seconds:
                left |= {key: reached for key, *_, reached in group}
                continue
            runs = {key: Run(Fit(model, given[place], rows), reached, start + seconds)
                    for key, model, place, rows, reached in group}
            carry_out_group(runs)
            for key, run in runs.items():
                if isinstance(run.error, Paused):
                    left[key] = run.now_reached()
                else:
                    answers[key] = run.answer()
    return TaskResult(answers, left, time.monotonic() - start)


def groups_of(fits):
    """Each fit of a solver that has no epochs by itself, then all others."""
    with_epochs = [fit for fit in fits if fit[1].solver in STOCHASTIC]
    alone = [[fit] for fit in fits if fit[1].solver not in STOCHASTIC]
    return [*alone, with_epochs] if with_epochs else alone


def carry_out_group(runs):
    """Each run has its part of the seconds that they took together, and its error."""
    def keep(key, error):
        runs[key].error = error

    start = time.perf_counter()
    if together(runs, keep):
        raise KeyboardInterrupt
    took, work = time.perf_counter() - start, sum(run.work() for run in runs.values())
    for run in runs.values():
        run.seconds += took * run.work() / work


def work_of(model):
    """Samples seen times parameters; 0 if there was no epoch."""
    net = getattr(model, "_net", None)
    return 0 if net is None else getattr(model, "t_", 0) * net.n_params
