"""The functions whose ulps are counted: what fastbp returns, wide values, 50 digits, and inputs.

A `Family` has the functions of E1 to E4 that come from the same wide e^x: float64 for float32, the
64 bits of x87 long double for float64. sweeps.py goes through inputs; no test is here.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import oracle
from ulps import WIDER, logits, stratified

import fastbp
from fastbp._logit_losses import _with_logits

WIDTHS = (2, 3, 4, 7, 10, 17, 40)  # of a softmax


class Function(NamedTuple):
    promise: str  # what of ulps.PROMISED
    exact: Callable  # to 50 digits, of the inputs


class Family(NamedTuple):
    functions: dict
    found: Callable  # inputs -> {name: results of fastbp, a row for each sample}
    wide: Callable  # inputs -> {name: the same in the wide format}
    points: Callable  # dtype, n, rng -> inputs, ascending where one is monotone
    monotone: tuple = ()


def wide(x):
    return x.astype(WIDER[x.dtype.name])


# ---- σ, and binary cross-entropy of hard labels


def hard_labels(z, **options):
    """Losses and δ_L for each label, of every z."""
    found = {}
    for label in (0, 1):
        y = np.full_like(z, label)
        _, found[f"δ_L, y = {label}"], found[f"loss, y = {label}"] = _with_logits(
            "bce", z, y, None, options)
    return found


def logistic(z):
    h, slope = fastbp.activate(z, "sigmoid")
    return {"σ": h, "σ′": slope, **hard_labels(z)}


def tails(z):
    """e^−|z|, σ(z) and σ(−z), wide."""
    e = np.exp(-np.abs(wide(z)))
    q = e / (1 + e)
    return e, np.where(z < 0, q, 1 - q), np.where(z < 0, 1 - q, q)


def wide_logistic(z):
    e, up, down = tails(z)
    log, x = np.log1p(e), wide(z)
    return {"σ": up, "σ′": up * down, "δ_L, y = 0": up, "δ_L, y = 1": -down,
            "loss, y = 0": np.maximum(x, 0) + log, "loss, y = 1": np.maximum(-x, 0) + log}


def exponents(dtype, n, rng):
    """Every magnitude; and about ln 2/2, the largest remainder of e^z, where errors are largest."""
    near = rng.choice([-1, 1], n // 8) * np.log(2) / 2 * rng.uniform(0.9, 1.05, n // 8)
    return np.concatenate([stratified(dtype, n - near.size, rng), near.astype(dtype)])


def logistic_points(dtype, n, rng):
    """Small logits, too: a loss of about ln 2 is the hardest."""
    small = rng.choice([-1, 1], n // 8) * 2.0 ** rng.uniform(-np.finfo(dtype).nmant, 0, n // 8)
    return (np.sort(np.concatenate([exponents(dtype, n - small.size, rng), small.astype(dtype)])),)


OF_LABELS = {
    f"{name}, y = {label}": Function(promise, lambda z, f=exact, y=label: f(z, np.full_like(z, y)))
    for name, promise, exact in (("δ_L", "delta", oracle.exact_delta),
                                 ("loss", "loss", oracle.exact_loss)) for label in (0, 1)}


# ---- positives that count p times


def counted(z, y, p):
    _, delta, losses = _with_logits("bce", z[None], y[None], None, {"pos_weight": p})
    return {"δ_L, pos_weight": delta[0], "loss, pos_weight": losses[0]}


def wide_counted(z, y, p):
    once, factor = wide_logistic(z), wide(np.where(y == 1, p, 1).astype(p.dtype))
    return {f"{name}, pos_weight": factor * np.where(
        y == 1, once[f"{name}, y = 1"], once[f"{name}, y = 0"]) for name in ("δ_L", "loss")}


def exactly_counted(exact):
    return lambda z, y, p: np.where(y == 1, p, 1).astype(object) * exact(z, y)


def counted_points(dtype, n, rng):
    """As long as σ(−|z|) is no subnormal number, whose rounding error p would magnify."""
    z, = logistic_points(dtype, n, rng)
    z = z[np.abs(z) < -np.log(np.finfo(dtype).smallest_normal)]
    p = 10 ** rng.uniform(-3, 3, z.size)
    p[::3] = rng.choice([0.5, 1.0, 2.0, 3.0], p[::3].size)
    return z, rng.integers(0, 2, z.size).astype(dtype), p.astype(dtype)


# ---- tanh and e^z


def hyperbolic(z):
    return dict(zip(("tanh", "tanh′"), fastbp.activate(z, "tanh"), strict=True))


def wide_hyperbolic(z):
    """The derivative from e^−2|z|."""
    z = wide(z)
    e = np.exp(-2 * np.abs(z))
    return {"tanh": -np.sign(z) * np.expm1(-2 * np.abs(z)) / (1 + e),
            "tanh′": 4 * (e / (1 + e)) / (1 + e)}


def exponential(z):
    """δ_L of a count of 0; where it overflows, infinity is as good as the largest number."""
    delta = _with_logits("poisson", z, np.zeros_like(z), None)[1]
    return {"e^z": np.minimum(delta, np.finfo(z.dtype).max)}


def wide_exponential(z):
    with np.errstate(over="ignore"):
        return {"e^z": np.minimum(np.exp(wide(z)), np.finfo(z.dtype).max)}


def exact_exponential(z):
    return np.minimum(oracle.exact_exp(z), oracle.mp.mpf(float(np.finfo(z.dtype).max)))


# ---- softmax


def probabilities(z):
    """p as a network has it: its weights are the identity, so that its logits are z."""
    net = fastbp.MLP([z.shape[1]] * 2, loss="softmax", dtype=z.dtype, seed=0)
    net.weights[0][...], net.biases[0][:] = np.eye(z.shape[1]), 0
    return net.forward(z)


def classes(z, y):
    """A sample's loss: the one of its terms that is not 0, that of its class."""
    _, delta, losses = _with_logits("softmax", z, y, None)
    return {"softmax p": probabilities(z), "softmax δ_L": delta,
            "softmax loss": losses.sum(axis=1)}


