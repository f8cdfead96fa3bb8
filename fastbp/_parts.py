"""The networks of a population in parts, each trained by a worker for some epochs at a time.

A part has all that its epochs change: parameters, gradients, optimizers, generators, what it is
judged by. A worker gets it, makes epochs of it until `_spread.TASK_SECONDS` are over or it is done,
and sends it back; then another one may go on with it. So no more than that is lost with a worker,
and by L5 neither the parts nor their epochs in a task can change a bit.
"""

import time
from operator import itemgetter

import numpy as np

from fastbp import _fit
from fastbp._optim import SGD, Adam
from fastbp._spread import TASK_SECONDS, Workers

LEAST_NETWORKS = 16     # of a part, where there are more than workers
PART_BYTES = 1 << 20    # of the parameters of a part of several networks
AHEAD = 100             # epochs whose rates a task gets, where they are a function of the epoch


class Part:
    """Some networks, before an epoch.

    Attributes
    ----------
    members : list of int
        Their numbers in the population.
    population : Population
        A copy of them.
    optimizers : list of SGD or Adam
        Copies too, from the first task on.
    source : BitGenerator, list of them, or None
        The same.
    judge : Judge
    epoch : int
        How many were made.
    losses : list of pairs of ndarrays
        Of the epochs of the last task.
    """

    def __init__(self, members, population, optimizers, source, judge):
        self.members, self.population, self.optimizers = members, population, optimizers
        self.source, self.judge, self.epoch, self.losses = source, judge, 0, []


def make_epochs(task, inputs, common):
    """In a worker: some epochs of a part, fewer where the seconds are over.

    `task` is the part, the rates of these epochs or None, how many, and the seconds; `inputs` are
    what each of its networks reads, and `common` what all networks do: both are `PartInputs`.
    """
    part, rates, n_epochs, seconds = task
    end = time.monotonic() + seconds
    part.losses, part.judge.vectors = [], part.population.params
    first = part.epoch
    schedule = None if rates is None else lambda epoch: rates[epoch - first]
    for epoch, *losses in part.population._epochs_of_part(part, inputs.with_common(common),
                                                          schedule, first + n_epochs):
        part.losses.append(losses)
        part.epoch = epoch + 1
        if time.monotonic() >= end:
            break
    part.judge.vectors = None
    return part


