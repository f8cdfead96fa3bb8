"""Promise: the running error bound of oracle.py refuses what is wrong, saturated units or not.

Gradients are evaluated in float64 from float32 arguments, exact beside the bound but for one
mistake of the kinds that are made: a term or a block left out, a derivative or a δ that cancels, a
target or a weight forgotten. That the bound holds otherwise is for test_gradient_bound.py.
"""

import numpy as np
import oracle
import pytest

from fastbp import _arguments
from fastbp._twin import mathematics


def numpy_gradient(weights, biases, X, y, mistake=None):
    """[dW_1 …], [db_1 …] in float64 from float32 arguments: exact beside the bound, but for

    "output"  δ_L = σ(z) − y from a σ(z) rounded to float32
    "slope"   σ′ = h (1 − h) from an h rounded to float32
    "bias"    the first bias left out
    "feature block", "batch block"   the last 256 terms of the first z, or of every dW, left out
    """
    inputs, slopes, h = [], [], X.astype(np.float64)
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        inputs.append(h)
        keep = -oracle.KC if mistake == "feature block" and i == 0 else None
        z = h[:, :keep] @ W[:keep].astype(np.float64) + (0 if mistake == "bias" and i == 0 else b)
        e = np.exp(-np.abs(z))
        q = e / (1 + e)
        h = np.where(z < 0, q, 1 - q)
        rounded = h.astype(np.float32)
        slopes.append((rounded * (1 - rounded)).astype(np.float64) if mistake == "slope"
                      else q * (1 - q))
    delta = np.where(z < 0, q - y, (1 - y.astype(np.float64)) - q)
    if mistake == "output":
        delta = (rounded - y).astype(np.float64)
    dW, db = [], []
    for i in reversed(range(len(weights))):
        keep = -oracle.KC if mistake == "batch block" else None
        dW.insert(0, inputs[i][:keep].T @ delta[:keep])
        db.insert(0, delta.sum(axis=0))
        if i:
            delta = delta @ weights[i].T.astype(np.float64) * slopes[i - 1]
    return dW, db


def is_within_bound(dW, db, exact, bound):
    for got, x, e in zip([*dW, *db], [*exact.dW, *exact.db], [*bound.dW, *bound.db], strict=True):
        try:
            oracle.assert_within(got, x, e, "gradient")
        except AssertionError:
            return False
    return True


@pytest.mark.parametrize(
    "mistake, z_hidden, z_output",
    [("output", 0, 15), ("output", 0, 18), ("slope", 15, 0), ("slope", 18, 0), ("bias", 0, 0),
     ("feature block", 0, 0), ("batch block", 0, 0)])
def test_bound_refuses_wrong_gradients(mistake, z_hidden, z_output):
    """`z_hidden` and `z_output` shift the pre-activations of all units towards saturation."""
    rng = np.random.default_rng(13)
    weights, biases = oracle.random_network(rng, (512, 12, 1), np.float32, 1.0)
    biases[0] += np.float32(z_hidden)
    biases[1] += np.float32(z_output)
    X = rng.standard_normal((512, 512)).astype(np.float32)
    y = np.ones((512, 1), np.float32)
    exact, bound = oracle.error_bound(weights, biases, X, y, u=2.0**-24)
    assert is_within_bound(*numpy_gradient(weights, biases, X, y), exact, bound)
    assert not is_within_bound(*numpy_gradient(weights, biases, X, y, mistake), exact, bound)


def wrong_tanh(slope):
    """tanh with a derivative made of z and h."""
    return lambda z: (np.tanh(z), slope(z, np.tanh(z)))


def single(f):
    """δ in float32, where it cancels."""
    return lambda z, t: (0 * z, np.float64(np.float32(f(z)) - np.float32(t)))


def without_a_class(z):
    e = np.exp(z)
    return e / e[:, 1:].sum(axis=1, keepdims=True)


softmax, bce, poisson = (mathematics.LOSSES[name] for name in ("softmax", "bce", "poisson"))
MISTAKES = {  # activation, loss, its options, shifts of z_1 and z_2's first unit, what is wrong
    "tanh' = 1 - h^2": (
        "tanh", "bce", {}, 9, 0, wrong_tanh(lambda z, h: 1.0 - np.float32(h)**2)),
    "tanh' = h (1 - h)": ("tanh", "bce", {}, 0, 0, wrong_tanh(lambda z, h: h * (1 - h))),
    "relu' = 1": ("relu", "bce", {}, 0, 0, lambda z: (np.maximum(z, 0), np.ones_like(z))),
    "relu leaks": ("relu", "bce", {}, 0, 0, lambda z: (np.maximum(z, 0), np.where(z > 0, 1, 1e-3))),
    "identity' = h": ("identity", "bce", {}, 0, 0, lambda z: (z, z)),
    "p - y": ("relu", "softmax", {}, 0, 18, single(mathematics.softmax)),
    "no class 0": ("relu", "softmax", {}, 0, 0, lambda z, t: (0 * z, without_a_class(z) - t)),
    "not smoothed": (
        "relu", "softmax", {"label_smoothing": 1e-3}, 0, 0, lambda z, t: softmax(z, t.round())),
    "not smoothed either": (
        "tanh", "bce", {"label_smoothing": 1e-3}, 0, 0, lambda z, t: bce(z, t.round())),
    "weight of f only": (
        "tanh", "bce", {"pos_weight": 3.0}, 0, 0, lambda z, t, p: (0 * z, bce(z, t)[1] * p)),
    "error twice": ("relu", "squared_error", {}, 0, 0, lambda z, t: (0 * z, 2 * (z - t))),
    "error of sigma": ("relu", "squared_error", {}, 0, 0, bce),
    "f (f - y)": (
        "tanh", "poisson", {}, 0, 0, lambda z, t: (0 * z, np.exp(z) * poisson(z, t)[1])),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bound_refuses_wrong_activations_and_losses(monkeypatch, mistake):
    activation, loss, options, hidden, output, wrong = MISTAKES[mistake]
    rng = np.random.default_rng(15)
    weights, biases = oracle.random_network(rng, (20, 12, 4), np.float32, 1.0)
    biases[0] += np.float32(hidden)
    biases[1][0] += np.float32(output)
    X = rng.standard_normal((50, 20)).astype(np.float32)
    y = np.zeros((50, 4), np.float32)
    y[:, 0] = 1
    exact, bound = oracle.error_bound(
        weights, biases, X, y, activation=activation, loss=loss, u=2.0**-24, **options)

    def gradient():
        arrays = ([a.astype(np.float64) for a in arrays] for arrays in (weights, biases))
        checked = _arguments.loss_options(loss, 4, **options)
        return mathematics.gradient(
            *arrays, np.float64(X), np.float64(y), checked, activation=activation)[1:]

    assert is_within_bound(*gradient(), exact, bound)
    table, name = ((mathematics.LOSSES, loss) if wrong.__code__.co_argcount > 1
                   else (mathematics.ACTIVATIONS, activation))
    monkeypatch.setitem(table, name, wrong)
    assert not is_within_bound(*gradient(), exact, bound)
