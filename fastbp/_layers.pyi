from collections.abc import Mapping, Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastbp._arguments import ActivationName, HiddenActivations, LossName

_Floats: TypeAlias = NDArray[np.floating[Any]]

class Layers:
    def __init__(
        self,
        layer_sizes: Sequence[SupportsIndex],
        activations: Sequence[ActivationName],
        *,
        dtype: DTypeLike = "float32",
        layout: Literal["io", "oi"] = "io",
        n_threads: SupportsIndex | None = None,
    ) -> None: ...
    @property
    def layer_sizes(self) -> tuple[int, ...]: ...
    @property
    def activations(self) -> tuple[str, ...]: ...
    @property
    def dtype(self) -> np.dtype[np.floating[Any]]: ...
    @property
    def layout(self) -> str: ...
    @property
    def n_threads(self) -> int | None: ...
    @n_threads.setter
    def n_threads(self, value: SupportsIndex | None) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    def forward(
        self,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        X: ArrayLike,
        *,
        keep: bool = True,
    ) -> _Floats: ...
    def backward(
        self,
        grad_output: ArrayLike,
        weight_grads: Sequence[_Floats] | None,
        bias_grads: Sequence[_Floats] | None,
        input_grad: _Floats | None = None,
    ) -> None: ...
    def loss_and_grad(
        self,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        X: ArrayLike,
        y: ArrayLike,
        weight_grads: Sequence[_Floats],
        bias_grads: Sequence[_Floats],
        *,
        loss: LossName = "bce",
        sample_weight: ArrayLike | None = None,
        reduction: Literal["sum", "mean"] | float = "sum",
        pos_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | None = None,
        label_smoothing: float = 0.0,
    ) -> float: ...

def backprop(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, list[_Floats], list[_Floats]]: ...
