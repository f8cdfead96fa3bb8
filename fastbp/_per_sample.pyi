from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._network import Network

_Floats: TypeAlias = NDArray[np.floating[Any]]

class PerSample(Network):
    def per_sample_grad_norms(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def clipped_backprop(
        self,
        X: ArrayLike,
        y: ArrayLike,
        max_norm: float,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Literal["sum", "mean"] = "sum",
        noise_multiplier: float = 0.0,
        rng: np.random.Generator | np.random.BitGenerator | None = None,
    ) -> tuple[float, _Floats]: ...
    def per_sample_grads(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        out: _Floats | None = None,
    ) -> _Floats: ...
