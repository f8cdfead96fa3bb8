"""The solvers "lbfgs" and "newton-cg": SciPy's minimisers on the loss of all samples.

The loss that is minimised is the one whose gradient is given. scikit-learn's lbfgs divides a
squared error of several outputs by their number and its gradient not; here only `loss_` is divided.

"newton-cg" is trust-ncg: Newton's method, whose steps come from conjugate gradients with products
of the Hessian, within a region where its model of the loss holds. It stops as lbfgs does. Features
and targets may have any unit: the region grows from a radius of 1 without limit, where SciPy's is
1000, and a small fall of the loss means nothing while it grows with the region.
"""

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning

# OptimizeResult.status: SciPy's, with 2 of trust-ncg and 99 after StopIteration, and one of ours
CONVERGED, NO_FALL_PREDICTED, STOPPED_BY_CALLBACK, FAILED = 0, 2, 99, -1
FTOL = 1e7 * 2.0**-52       # relative fall of the loss at which L-BFGS-B stops
MAX_REJECTED = 20   # steps in a row, after which the region is 2^-40 of what it was
MAX_FUN_EXCEEDED = "TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"     # as of L-BFGS-B


def fit_whole(model, given, net, objective, samples, task):
    """Minimise the mean loss with its penalty, from the parameters of `net` on.

    `given` has the parameters of `model`; `objective` is f(params) -> loss, gradient, and f.hessp.
    """

    def after_iteration(intermediate_result):
        task.begin()
        net.params[:] = intermediate_result.x
        if given.verbose:
            print(f"loss = {intermediate_result.fun:.8f}")
        if task.end():
            raise StopIteration

    solve = lbfgs if given.solver == "lbfgs" else newton
    result = solve(objective, np.float64(net.params), given, after_iteration)
    if not np.isfinite(result.fun):
        raise ValueError(f"Solver produced a loss of {result.fun}. The input data may contain "
                         "large values and need to be preprocessed.")
    net.params[:] = result.x
    model.n_iter_ = min(result.nit, given.max_iter)
    penalty = given.alpha * half_squares(net) / samples.total_weight
    model.loss_ = samples.reported(result.fun - penalty, penalty)
    if result.status not in (CONVERGED, STOPPED_BY_CALLBACK):
        task.warn(f"{given.solver} failed to converge in {model.n_iter_} iterations: "
                  f"{result.message.rstrip('.')}. Scaled features, or more of max_iter or max_fun, "
                  "may help.", ConvergenceWarning)


def half_squares(net):
    """½·ΣW² in float64, whose bits no BLAS decides."""
    return 0.5 * sum(float(np.square(W, dtype=np.float64).sum()) for W in net.weights)


def lbfgs(objective, start, given, after_iteration):
    return minimize(objective, start, method="L-BFGS-B", jac=True, callback=after_iteration,
                    options={"maxfun": given.max_fun, "maxiter": given.max_iter,
                             "gtol": given.tol})


def newton(objective, start, given, after_iteration):
    watch = Watch(objective, given, after_iteration)
    try:
        result = minimize(watch, start, method="trust-ncg", jac=True, hessp=watch.hessp,
                          callback=watch.after_iteration,
                          options={"maxiter": given.max_iter, "gtol": given.tol,
                                   "max_trust_radius": np.inf})
    except Ended as end:
        x = start if watch.x is None else watch.x
        return OptimizeResult(x=x, fun=watch.loss, nit=watch.nit, status=FAILED, message=str(end))
    if watch.converged or result.status == NO_FALL_PREDICTED:     # that the loss's digits hold
        result.status = CONVERGED
    return result


class Ended(Exception):
    """The objective has no more results; says why."""


class Watch:
    """An objective that is counted, and the criteria of L-BFGS-B after each iteration."""

    def __init__(self, objective, given, after):
        self.objective, self.given, self.after = objective, given, after
        self.count, self.nit, self.rejected, self.converged = 0, 0, 0, False
        self.fall = 0.0                             # of the loss, in the last step that was taken
        self.x = self.loss = self.tried = None      # tried: the last point, its loss and max |g|

    def _take(self):
        if self.count == self.given.max_fun:
            raise Ended(MAX_FUN_EXCEEDED)
        self.count += 1

    def __call__(self, params):
        self._take()
        loss, grad = self.objective(params)
        if not (np.isfinite(loss) and np.isfinite(grad).all()):
            loss, grad = np.inf, np.zeros_like(grad)        # a step that SciPy rejects
        self.tried = params.copy(), loss, np.abs(grad).max(initial=0)
        if self.loss is None:
            self.loss = loss
        return loss, grad

    def hessp(self, params, v):
        self._take()
        product = self.objective.hessp(params, v)
        if not np.isfinite(product).all():
            raise Ended("a product of the Hessian is not finite")
        return product

    def after_iteration(self, intermediate_result):
        x, before = intermediate_result.x, self.loss
        accepted = np.array_equal(x, self.tried[0])
        self.x, self.loss, self.nit = x.copy(), intermediate_result.fun, self.nit + 1
        self.after(intermediate_result)
        if accepted:
            self.rejected = 0
            last, self.fall = self.fall, before - self.loss
            self.converged = self.tried[2] <= self.given.tol or self.fall <= min(
                last, FTOL * max(abs(before), abs(self.loss), 1))
        else:
            self.rejected += 1
            self.converged = self.rejected == MAX_REJECTED
        if self.converged:
            raise StopIteration


class MeanLoss:
    """f(params) -> loss, gradient, and f.hessp; sums over the blocks of a sparse X."""

    def __init__(self, net, samples, alpha):
        self.net, self.samples, self.alpha = net, samples, alpha
        self.whole = None
        if len(samples.blocks()) == 1:
            self.whole = self._part(slice(None), alpha, reduction="mean")

    def _part(self, block, l2, **options):
        X, y, weight = self.samples.rows(block)
        return self.net.objective(X, y, sample_weight=weight, l2=l2, **options)

    def _parts(self):
        l2 = self.alpha
        for block in self.samples.blocks():
            yield self._part(block, l2, memory=0)       # it is used once
            l2 = 0.0

    def __call__(self, params):
        if self.whole is not None:
            return self.whole(params)
        loss, grad = 0.0, 0.0
        for part, slope in (f(params) for f in self._parts()):
            loss, grad = loss + part, grad + slope
        return loss / self.samples.total_weight, grad / self.samples.total_weight

    def hessp(self, params, v):
        if self.whole is not None:
            return self.whole.hessp(params, v)
        return sum(f.hessp(params, v) for f in self._parts()) / self.samples.total_weight
