from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._linearization import Linearization
from fastbp._per_sample import PerSample

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Reduction: TypeAlias = Literal["sum", "mean"]

class SecondOrder(PerSample):
    def hvp(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def gnvp(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def linearize(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        memory: SupportsIndex = 1073741824,
    ) -> Linearization: ...
