from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

_Floats: TypeAlias = NDArray[np.floating[Any]]

class Layers:
    def __init__(
        self,
        layer_sizes: Sequence[SupportsIndex],
        activations: Sequence[Literal["sigmoid", "tanh", "relu", "identity"]],
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
        self, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], X: ArrayLike
    ) -> _Floats: ...
    def backward(
        self,
        grad_output: ArrayLike,
        weight_grads: Sequence[_Floats],
        bias_grads: Sequence[_Floats],
        input_grad: _Floats | None = None,
    ) -> None: ...
