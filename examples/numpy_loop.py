"""A training loop in NumPy, and the same loop with one line of it replaced.

    python examples/numpy_loop.py [STEPS]

The loop owns its weights, its update and its data. `fastbp.backprop` takes the place of the forward
pass and of back-propagation; the rest stays. Both loops print their losses and times.
"""

import sys
import time

import numpy as np

import fastbp

SIZES, RATE = [20, 32, 32, 1], 0.5


def gradient(weights, biases, X, y):
    """The mean loss and its gradients, written out."""
    hs = [X]
    for W, b in zip(weights, biases, strict=True):
        z = hs[-1] @ W + b
        hs.append(1 / (1 + np.exp(-z)))
    loss = (np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))).mean()
    delta, dW, db = (hs[-1] - y) / len(X), [], []
    for W, h in zip(weights[::-1], hs[-2::-1], strict=True):
        dW.insert(0, h.T @ delta)
        db.insert(0, delta.sum(axis=0))
        delta = (delta @ W.T) * h * (1 - h)
    return loss, dW, db


def fused(weights, biases, X, y):
    """The same in one call."""
    return fastbp.backprop(weights, biases, X, y, reduction="mean")


def train(gradient, X, y, steps):
    """The losses (steps,) of gradient descent, and its seconds."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, m**-0.5, (m, n)) for m, n in zip(SIZES, SIZES[1:], strict=False)]
    biases, losses, start = [np.zeros(n) for n in SIZES[1:]], [], time.perf_counter()
    for _ in range(steps):
        loss, dW, db = gradient(weights, biases, X, y)
        for value, grad in zip([*weights, *biases], [*dW, *db], strict=True):
            value -= RATE * grad
        losses.append(loss)
    return np.array(losses), time.perf_counter() - start


def main(steps=2000):
    """Print both losses and times; return the losses of both loops."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((64, SIZES[0]))
    y = (X[:, :1] * X[:, 1:2] > 0).astype(float)
    ours, theirs = train(gradient, X, y, steps), train(fused, X, y, steps)
    for name, (losses, seconds) in (("NumPy", ours), ("fastbp.backprop", theirs)):
        print(f"{name:>16}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, "
              f"{1e6 * seconds / steps:.0f} us a step")
    return ours[0], theirs[0]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
