"""Populations that are trained with and without a client, and clients of all kinds;
no test is here."""

import threading
from concurrent.futures import Executor, Future

import numpy as np
from populations import RULES

from fastbp import Adam, Population

N = 37
rng = np.random.default_rng(5)
X = rng.standard_normal((60, 4))
y = (X[:, 0] + 0.3 * rng.standard_normal(60) > 0).astype(float)
EACH_X = rng.standard_normal((N, 20, 4))
EACH_y = rng.random((N, 20)) < 0.5
EACH_WEIGHT = rng.random((N, 20)) + 0.1
HELD_OUT = {"rows": np.arange(40), "validation_rows": np.arange(40, 60)}


def sources(n=N):
    return [np.random.default_rng(k) for k in range(n)]


# Arguments of `train` beyond X, y and the optimizer: functions, since generators have a state.
OPTIONS = {
    "plain": lambda: {"rng": range(N)},
    "in order": lambda: {"shuffle": False},
    "one generator": lambda: {"rng": np.random.default_rng(3), **HELD_OUT, "patience": 1},
    "one int": lambda: {"rng": 3},
    "generators": lambda: {"rng": sources(), **HELD_OUT, "patience": 2, "min_delta": 1e-3},
    "shared generators": lambda: {"rng": [*sources(3) * 12, np.random.PCG64(9)]},
    "rows": lambda: {"rng": sources(), "batch_size": np.arange(1, N + 1),
                     "rows": [np.arange(k % 7, 60 - k) for k in range(N)],
                     "validation_rows": [np.arange(k + 3) for k in range(N)]},
    "validation": lambda: {"rng": sources(), "validation": (X[:9], y[:9], y[:9] + 0.5),
                           "patience": 1, "l2": np.geomspace(1e-4, 1, N)},
    "weights": lambda: {"rng": sources(), "sample_weight": rng_weights()},
    "a rate": lambda: {"rng": range(N), "schedule": 0.003},
    "rates": lambda: {"rng": range(N), "schedule": np.geomspace(1e-2, 1e-4, 7), "patience": 1,
                      "min_delta": 0.02},
    "rates of each": lambda: {"rng": range(N), "schedule": lambda epoch: (
        np.geomspace(1e-3, 1e-1, N) / (epoch + 1))},
}


def rng_weights():
    return np.random.default_rng(6).random((N, 60)) + 0.01


class Trained:
    """A population after `train`, and all that this leaves."""

    def __init__(self, client, options, rule=None, X=X, y=y, sizes=(4, 6, 1), n=N, epochs=7,
                 **given):
        self.population = Population(n, sizes, seeds=0, **given)
        self.optimizer = (Adam(lr=np.geomspace(1e-3, 1e-1, n)) if rule is None
                          else [RULES[rule](k) for k in range(n)])
        self.options = options()
        self.history = self.train(client, X, y, epochs)

    def train(self, client, X=X, y=y, epochs=2):
        return self.population.train(X, y, self.optimizer, epochs=epochs, client=client,
                                     **self.options)

    def states(self):
        if isinstance(self.optimizer, list):
            return [optimizer.state_dict() for optimizer in self.optimizer]
        state = self.optimizer.state_dict()
        return [{name: state[name] for name in state if name != "networks"}, *state["networks"]]

    def generators(self):
        given = self.options.get("rng")
        given = given if isinstance(given, list) else [given]
        return [getattr(one, "bit_generator", one).state for one in given
                if isinstance(one, (np.random.Generator, np.random.BitGenerator))]

    def same_as(self, other):
        """Parameters, gradients, states, generators and the history, to the bit."""
        np.testing.assert_array_equal(self.population.params, other.population.params)
        np.testing.assert_array_equal(self.population.grad, other.population.grad)
        for ours, theirs in zip(self.states(), other.states(), strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in ours.items():
                np.testing.assert_array_equal(value, theirs[name], name)
        assert self.generators() == other.generators()
        for ours, theirs in zip(self.history, other.history, strict=True):
            np.testing.assert_array_equal(ours, theirs)


class Inline(Executor):
    """An executor of so many workers that carries out a task when it is submitted.

    The tasks with these numbers are lost.
    """

    def __init__(self, number, lost=()):
        self._max_workers, self.lost, self.submitted = number, lost, 0

    def submit(self, function, *arguments):
        future = Future()
        if self.submitted in self.lost:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
        self.submitted += 1
        return future


class Delayed(Inline):
    """Its answers come after some milliseconds, in another order than the tasks."""

    def submit(self, function, *arguments):
        done, answered = super().submit(function, *arguments), Future()
        delay = np.random.default_rng(self.submitted).random() / 50
        threading.Timer(delay, lambda: answered.set_result(done.result())).start()
        return answered
