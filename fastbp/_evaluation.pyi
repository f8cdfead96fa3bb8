from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._members import Members

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Losses: TypeAlias = NDArray[np.float64]
_Reduction: TypeAlias = Literal["sum", "mean"]

class Evaluation(Members):
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