def of_class(parts, y):
    """The three from p, 1 − p and −ln p."""
    p, rest, surprise = parts
    hit = np.arange(p.shape[1]) == y[:, None]
    return {"softmax p": p, "softmax δ_L": np.where(hit, -rest, p),
            "softmax loss": surprise[np.arange(len(y)), y]}


def wide_softmax(z):
    """p, 1 − p and −ln p, each from its own tail; e^(z − max z) with what the difference loses."""
    z = wide(z)
    top = z.max(axis=1, keepdims=True)
    a = z - top
    back = a - z
    E = np.exp(a)
    E = E + E * ((z - (a - back)) - (top + back))
    others, S = E @ (1 - np.eye(z.shape[1], dtype=z.dtype)), E.sum(axis=1, keepdims=True)
    return E / S, others / S, -a + np.log1p(others.min(axis=1, keepdims=True))


def softmax_points(width, dtype, n, rng):
    return logits(dtype, n // width, width, rng)


OF_CLASSES = {name: Function(promise, lambda z, y, f=name: of_class(oracle.exact_softmax(z), y)[f])
              for name, promise in (("softmax p", "p"), ("softmax δ_L", "delta"),
                                    ("softmax loss", "softmax loss"))}


FAMILIES = {
    "sigmoid": Family(
        {"σ": Function("sigma", oracle.exact_sigmoid), "σ′": Function("slope", oracle.exact_slope),
         **OF_LABELS}, logistic, wide_logistic, logistic_points, ("σ",)),
    "tanh": Family(
        {"tanh": Function("tanh", oracle.exact_tanh),
         "tanh′": Function("slope", oracle.exact_tanh_slope)}, hyperbolic, wide_hyperbolic,
        lambda dtype, n, rng: (np.sort(exponents(dtype, n, rng) / 2),), ("tanh",)),
    "exp": Family(
        {"e^z": Function("exp", exact_exponential)}, exponential, wide_exponential,
        lambda dtype, n, rng: (np.sort(exponents(dtype, n, rng)),)),
    "pos_weight": Family(
        {"δ_L, pos_weight": Function("delta", exactly_counted(oracle.exact_delta)),
         "loss, pos_weight": Function("weighted loss", exactly_counted(oracle.exact_loss))},
        counted, wide_counted, counted_points),
}
FAMILIES |= {f"softmax of {width}": Family(
    OF_CLASSES, classes, lambda z, y: of_class(wide_softmax(z), y), partial(softmax_points, width))
    for width in WIDTHS}
PROMISES = {name: function.promise for family in FAMILIES.values()
            for name, function in family.functions.items()}
OF_ONE_NUMBER = ("sigmoid", "tanh", "exp")
