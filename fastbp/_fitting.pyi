from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fastbp._fit import History
from fastbp._optim import SGD, Adam
from fastbp._training import Training

_Random: TypeAlias = SupportsIndex | np.random.Generator | np.random.BitGenerator

class Fitting(Training):
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        optimizer: SGD | Adam | None = None,
        *,
        epochs: SupportsIndex,
        batch_size: SupportsIndex = 32,
        shuffle: bool = True,
        rng: _Random | None = None,
        rows: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        l2: float = 0.0,
        max_norm: float | None = None,
        validation: tuple[ArrayLike, ...] | None = None,
        validation_rows: ArrayLike | None = None,
        patience: SupportsIndex | None = None,
        min_delta: float = 0.0,
        schedule: Callable[[int], float] | Sequence[float] | float | None = None,
        callback: Callable[[int, float, float], Any] | None = None,
        progress: bool = False,
        checkpoint: str | PathLike[str] | None = None,
    ) -> History: ...
