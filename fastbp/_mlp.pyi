from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._input_grads import InputGradients
from fastbp._network import Objective
from fastbp._optim import SGD, Adam

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Random: TypeAlias = SupportsIndex | np.random.Generator | np.random.BitGenerator
_Reduction: TypeAlias = Literal["sum", "mean"]

class MLP(InputGradients):
    def forward(self, X: ArrayLike, out: _Floats | None = None) -> _Floats: ...
    def logits(self, X: ArrayLike, out: _Floats | None = None) -> _Floats: ...
    def loss_value(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
    ) -> float: ...
    def backprop(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
    ) -> float: ...
    def error_bound(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def value_and_grad(
        self,
        params: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
    ) -> tuple[float, _Floats]: ...
    def objective(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        memory: SupportsIndex = 1073741824,
    ) -> Objective: ...
    def train_epoch(
        self,
        X: ArrayLike,
        y: ArrayLike,
        optimizer: SGD | Adam,
        *,
        batch_size: SupportsIndex = 32,
        shuffle: bool = True,
        order: ArrayLike | None = None,
        rng: _Random | None = None,
        sample_weight: ArrayLike | None = None,
        l2: float = 0.0,
        batch_losses: NDArray[np.float64] | None = None,
    ) -> float: ...
