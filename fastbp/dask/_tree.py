"""The grid of row blocks, and the tree in which what is computed of them is summed.

Both depend on the number of rows alone, so that a sum has the same bits whoever computed its parts:

    S(0, i) = what block i gives
    S(k, j) = S(k-1, 2j) + S(k-1, 2j+1)        S(k, j) = S(k-1, 2j) where there is no block beyond

A worker adds what it can of the blocks it has; the nodes that it cannot combine go on to another.
"""

import numpy as np

LEAST_ROWS = 4096       # a block of 30-64-64-1 is about a millisecond
MOST_BLOCKS = 4096


def rows_per_block(n_rows):
    """`LEAST_ROWS`, doubled until the table has no more than `MOST_BLOCKS` blocks."""
    size = LEAST_ROWS
    while n_rows > size * MOST_BLOCKS:
        size *= 2
    return size


class Sum:
    """Part of a sum over places 0 to n-1: the nodes of the tree that are known.

    Attributes
    ----------
    nodes : dict of (k, j) to ndarray
        S(k, j), float64; no two of them are the children of one node.
    """

    def __init__(self):
        self.nodes = {}

    def add(self, k, j, values):
        """Take in S(k, j). No array is written to: Dask may hold it as the result of a task."""
        with np.errstate(over="ignore", invalid="ignore"):
            while (neighbour := self.nodes.pop((k, j ^ 1), None)) is not None:
                values = values + neighbour
                k, j = k + 1, j // 2
        self.nodes[k, j] = values

    def merge(self, other):
        """Take in the nodes of another part, over other places."""
        for (k, j), values in other.nodes.items():
            self.add(k, j, values)
        return self

    def total(self):
        """The whole sum, once all places have been added."""
        nodes = sorted(self.nodes.items(), key=lambda item: item[0][1] << item[0][0], reverse=True)
        (_, total), *rest = nodes
        with np.errstate(over="ignore", invalid="ignore"):
            for _, values in rest:      # from the right: the last node stands alone up to its level
                total = values + total
        return np.array(total)


def strata(n_blocks, n_strata):
    """Ranges of consecutive blocks, as even as can be: a list of `n_strata` ranges or fewer."""
    n_strata = min(n_strata, n_blocks)
    bounds = [n_blocks * s // n_strata for s in range(n_strata + 1)]
    return [range(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
