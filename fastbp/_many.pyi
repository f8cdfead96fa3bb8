from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._fit import History
from fastbp._mlp import MLP
from fastbp._optim import SGD, Adam

_Losses: TypeAlias = NDArray[np.float64]
_Random: TypeAlias = SupportsIndex | np.random.Generator | np.random.BitGenerator

def train_many(
    networks: Sequence[MLP],
    X: ArrayLike | Sequence[ArrayLike],
    y: ArrayLike | Sequence[ArrayLike],
    optimizers: Sequence[SGD | Adam],
    *,
    epochs: SupportsIndex = 1,
    batch_size: SupportsIndex | Sequence[SupportsIndex] = 32,
    shuffle: bool = True,
    rng: _Random | Sequence[_Random | None] | None = None,
    rows: ArrayLike | Sequence[ArrayLike] | None = None,
    sample_weight: ArrayLike | Sequence[ArrayLike | None] | None = None,
    l2: ArrayLike = 0.0,
    batch_losses: Sequence[_Losses] | None = None,
    validation: tuple[ArrayLike | Sequence[ArrayLike | None], ...] | None = None,
    patience: SupportsIndex | None = None,
    min_delta: float = 0.0,
    schedule: Callable[[int], ArrayLike] | Sequence[ArrayLike] | float | None = None,
    callback: Callable[[int, _Losses, _Losses], Any] | None = None,
    progress: bool = False,
    n_threads: SupportsIndex | None = None,
) -> History: ...
