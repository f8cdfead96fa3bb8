"""What the networks of a part read: the arrays of all networks, and those that each has for itself.

They are the same in every epoch, so that a worker gets what is common to all networks once, and
what each network has once for each part.
"""

from typing import NamedTuple

import numpy as np


class SampleArrays(NamedTuple):
    """X, y and weights, each of all networks, or with an axis of them; None: it is elsewhere."""

    X: np.ndarray | None
    y: np.ndarray | None
    sample_weight: np.ndarray | None

    def split(self, is_of_each):
        """What all networks have, and what each has; `is_of_each` has a bool for each array."""
        pairs = list(zip(self, is_of_each, strict=True))
        return (SampleArrays(*(None if of_each else value for value, of_each in pairs)),
                SampleArrays(*(value if of_each else None for value, of_each in pairs)))

    def of(self, members):
        first, last = members[0], members[-1]
        if last - first == len(members) - 1:
            members = slice(first, last + 1)        # no copy
        return SampleArrays(*(None if value is None else value[members] for value in self))

    def with_others(self, others):
        return SampleArrays(*(other if value is None else value
                              for value, other in zip(self, others, strict=True)))


class PartInputs:
    """What networks read in their epochs: an object, so that it is sent as a whole.

    Attributes
    ----------
    samples, held_out : SampleArrays or None
        Those of the validation, unless they are the same.
    rows, held_rows : list of (n_rows,) ndarrays, or None
    batch_sizes : list of int
    penalties : ndarray
    """

    def __init__(self, samples, held_out, rows=None, held_rows=None, batch_sizes=None,
                 penalties=None):
        self.samples, self.held_out, self.rows, self.held_rows = samples, held_out, rows, held_rows
        self.batch_sizes, self.penalties = batch_sizes, penalties

    def split(self, is_of_each, held_out_is_of_each):
        """What all networks read, and what each does."""
        common, of_each = self.samples.split(is_of_each)
        held_common = held_of_each = None
        if self.held_out is not None:
            held_common, held_of_each = self.held_out.split(held_out_is_of_each)
        return (PartInputs(common, held_common),
                PartInputs(of_each, held_of_each, self.rows, self.held_rows, self.batch_sizes,
                           self.penalties))

    def of(self, members):
        return PartInputs(self.samples.of(members), self.held_out and self.held_out.of(members),
                          [self.rows[k] for k in members],
                          self.held_rows and [self.held_rows[k] for k in members],
                          [self.batch_sizes[k] for k in members], self.penalties[members])

    def with_common(self, common):
        return PartInputs(self.samples.with_others(common.samples),
                          self.held_out and self.held_out.with_others(common.held_out), self.rows,
                          self.held_rows, self.batch_sizes, self.penalties)
