"""The solvers "adam" and "sgd": epochs, what is held out, when to stop.

A fit is a generator that yields each `Epoch` for others to carry out: one over the order that
scikit-learn draws from its `RandomState`; of a sparse X, one for each block of mini-batches.
"""

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastbp import _arguments
from fastbp.sklearn._optimizers import Optimizer
from fastbp.sklearn._samples import outputs, which_of
from fastbp.sklearn._together import Epoch, Setting
from fastbp.sklearn._weights import require_both


def begin(model):
    """The curves and counts of a network that was not trained yet."""
    model.loss_curve_ = []
    model.best_loss_ = np.inf
    model.validation_scores_ = model.validation_loss_curve_ = model.best_validation_score_ = None
    model._no_improvement_count = 0
    model.__dict__.pop("_best_params", None)


def hold_out(model, given, data, held_out, random_state, incremental, weight_name):
    """`Samples` to train on, and the same to validate on or None.

    `data` and `held_out` are what `model._samples` takes. What is held out of `data` is copied; the
    rest stays where it is.
    """
    if held_out is not None or not given.early_stopping:
        return model._samples(*data), held_out and model._samples(*held_out)
    if incremental:
        raise ValueError("partial_fit does not support early_stopping=True without X_val and y_val")
    X, y, weight, places, _ = data
    try:
        train, held = train_test_split(np.arange(len(y)), random_state=random_state,
                                       test_size=given.validation_fraction,
                                       stratify=model._strata(y))
    except ValueError as error:         # which names test_size
        raise ValueError(f"validation_fraction is {given.validation_fraction!r}, which does not "
                         f"split {_arguments.counted(len(y), 'sample')}: {error}") from error
    if len(held) < 2:
        raise ValueError("The validation set is too small: it should have two samples or more. "
                         "Increase validation_fraction, or give X_val and y_val")
    if weight is not None:
        require_both(weight[train], weight[held], weight_name)
    of_train, of_held = (which if places is None else places[which] for which in (train, held))
    return (model._samples(X, y[train], which_of(weight, train), of_train),
            model._samples(X[of_held], y[held], which_of(weight, held)))


def fit_stochastic(model, given, net, samples, held_out, random_state, incremental, task):
    """Train `net` until a criterion of `model` is met, one epoch if `incremental`.

    `given` has the parameters of `model`; `samples` and `held_out` are `Samples`, the latter or
    None; `task` has the callbacks. Yields `Epoch`s; returns whether Ctrl-C ended it.
    """
    if not (incremental and hasattr(model, "_optimizer") and model._optimizer.fits(net)):
        model._optimizer = Optimizer(given)
    if given.solver == "adam":
        _arguments.positive_array("epsilon", [given.epsilon], net.dtype)
    if given.early_stopping:
        model.best_loss_ = None
    elif getattr(model, "best_loss_", None) is None:
        model.best_loss_ = np.inf
    best = Best(model, given, net, held_out) if held_out is not None else None
    batch_size = size_of_batches(given.batch_size, samples.n, task)
    order = np.arange(samples.n)
    model.n_iter_, model.stopped_, called_off, interrupted = 0, False, False, False
    task.enter(net, order, random_state, best)
    one_epoch = epochs_of(net, samples, model._optimizer.rule, batch_size, given.alpha)
    n_epochs = 1 if incremental else given.max_iter
    try:
        while model.n_iter_ < n_epochs and not (model.stopped_ or called_off):
            task.begin()
            if given.shuffle:
                random_state.shuffle(order)     # draws like those of sklearn.utils.shuffle
            model.loss_ = yield from one_epoch(order if given.shuffle else None)
            model.n_iter_ += 1
            model.t_ += samples.n
            model.loss_curve_.append(model.loss_)
            model.stopped_ = after_epoch(model, given, best)
            called_off = task.end()
        if not (incremental or model.stopped_ or called_off):
            task.warn(f"Stochastic Optimizer: Maximum iterations ({given.max_iter}) reached and "
                      "the optimization hasn't converged yet.", ConvergenceWarning)
    except KeyboardInterrupt:
        interrupted = True
        task.warn("Training interrupted by user.")
    if best and given.early_stopping:
        best.keep(incremental and not model.stopped_)
    return interrupted


