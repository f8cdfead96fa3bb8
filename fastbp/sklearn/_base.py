"""What MLPClassifier and MLPRegressor share: parameters, `fit`, and the network behind `coefs_`.

`coefs_` and `intercepts_` list views into the parameters of one `fastbp.MLP`: a prediction copies
nothing. Arrays that a user puts in their place are copied by each prediction, and taken over by the
next call that trains. A pickle holds the arrays and no network.

The solvers are `_stochastic` and `_whole`; what y is and what is predicted, the two estimators.
"""

from numbers import Real

import numpy as np
from sklearn.base import _fit_context, is_regressor
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d
from sklearn.utils._param_validation import Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import fastbp
from fastbp import _arguments
from fastbp._arguments import tables
from fastbp.sklearn._callbacks import Task
from fastbp.sklearn._conversions import Convertible
from fastbp.sklearn._parameters import Number, Parameters, at_least_one, hidden_sizes, positive
from fastbp.sklearn._samples import outputs
from fastbp.sklearn._stochastic import begin, fit_stochastic, hold_out
from fastbp.sklearn._together import Data, alone
from fastbp.sklearn._weights import name_of, of_samples, require
from fastbp.sklearn._whole import MeanLoss, fit_whole

# fastbp's names by scikit-learn's: of activations, and of losses by `out_activation_`.
ACTIVATIONS = {each.sklearn: name for name, each in _arguments.ACTIVATIONS.items() if each.sklearn}
LOSSES = {each.sklearn: name for name, each in _arguments.LOSSES.items() if each.sklearn}
STOCHASTIC = ("sgd", "adam")


def is_stochastic(model):
    return model.solver in STOCHASTIC


def known(name, value):
    """`value` without missing entries, in a dtype that scikit-learn knows."""
    tables.refuse_missing(name, value)
    return tables.widened(value) if isinstance(value, np.ndarray) else value


