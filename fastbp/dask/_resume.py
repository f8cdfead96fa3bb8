"""What a fit keeps in a file, so that it goes on where it was stopped, with the same bits.

For "lbfgs" and "newton-cg" the file has every evaluation. SciPy's minimisers are deterministic:
started again, they ask for the same evaluations, which come from the file until there are no more.
For "adam" and "sgd" it has the state at the end of an epoch.
"""

import zlib
from contextlib import contextmanager

import numpy as np

from fastbp._checkpoint import Checkpoint, described, plain
from fastbp.dask import _passes
from fastbp.dask._places import SchedulerLost
from fastbp.dask._steps import vector_names

COUNTS = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "_no_improvement_count",
          "stopped_")
# What may change from one part of a fit to the next; the seed is known by the first parameters.
NOT_OF_THE_FIT = ("client", "checkpoint", "max_fun", "max_iter", "n_threads", "random_state",
                  "verbose")


def checksum(number, X, y, weight):
    """A number of a block by which another table is told, or the same rows in another order."""
    found = zlib.crc32(y, zlib.crc32(X, zlib.crc32(number.to_bytes(8, "little"))))
    return [found if weight is None else zlib.crc32(weight, found)]


class FitCheckpoint:
    """The checkpoint of one fit.

    Parameters
    ----------
    path : str or path-like
    estimator : DaskMLPClassifier or DaskMLPRegressor
    net : fastbp.MLP
        With the parameters that the fit begins with.
    table : Table
    """

    def __init__(self, path, estimator, net, table):
        params = {name: repr(value) for name, value in estimator.get_params(deep=False).items()
                  if name not in NOT_OF_THE_FIT}
        sums = table.sum(_passes.statistics, of_block=checksum)
        self.checkpoint = Checkpoint(path, params | {
            "the number of rows": table.n_rows, "the table of X, y and the weights":
            described(sums), "the vector of initial parameters": described(net.params)})
        self.loaded = self.checkpoint.load()
        self.content = None     # makes what is not in the file yet

    def keep(self, content):
        """`content()` gives (tensors, rest), now or before anything else changes them."""
        self.content = content
        if self.checkpoint.due():
            self.write()

    def write(self):
        if self.content is not None:
            self.checkpoint.save(*self.content())
            self.content = None

    @contextmanager
    def written(self):
        """Write what there is, however the fit ends; say of a lost scheduler what resumes it."""
        try:
            yield
        except BaseException as error:
            try:
                self.write()
            except OSError as refused:
                error.add_note(f"and the checkpoint could not be written: {refused}")
            if isinstance(error, SchedulerLost):
                error.add_note(f"the same fit with checkpoint={self.checkpoint.path!r} goes on "
                               "from here on another cluster")
            raise
        self.write()


class EvaluationLog:
    """An objective whose evaluations are in the file: read as long as there are some."""

    def __init__(self, objective, file):
        self.objective, self.file, self.made = objective, file, []
        tensors, _ = file.loaded or ({}, {})
        self.read = list(zip(*map(tensors.get, ("inputs", "losses", "outputs")), strict=True)
                         ) if tensors else []

    def __call__(self, params):
        _, loss, grad = self._next(params, lambda: self.objective(params))
        return loss, grad

    def hessp(self, params, v):
        return self._next(v, lambda: (np.nan, self.objective.hessp(params, v)))[2]

    def _next(self, vector, evaluate):
        k = len(self.made)
        if k < len(self.read):
            found = self.read[k]
            if found[0].tobytes() != np.float64(vector).tobytes():
                raise self.file.checkpoint.unfit(
                    "this minimiser asks for other evaluations. SciPy, or the BLAS with which its "
                    "minimisers form inner products in this process, was another one")
            self.made.append(found)
        else:
            self.made.append((np.array(vector, np.float64), *evaluate()))
            self.file.keep(self._content)
        vector, loss, output = self.made[k]
        return vector, float(loss), output.copy()

    def _content(self):
        inputs, losses, outputs = map(np.array, zip(*self.made, strict=True))
        return {"inputs": inputs, "losses": losses, "outputs": outputs}, {}


def keep_epoch(file, model, net, random_state):
    """Keep the state at the end of an epoch."""
    state = model._optimizer.rule.state_dict()
    names = vector_names(state)
    tensors = {"params": net.params.copy(), **{name: state[name].copy() for name in names}}
    rest = {"counts": {name: getattr(model, name) for name in COUNTS},
            "rule": {name: value for name, value in state.items() if name not in names},
            "random": plain(random_state.get_state(legacy=False))}
    file.keep(lambda: (tensors, rest))


def go_on(file, model, net, random_state):
    """Set the state that the file has, if there is one."""
    if file.loaded is None:
        return
    tensors, rest = file.loaded
    done = rest.get("counts", {}).get("n_iter_", 0)
    if done > model.max_iter:
        raise ValueError(f"max_iter is {model.max_iter}; it should be {done} or more, the epochs "
                         f"of the checkpoint {str(file.checkpoint.path)!r}")
    try:
        net.params = tensors.pop("params")
        for name in COUNTS:
            setattr(model, name, rest["counts"][name])
        rule = {name: tuple(value) if isinstance(value, list) else value
                for name, value in rest["rule"].items()}
        model._optimizer.rule._resume(rule | tensors, False)
        random_state.set_state(rest["random"])
    except (KeyError, TypeError, ValueError) as error:
        raise file.checkpoint.unfit(repr(error)) from None
