"""Fits that are spread over the workers of a cluster, with the bits that `_together` gives them.

A worker gets some fits of a search or an ensemble at once, and trains them in lockstep for some
seconds; `_fit_task` has that. What several of them read is sent for itself, once. Fitted
estimators, errors and warnings come back, and are used here in the order of the fits, whatever the
order of the answers.
"""

import copy
from collections import deque
from contextlib import nullcontext

import numpy as np
from sklearn import get_config
from sklearn.utils import check_random_state

from fastbp._progress import progress
from fastbp._spread import TASK_SECONDS, Workers
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._fit_task import carry_out_fits

LEAST_FITS = 16         # of a task, where there are more than workers
FIRST_FITS = 64         # of a task at most, before any fit is done
PAUSED_BYTES = 4 << 20  # of the parameters of a task's fits, where they pause
FURTHER = -3            # the caller of fit is nearer to `take` than to a fit in this process
SEED_END = np.iinfo(np.int32).max       # the first number that is no seed


class Tasks:
    """Fits that wait for a worker, and what is known of those that have been with one.

    Parameters
    ----------
    workers : Workers
    fits : dict of Fit
    """

    def __init__(self, workers, fits):
        self.workers, self.fits, self.config = workers, dict(fits), get_config()
        self.reached, self.models = {}, {}      # of fits that have been sent, and are not done
        self.n_done, self.seconds, self.n_bytes = 0, 0.0, 1     # the most of one that has paused
        readers = {}
        for key, fit in fits.items():
            readers.setdefault(id(fit.given), []).append(key)
        self.waiting = deque(in_turn([*readers.values()], [*fits]))
        self.shared = {
            reader: workers.send_once(
                fits[keys[0]].given.ready([fits[key].model for key in keys]),
                everywhere=len(readers) == 1)
            for reader, keys in readers.items()}

    def submit(self):
        """Tasks of the fits that wait, while there is a worker that would soon be idle."""
        while self.waiting and self.workers.has_room():
            size = min(self._size(), len(self.waiting))
            keys = tuple(self.waiting.popleft() for _ in range(size))
            places = list(dict.fromkeys(id(self.fits[key].given) for key in keys))
            fits = [self._sent(key, places) for key in keys]
            self.workers.submit(keys, carry_out_fits, (fits, self.config, TASK_SECONDS),
                                *(self.shared[place] for place in places))

    def take(self, result):
        """What came of a task; fits that it has left are the next ones."""
        for key in result.answers:
            del self.fits[key], self.models[key]
            self.reached.pop(key, None)
        self.n_done += len(result.answers)
        self.seconds += result.seconds
        self.reached |= result.left
        self.n_bytes = max([self.n_bytes, *(each.params.nbytes for each in result.left.values()
                                            if each is not None)])
        self.waiting.extendleft(reversed(result.left))

    def _size(self):
        """Fits of a task: as many as take half of its seconds, as far as that is known."""
        n = len(self.fits)
        most = FIRST_FITS
        if self.seconds:
            most = max(int(self.n_done / self.seconds * TASK_SECONDS / 2), LEAST_FITS)
        return min(-(-n // self.workers.n_tasks(n, LEAST_FITS)), most,
                   max(PAUSED_BYTES // self.n_bytes, 1))

    def _sent(self, key, places):
        fit = self.fits[key]
        if key not in self.models:
            self.models[key] = as_sent(fit.model)
        return (key, self.models[key], places.index(id(fit.given)), fit.rows,
                self.reached.get(key))


def in_turn(readers, keys):
    """The keys of each reader in pieces of `LEAST_FITS`, in the order of their first ones: so that
    a task reads little, and fits end about in their order.
    """
    order = {key: number for number, key in enumerate(keys)}
    pieces = [those[start:start + LEAST_FITS] for those in readers
              for start in range(0, len(those), LEAST_FITS)]
    return [key for piece in sorted(pieces, key=lambda piece: order[piece[0]]) for key in piece]


def spread(client, fits, name_of, verbose):
    """Have fits carried out by the workers of a client.

    Parameters
    ----------
    client : distributed.Client or concurrent.futures.Executor
    fits : dict of Fit
    name_of : callable
        What a key stands for, for errors.
    verbose : bool
        Whether to say how many are done.

    Yields
    ------
    tuple
        The key and the `Answer` of each, in the order of the fits, as soon as those before it have
        been yielded.
    """
    if not fits:
        return
    answers, expected = {}, deque(fits)
    with (Workers(client, lambda keys: named(keys, name_of)) as workers,
          progress("fit", len(fits)) if verbose else nullcontext() as show):
        tasks = Tasks(workers, fits)
        del fits
        tasks.submit()
        for _, result in workers.answers():
            tasks.take(result)
            tasks.submit()
            answers |= result.answers
            if show:
                show(tasks.n_done, [])
            while expected and expected[0] in answers:
                key = expected.popleft()
                yield key, answers.pop(key)


def named(keys, name_of):
    first = name_of(keys[0])
    return first if len(keys) == 1 else f"{first} and {len(keys) - 1} more"


def collected(answers, on_error):
    """All answers of `spread` in a dict.

    `on_error` is called with the key and the Exception of each fit that failed, the first in
    lockstep first.
    """
    answers = dict(answers)
    for key, answer in sorted(answers.items(), key=lambda item: item[1].round):
        if answer.error is not None:
            on_error(key, answer.error)
    return answers


def as_sent(model):
    """A copy with one thread, unless it has a number; and with draws that no other worker makes."""
    sent = copy.copy(model)
    if sent.n_threads is None:
        sent.n_threads = 1
    if sent.random_state is None:
        sent.random_state = check_random_state(None).randint(SEED_END)
    return sent


def take(model, answer):
    """The fit of a worker into the model, which keeps its parameters; its warnings are told."""
    fitted = vars(answer.model)
    if model.n_threads is None:
        fitted["n_threads"] = None
    if model.random_state is None:
        fitted["random_state"] = None
    vars(model).update(fitted)
    for message, category in answer.said:
        NoTask().warn(message, category, FURTHER)


# ---- a client as a parameter of an estimator


class HasClient:
    """An estimator whose clone has the same client, while a copy or a pickle has none."""

    def __sklearn_clone__(self):
        bare = type(self).__new__(type(self))
        vars(bare).update(vars(self), client=None)
        cloned = super(HasClient, bare).__sklearn_clone__()
        cloned.client = self.client
        return cloned

    def __getstate__(self):
        return {**super().__getstate__(), "client": None}
