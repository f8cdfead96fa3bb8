"""scikit-learn's callbacks around each iteration of a fit.

Nothing is evaluated that no callback asks for. X, y and the weights are those given to `fit`;
`fitted_estimator` is a copy of the estimator with the parameters of that moment. Callbacks run
under the np.errstate of the caller of `fit`.
"""

import numpy as np

from fastbp import _arguments


class Task:
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


class NoTask:
    """What partial_fit has in place of a `Task`."""

    def begin(self):
        pass

    def end(self):
        return False
