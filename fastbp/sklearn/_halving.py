"""Successive halving as an option of a search: scikit-learn's rounds over our candidates."""

from numbers import Integral, Real

from sklearn.model_selection._search_successive_halving import (
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
)
from sklearn.utils.validation import _num_samples

from fastbp import _arguments

SAMPLES = "n_samples"
OPTIONS = ("factor", "resource", "min_resources", "max_resources", "aggressive_elimination")
SHARED = ("estimator", "scoring", "refit", "cv", "verbose", "random_state", "error_score",
          "return_train_score")
FOUND = ("n_resources_", "n_candidates_", "n_remaining_candidates_", "min_resources_",
         "max_resources_", "n_iterations_", "n_required_iterations_", "n_possible_iterations_")


def options_of(search):
    """`halving` as a dict of scikit-learn's arguments."""
    given = search.halving if isinstance(search.halving, dict) else {"factor": search.halving}
    unknown = given.keys() - set(OPTIONS)
    if unknown:
        raise ValueError(f"halving has {', '.join(sorted(map(repr, unknown)))}; it should have "
                         f"some of {', '.join(OPTIONS)}")
    factor = _arguments.as_number(given.get("factor", 3))
    if isinstance(factor, Real) and not factor > 1:
        raise ValueError(f"halving has the factor {factor}; it should be above 1")
    resource = given.get("resource", SAMPLES)
    most = search.estimator.get_params().get(resource)
    if resource != SAMPLES and "max_resources" not in given and isinstance(most, Integral):
        return {**given, "max_resources": most}
    return given


class Rounds:
    """What a search asks of scikit-learn's halving search with the same arguments."""

    def __init__(self, search):
        shared = {name: getattr(search, name) for name in SHARED} | options_of(search)
        if search.param_distributions is None:
            self.theirs = HalvingGridSearchCV(param_grid=search.param_grid, **shared)
        else:
            n = "exhaust" if search.n_iter is None else search.n_iter
            self.theirs = HalvingRandomSearchCV(
                param_distributions=search.param_distributions, n_candidates=n, **shared)
        self.theirs._validate_params()

    def check(self, search, X, y, split_params):
        self.theirs._checked_cv_orig = search._checked_cv_orig
        self.theirs._n_samples_orig = _num_samples(X)
        self.theirs._check_input_parameters(X, y, split_params)

    def run(self, search, evaluate, callback_ctx):
        self.theirs.n_splits_ = search.n_splits_
        self.theirs._run_search(evaluate, callback_ctx=callback_ctx)
        for name in FOUND:
            setattr(search, name, getattr(self.theirs, name))

    def best_of(self, results):
        return self.theirs._select_best_index(None, None, results)
