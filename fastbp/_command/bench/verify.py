"""Before anything is timed, all sides are compared: rounding must explain their differences."""

from functools import partial

import numpy as np

import fastbp
from fastbp import reference
from fastbp._command.bench import networks
from fastbp._command.bench.networks import BETAS, flatten
from fastbp._command.problems import problem
from fastbp._twin import mathematics
from fastbp._twin.error_bound import error_bound
from fastbp._twin.rounding import LIBRARY

# For the epochs that are compared: a step of about LR g, so that it shows which g was used.
LR, EPS = 2.0**-10, 1.0
WHOLE_BATCHES = 3       # and a partial one where a batch has more than one row


class Deviation(Exception):
    """A side computes something else; nothing is timed."""


def _difference(ours, theirs, tolerance):
    """Largest |ours - theirs| / tolerance; infinite for NaN."""
    return float(np.nan_to_num(np.max(np.abs(ours - theirs) / tolerance), nan=np.inf))


def verify(net, X, y, sides):
    """Largest difference between fastbp and another side, relative to what rounding explains.

    Both are within the running error bound of the true gradient, whatever their order of summation:
    twice that bound is between them. `plain` says why its loop is. Raises `Deviation` for more.

    Parameters
    ----------
    net, X, y : as in `problem`
    sides : dict of str to Side
        The first one is fastbp's.
    """
    _, bound = error_bound(net.weights, net.biases, X, y, LIBRARY, activation=net.activation,
                           loss=net.loss)
    grads = {name: np.array(side.flat(side.call()), np.float64) for name, side in sides.items()}
    (own, ours), *others = grads.items()
    worst = 0.0
    for name, theirs in others:
        ratio = _difference(ours, theirs, 2 * bound)
        if ratio > 1:
            raise Deviation(f"{net!r}, batch {len(X)}: the gradients of {own} and {name} "
                            f"differ by {ratio:.3g} times what rounding explains")
        worst = max(worst, ratio)
    return worst


def verify_epoch(sizes, batch, dtype, peers):
    """Hold the epochs of `peers`, and `train_epoch` in `dtype`, to the steps they stand for.

    Every peer trains on a few mini-batches in order: in float64, where a step that is missing, or
    made on other rows, is far above rounding, and in `dtype`, which is what will be timed. Raises
    `Deviation`. Returns the largest difference relative to what rounding explains.
    """
    verify_bits(sizes, batch, dtype)
    rows = WHOLE_BATCHES * batch + batch // 2
    worst = 0.0
    for precision in sorted({"float64", dtype}):
        make = partial(problem, sizes, rows, precision)
        expected = {eps_hat: reference_epoch(*make(), batch, eps_hat)
                    for eps_hat in {peer.eps_hat for peer in peers}}
        for peer in peers:
            side = peer.epoch(*make(), batch, shuffle=False, lr=LR, eps=EPS)
            ratio = _difference(side.flat(side.call()), *expected[peer.eps_hat])
            if ratio > 1:
                raise Deviation(f"{networks.name(sizes)}, batch {batch}, {precision}: after one "
                                f"epoch the parameters of {peer.name} are off by {ratio:.3g} times "
                                "what rounding explains")
            worst = max(worst, ratio)
    return worst


def verify_bits(sizes, batch, dtype):
    """Raise `Deviation` unless `train_epoch` gives the bits of `backprop` and `Adam.step`."""
    (net, X, y), (twin, _, _) = (problem(sizes, networks.EPOCH_ROWS, dtype)
                                 for _ in range(2))
    net.train_epoch(X, y, fastbp.Adam(), batch_size=batch, shuffle=False)
    optimizer = fastbp.Adam()
    for i in range(0, len(X), batch):
        twin.backprop(X[i:i + batch], y[i:i + batch], reduction="mean")
        optimizer.step(twin.params, twin.grad)
    if not np.array_equal(net.params, twin.params):
        raise Deviation(f"{net!r}, batch {batch}: train_epoch and its steps give different bits")


def reference_epoch(net, X, y, batch, eps_hat):
    """Parameters after one epoch of the reference, and what another side may be off in each.

    Let d_t bound what another side's parameters may be off after step t, B_t the running error
    bound of a mean gradient whose parameters are known to d_t, so that two sides differ by 2 B_t in
    g_t, and G_t the largest |g_i|, B_i those of i <= t. All of it for each parameter by itself.

    Adam's quotient q = m^ / (sqrt(v^) + eps) has m^ = sum w_i g_i and v^ = sum w'_i g_i^2, weights
    that sum to 1. Its derivatives along g_1 ... g_t have the sum of sizes

        sum w_i / (sqrt(v^) + eps) + |m^| sum w'_i |g_i| / (sqrt(v^) (sqrt(v^) + eps)^2).

    The first term is at most 1 / eps. By Cauchy and Schwarz sum w'_i |g_i| <= sqrt(v^), and |m^| <=
    sqrt(max w_i / w'_i) sqrt(v^) <= sqrt((1 - beta1) / (1 - beta2)) sqrt(v^) = 10 sqrt(v^), and
    sqrt(v^) / (sqrt(v^) + eps)^2 <= 1 / (4 eps): the second is at most 2.5 / eps. With eps / c in
    place of eps, c <= 1, as under `eps_hat`, both are smaller.

    Rounding of q itself: |q| <= G / eps, and what weighs most is that 1 - beta2 and 1 - beta2^t are
    off by u / (1 - beta2) each where beta2 is rounded to the dtype, and the latter by 4 u, two ulp
    of the power, relative to no less than 1 - beta2: half of 6 u / (1 - beta2) under the root. The
    same of beta1, and the few roundings of each of t steps, are far less: 8 u / (1 - beta2) in all.
    Adding the step rounds to u |p|.

        d_t = d_(t-1) + lr / eps (3.5 * 2 B_t + 2 * 8 u / (1 - beta2) G_t) + 4 u |p_t|
    """
    u = float(np.finfo(net.dtype).eps) / 2
    optimizer = reference.Adam(lr=LR, betas=BETAS, eps=EPS, eps_hat=eps_hat)
    off, bound, size = (np.zeros(net.n_params) for _ in range(3))
    for i in range(0, len(X), batch):
        part = X[i:i + batch], y[i:i + batch]
        _, dW, db = mathematics.gradient(net.weights, net.biases, *part)
        grad = flatten(dW, db) / len(part[0])
        e = error_bound(net.weights, net.biases, *part, LIBRARY, off=off)[1] / len(part[0])
        bound, size = np.maximum(bound, e), np.maximum(size, np.abs(grad) + e)
        optimizer.step(net.params, grad)
        off += LR / EPS * (7 * bound + 16 * u / (1 - BETAS[1]) * size) + 4 * u * np.abs(net.params)
    return np.float64(net.params), off
