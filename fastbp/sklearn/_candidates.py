"""The fits of a search: every candidate on every split, in lockstep, before any is scored.

scikit-learn's search clones the estimator for each candidate and split, calls its `fit`, and scores
it. Here that `fit` hands over what was fitted before. What is trained in epochs, an estimator of
fastbp or a Pipeline that ends in one, was; of another solver in a Pipeline the steps before the
estimator were. Everything else fits when it is called.

With a client the fits come from workers, and are scored as they come, in their order.
"""

import time
import warnings
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import product
from numbers import Number

import numpy as np
from joblib import effective_n_jobs
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from fastbp.sklearn._base import STOCHASTIC
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._classifier import MLPClassifier
from fastbp.sklearn._fit_task import Fit, Given, work_of
from fastbp.sklearn._regressor import MLPRegressor
from fastbp.sklearn._together import Data, together
from fastbp.sklearn._workers import collected, spread, take

OF_VALIDATION = ("X_val", "y_val", "sample_weight_val")


def last_step(model):
    """The estimator that a Pipeline ends in, and what the names of its parameters begin with."""
    prefix = ""
    while type(model) is Pipeline:
        name, model = model.steps[-1]
        prefix += f"{name}__"
    return model, prefix


def refuse_of_dask(model):
    """Raise for an estimator of fastbp.dask, which is known without an import of that."""
    kinds = type(last_step(model)[0]).__mro__
    if any(kind.__module__.startswith("fastbp.dask.") for kind in kinds):
        raise TypeError(f"the estimator is a {kinds[0].__name__}, which fits one network to a "
                        "table that is spread over a cluster; it should be an MLPClassifier or "
                        "MLPRegressor of fastbp.sklearn, whose fits MLPSearchCV(client=) spreads "
                        "over the cluster")


def key_of(value):
    """Equal for values that are the same: plain ones by what they are, others by identity."""
    plain = value is None or isinstance(value, (Number, str, bytes))
    return (type(value), value) if plain else id(value)


class Steps:
    """The steps before an estimator, fitted to one split, and what they pass on to its `fit`."""

    def __init__(self, model, X, y, params):
        self.model, self.error, self.n_fits = model, None, 0
        start = time.perf_counter()
        estimator, _ = last_step(model)
        if estimator is model:
            self._record(X, y, **params)
        else:
            estimator.fit = self._record        # in the place of the method
            try:
                model.fit(X, y, **params)
            except Exception as error:
                self.error = error
            finally:
                del estimator.fit
        self.seconds = time.perf_counter() - start

    def _record(self, X, y=None, **params):
        self.y, self.params, self.data = y, params, Data(X, y)

    def share_with(self, model):
        """Put these into a Pipeline of the same steps."""
        theirs = self.model
        while model is not theirs and type(model) is Pipeline:
            model.steps[:-1] = theirs.steps[:-1]
            model, theirs = model.steps[-1][1], theirs.steps[-1][1]

    @cached_property
    def given(self):
        """What the steps pass on; None for arguments that `fit` refuses, so that its call says so.
        """
        if self.y is None or not set(self.params) <= {"sample_weight", *OF_VALIDATION}:
            return None
        return Given(self.data, self.params.get("sample_weight"),
                     tuple(map(self.params.get, OF_VALIDATION)))


class Fitted:
    """The fit of one candidate on one split, until the search asks for it."""

    def __init__(self, model, steps):
        self.model, self.error = model, None
        self.steps = steps      # None: the last one is fitted, too
        steps.n_fits += 1

    def fail(self, error):
        self.error, self.traceback = error, error.__traceback__

    def receive(self, answer):
        take(last_step(self.model)[0], answer)
        self.seconds += answer.seconds

    def hand_over(self, estimator, *args, **params):
        """In the place of `estimator.fit`, whose arguments are those that were recorded."""
        del estimator.fit
        if self.error is not None:
            raise self.error.with_traceback(self.traceback)
        vars(estimator).update(vars(self.model))
        if self.steps is not None:
            data = self.steps.data
            last_step(estimator)[0].fit(data.X, data.y, **self.steps.params)
        self.model = self.steps = None
        return estimator


class NoAnswer(BaseException):
    """Passes by scikit-learn's search, for which any Exception is one of the fit; has a cause."""


class Handover:
    """The callback context of one evaluation, which sees the estimator before its `fit`."""

    def __init__(self, context, fitted, await_fit):
        self.context, self.fitted, self.await_fit = context, fitted, await_fit
        self.call_on_fit_task_begin = context.call_on_fit_task_begin
        self.call_on_fit_task_end = context.call_on_fit_task_end

    @contextmanager
    def propagate_callback_context(self, estimator):
        with self.context.propagate_callback_context(estimator):
            if self.await_fit is not None:
                self.await_fit()
            estimator.fit = partial(self.fitted.hand_over, estimator)
            yield


