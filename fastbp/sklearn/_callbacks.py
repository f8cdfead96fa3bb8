"""scikit-learn's callbacks around each iteration of a fit.

Nothing is evaluated that no callback asks for. X, y and the weights are those given to `fit`;
`fitted_estimator` is a copy of the estimator with the parameters of that moment. Callbacks run
under the np.errstate of the caller of `fit`.
"""

import warnings

import numpy as np

from fastbp import _arguments

# Warnings name the caller of fit: above are `warn`, fit_stochastic or fit_whole, _fit, what runs
# the fit, fit, and three decorators of theirs.
CALLER_OF_FIT = 9


class NoTask:
    """What a fit without callbacks has in place of a `Task`."""

    def enter(self, net, order, random_state, best):
        """Before the first epoch: what all of them change, besides the model."""

    def begin(self):
        pass

    def end(self):
        return False

    def warn(self, message, category=UserWarning, further=0):
        """Warn the caller of `fit`; the caller of this is so many frames further away from it."""
        warnings.warn(message, category, stacklevel=CALLER_OF_FIT + further)


class Task(NoTask):
    """The root context of a fit, and a subcontext for each of its iterations."""

    def __init__(self, estimator, X, y, sample_weight):
        self.errors = {**np.geterr(), "call": np.geterrcall()}
        self.estimator, self.given = estimator, {"X": X, "y": y}
        if sample_weight is not None:
            self.given["metadata"] = {"sample_weight": sample_weight}
        self.root = estimator._init_callback_context(
            max_subtasks=_arguments.as_number(estimator.max_iter))
        self.root.call_on_fit_task_begin(estimator=estimator, **self.given)

    def begin(self):
        """An iteration begins."""
        self.iteration = self.root.subcontext(task_name="iteration")
        with np.errstate(**self.errors):
            self.iteration.call_on_fit_task_begin(estimator=self.estimator, **self.given)

    def end(self):
        """An iteration ends; whether a callback wants it to be the last."""
        return self._end(self.iteration)

    def close(self):
        """The fit ends."""
        self._end(self.root)

    def _end(self, context):
        with np.errstate(**self.errors):
            return context.call_on_fit_task_end(estimator=self.estimator,
                                                reconstruction_attributes=dict, **self.given)