class Training:
    """The epochs of all parts, and what has come back of them.

    Parameters
    ----------
    population : Population
    optimizer, source, schedule, options
        Checked, as `Population.train` has them.
    judged : bool
        Whether there is a validation.
    """

    def __init__(self, population, optimizer, source, schedule, options, judged):
        self.population, self.optimizer, self.source = population, optimizer, source
        self.optimizers = population._optimizers(optimizer)
        self.options, self.judged = options, judged
        self.rates = None if schedule is None else Rates(schedule, options.callback is None)
        self.judge = _fit.Judge(population.params, options.patience, options.min_delta, judged)
        self.losses, self.validation_losses = [], []
        self.epochs, self.shown = {}, 0             # of each part that goes on
        self.latest = {}                            # what `_put_back` takes, of each part

    def run(self, client, inputs, is_of_each, held_out_is_of_each, whole):
        """Train in parts, or as a `whole`, and return the `History`."""
        common, of_each = inputs.split(is_of_each, held_out_is_of_each)
        members = []
        with (Workers(client, lambda number: name_of(members[number])) as workers,
              _fit.shown(self.options, len(self.judge.active)) as show):
            common = workers.send_once(common)
            members += self._members(workers, whole)
            sent = [workers.send_once(of_each.of(some), everywhere=False) for some in members]
            waiting = [(number, self._part(some)) for number, some in enumerate(members)]
            try:
                while waiting:
                    for number, part in waiting:
                        self._submit(workers, number, part, sent[number], common)
                    waiting = []
                    for number, part in workers.answers():
                        self._take(number, part)
                        if self._goes_on(number, part):
                            if self.options.callback is None:
                                self._submit(workers, number, part, sent[number], common)
                            else:
                                waiting.append((number, part))
                        self._show(show)
                    if self.options.callback is not None:
                        if self._ends():
                            break
                        self._read_again(part for _, part in waiting)
            finally:
                self._put_back()
                self.judge.restore()
        return _fit.History(np.array(self.losses),
                            np.array(self.validation_losses) if self.judged else None,
                            self.judge.n_epochs, self.judge.best_epoch)

    def _members(self, workers, whole):
        """The numbers of the networks of each part; those that share a generator are in one."""
        n, population = len(self.optimizers), self.population
        if whole:
            return [list(range(n))]
        units = {}
        for k in range(n):
            source = self.source[k] if isinstance(self.source, list) else None
            units.setdefault(k if source is None else id(source), []).append(k)
        most = max(PART_BYTES // (population.n_params * population.dtype.itemsize), 1)
        size = min(-(-n // workers.n_tasks(n, LEAST_NETWORKS)), most)
        parts = [[]]
        for unit in units.values():
            if parts[-1] and len(parts[-1]) + len(unit) > size:
                parts.append([])
            parts[-1] += unit
        return [sorted(part) for part in parts]

    def _part(self, members):
        return Part(members, *self._state(members), self.judge.of(members))

    def _state(self, members):
        """Networks, optimizers and generators, as they are now."""
        source = self.source
        if isinstance(source, list):
            source = [source[k] for k in members]
        return (self.population._copy_of(members), [plain(self.optimizers[k]) for k in members],
                source)

    def _submit(self, workers, number, part, inputs, common):
        left = self.options.epochs - part.epoch
        n_epochs = left if self.options.callback is None else 1
        rates = None
        if self.rates is not None:
            rates = self.rates.of(part.members, part.epoch, n_epochs)
            n_epochs = len(rates)
        self.epochs[number] = part.epoch
        workers.submit(number, make_epochs, (part, rates, n_epochs, TASK_SECONDS), inputs,
                       common)

    def _take(self, number, part):
        """What a worker has made of a part, into the population."""
        members = part.members
        self.population.params[members] = part.population.params
        self.population.grad[members] = part.population.grad
        self.latest[number] = part.epoch, members, part.optimizers, part.source
        self.judge.take(members, part.judge)
        first = part.epoch - len(part.losses)
        for epoch, (losses, judged) in enumerate(part.losses, first):
            for kept, found in ((self.losses, losses), (self.validation_losses, judged)):
                if epoch == len(kept):
                    kept.append(np.full(len(self.optimizers), np.nan))
                kept[epoch][members] = found
        part.losses = []

    def _put_back(self):
        """Optimizers and generators as the epochs have left them.

        One generator of all networks is that of the part which has made the most epochs, and so are
        the learning rates of a schedule.
        """
        for _, members, optimizers, sources in sorted(self.latest.values(), key=itemgetter(0)):
            for k, optimizer in zip(members, optimizers, strict=True):
                self.optimizers[k]._resume(optimizer.state_dict(), False)
            if isinstance(sources, list):
                for k, source in zip(members, sources, strict=True):
                    self.source[k].state = source.state
            elif sources is not None:
                self.source.state = sources.state
        if self.latest:
            self.latest.clear()
            self.population._take_optimizers(
                self.optimizer, self.optimizers,
                None if self.rates is None else self.rates.known[len(self.losses) - 1])

    def _read_again(self, parts):
        """What a callback may have changed: parameters, optimizers, generators."""
        self.optimizers = self.population._optimizers(self.optimizer)
        for part in parts:
            part.population, part.optimizers, part.source = self._state(part.members)

    def _goes_on(self, number, part):
        goes_on = part.epoch < self.options.epochs and part.judge.active.any()
        if goes_on:
            self.epochs[number] = part.epoch
        else:
            del self.epochs[number]
        return goes_on

    def _show(self, show):
        """The epochs of the part that has made the fewest."""
        reached = min(self.epochs.values(), default=len(self.losses))
        if reached > self.shown:
            self.shown = reached
            show(reached, self.judge)

    def _ends(self):
        self._put_back()
        judged = self.validation_losses if self.judged else self.losses
        return _fit.ends(self.options.callback, len(self.losses) - 1, self.losses[-1].copy(),
                         judged[-1].copy())


class Rates:
    """Learning rates by the epoch: a function that is called once for each, in their order."""

    def __init__(self, schedule, ahead):
        self.schedule, self.ahead, self.known = schedule, ahead, []

    def of(self, members, first, n_epochs):
        """The rates of these networks in the next epochs, a list: numbers or arrays."""
        end = first + min(n_epochs, AHEAD if self.ahead else 1)
        while len(self.known) < end:
            self.known.append(self.schedule(len(self.known)))
        return [rates if np.ndim(rates) == 0 else rates[members]
                for rates in self.known[first:end]]


def plain(optimizer):
    """One of a class of fastbp in the same state: a worker may not have the user's."""
    if type(optimizer) in (SGD, Adam):
        return optimizer
    copied = (Adam if isinstance(optimizer, Adam) else SGD)()
    copied._resume(optimizer.state_dict(), False)
    return copied


def name_of(members):
    if len(members) == 1:
        return f"network {members[0]}"
    return f"networks {members[0]} to {members[-1]}"
