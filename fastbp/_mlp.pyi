from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._fitting import Fitting
from fastbp._network import Objective

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Reduction: TypeAlias = Literal["sum", "mean"]

class MLP(Fitting):
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
