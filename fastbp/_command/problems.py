"""Networks and batches that are the same on every machine: from the raw bits of PCG64."""

import numpy as np

import fastbp
from fastbp import _arguments, _random
from fastbp._arguments.descriptors import COUNTS, REAL


def problem(sizes, batch, dtype, seed=0, activation="sigmoid", loss="bce"):
    """A network and a batch from raw PCG64 bits: X uniform in [-1, 1), y (n, n_outputs) 0 or 1.

    y is (n,) classes of a distribution over the outputs, 0 to 3 where it counts, and uniform as X
    where it may be any real number.
    """
    net = fastbp.MLP(sizes, activation=activation, loss=loss, dtype=dtype, seed=seed, n_threads=1)
    bits = _random.raw_bits(seed + 1, batch * (sizes[0] + sizes[-1]))
    X, y = (part.reshape(batch, -1) for part in np.split(bits, [batch * sizes[0]]))
    described = _arguments.LOSSES[loss]
    if described.is_distribution:
        y = (y[:, 0] % np.uint64(sizes[-1])).astype(dtype)
    elif described.targets is REAL:
        y = _uniform(y, dtype)
    else:
        y = (y >> np.uint64(62 if described.targets is COUNTS else 63)).astype(dtype)
    return net, _uniform(X, dtype), y


def _uniform(bits, dtype):
    return ((bits >> np.uint64(11)) * 2.0**-52 - 1.0).astype(dtype)
