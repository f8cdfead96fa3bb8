"""MLPRegressor: real targets, squared error or Poisson loss."""

from functools import partial

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor as Theirs
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastbp import _arguments
from fastbp._arguments.descriptors import UNIT_INTERVAL
from fastbp.sklearn._base import LOSSES, BaseMLP, is_stochastic
from fastbp.sklearn._callbacks import NoTask
from fastbp.sklearn._conversions import unfitted, with_weights
from fastbp.sklearn._poisson import least_poisson_loss
from fastbp.sklearn._samples import Samples, slopes
from fastbp.sklearn._together import Data, alone, now

# `out_activation_` by the parameter `loss`: the losses whose targets are not labels.
OUTPUTS = {name: output for output, name in LOSSES.items()
           if _arguments.LOSSES[name].targets is not UNIT_INTERVAL}


def n_columns(y):
    return 1 if y.ndim == 1 else y.shape[1]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron of real targets: scikit-learn's, trained by fastbp.

    Minimises half the squared error, summed over outputs, or the Poisson loss f - y log f of
    exponential outputs, plus alpha / 2 times the sum of W^2, over the sum of the weights.

    Parameters
    ----------
    loss, hidden_layer_sizes, ..., max_fun
        Those of `sklearn.neural_network.MLPRegressor`, with its meanings and defaults.
        `activation` may also be a sequence with one for each hidden layer, `solver` "newton-cg":
        Newton's method on all samples, which stops as "lbfgs" does.
    n_threads : int or None
        As in `fastbp.MLP`; the result does not depend on it.
    dtype : {"float32", "float64"} or None
        Of the network. None: float32 if X is, else float64, and what it was where it is trained
        further.

    Attributes
    ----------
    coefs_, intercepts_ : lists of ndarrays (fan_in, fan_out) and (fan_out,)
        Views into the parameters of the network. Arrays may be put in their place.
    loss_curve_, loss_, best_loss_, n_iter_, t_, n_layers_, n_outputs_, out_activation_
        scikit-learn's: a squared error is divided by the number of outputs here, not in what is
        minimised, and the Poisson loss is zero where f = y.
    validation_scores_, validation_loss_curve_ : lists of float, or None
        R^2, and loss without the penalty, of the held-out samples after each epoch.
    best_validation_score_ : float or None
    stopped_ : bool
        Whether the last call ended because there was no improvement.
    n_features_in_, feature_names_in_
        scikit-learn's.

    Raises
    ------
    ValueError
        From the methods, for parameters and arguments that do not fit.
    """

    _parameter_constraints = {**BaseMLP._parameter_constraints,
                              "loss": [StrOptions(set(OUTPUTS))]}
    _theirs = Theirs

    @_arguments.explained
    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
                 solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 n_threads=None, dtype=None):
        self._store(locals())

    @classmethod
    @_arguments.public
    def from_network(cls, net, feature_names=None):
        """A fitted estimator with copies of a network's weights, which can be trained on.

        Parameters
        ----------
        net : fastbp.MLP
            With loss "squared_error" or "poisson".
        feature_names : sequence of str, optional
            The columns of X, for `feature_names_in_`.

        Returns
        -------
        MLPRegressor
            `predict` has the outputs of `net`, to the bit. Its sizes, activations, loss, dtype and
            `n_threads` are parameters, others have their defaults; `n_iter_` is 0.

        Raises
        ------
        TypeError
            For a `net` that is no `fastbp.MLP`, and names that are no str.
        ValueError
            For another loss, and names that are too many, too few, or the same.
        """
        model = unfitted(cls, net, tuple(OUTPUTS), feature_names, loss=net.loss)
        return with_weights(model, net.weights, net.biases)

    @available_if(is_stochastic)
    @_arguments.explained
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None,
                    sample_weight_val=None):
        """Train for one epoch from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As in `fit`. `early_stopping` needs a given validation set here.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`.
        """
        held_out = X_val, y_val, sample_weight_val
        alone(self._fit(Data(X, y), sample_weight, held_out, True, NoTask()))
        return self

    @_arguments.public
    def predict(self, X):
        """The targets predicted for rows of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the dtype of the network.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        return self._predicted(self._outputs(X))

    @_arguments.public
    def input_gradient(self, X):
        """The derivative of `predict` by the features.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            In the dtype of the network; per unit of X as it is given. Dense for a sparse X, too.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        RuntimeError
            When `fit` or `input_gradient` of this estimator has not ended, in any thread.
        """
        rows = self._outputs(X, slopes)
        return rows[:, 0] if self.n_outputs_ == 1 else rows

    score = _arguments.quiet(RegressorMixin.score)

    # ---- what BaseMLP asks for

    def _describe(self, y, sample_weight, fresh, incremental, once):
        if fresh:
            self.out_activation_ = OUTPUTS[self.loss]
            self.n_outputs_ = n_columns(y)
        self._check_unchanged("loss", self.loss, LOSSES[self.out_activation_], incremental)
        self._check_like(y)

    def _check_like(self, y):
        if n_columns(y) != self.n_outputs_:
            outputs = _arguments.counted(n_columns(y), "output")
            raise ValueError(f"y has {outputs}; it should have {self.n_outputs_}, as at the first "
                             "fit")

    def _samples(self, X, y, weight, places=None, once=now):
        poisson = self.out_activation_ == "exp"
        exact = np.float64(y)
        offset = -least_poisson_loss(exact) if poisson else None
        y = once(partial(np.ascontiguousarray, dtype=X.dtype), y, X.dtype)
        return Samples(X, y, weight, places, 1 if poisson else self.n_outputs_, offset)

    def _strata(self, y):
        return None

    def _predicted(self, h):
        """`predict` from the outputs."""
        return h.ravel() if self.n_outputs_ == 1 else h

    def _score(self, predicted, y, weight):
        """R^2, or NaN for what is not finite."""
        if not np.isfinite(predicted).all():
            return np.nan
        return r2_score(y, self._predicted(predicted), sample_weight=weight)
