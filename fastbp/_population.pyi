from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._members import Members
from fastbp._mlp import MLP
from fastbp._optim import SGD, Adam

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Losses: TypeAlias = NDArray[np.float64]
_Random: TypeAlias = SupportsIndex | np.random.Generator | np.random.BitGenerator
_Reduction: TypeAlias = Literal["sum", "mean"]

class Population(Members):
    @staticmethod
    def from_networks(networks: Sequence[MLP]) -> Population: ...
    def forward(self, X: ArrayLike, out: _Floats | None = None) -> _Floats: ...
    def logits(self, X: ArrayLike, out: _Floats | None = None) -> _Floats: ...
    def loss_value(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
    ) -> _Losses: ...
    def backprop(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: ArrayLike = 0.0,
    ) -> _Losses: ...
    def train_epoch(
        self,
        X: ArrayLike,
        y: ArrayLike,
        optimizer: Sequence[SGD] | Sequence[Adam],
        *,
        batch_size: SupportsIndex = 32,
        shuffle: bool = True,
        rng: _Random | Sequence[_Random | None] | None = None,
        rows: ArrayLike | Sequence[ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        l2: ArrayLike = 0.0,
    ) -> _Losses: ...
