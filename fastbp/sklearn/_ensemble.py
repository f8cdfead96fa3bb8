"""MLPEnsembleClassifier and MLPEnsembleRegressor: networks of several seeds, trained in lockstep.

Each member is an MLPClassifier or MLPRegressor that ends as if it had been fitted alone, to the
bit. They share one X: a bootstrap sample is an index set.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import fastbp
from fastbp import _arguments
from fastbp.sklearn._base import known
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._classifier import MLPClassifier
from fastbp.sklearn._fit_task import Fit, Given
from fastbp.sklearn._parameters import Number, Parameters, at_least_one
from fastbp.sklearn._regressor import MLPRegressor
from fastbp.sklearn._samples import outputs
from fastbp.sklearn._together import Data, together
from fastbp.sklearn._workers import SEED_END, HasClient, collected, spread, take

OWN = ("n_estimators", "bootstrap", "max_samples", "random_state", "client")    # not of a member


def constraints(member):
    """The constraints of the parameters of an ensemble of such members."""
    theirs = {name: each for name, each in member._parameter_constraints.items()
              if name != "warm_start"}
    return {**theirs, "n_estimators": [at_least_one()], "bootstrap": ["boolean"],
            "max_samples": [at_least_one(), Number(Real, 0, 1, closed="right"), None],
            "client": "no_validation"}


class Ensemble(HasClient, Parameters):
    """The ensemble without its targets; not for use by itself."""

    _absent = {"warm_start": "fit makes new members; estimators_[k].set_params(warm_start=True)"
                             ".fit(X, y) trains one of them further"}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @_arguments.explained
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit all members to X and y, or to bootstrap samples of them.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As in `fit` of a member. A bootstrap sample is drawn evenly, whatever the samples weigh;
            each keeps its weight, as often as it is drawn.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit` of a member, with a note that names it.
        TypeError, ConnectionError
            For a client of another kind; for one whose scheduler is gone, or without workers.
        ImportError
            Where a worker has no fastbp.
        """
        random_state = check_random_state(self.random_state)
        seeds = random_state.randint(SEED_END, size=self.n_estimators).tolist()
        shared = {name: value for name, value in self.get_params(deep=False).items()
                  if name not in OWN}
        members = [self._member(**shared, random_state=seed) for seed in seeds]
        data = Data(X, y, self)
        X, y, _ = data(members[0], members[0]._dtypes(), True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(known("sample_weight", sample_weight), y,
                                                 dtype=X.dtype)
        self.estimators_samples_ = self._drawn(len(y), random_state)
        given = Given(data, sample_weight, (X_val, y_val, sample_weight_val))
        fits = {k: Fit(member, given, self.estimators_samples_ and self.estimators_samples_[k])
                for k, member in enumerate(members)}

        def name_member(k, error):
            error.add_note(f"in the fit of estimators_[{k}], with random_state={seeds[k]}")
            raise error

        if self.client is None:
            together({k: fit.begun(NoTask()) for k, fit in fits.items()}, name_member)
        else:
            answers = spread(self.client, fits, "estimators_[{}]".format, self.verbose)
            for k, answer in collected(answers, name_member).items():
                take(members[k], answer)
        self._describe(y, members)
        self.estimators_ = members
        self.n_iter_ = np.array([member.n_iter_ for member in members])
        return self

    @_arguments.public
    def to_network(self):
        """A population with copies of the members' weights, in the order of `estimators_`.

        Returns
        -------
        fastbp.Population
            Of the members' `to_network`. The mean over networks of its `forward` is what the
            ensemble predicts: the probability of the second class, or of each class or label, or
            the targets.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError
            Where a bootstrap sample lacks a class, so that its member has other outputs.
        """
        check_is_fitted(self, "estimators_")
        classes = getattr(self, "classes_", None)
        for k, member in enumerate(self.estimators_):
            own = getattr(member, "classes_", None)
            if not np.array_equal(own, classes):
                raise ValueError(f"estimators_[{k}] has {len(own)} of {len(classes)} classes, as "
                                 "its bootstrap sample; for a population all should have all. "
                                 "estimators_[k].to_network() is the network of one")
        try:
            return fastbp.Population.from_networks([each.to_network() for each in self.estimators_])
        except ValueError as error:
            raise ValueError(str(error).replace("networks[", "estimators_[")) from None

    def set_params(self, **params):
        """scikit-learn's; a `warm_start` is refused with what serves in its place."""
        for name in params.keys() & self._absent:
            raise ValueError(f"{type(self).__name__} has no parameter {name!r}: "
                             f"{self._absent[name]}")
        return super().set_params(**params)

    def _drawn(self, n, random_state):
        """The rows of each member's sample, or None."""
        if not self.bootstrap:
            if self.max_samples is not None:
                raise ValueError(f"max_samples is {self.max_samples!r} with bootstrap=False; it "
                                 "should be None, or bootstrap True")
            return None
        size = _arguments.as_number(self.max_samples)
        if size is None or not isinstance(size, Integral):
            size = max(round(n * (1.0 if size is None else size)), 1)
        return [random_state.randint(n, size=size) for _ in range(self.n_estimators)]

    @_arguments.quiet
    def _all_outputs(self, X):
        """What each member predicts for rows of X, stacked."""
        check_is_fitted(self)
        networks = [member._network() for member in self.estimators_]
        X = validate_data(self, known("X", X), accept_sparse="csr",
                          dtype=networks[0].dtype, order="C", reset=False)
        return np.stack([self._aligned(member, member._predicted(outputs(net, X)))
                         for member, net in zip(self.estimators_, networks, strict=True)])


def over_members(statistic, stacked):
    """A mean or standard deviation, computed in float64, in the dtype of the members."""
    return statistic(stacked, axis=0, dtype=np.float64).astype(stacked.dtype)


class MLPEnsembleClassifier(ClassifierMixin, Ensemble):
    """MLPClassifiers that differ in their seeds, or samples too; their mean probability.

    Parameters
    ----------
    n_estimators : int
        How many members.
    bootstrap : bool
        Whether each is fitted to a sample drawn from the rows of X with replacement; if not, only
        the seeds differ.
    max_samples : int, float or None
        Size of a bootstrap sample, or its share of X; None: as many rows as X.
    hidden_layer_sizes, activation, ..., dtype
        Of each member: those of `MLPClassifier`, but `warm_start`.
    random_state : int, RandomState or None
        What the seeds of the members, and then the bootstrap samples, are drawn from.
    client : distributed.Client, concurrent.futures.Executor or None
        The members are fitted by the workers of this cluster, each as if here, to the bit. A copy
        or a pickle of the ensemble has no client, a clone has the same.

    Attributes
    ----------
    estimators_ : list of MLPClassifier
        Each as if fitted alone with its `random_state`, to its sample, to the bit.
    estimators_samples_ : list of (n_samples,) ndarrays of int, or None
        The rows of each bootstrap sample.
    classes_ : ndarray or list of ndarrays
    n_iter_ : (n_estimators,) ndarray of int
        Epochs, or iterations, of each member.
    n_features_in_, feature_names_in_
        scikit-learn's.

    Raises
    ------
    ValueError
        From the methods, for parameters and arguments that do not fit.
    """

    _parameter_constraints = constraints(MLPClassifier)
    _member = MLPClassifier

    @_arguments.explained
    def __init__(self, n_estimators=20, *, bootstrap=False, max_samples=None,
                 hidden_layer_sizes=(100,), activation="relu", solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 class_weight=None, n_threads=None, dtype=None, client=None):
        self._store(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @_arguments.public
    def predict(self, X, return_std=False):
        """The classes of the greatest mean probability.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        return_std : bool
            Return the spread of the members' probabilities, too.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels, or an indicator matrix of them.
        ndarray of shape (n_samples, n_classes), with `return_std`
            The standard deviation of `predict_proba` over the members.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        stacked = self._all_outputs(X)
        mean = over_members(np.mean, stacked)
        binary = self._label_binarizer.y_type_ == "binary"
        labels = self._label_binarizer.inverse_transform(mean[:, 1] if binary else mean)
        return (labels, over_members(np.std, stacked)) if return_std else labels

    @_arguments.public
    def predict_proba(self, X):
        """The mean over the members of the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the dtype of the networks. A member whose bootstrap sample lacks a class gives it 0.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        return over_members(np.mean, self._all_outputs(X))

    @_arguments.public
    def predict_log_proba(self, X):
        """The logarithm of `predict_proba`, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    # ---- what Ensemble asks for

    def _describe(self, y, members):
        self._label_binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._label_binarizer.classes_

    def _aligned(self, member, probabilities):
        """The columns in the order of `classes_`, though the member may not have seen all."""
        if len(member.classes_) == len(self.classes_):
            return probabilities
        out = np.zeros((len(probabilities), len(self.classes_)), probabilities.dtype)
        out[:, np.searchsorted(self.classes_, member.classes_)] = (
            probabilities if len(member.classes_) > 1 else 1)
        return out


class MLPEnsembleRegressor(RegressorMixin, Ensemble):
    """MLPRegressors that differ in their seeds, or samples too; the mean of what they predict.

    Parameters
    ----------
    n_estimators, bootstrap, max_samples, random_state, client
        Those of `MLPEnsembleClassifier`.
    loss, hidden_layer_sizes, activation, ..., dtype
        Of each member: those of `MLPRegressor`, but `warm_start`.

    Attributes
    ----------
    estimators_ : list of MLPRegressor
        Each as if fitted alone with its `random_state`, to its sample, to the bit.
    estimators_samples_, n_iter_, n_features_in_, feature_names_in_
        Those of `MLPEnsembleClassifier`.

    Raises
    ------
    ValueError
        From the methods, for parameters and arguments that do not fit.
    """

    _parameter_constraints = constraints(MLPRegressor)
    _member = MLPRegressor

    @_arguments.explained
    def __init__(self, n_estimators=20, *, bootstrap=False, max_samples=None,
                 loss="squared_error", hidden_layer_sizes=(100,), activation="relu",
                 solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 n_threads=None, dtype=None, client=None):
        self._store(locals())

    @_arguments.public
    def predict(self, X, return_std=False):
        """The mean over the members of the targets they predict.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        return_std : bool
            Return the spread of the members' predictions, too.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the dtype of the networks.
        ndarray like it, with `return_std`
            The standard deviation over the members.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        stacked = self._all_outputs(X)
        mean = over_members(np.mean, stacked)
        return (mean, over_members(np.std, stacked)) if return_std else mean

    score = _arguments.quiet(RegressorMixin.score)

    # ---- what Ensemble asks for

    def _describe(self, y, members):
        pass

    def _aligned(self, member, predicted):
        return predicted
