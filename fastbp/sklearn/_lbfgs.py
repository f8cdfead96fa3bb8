"""The solver "lbfgs": SciPy's L-BFGS-B on the loss of all samples.

The loss it minimises is the one whose gradient it is given. scikit-learn's divides a squared error
of several outputs by their number and its gradient not; here only `loss_` is divided.
"""

import warnings

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from fastbp.sklearn._stochastic import CALLER_OF_FIT

CALLED_OFF = 99     # OptimizeResult.status after StopIteration


def fit_lbfgs(model, given, net, samples, task):
    """Minimise the mean loss with its penalty, from the parameters of `net` on.

    `given` has the parameters of `model`.
    """

    def after_iteration(intermediate_result):
        task.begin()
        net.params[:] = intermediate_result.x
        if given.verbose:
            print(f"loss = {intermediate_result.fun:.8f}")
        if task.end():
            raise StopIteration

    result = minimize(objective(net, samples, given.alpha), np.float64(net.params),
                      method="L-BFGS-B", jac=True, callback=after_iteration,
                      options={"maxfun": given.max_fun, "maxiter": given.max_iter,
                               "gtol": given.tol})
    net.params[:] = result.x
    model.n_iter_ = min(result.nit, given.max_iter)
    squares = sum(float(np.vdot(W, W)) for W in net.weights)
    penalty = given.alpha / 2 * squares / samples.total_weight
    model.loss_ = samples.reported(result.fun - penalty, penalty)
    if result.status not in (0, CALLED_OFF):
        warnings.warn(f"lbfgs failed to converge in {model.n_iter_} iterations: {result.message}. "
                      "Scaled features, or more of max_iter or max_fun, may help.",
                      ConvergenceWarning, stacklevel=CALLER_OF_FIT)


def objective(net, samples, alpha):
    """f(params) -> loss, gradient; a sum over the blocks of a sparse X."""
    if len(samples.blocks()) == 1:
        X, y, weight = samples.rows(slice(None))
        return net.objective(X, y, sample_weight=weight, reduction="mean", l2=alpha)

    def by_blocks(params):
        loss, grad, l2 = 0.0, 0.0, alpha
        for block in samples.blocks():
            X, y, weight = samples.rows(block)
            part, slope = net.value_and_grad(params, X, y, sample_weight=weight, l2=l2)
            loss, grad, l2 = loss + part, grad + slope, 0.0
        return loss / samples.total_weight, grad / samples.total_weight

    return by_blocks