def size_of_batches(batch_size, n, task):
    if batch_size == "auto":
        return min(200, n)
    if batch_size > n:
        task.warn(f"batch_size is {batch_size} and X has {_arguments.counted(n, 'sample')}: "
                  "a mini-batch is clipped to all of them", further=1)
    return min(batch_size, n)


def epochs_of(net, samples, rule, batch_size, alpha):
    """The generator function of one pass over the samples, in an order or as they come if None.

    It yields an `Epoch`, or several, and returns scikit-learn's loss of the pass.
    """
    n_batches = -(-samples.n // batch_size)

    def dense(order):
        losses = np.zeros((n_batches, 2))
        yield Epoch(setting, samples.rows_of_X(order), losses)
        return samples.epoch_loss(losses, slice(None) if order is None else order, batch_size)

    def sparse(order):
        losses = np.zeros((n_batches, 2))
        for block in samples.blocks(batch_size):
            X, y, weight = samples.rows(block if order is None else order[block])
            if weight is None or weight.any():
                first = block.start // batch_size
                part = losses[first:first - (-len(y) // batch_size)]
                yield Epoch(Setting(net, X, y, weight, rule, batch_size, alpha), None, part)
        return samples.epoch_loss(losses, slice(None) if order is None else order, batch_size)

    if issparse(samples.X):
        return sparse
    setting = Setting(net, samples.X, *samples.beside_X(), rule, batch_size, alpha)
    return dense


def after_epoch(model, given, best):
    """Count epochs without improvement; whether that was the last one."""
    if given.verbose:
        print(f"Iteration {model.n_iter_}, loss = {model.loss_:.8f}")
    better = best.evaluate() if best else None
    if not given.early_stopping:
        better = not model.loss_ > model.best_loss_ - given.tol
        model.best_loss_ = min(model.best_loss_, model.loss_)
    model._no_improvement_count = 0 if better else model._no_improvement_count + 1
    model._optimizer.after_epoch(model.t_)
    if model._no_improvement_count <= given.n_iter_no_change:
        return False
    what = "Validation score" if given.early_stopping else "Training loss"
    reason = (f"{what} did not improve more than tol={given.tol:f} for "
              f"{given.n_iter_no_change} consecutive epochs.")
    stopped = model._optimizer.gives_up(reason, given.verbose)
    if not stopped:
        model._no_improvement_count = 0
    return stopped


class Best:
    """Scores and losses of the held-out samples, and the parameters of the best score.

    Over several calls of `partial_fit` the estimator keeps these parameters, until it stops.
    """

    def __init__(self, model, given, net, held_out):
        self.model, self.given, self.net, self.held_out = model, given, net, held_out
        if model.validation_scores_ is None:
            model.validation_scores_, model.validation_loss_curve_ = [], []
            model.best_validation_score_ = -np.inf
        kept = model.__dict__.pop("_best_params", None)
        same = kept is not None and kept.shape == net.params.shape
        self.params = kept if same else net.params.copy()

    def evaluate(self):
        """Whether the score is better than the best by `tol`; a NaN does not count as worse."""
        model, samples = self.model, self.held_out
        score = model._score(outputs(self.net, samples.X), samples.y, samples.weight)
        model.validation_scores_.append(score)
        model.validation_loss_curve_.append(samples.mean_loss(self.net))
        if self.given.verbose:
            print(f"Validation score: {score:f}")
        better = not score < model.best_validation_score_ + self.given.tol
        if score > model.best_validation_score_:
            model.best_validation_score_ = score
            self.params[:] = self.net.params
        return better

    def keep(self, for_later):
        if for_later:
            self.model._best_params = self.params
        else:
            self.net.params[:] = self.params
