from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._arguments import ActivationName, LossName

_Floats: TypeAlias = NDArray[np.floating[Any]]

def sigmoid(z: ArrayLike, out: _Floats | None = None) -> _Floats: ...
def sigmoid_backward(grad: ArrayLike, h: ArrayLike, out: _Floats | None = None) -> _Floats: ...
def delta_step(
    delta_next: ArrayLike, W_next: ArrayLike, h: ArrayLike, out: _Floats | None = None
) -> _Floats: ...
def weight_grad(h_prev: ArrayLike, delta: ArrayLike) -> tuple[_Floats, _Floats]: ...
def activate(z: ArrayLike, activation: ActivationName = "sigmoid") -> tuple[_Floats, _Floats]: ...
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
def backprop(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    *,
    activation: ActivationName = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, list[_Floats], list[_Floats]]: ...