class Candidates:
    """Trains the candidates of a search on its splits, and hands them over as it asks for them.

    Stands for two things that a search is given with its candidates: the splitter, from which come
    X, y and the rows, and the callback context, which gets each estimator before its `fit`.
    """

    def __init__(self, search, params, splitter, fit_params, context):
        self.estimator, self.params, self.splitter = search.estimator, params, splitter
        self.fit_params, self.context, self.error_score = fit_params, context, search.error_score
        self.client, self.verbose, self.n_jobs = search.client, search.verbose, search.n_jobs
        self.fitted = self.answers = None
        self.awaited = set()    # fits that workers have

    def split(self, X, y=None, **params):
        self.X, self.y, self.splits = X, y, list(self.splitter.split(X, y, **params))
        return self.splits

    def subcontext(self, *, task_id, **names):
        if self.fitted is None:
            self.fitted = self._fit_all()
        context = self.context.subcontext(task_id=task_id, **names)
        if task_id not in self.fitted:
            return context
        await_fit = partial(self._await, task_id) if task_id in self.awaited else None
        return Handover(context, self.fitted[task_id], await_fit)

    def close(self):
        """Leave no task with a worker."""
        if self.answers is not None:
            self.answers.close()

    def seconds(self):
        """What each fit took before it was handed over, in the order of the search."""
        return [self.fitted[k].seconds if k in self.fitted else 0.0 for k, _ in self._pairs()]

    def _pairs(self):
        """(parameters, (split, (train, test))), counted as the search does."""
        return enumerate(product(self.params, enumerate(self.splits)))

    def _fit_all(self):
        fitted, fits, fitted_steps, n_ours = {}, {}, {}, 0
        for k, (params, (split, (train, _))) in self._pairs():
            model = clone(self.estimator).set_params(**clone(params, safe=False))
            estimator, prefix = last_step(model)
            refuse_of_dask(estimator)
            if type(estimator) not in (MLPClassifier, MLPRegressor):
                continue
            n_ours += 1
            steps = self._steps(fitted_steps, model, prefix, params, split, train)
            fit = self._begins(estimator) and not steps.error and steps.given is not None
            if not fit and estimator is model:
                continue
            fitted[k] = Fitted(model, steps)
            error = steps.error or (fit and invalid(estimator))
            if error:
                self._fail(fitted, k, error)
            elif fit:
                fits[k] = Fit(estimator, steps.given, None)
        if not n_ours:
            kind = type(estimator)
            warnings.warn(f"the estimator is a {kind.__module__}.{kind.__qualname__}, so that no "
                          "candidate is trained together with others; MLPClassifier and "
                          "MLPRegressor of fastbp.sklearn are", UserWarning, stacklevel=2)
        for k, one in fitted.items():
            one.seconds = one.steps.seconds / one.steps.n_fits
            if k in fits:
                one.steps = None
        self._carry_out(fitted, fits)
        return fitted

    def _begins(self, estimator):
        """Whether its fit is one of those that are carried out before the search asks for it."""
        return self.client is not None or estimator.solver in STOCHASTIC

    def _carry_out(self, fitted, fits):
        if self.client is not None:
            self.answers = spread(self.client, fits, self._name_of, self.verbose > 0)
            if self.error_score != "raise" and effective_n_jobs(self.n_jobs) == 1:
                self.awaited = set(fits)
                return
            for k, answer in collected(self.answers, partial(self._fail, fitted)).items():
                fitted[k].receive(answer)
            return
        start = time.perf_counter()
        with config_context(skip_parameter_validation=True):    # as in each `fit`
            if together({k: fit.begun(NoTask()) for k, fit in fits.items()},
                        partial(self._fail, fitted)):
                raise KeyboardInterrupt
        share_out(time.perf_counter() - start, [fitted[k] for k in fits])

    def _await(self, k):
        """Receive answers up to that of fit k; this time is in scikit-learn's of its fit."""
        start = time.time()
        while k in self.awaited:
            try:
                received, answer = next(self.answers)
            except Exception as error:
                raise NoAnswer from error
            self.awaited.remove(received)
            if answer.error is not None:
                self._fail(self.fitted, received, answer.error)
            self.fitted[received].receive(answer)
        self.fitted[k].seconds -= time.time() - start

    def _name_of(self, k):
        candidate, split = divmod(k, len(self.splits))
        return f"the fit of candidate {candidate}, {self.params[candidate]}, to split {split}"

    def _steps(self, fitted, model, prefix, params, split, train):
        """Those of `model` fitted to a split, once for each setting of theirs; it gets them."""
        of_steps = ((name, key_of(value)) for name, value in params.items()
                    if not name.startswith(prefix))
        key = split, *sorted(of_steps)
        if key not in fitted:
            X, y = _safe_split(model, self.X, self.y, np.asarray(train))
            fitted[key] = Steps(model, X, y, _check_method_params(self.X, self.fit_params, train))
        fitted[key].share_with(model)
        return fitted[key]

    def _fail(self, fitted, k, error):
        if self.error_score == "raise":
            error.add_note(f"in {self._name_of(k)}")
            raise error
        fitted[k].fail(error)


def invalid(estimator):
    """The exception for parameters that do not fit, as `fit` raises it; or None."""
    try:
        if not get_config()["skip_parameter_validation"]:
            estimator._validate_params()
    except Exception as error:
        return error
    return None


def share_out(seconds, fits):
    """Give each fit its part of the time that all took, by the work that its epochs were."""
    work = [work_of(last_step(fit.model)[0]) for fit in fits]
    for fit, own in zip(fits, work, strict=True):
        fit.seconds += seconds * own / max(sum(work), 1)
