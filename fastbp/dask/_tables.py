"""Dask collections as shards of the grid.

The partitions are looked at first. Then the rows are cut anew: a shard is some whole blocks of the
grid, made of the partitions that they lie in. X, y and the weights may be cut in different places.
"""

from functools import partial

import dask
import dask.dataframe as dd
import numpy as np
from dask import delayed

from fastbp import _arguments
from fastbp.dask._looks import look_at_numbers, numbers, require
from fastbp.dask._passes import Shard
from fastbp.dask._tree import rows_per_block

SHARD_BYTES = 2**25         # what a worker loads, spills and makes again at one time
SHARDS_PER_SLOT = 4         # at least, so that work can be shared out evenly


class Collection:
    """X, y or the weights: its partitions as delayed objects, and what was seen in them.

    Parameters
    ----------
    name : {"X", "y", "sample_weight"}
    given : Dask array, DataFrame or Series
    """

    def __init__(self, name, given):
        self.name = name
        if not hasattr(given, "to_delayed") or not hasattr(given, "npartitions"):
            raise TypeError(f"{name} is of type {type(given).__name__}; it should be a Dask array, "
                            "DataFrame or Series: dask.array.from_array makes one of a NumPy array")
        ndim = getattr(given, "ndim", 1)
        if ndim > 2:
            raise ValueError(f"{name} has {ndim} dimensions; it should have one or two")
        if hasattr(given, "numblocks") and ndim == 2 and given.numblocks[1] > 1:
            given = given.rechunk({1: -1})
        self.ndim, self.given = ndim, given
        names = [given.name] if isinstance(given, dd.Series) else getattr(given, "columns", ())
        named = len(names) and all(isinstance(name, str) for name in names)
        self.names = list(names) if named else None
        # Dask would make one partition of several small files: an error names the caller's own.
        with dask.config.set({"optimization.tune.active": False}):
            self.parts = np.ravel(given.to_delayed()).tolist()

    def float_dtype(self):
        """float32 if the collection says that all columns are, else float64."""
        columns = self.given.dtypes if hasattr(self.given, "dtypes") else self.given.dtype
        return np.dtype(np.float32 if set(map(str, np.ravel(columns))) == {"float32"} else
                        np.float64)

    def see(self, looks):
        """Take in the `Look` of each partition, and refuse what does not fit."""
        require(self.name, looks)
        self.looks = looks
        self.kind, self.n_columns = next((seen.kind, seen.n_columns)
                                         for seen in looks if seen.n_rows)
        if self.name == "sample_weight" and self.n_columns not in (None, 1):
            raise ValueError(f"sample_weight has {_arguments.counted(self.n_columns, 'column')}; "
                             "it should have one")
        self.offsets = np.cumsum([0, *(seen.n_rows for seen in looks)])
        self.n_rows = int(self.offsets[-1])

    def pieces(self, start, stop):
        """(partitions, (from, to) of each) that the rows start to stop - 1 lie in."""
        parts, bounds = [], []
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        for i in range(first, len(self.parts)):
            below, above = int(self.offsets[i]), int(self.offsets[i + 1])
            if below >= stop:
                break
            if above > max(below, start):
                parts.append(self.parts[i])
                bounds.append((max(start - below, 0), min(stop, above) - below))
        return parts, bounds

    def classes(self):
        """All labels, sorted, and how often each is there."""
        seen = [look for look in self.looks if look.n_rows]
        try:
            classes, where = np.unique(np.concatenate([look.labels for look in seen]),
                                       return_inverse=True)
        except TypeError:       # of a comparison
            raise ValueError(f"{self.name} has labels of several kinds in different partitions; "
                             "all should have the same kind") from None
        counts = np.zeros(len(classes), np.int64)
        np.add.at(counts, where, np.concatenate([look.counts for look in seen]))
        return classes, counts


