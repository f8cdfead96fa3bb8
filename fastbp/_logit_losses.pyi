from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Floats: TypeAlias = NDArray[np.floating[Any]]

def bce_with_logits(
    z: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, _Floats]: ...
def softmax_with_logits(
    z: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, _Floats]: ...
def squared_error(
    z: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
) -> tuple[float, _Floats]: ...
def poisson_with_logits(
    z: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
) -> tuple[float, _Floats]: ...
