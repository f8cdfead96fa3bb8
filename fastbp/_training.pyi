from collections.abc import Sequence
from typing import SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._input_grads import InputGradients
from fastbp._optim import SGD, Adam

_Random: TypeAlias = SupportsIndex | np.random.Generator | np.random.BitGenerator

class Training(InputGradients):
    def train_epoch(
        self,
        X: ArrayLike,
        y: ArrayLike,
        optimizer: SGD | Adam,
        *,
        batch_size: SupportsIndex = 32,
        shuffle: bool = True,
        order: ArrayLike | Sequence[ArrayLike] | None = None,
        rng: _Random | None = None,
        sample_weight: ArrayLike | None = None,
        l2: float = 0.0,
        max_norm: float | None = None,
        batch_losses: NDArray[np.float64] | None = None,
        max_grad_norm: float | None = None,
        noise_multiplier: float = 0.0,
    ) -> float: ...