class BaseMLP(CallbackSupportMixin, Convertible, Parameters):
    """The estimator without its targets; not for use by itself."""

    _parameter_constraints = {
        "hidden_layer_sizes": ["array-like", at_least_one()],
        "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
        "solver": [StrOptions({"lbfgs", "newton-cg", *STOCHASTIC})],
        "alpha": [positive()],
        "batch_size": [StrOptions({"auto"}), at_least_one()],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [positive("neither")],
        "power_t": [positive()],
        "max_iter": [at_least_one()],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [positive()],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Number(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Number(Real, 0, 1, closed="left")],
        "beta_1": [Number(Real, 0, 1, closed="left")],
        "beta_2": [Number(Real, 0, 1, closed="left")],
        "epsilon": [positive("neither")],
        "n_iter_no_change": [at_least_one(), Options(Real, {np.inf})],
        "max_fun": [at_least_one()],
        "n_threads": [at_least_one(), None],
        "dtype": [StrOptions({"float32", "float64"}), None],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- the network

    def _network(self):
        """The network that `coefs_` and `intercepts_` view, or one of the arrays put there."""
        net = getattr(self, "_net", None)
        if net is None or not self._is_current(net):
            return self._assembled()
        net.n_threads = self.n_threads
        return net

    def _network_to_train(self, hidden, incremental):
        """The one that a warm start or `partial_fit` goes on with.

        The parameters that give its shape should be those it has. It takes over another `dtype`,
        which rounds, and another `activation`.
        """
        net = self._network()
        trained = net.layer_sizes[1:-1]
        self._check_unchanged("hidden_layer_sizes", tuple(hidden), trained, incremental)
        if self.dtype and net.dtype != self.dtype:
            return self._assembled(self.dtype)
        return net

    def _check_unchanged(self, name, value, trained, incremental):
        if value != trained:
            where = "in partial_fit" if incremental else "under warm_start=True"
            raise ValueError(
                f"{name} is {getattr(self, name)!r}; {where} it should be {trained!r}, as in the "
                "network that is trained further. fit under warm_start=False makes a new one")

    def _is_current(self, net):
        """Whether the lists are the network's views, and its functions those of the parameters."""
        theirs, own = (*self.coefs_, *self.intercepts_), (*net.weights, *net.biases)
        return (len(theirs) == len(own) and all(a is b for a, b in zip(theirs, own, strict=True))
                and self._has_activation_of(net) and net.loss == LOSSES[self.out_activation_])

    def _has_activation_of(self, net):
        try:
            return net.activation == self._activation(len(net.layer_sizes) - 2)
        except ValueError:
            return False

    def _assembled(self, dtype=None):
        """A network with copies of `coefs_` and `intercepts_`."""
        coefs, intercepts = self.coefs_, self.intercepts_
        if not 0 < len(coefs) == len(intercepts):
            arrays = _arguments.counted(len(coefs), "array")
            raise ValueError(f"coefs_ has {arrays} and intercepts_ has "
                             f"{len(intercepts)}; there should be as many of one as of the other, "
                             "at least one")
        sizes = [self.n_features_in_, *map(np.size, intercepts[:-1]), self.n_outputs_]
        net = self._new_network(sizes, dtype or np.result_type(np.float32, *coefs, *intercepts))
        for name, views, arrays in (("coefs_", net.weights, coefs),
                                    ("intercepts_", net.biases, intercepts)):
            for i, (view, array) in enumerate(zip(views, arrays, strict=True)):
                if np.shape(array) != view.shape:
                    raise ValueError(f"{name}[{i}] has shape {np.shape(array)}; it should have "
                                     f"shape {view.shape}")
                view[...] = array
        return net

    def _new_network(self, sizes, dtype):
        activation = self._activation(len(sizes) - 2)
        _arguments.layer_sizes(sizes, "hidden_layer_sizes", self.hidden_layer_sizes)
        return fastbp.MLP(sizes, activation=activation,
                          loss=LOSSES[self.out_activation_], dtype=dtype, seed=0,
                          n_threads=self.n_threads)

    def _activation(self, n_hidden):
        """`activation` as `fastbp.MLP` takes and keeps it: its names for scikit-learn's."""
        checked = _arguments.hidden_activations(self.activation, n_hidden, ACTIVATIONS)
        if isinstance(checked, str):
            return ACTIVATIONS[checked]
        return tuple(ACTIVATIONS[name] for name in checked)

    def _bind(self, net):
        self._net, self.coefs_, self.intercepts_ = net, list(net.weights), list(net.biases)
        return net

    def _initial_network(self, sizes, dtype, random_state):
        """Weights and biases uniform in +-sqrt(6 / (fan_in + fan_out)), 2 under "logistic".

        The outputs go with the last hidden layer. Drawn in float64, W_1, b_1, W_2, ..., so as to be
        scikit-learn's for the same generator.
        """
        net = self._new_network(sizes, dtype)
        names = _arguments.each_activation(net.activation, len(sizes[1:-1]) or 1)
        for W, b, name in zip(net.weights, net.biases, [*names, names[-1]], strict=False):
            bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / sum(W.shape))
            W[...] = random_state.uniform(-bound, bound, W.shape)
            b[...] = random_state.uniform(-bound, bound, b.shape)
        return net

    def __getstate__(self):
        state = super().__getstate__().copy()
        net = state.pop("_net", None)
        state["_bound"] = net is not None and self._is_current(net)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.__dict__.pop("_bound", False):
            self._bind(self._assembled())

    # ---- fitting

    @_arguments.explained
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            A sparse matrix is made dense some mini-batches at a time, 16 MiB or one mini-batch.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or an indicator matrix of labels, or real targets.
        sample_weight : array-like of shape (n_samples,), optional
            Not negative.
        X_val, y_val, sample_weight_val : optional
            A validation set, in place of a fraction of X: it is evaluated after each
            epoch, and with `early_stopping` decides when to stop. Solvers "adam" and "sgd".

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For arguments that do not fit or are not finite, and parameters or a loss that did not
            stay finite.
        """
        task = Task(self, X, y, sample_weight)
        held_out = X_val, y_val, sample_weight_val
        alone(self._fit(Data(X, y), sample_weight, held_out, False, task))
        task.close()
        return self

    def _fit(self, data, sample_weight, held_out, incremental, task):
        """Fit to `Data` or `Resampled`: yields `Epoch`s; returns whether Ctrl-C ended them."""
        given = self._given()
        hidden = hidden_sizes(self.hidden_layer_sizes)
        fresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        net = None if fresh else self._network_to_train(hidden, incremental)
        X, y, places = data(self, self._dtypes() if fresh else net.dtype, fresh)
        sample_weight = self._checked(sample_weight, y, X.dtype)
        self._describe(y, sample_weight, fresh, incremental, data.once)
        of_class = self._weight_of_class(y)
        weight = of_samples(sample_weight, of_class, X.dtype)
        weight_name = name_of(sample_weight, of_class)
        require(weight, weight_name, "")
        random_state = check_random_state(self.random_state)
        if fresh:
            sizes = [X.shape[1], *hidden, self.n_outputs_]
            net = self._initial_network(sizes, X.dtype, random_state)
            self.n_layers_, self.t_ = len(sizes), 0
        self._bind(net)
        held_out = self._read_held_out(held_out, X.dtype, data.owner)
        interrupted = False
        if self.solver in STOCHASTIC:
            if fresh or not hasattr(self, "loss_curve_"):
                begin(self)
            samples, held_out = hold_out(self, given, (X, y, weight, places, data.once), held_out,
                                         random_state, incremental, weight_name)
            interrupted = yield from fit_stochastic(self, given, net, samples, held_out,
                                                    random_state, incremental, task)
        else:
            samples = self._samples(X, y, weight, places)
            fit_whole(self, given, net, MeanLoss(net, samples, given.alpha), samples, task)
        if not np.isfinite(net.params).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed.")
        return interrupted

    def _dtypes(self):
        """The dtypes of a new network: that of X if it is among them, else the first."""
        return self.dtype or (np.float64, np.float32)

    def _read(self, X, y, dtype, reset, owner=None):
        """X and y as scikit-learn checks them, for `owner` if it is not this one.

        A y of one column is flat.
        """
        y_numeric = is_regressor(self)
        X, y = validate_data(owner or self, known("X", X), known("y", y), accept_sparse="csr",
                             dtype=dtype, order="C", multi_output=True, y_numeric=y_numeric,
                             reset=reset)
        if y_numeric:
            assert_all_finite(y, input_name="y")    # a None among objects has become a NaN
        return X, (column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y)

    def _read_held_out(self, held_out, dtype, owner):
        """(X_val, y_val, sample_weight_val), checked, or None."""
        X, y, sample_weight = held_out
        if X is None and y is None and sample_weight is None:
            return None
        for name, array in (("X_val", X), ("y_val", y)):
            if array is None:
                raise ValueError(f"{name} is None; X_val and y_val should be given together, and "
                                 "sample_weight_val with them")
        if self.solver not in STOCHASTIC:
            raise ValueError(f"X_val is given with solver {self.solver!r}; the solver should be "
                             "'adam' or 'sgd'")
        try:
            X, y = self._read(X, y, dtype, False, owner)
            self._check_like(y)
            sample_weight = self._checked(sample_weight, y, dtype)
        except (TypeError, ValueError) as error:    # scikit-learn's, which names X and y
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X_val, y_val or sample_weight_val does not fit: {error}") from error
        of_class, name = self._weight_of_class(y), "sample_weight_val"
        weight = of_samples(sample_weight, of_class, X.dtype, name)
        require(weight, name_of(sample_weight, of_class, name), " of X_val")
        return X, y, weight

    def _checked(self, sample_weight, y, dtype):
        if sample_weight is None:
            return None
        return _check_sample_weight(known("sample_weight", sample_weight), y, dtype=dtype)

    def _weight_of_class(self, y):
        """The weight of each sample by its class, (n,), or None."""
        return None

    # ---- predicting

    @_arguments.quiet
    def _outputs(self, X, compute=outputs):
        """h_L of checked rows: (n, n_outputs), in the dtype of the network; or their `slopes`."""
        check_is_fitted(self)
        net = self._network()
        X = validate_data(self, known("X", X), accept_sparse="csr", dtype=net.dtype, order="C",
                          reset=False)
        return compute(net, X)
