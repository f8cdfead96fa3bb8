"""MLPSearchCV: a grid search or a random one, whose networks are trained in lockstep.

It is scikit-learn's search but for one thing, where the estimators of its candidates are fitted:
`_candidates` has that.
"""

import copy
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._param_validation import Interval

from fastbp import _arguments
from fastbp.sklearn._candidates import Candidates, NoAnswer, refuse_of_dask
from fastbp.sklearn._halving import Rounds
from fastbp.sklearn._workers import HasClient

DRAWN = 10      # candidates, unless another number is given


class MLPSearchCV(HasClient, BaseSearchCV):
    """Cross-validated search of parameters, all candidates and splits trained at once.

    With `param_grid` it is scikit-learn's `GridSearchCV`, with `param_distributions` its
    `RandomizedSearchCV`: the same candidates, splits, scores, `cv_results_` and best estimator, for
    every `random_state` of the estimator but None.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
        Those of `fastbp.sklearn`. The steps before one are fitted once for each split and setting
        of theirs. Solvers "adam" and "sgd" are trained together; fits of other solvers, and of
        other estimators, which are taken as well, run as in scikit-learn, `n_jobs` at a time. So do
        all of them under callbacks. Where no candidate is an estimator of `fastbp.sklearn`, a
        UserWarning says so.
    param_grid : dict or list of dicts, optional
        Every combination of these values is a candidate.
    param_distributions : dict or list of dicts, optional
        In place of a grid: `n_iter` candidates are drawn from these lists and distributions.
    n_iter : int, optional
        How many are drawn, 10 by default; not with `param_grid`.
    random_state
        That of `RandomizedSearchCV`; with `param_grid` a UserWarning says that it has no effect.
    scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        Those of `GridSearchCV`. `n_jobs` is for the scores, and what is not trained together.
    halving : number, dict or None
        Successive halving: rounds of all candidates that are left, with few resources at first, of
        which the best 1 / factor go on with factor times as many. A number is the factor; a dict
        has arguments of `HalvingGridSearchCV`: factor, resource, min_resources, max_resources,
        aggressive_elimination. The resource is "n_samples", as there, or the name of a parameter
        such as "max_iter", of which `max_resources` is then the estimator's own unless it is given.
        Results are those of `HalvingGridSearchCV`, or of `HalvingRandomSearchCV` with `n_iter` for
        its n_candidates, None for "exhaust".
    client : distributed.Client, concurrent.futures.Executor or None
        The fits are carried out by the workers of this cluster, whatever the solver, with the same
        results but for times. Steps before an estimator are fitted here, and scores are computed
        here, where `scoring` need not be pickled. A copy or a pickle of the search has no client, a
        clone has the same.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        `mean_fit_time` and `std_fit_time`, in seconds, are of parts of the time that all took
        together: an estimator's is in proportion to the samples it has seen times its parameters,
        and steps are divided equally among the fits that share them.
    best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, \
multimetric_, classes_, n_features_in_, feature_names_in_
        Those of `GridSearchCV`.
    n_resources_, n_candidates_, n_remaining_candidates_, min_resources_, max_resources_, \
n_iterations_, n_required_iterations_, n_possible_iterations_
        With `halving` those of `HalvingGridSearchCV`; `cv_results_` then has `iter` and
        `n_resources` of each candidate in each round, and the best one is that of the last.

    Raises
    ------
    ValueError
        From `fit`, for parameters and arguments that do not fit, such as `n_iter` with a grid, or a
        distribution in one; under `error_score="raise"` from a fit or score that fails, with a note
        that names candidate and split; for a client beside callbacks.
    TypeError, ConnectionError
        From `fit`, for a client of another kind; for one without a scheduler, or without workers;
        for an estimator of `fastbp.dask`.
    ImportError
        From `fit`, where a worker has no fastbp.
    KeyboardInterrupt
        From `fit`: an interrupted search has no result.
    """

    _parameter_constraints = {
        **BaseSearchCV._parameter_constraints,
        "param_grid": [dict, list, None],
        "param_distributions": [dict, list, None],
        "n_iter": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "halving": [Interval(Real, 1, None, closed="neither"), dict, None],
        "client": "no_validation",
    }

    @_arguments.explained
    def __init__(self, estimator, param_grid=None, *, param_distributions=None, n_iter=None,
                 scoring=None, n_jobs=None, refit=True, cv=None, verbose=0,
                 pre_dispatch="2*n_jobs", random_state=None, error_score=np.nan,
                 return_train_score=False, halving=None, client=None):
        super().__init__(estimator, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv,
                         verbose=verbose, pre_dispatch=pre_dispatch, error_score=error_score,
                         return_train_score=return_train_score)
        self.param_grid, self.param_distributions = param_grid, param_distributions
        self.n_iter, self.random_state = n_iter, random_state
        self.halving, self.client = halving, client

    def fit(self, X, y=None, **params):
        """Train and score every candidate on every split, then `refit` the best on all of X.

        Parameters
        ----------
        X, y, **params
            As in `GridSearchCV.fit`: what `fit` of the estimator takes, such as `sample_weight`,
            and `groups` for the splitter; by metadata routing where it is enabled.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError, ConnectionError, KeyboardInterrupt
            As the class says.
        """
        refuse_of_dask(self.estimator)
        if (self.param_grid is None) == (self.param_distributions is None):
            given = "neither is" if self.param_grid is None else "both are"
            raise ValueError(f"of param_grid and param_distributions {given} given; there should "
                             "be exactly one of them")
        if self.param_grid is not None:
            self._check_grid()
        if self.client is not None and self._has_callbacks():
            raise ValueError("client is given, and callbacks are registered, which cannot see what "
                             "happens in its workers; one of them should be left out")
        try:
            return super().fit(X, y, **params)
        finally:
            for name in ("_fit_params", "_candidates", "_rounds"):
                vars(self).pop(name, None)

    def _check_grid(self):
        """Raise for `n_iter`, and for what cannot be in a grid; warn of `random_state`, which
        scikit-learn's own checks give to whatever has it.
        """
        instead = "to draw candidates, write param_distributions= in place of param_grid"
        if self.n_iter is not None:
            raise ValueError(f"n_iter is {self.n_iter!r}; with param_grid, whose every combination "
                             f"is a candidate, it should not be given: {instead}")
        if self.random_state is not None and self.halving is None:
            warnings.warn(f"random_state is {self.random_state!r}, which has no effect with "
                          f"param_grid, whose every combination is a candidate; {instead}",
                          UserWarning, stacklevel=3)
        grids = [self.param_grid] if isinstance(self.param_grid, dict) else self.param_grid
        for name, values in (pair for grid in grids if isinstance(grid, dict)
                             for pair in grid.items()):
            if hasattr(values, "rvs"):
                raise ValueError(f"param_grid has a distribution of {name}; it should have a list "
                                 f"of values: {instead}")

    def __getstate__(self):
        """Without what a process that scores does not need, and cannot get where there is a client.
        """
        return {name: value for name, value in super().__getstate__().items()
                if name != "_candidates"}

    # ---- what BaseSearchCV asks for

    def _get_routed_params_for_fit(self, params):
        routed = super()._get_routed_params_for_fit(params)
        self._fit_params = routed.estimator.fit
        return routed

    def _check_input_parameters(self, X, y, split_params):
        super()._check_input_parameters(X, y, split_params)
        self._rounds = None if self.halving is None else Rounds(self)
        if self._rounds is not None:
            self._rounds.check(self, X, y, split_params)

    def _run_search(self, evaluate_candidates, *, callback_ctx=None):
        def evaluate(candidates, cv=None, more_results=None, *, callback_ctx):
            self._candidates = Candidates(self, list(candidates), cv or self._checked_cv_orig,
                                          self._fit_params, callback_ctx)
            try:
                return evaluate_candidates(
                    self._candidates.params, cv=self._candidates, more_results=more_results,
                    callback_ctx=self._candidates)
            except NoAnswer as end:
                error = end.__cause__
                raise error from error.__cause__    # which has the traceback of a worker
            finally:
                self._candidates.close()

        if self._has_callbacks():
            evaluate = evaluate_candidates
        if self._rounds is not None:
            self._rounds.run(self, evaluate, callback_ctx)
            return
        search = GridSearchCV if self.param_distributions is None else RandomizedSearchCV
        this = self
        if self.n_iter is None:     # RandomizedSearchCV reads a number
            this = copy.copy(self)
            this.n_iter = DRAWN
        search._run_search(this, evaluate, callback_ctx=callback_ctx)

    def _select_best_index(self, refit, refit_metric, results):
        """With halving the best of the last round."""
        if self._rounds is None or callable(refit):
            return super()._select_best_index(refit, refit_metric, results)
        return self._rounds.best_of(results)

    def _has_callbacks(self):
        inside = self.estimator.get_params().values()
        return any(hasattr(each, "_skl_callbacks") for each in (self, self.estimator, *inside))

    def _format_results(self, candidate_params, n_splits, out, more_results=None):
        """With the time of each fit before it was handed over; of earlier rounds they have it."""
        if hasattr(self, "_candidates"):
            seconds = self._candidates.seconds()
            for result, own in zip(out[-len(seconds):], seconds, strict=True):
                result["fit_time"] += own
        return super()._format_results(candidate_params, n_splits, out, more_results)
