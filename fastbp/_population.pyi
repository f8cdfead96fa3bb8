from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._evaluation import Evaluation
from fastbp._fit import History
from fastbp._mlp import MLP
from fastbp._optim import SGD, Adam

_Losses: TypeAlias = NDArray[np.float64]
_Random: TypeAlias = SupportsIndex | np.random.Generator | np.random.BitGenerator

class Population(Evaluation):
    @staticmethod
    def from_networks(networks: Sequence[MLP]) -> Population: ...
    def train_epoch(
        self,
        X: ArrayLike,
        y: ArrayLike,
        optimizer: SGD | Adam | Sequence[SGD | Adam],
        *,
        batch_size: SupportsIndex | Sequence[SupportsIndex] = 32,
        shuffle: bool = True,
        rng: _Random | Sequence[_Random | None] | None = None,
        rows: ArrayLike | Sequence[ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        l2: ArrayLike = 0.0,
        active: ArrayLike | None = None,
        batch_losses: Sequence[_Losses] | None = None,
    ) -> _Losses: ...
    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        optimizer: SGD | Adam | Sequence[SGD | Adam],
        *,
        epochs: SupportsIndex,
        batch_size: SupportsIndex | Sequence[SupportsIndex] = 32,
        shuffle: bool = True,
        rng: _Random | Sequence[_Random | None] | None = None,
        rows: ArrayLike | Sequence[ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        l2: ArrayLike = 0.0,
        validation: tuple[ArrayLike, ...] | None = None,
        validation_rows: ArrayLike | Sequence[ArrayLike] | None = None,
        patience: SupportsIndex | None = None,
        min_delta: float = 0.0,
        schedule: Callable[[int], ArrayLike] | Sequence[ArrayLike] | float | None = None,
        callback: Callable[[int, _Losses, _Losses], Any] | None = None,
        progress: bool = False,
        client: Executor | Any | None = None,
    ) -> History: ...
