"""What a worker does with the shards it has: sums over blocks of rows, and local steps.

Every function takes a network that has come with its parameters, and returns part of a sum. Tasks
of one worker may have the same network, so that each makes a copy.
"""

import copy
from typing import NamedTuple

import numpy as np

from fastbp._spread import require_arithmetic
from fastbp.dask._tree import Sum


def in_worker(asked, function, *args, **given):
    """A task, unless this process would compute other bits than that of the client."""
    require_arithmetic(asked)
    return function(*args, **given)


class Shard(NamedTuple):
    """Consecutive blocks of the grid.

    Attributes
    ----------
    first : int
        The number of the first block.
    size : int
        Rows of a block; the last block of the table may have fewer.
    X, y, weight : ndarrays of as many rows, C-contiguous; `weight` may be None
    """

    first: int
    size: int
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None

    def numbers(self):
        return range(self.first, self.first - (-len(self.X) // self.size))

    def block(self, number):
        start = (number - self.first) * self.size
        rows = slice(start, start + self.size)
        return self.X[rows], self.y[rows], None if self.weight is None else self.weight[rows]


def blocks(shards, positions):
    """(position, number, block) of the blocks with a position in a sum; None: all, their number."""
    for shard in shards:
        for number in shard.numbers():
            position = number if positions is None else positions.get(number)
            if position is not None:
                yield position, number, shard.block(number)


def summed(shards, positions, of_block):
    """Part of a sum of `of_block(position, X, y, weight)`, new vectors of float64."""
    part = Sum()
    for position, number, (X, y, weight) in blocks(shards, positions):
        try:
            part.add(0, position, of_block(position, X, y, weight))
        except Exception as error:
            start = number * shards[0].size
            error.add_note(f"in rows {start} to {start + len(X) - 1} of X")
            raise
    return part


def gradient(shards, net, l2, positions=None):
    """(loss, weight, ∂loss/∂params) of each block; the first position takes the penalty."""
    net = copy.deepcopy(net)

    def of_block(position, X, y, weight):
        values = np.empty(2 + net.n_params)
        values[0] = net.backprop(X, y, sample_weight=weight, l2=0.0 if position else l2)
        values[1] = weight_of(X, weight)
        values[2:] = net.grad
        return values

    return summed(shards, positions, of_block)


def hessian_product(shards, net, l2, v):
    """The Hessian of each block times v."""
    net = copy.deepcopy(net)

    def of_block(position, X, y, weight):
        product = net.hvp(X, y, v, sample_weight=weight, l2=0.0 if position else l2)
        return np.array(product, np.float64)

    return summed(shards, None, of_block)


def statistics(shards, of_block):
    """`of_block(number, X, y, weight)` of each block, a few numbers."""
    return summed(shards, None, lambda number, *block: np.array(of_block(number, *block),
                                                                np.float64))


def weight_of(X, weight):
    """The sum of the weights of a block."""
    return len(X) if weight is None else weight.sum(dtype=np.float64)


def weights(number, X, y, weight):
    """`weight_of` for `statistics`."""
    return [weight_of(X, weight)]


def merge(parts):
    """One part of a sum from several."""
    first, *others = parts
    whole = Sum().merge(first)
    for other in others:
        whole.merge(other)
    return whole
