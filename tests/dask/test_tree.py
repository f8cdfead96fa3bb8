"""Promise: the sum over the grid is one tree, whoever adds which part of it and when."""

import tracemalloc

import numpy as np
import pytest

import fastbp
from fastbp.dask._passes import Shard, gradient
from fastbp.dask._tree import LEAST_ROWS, MOST_BLOCKS, Sum, rows_per_block, strata


def by_definition(values):
    """S of the docstring, level by level."""
    while len(values) > 1:
        pairs = [values[i:i + 2] for i in range(0, len(values), 2)]
        values = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return values[0]


@pytest.mark.parametrize("n", [*range(1, 18), 31, 64, 100])
def test_any_parts_in_any_order_have_the_bits_of_the_definition(n):
    rng = np.random.default_rng(n)
    values = rng.standard_normal((n, 3)) * 10.0 ** rng.integers(-12, 12, (n, 1))
    expected = by_definition(list(values))
    for n_parts in (1, 2, 3, n):
        owner, parts = rng.integers(n_parts, size=n), [Sum() for _ in range(n_parts)]
        for i in rng.permutation(n):
            parts[owner[i]].add(0, int(i), values[i].copy())
        whole = Sum()
        for k in rng.permutation(n_parts):
            whole.merge(parts[k])
        assert whole.total().tobytes() == expected.tobytes()


def test_a_sum_writes_to_nothing_that_it_was_given():
    """Dask may hold it as the result of a task, and add it a second time."""
    given = [Sum() for _ in range(5)]
    for i, part in enumerate(given):
        part.add(0, i, np.array([10.0**i]))
    for _ in range(2):
        whole = Sum()
        for part in given:
            whole.merge(part)
        assert whole.total() == 11111
    whole.total()[:] = 0
    assert whole.total() == 11111 and [part.nodes[0, i] for i, part in enumerate(given)] == [
        1, 10, 100, 1000, 10000]


def test_a_part_of_consecutive_places_has_few_nodes():
    part = Sum()
    for i in range(64, 128):
        part.add(0, i, np.ones(1))
    assert list(part.nodes) == [(6, 1)]


@pytest.mark.parametrize("levels", range(1, 7))
def test_memory_of_a_pass_over_consecutive_blocks(levels):
    """A gradient of each level of the tree, one of the block, one of a sum that is made, and a copy
    of the network, whose float32 parameters and gradient are as long as one. In float64."""
    net, n = fastbp.MLP([50, 300, 50, 1], seed=0, n_threads=1), 2**levels
    shards = [Shard(0, 2, np.ones((2 * n, 50), "f"), np.ones((2 * n, 1), "f"), None)]
    gradient(shards, net, 0.0)
    tracemalloc.start()
    part = gradient(shards, net, 0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(part.nodes) == [(levels, 0)]
    assert peak < (levels + 4) * 8 * net.n_params       # one more would be as much


@pytest.mark.parametrize(("n_rows", "size"), [
    (1, LEAST_ROWS), (LEAST_ROWS * MOST_BLOCKS, LEAST_ROWS),
    (LEAST_ROWS * MOST_BLOCKS + 1, 2 * LEAST_ROWS), (10**9, 2**18)])
def test_a_block_is_as_small_as_the_number_of_blocks_allows(n_rows, size):
    assert rows_per_block(n_rows) == size


@pytest.mark.parametrize(("n_blocks", "n_strata"), [(1, 16), (16, 16), (17, 16), (100, 3)])
def test_strata_cover_the_blocks_and_differ_by_one_at_most(n_blocks, n_strata):
    found = strata(n_blocks, n_strata)
    assert [block for each in found for block in each] == list(range(n_blocks))
    assert max(map(len, found)) - min(map(len, found)) <= 1