def see(place, X, y, weight, dtype, look_at_y):
    """Look at all partitions in one round, and refuse what does not fit.

    X and the weights, which may be None, will be cast to `dtype`; `look_at_y` makes a `Look` of a
    partition of y.
    """
    look = partial(look_at_numbers, dtype=dtype)
    collections = {X: look, y: look_at_y}
    if weight is not None:
        collections[weight] = partial(look, non_negative=True)
    looks = place.compute([delayed(look)(part) for each, look in collections.items()
                           for part in each.parts])
    for each in collections:
        each.see(looks[:len(each.parts)])
        looks = looks[len(each.parts):]
    first, *others = collections
    for other in others:
        if other.n_rows != first.n_rows:
            where = ""
            if len(other.looks) == len(first.looks):
                i = next(i for i, (a, b) in enumerate(zip(first.looks, other.looks, strict=True))
                         if a.n_rows != b.n_rows)
                where = (f": partition {i} has {_arguments.counted(other.looks[i].n_rows, 'row')} "
                         f"of {other.name} and {first.looks[i].n_rows} of {first.name}")
            raise ValueError(f"{other.name} has {_arguments.counted(other.n_rows, 'row')}; it "
                             f"should have {first.n_rows}, as {first.name} has{where}")


def joined(parts, bounds, dtype):
    """Rows of several partitions as one array of floats, or of what they hold if dtype is None."""
    arrays = [np.asarray(part) if dtype is None else numbers(part, dtype) for part in parts]
    arrays = [array[a:b] for array, (a, b) in zip(arrays, bounds, strict=True)]
    return np.ascontiguousarray(np.concatenate(arrays))


def shard(first, size, dtype, targets, X, y, weight):
    """A `Shard` of pieces; `targets(y)` gives y as the network takes it and weights, or None."""
    X, (y, of_class) = joined(*X, dtype), targets(joined(*y, None))
    weight = None if weight is None else joined(*weight, dtype).ravel()
    if of_class is not None:
        weight = of_class.astype(dtype) if weight is None else weight * of_class.astype(dtype)
    return Shard(first, size, X, y, weight)


class Table:
    """Rows that are cut along the grid and kept where they will be used.

    Parameters
    ----------
    place : Here or Cluster
    X, y, weight : Collection
        Seen; `weight` may be None.
    dtype : numpy.dtype
        Of X and the weights.
    targets : callable
        y of some rows as the network takes it, and the weights of their classes or None.
    shard_bytes : int
        At most, but of one block at least. Dask needs about a millisecond for each shard in a pass;
        a step that needs a few blocks of many shards reads all of these.

    Attributes
    ----------
    n_rows, n_features, size, n_blocks : int
        `size` is the number of rows of a block.
    shards : list
        Of what `place` keeps them as.
    blocks_per_shard : int
    """

    def __init__(self, place, X, y, weight, dtype, targets, shard_bytes=SHARD_BYTES):
        self.place, self.n_rows, self.n_features = place, X.n_rows, X.n_columns
        self.size = rows_per_block(self.n_rows)
        self.n_blocks = -(-self.n_rows // self.size)
        block_bytes = self.size * (self.n_features + 2) * dtype.itemsize
        per_slot = self.n_blocks // (SHARDS_PER_SLOT * place.n_slots)
        self.blocks_per_shard = max(min(shard_bytes // block_bytes, per_slot), 1)
        rows = self.blocks_per_shard * self.size
        tasks = []
        for start in range(0, self.n_rows, rows):
            stop = min(start + rows, self.n_rows)
            pieces = [None if each is None else each.pieces(start, stop)
                      for each in (X, y, weight)]
            tasks.append(delayed(shard)(start // self.size, self.size, dtype, targets, *pieces))
        self.shards = place.keep(tasks, self.blocks_per_shard * block_bytes)

    def sum(self, function, of=None, **given):
        """The whole of a sum over blocks, all or those of some numbers.

        function(shards, **given) gives a part of it.
        """
        return self.place.sum(self.shards, self._numbers(of), function, given)

    def each(self, function, tasks, **given):
        """function(the shards they lie in, blocks, *args, **given) for each (blocks, *args)."""
        return self.place.each(self.shards, function, [
            (sorted(self._numbers(blocks)), blocks, *args) for blocks, *args in tasks], given)

    def _numbers(self, blocks):
        """The numbers of the shards that blocks lie in."""
        if blocks is None:
            return range(len(self.shards))
        return {block // self.blocks_per_shard for block in blocks}
