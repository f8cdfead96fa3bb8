"""What a network computes besides its gradient, as multiples of one: `--suite beyond`.

A quantity is a row of `QUANTITIES`. All of a network are timed in turns beside `backprop`, with
memory that they have, after each has been verified.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from fastbp import reference
from fastbp._command.bench import networks
from fastbp._command.bench.timing import summaries, undisturbed
from fastbp._command.bench.verify import Deviation
from fastbp._command.machine import machine
from fastbp._command.problems import problem
from fastbp._twin.error_bound import running_error_bound
from fastbp._twin.rounding import LIBRARY, Arithmetic, Ball, format_of

GRADIENT = "backprop"
# A result may be off by so many roundings of its largest element: more than the sums of these
# networks have, and less than a fault makes.
MAX_ROUNDINGS = 1000
N_VERIFIED = 8          # samples whose own gradients are


class Quantity(NamedTuple):
    """One of what is timed."""

    name: str
    method: str             # of the network, or of its linearization
    more: Callable          # (net, X, y) -> its arguments after X and y
    difference: Callable    # (result, net, X, y, *more) -> its error over what rounding explains
    at_a_point: bool = False

    def bound(self, net, X, y):
        """The method with all of its arguments."""
        more = self.more(net, X, y)
        if self.at_a_point:
            return partial(getattr(net.linearize(X, y), self.method), *more)
        return partial(getattr(net, self.method), X, y, *more)

    def call(self, net, X, y):
        """What is timed: into an array that is kept, where the method takes one."""
        compute = self.bound(net, X, y)
        found = compute()
        return partial(compute, out=found) if isinstance(found, np.ndarray) else compute

    def off(self, net, X, y):
        """Largest error of the result over what rounding explains."""
        return self.difference(self.bound(net, X, y)(), net, X, y, *self.more(net, X, y))


def nothing(net, X, y):
    return ()


def direction(net, X, y):
    """A vector of about the size of the parameters that is none of theirs."""
    return (net.params[::-1].copy(),)


def median_norm(net, X, y):
    """A limit that clips half of the samples."""
    return (float(np.median(net.per_sample_grad_norms(X, y))),)


def no_limit(net, X, y):
    """Clips none, so that the sum is the gradient."""
    return (float("inf"),)


def off_input_grad(found, net, X, y):
    """The error of dL/dX in units of its running bound: delta_1 W_1^T in a wider format."""
    do = Arithmetic(net.dtype, LIBRARY, format_of(np.float64))
    exact, bound = running_error_bound(do, net.weights, net.biases, X, y,
                                       activation=net.activation, loss=net.loss)
    dX = do.product(Ball(exact.delta[0], bound.delta[0]), do.given(net.weights[0].T))
    # In float64 the value that is compared with is off by as much itself.
    return largest(found - dX.x, 2 * dX.e)


def off_product(method, found, net, X, y, v):
    at, V, b = 0, [], []
    for W in net.weights:
        V.append(v[at:at + W.size].reshape(W.shape))
        b.append(v[at + W.size:at + W.size + W.shape[1]])
        at += W.size + W.shape[1]
    dW, db = twin(method, net, X, y, *([a.astype("float64") for a in part] for part in (V, b)))
    return apart(found, networks.flatten(dW, db))


def off_norms(found, net, X, y):
    exact = twin("per_sample_grad_norms", net, X, y)
    return apart(found, exact, exact)


def off_clipped(found, net, X, y, limit):
    _, dW, db, exact = twin("clipped_backprop", net, X, y, limit)
    _, norms = found
    return max(apart(norms, exact, exact), apart(net.grad, networks.flatten(dW, db)))


def off_each(found, net, X, y):
    """A row has the same bits in any batch: a few are enough."""
    exact = twin("per_sample_grads", net, X[:N_VERIFIED], y[:N_VERIFIED])
    return apart(found[:N_VERIFIED], exact, np.abs(exact).max(axis=1, keepdims=True))


def twin(method, net, X, y, *more):
    """The function of `reference` in float64."""
    weights, biases = ([a.astype("float64") for a in arrays] for arrays in
                       (net.weights, net.biases))
    return getattr(reference, method)(weights, biases, X, y, *more, activation=net.activation,
                                      loss=net.loss)


def apart(found, exact, scale=None):
    """Largest distance over `MAX_ROUNDINGS` roundings of `scale`, or of the largest element."""
    scale = np.abs(exact).max() if scale is None else scale
    return largest(found - exact, MAX_ROUNDINGS * np.finfo(found.dtype).eps * scale)


def largest(error, bound):
    """Largest |error| / bound; infinite for NaN."""
    return float(np.nan_to_num(np.max(np.abs(error) / bound), nan=np.inf))


QUANTITIES = (
    Quantity("input_grad", "input_grad", nothing, off_input_grad),
    *(Quantity(name, method, direction, partial(off_product, method), at_a_point)
      for name, method, at_a_point in (
          ("hvp", "hvp", False), ("hvp_at_a_point", "hvp", True),
          ("gnvp", "gnvp", False), ("gnvp_at_a_point", "gnvp", True))),
    Quantity("per_sample_grad_norms", "per_sample_grad_norms", nothing, off_norms),
    Quantity("gradient_with_norms", "clipped_backprop", no_limit, off_clipped),
    Quantity("clipped_backprop", "clipped_backprop", median_norm, off_clipped),
    Quantity("per_sample_grads", "per_sample_grads", nothing, off_each),
)


def measure_beyond(networks, dtypes, seconds):
    """Yield the machine, then one dict for each network and dtype.

    Parameters
    ----------
    networks : sequence of (sizes, batch)
    dtypes : sequence of {"float32", "float64"}
    seconds : float
        Of timing for each of them.

    Raises
    ------
    Deviation
        A quantity is off by more than rounding explains.
    """
    yield machine()
    for dtype in dtypes:
        for sizes, batch in networks:
            yield time_beyond(tuple(sizes), batch, dtype, seconds)


def time_beyond(sizes, batch, dtype, seconds):
    """Verify and time every quantity of one network; a dict for JSON."""
    net, X, y = problem(sizes, batch, dtype)
    off = {q.name: q.off(net, X, y) for q in QUANTITIES}
    for name, ratio in off.items():
        if ratio > 1:
            raise Deviation(f"{net!r}, batch {batch}: {name} is off by {ratio:.3g} times what "
                            "rounding explains")
    calls = {GRADIENT: partial(net.backprop, X, y),
             **{q.name: q.call(net, X, y) for q in QUANTITIES}}
    samples, attempts = undisturbed(list(calls.values()), seconds, len(calls))
    times = summaries(calls, samples)
    own = times[GRADIENT]["median_us"]
    return {"kind": "beyond", "network": networks.name(sizes), "batch": batch, "dtype": dtype,
            "times": times, "ratios": {q.name: times[q.name]["median_us"] / own
                                       for q in QUANTITIES},
            "attempts": attempts, "difference_of_bound": off}
