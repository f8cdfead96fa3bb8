"""What is timed: suites of networks and batches, their operations, the bytes they have to move."""

from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

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


class Suite(NamedTuple):
    """What is timed together: (layer sizes, batch size) pairs, and which other measurements."""

    networks: tuple = ()    # gradients
    epochs: tuple = ()      # steps of Adam
    threads: tuple = ()     # gradients on 1, 2, 4, ... threads
    startup: bool = False
    fits: bool = False      # the fits of scikit-learn's interface, `fits.FITS`
    widths: bool = False    # the curves of W-W-W-1 over W
    beyond: tuple = ()      # what is not a gradient, beside one: `beyond.QUANTITIES`
    population: tuple = ()  # epochs of many networks at once, and what else `population` times


POPULATION = (((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32), ((4, 16, 1), 32), ((10, 32, 32, 1), 64),
              ((30, 64, 64, 1), 32))
LARGE = (((784, 512, 512, 1), 256), ((1024, 1024, 1024, 1), 512), ((2048, 2048, 2048, 1), 1024))
SUITES = {
    "record": Suite(NETWORKS, EPOCHS, NETWORKS, startup=True),
    "widths": Suite(widths=True),
    "tiny": Suite((((2, 8, 8, 1), 1), ((8, 8, 8, 1), 128), ((16, 16, 16, 1), 128)),
                  (((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32), ((5, 12, 12, 1), 20))),
    "middle": Suite((((64, 64, 64, 1), 128), ((128, 128, 128, 1), 128), ((256, 256, 256, 1), 128),
                     ((100, 100, 100, 1), 200), ((30, 64, 64, 1), 256), ((50, 100, 50, 1), 200),
                     ((200, 300, 100, 1), 150))),
    "large": Suite(LARGE),
    "few-rows": Suite((((600, 300, 100, 1), 2), ((1024, 1024, 1024, 1), 1),
                       ((1024, 1024, 1024, 1), 8))),
    "fits": Suite(fits=True),
    "beyond": Suite(beyond=(((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32), ((10, 32, 32, 1), 64),
                            ((30, 64, 64, 1), 256), ((784, 256, 128, 1), 128))),
    "population": Suite(population=POPULATION),
    "threads": Suite(threads=(((1024, 1024, 1024, 1), 1), *LARGE)),
}

EPOCH_ROWS = 1280       # of the data set of an epoch
EPOCH_LR = 1e-5         # small: the network stays near its start, and the work the same
BETAS, EPS = (0.9, 0.999), 1e-8     # Adam's defaults in all libraries


class Side(NamedTuple):
    """One way to do the work: `call()` is timed; `flat(call())` is the result, (n_params,)."""

    call: object
    flat: object


def merged(names):
    """One suite of those that are named, each network once."""
    fields = zip(*(SUITES[name] for name in names), strict=True)
    return Suite(*(tuple(dict.fromkeys(chain(*field))) if isinstance(field[0], tuple)
                   else any(field) for field in fields))


def name(sizes):
    """The sizes as a word: 30-64-64-1."""
    return "-".join(map(str, sizes))


def compared(sizes, batch, dtype, times):
    """The entries of all results; a ratio is the median of a side over that of the first."""
    own, *others = times
    ratios = {name: times[name]["median_us"] / times[own]["median_us"] for name in others}
    return {"network": name(sizes), "batch": batch, "dtype": dtype, "times": times,
            "ratios": ratios}


def weight_counts(sizes):
    """The number of weights of each layer."""
    return [fan_in * fan_out for fan_in, fan_out in pairwise(sizes)]


def n_params(sizes):
    """Weights and biases of all layers."""
    return sum(weight_counts(sizes)) + sum(sizes[1:])


def gradient_flops(sizes, batch):
    """Operations in the products of one gradient, an addition and a multiplication being two.

    2 n fan_in fan_out for each of h W, h^T delta and delta W^T; the first layer has no delta W^T.
    """
    weights = weight_counts(sizes)
    return 2 * batch * (3 * sum(weights) - weights[0])


def least_bytes(sizes, batch, dtype):
    """Bytes that one gradient moves when h, sigma' and delta stay in registers or caches.

    X is read for h W and for h^T delta, y once; each W for h W and for delta W^T, the first one
    only for the former; each dW is written.
    """
    weights = weight_counts(sizes)
    reals = 2 * batch * sizes[0] + batch * sizes[-1] + 3 * sum(weights) - weights[0]
    return reals * np.dtype(dtype).itemsize


def flatten(dW, db):
    """dW_1.ravel(), db_1, dW_2.ravel(), ... as one vector."""
    return np.concatenate([a.ravel() for layer in zip(dW, db, strict=True) for a in layer])
