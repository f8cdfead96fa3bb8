"""Fits that are spread over the workers of a cluster, with the bits that `_together` gives them.

A worker gets some fits of a search or an ensemble at once, and trains them in lockstep. What
several of them read is sent for itself, once. Fitted estimators, errors and warnings come back, and
are used here in the order of the fits, whatever the order of the answers.
"""

import copy
import time
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from sklearn import config_context, get_config
from sklearn.utils import check_random_state

from fastbp._progress import progress
from fastbp._spread import Workers
from fastbp.sklearn._base import STOCHASTIC
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._samples import which_of
from fastbp.sklearn._together import Data, Resampled, together

TOGETHER = 16                           # fits of a task at least, where there are more than workers
FURTHER = -2            # the caller of fit is nearer to `take` than to a fit in this process
MAX_SEED = np.iinfo(np.int32).max       # exclusive


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
        sent = Data(None, None, copy.copy(self.data.owner))
        sent.read = read.read
        return Given(sent, self.weight, self.held_out)


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


class Answer(NamedTuple):
    """What came of a fit in a worker."""

    model: object               # fitted
    error: Exception | None
    round: int                  # the epoch of the error
    said: list                  # warnings
    seconds: float


class Listener(NoTask):
    """Keeps the warnings of a fit for the process in which it was asked for."""

    def __init__(self):
        self.said = []

    def warn(self, message, category=UserWarning, further=0):
        self.said.append((message, category))


class Counted:
    """A fit in lockstep that knows how often it has gone on."""

    def __init__(self, fit):
        self.fit, self.round = fit, -1

    def __next__(self):
        self.round += 1
        return next(self.fit)

    def throw(self, error):
        self.round += 1
        return self.fit.throw(error)


def spread(client, fits, name_of, on_error, verbose):
    """As `together`, by the workers of a client.

    Parameters
    ----------
    client : distributed.Client or concurrent.futures.Executor
    fits : dict of Fit
        Their models are fitted in the end.
    name_of : callable
        What a key stands for, for errors.
    on_error : callable
        Is called with the key and the Exception of each fit that failed, the first in lockstep
        first.
    verbose : bool
        Whether to say how many are done.

    Returns
    -------
    dict of float
        The seconds of each.
    """
    answers = {}
    if not fits:
        return answers
    with Workers(client, lambda keys: f"{name_of(keys[0])} and {len(keys) - 1} more") as workers:
        submit(workers, fits)
        with progress("fit", len(fits)) if verbose else nullcontext() as show:
            for _, some in workers.answers():
                answers |= some
                if show:
                    show(len(answers), [])
    order = {key: place for place, key in enumerate(fits)}
    for key in sorted(answers, key=lambda key: (answers[key].round, order[key])):
        if answers[key].error is not None:
            on_error(key, answers[key].error)
    for key, fit in fits.items():
        take(fit.model, answers[key])
    return {key: answer.seconds for key, answer in answers.items()}


def submit(workers, fits):
    """Tasks of some fits each; those that read the same are neighbours."""
    readers = {}
    for key, fit in fits.items():
        readers.setdefault(id(fit.given), []).append(key)
    keys = [key for those in readers.values() for key in those]
    shared = {id_of: workers.share(fits[those[0]].given.ready([fits[key].model for key in those]),
                                   everywhere=len(readers) == 1)
              for id_of, those in readers.items()}
    size = -(-len(keys) // workers.n_tasks(len(keys), TOGETHER))
    config = get_config()
    for start in range(0, len(keys), size):
        some = tuple(keys[start:start + size])
        places = list(dict.fromkeys(id(fits[key].given) for key in some))
        given = [(key, as_sent(fits[key].model), places.index(id(fits[key].given)), fits[key].rows)
                 for key in some]
        workers.submit(some, fit_some, (given, config), *(shared[place] for place in places))


def fit_some(own, *given):
    """In a worker: {key: Answer} of some fits."""
    some, config = own
    listeners, begun, errors, seconds = {}, {}, {}, {}
    models = {key: model for key, model, *_ in some}
    for key, model, place, rows in some:
        listeners[key] = Listener()
        begun[key] = Counted(Fit(model, given[place], rows).begun(listeners[key]))
    alone = [key for key in begun if models[key].solver not in STOCHASTIC]
    with config_context(**{**config, "skip_parameter_validation": True}):
        for fits in (*([key] for key in alone), [key for key in begun if key not in alone]):
            start = time.perf_counter()
            if together({key: begun[key] for key in fits}, errors.__setitem__):
                raise KeyboardInterrupt
            took = time.perf_counter() - start
            work = {key: max(work_of(models[key]), 1) for key in fits}
            seconds |= {key: took * own / sum(work.values()) for key, own in work.items()}
    return {key: Answer(models[key], errors.get(key), begun[key].round, listeners[key].said,
                        seconds[key]) for key in begun}


def work_of(model):
    """Samples seen times parameters; 0 if there was no epoch."""
    net = getattr(model, "_net", None)
    return 0 if net is None else getattr(model, "t_", 0) * net.n_params


def as_sent(model):
    """A copy with one thread, unless it has a number; and with draws that no other worker makes."""
    sent = copy.copy(model)
    if sent.n_threads is None:
        sent.n_threads = 1
    if sent.random_state is None:
        sent.random_state = check_random_state(None).randint(MAX_SEED)
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
