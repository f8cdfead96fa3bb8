"""What is timed: networks, batches, and every way there is to compute their gradient.

A peer is one function here that gives a `Side`, and its name in `GRADIENTS` or `EPOCHS_OF`.
Nothing here measures; `_measure` does.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _random, reference

# (layer sizes, batch size): the networks that figures are stated for.
NETWORKS = (
    ((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32),
    ((10, 32, 32, 1), 1), ((10, 32, 32, 1), 64),
    ((30, 64, 64, 1), 32), ((30, 64, 64, 1), 256),
    ((100, 128, 128, 1), 128),
    ((784, 256, 128, 1), 1), ((784, 256, 128, 1), 8), ((784, 256, 128, 1), 128),
    ((784, 512, 512, 1), 256),
    ((1024, 1024, 1024, 1), 1), ((1024, 1024, 1024, 1), 8), ((1024, 1024, 1024, 1), 512),
    ((2048, 2048, 2048, 1), 1024),
)
EPOCHS = (((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32), ((30, 64, 64, 1), 32), ((784, 128, 64, 1), 128))

EPOCH_ROWS = 1280       # of the data set of an epoch
EPOCH_LR = 1e-5         # small: the network stays near its start, and the work the same


class Side(NamedTuple):
    """One way to do the work: `call()` is timed; `flat(call())` is the result, (n_params,)."""

    name: str
    call: object
    flat: object


def problem(sizes, batch, dtype, seed=0):
    """A network and a batch from raw PCG64 bits: X uniform in [-1, 1), y (n, n_outputs) 0 or 1."""
    net = fastbp.MLP(sizes, dtype=dtype, seed=seed, n_threads=1)
    bits = _random.raw_bits(seed + 1, batch * (sizes[0] + sizes[-1]))
    X, y = np.split(bits, [batch * sizes[0]])
    X = ((X >> np.uint64(11)) * 2.0**-52 - 1.0).astype(dtype).reshape(batch, -1)
    return net, X, (y >> np.uint64(63)).astype(dtype).reshape(batch, -1)


def gradient_flops(sizes, batch):
    """Operations in the products of one gradient, an addition and a multiplication being two.

    2 n fan_in fan_out for each of h W, h^T delta and delta W^T; the first layer has no delta W^T.
    """
    weights = [fan_in * fan_out for fan_in, fan_out in pairwise(sizes)]
    return 2 * batch * (3 * sum(weights) - weights[0])


def flatten(dW, db):
    """dW_1.ravel(), db_1, dW_2.ravel(), ... as one vector."""
    return np.concatenate([a.ravel() for layer in zip(dW, db, strict=True) for a in layer])


# ---- one gradient: functions of net, X, y


def fastbp_gradient(net, X, y):
    return Side("fastbp", partial(net.backprop, X, y), lambda loss: net.grad)


def numpy_gradient(net, X, y):
    """The reference without its argument checks, which would make NumPy look slower."""
    call = partial(reference._gradient, net.weights, net.biases, X, y)
    return Side("NumPy", call, lambda result: flatten(*result[1:]))


GRADIENTS = (fastbp_gradient, numpy_gradient)


# ---- one epoch with Adam: functions of net, X, y, batch, which train the net they are given


def fastbp_epoch(net, X, y, batch):
    call = partial(net.train_epoch, X, y, fastbp.Adam(lr=EPOCH_LR), batch_size=batch,
                   rng=np.random.default_rng(0))
    return Side("fastbp", call, lambda loss: net.params)


def numpy_epoch(net, X, y, batch):
    """Shuffle, gather, gradient, and Adam on one flat vector."""
    optimizer, rng = reference.Adam(lr=EPOCH_LR), np.random.default_rng(0)

    def epoch():
        order = rng.permutation(len(X))
        for i in range(0, len(X), batch):
            rows = order[i:i + batch]
            _, dW, db = reference._gradient(net.weights, net.biases, X[rows], y[rows])
            optimizer.step(net.params, flatten(dW, db) / len(rows))

    return Side("NumPy", epoch, lambda result: net.params)


EPOCHS_OF = (fastbp_epoch, numpy_epoch)
