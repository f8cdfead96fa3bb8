from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastbp._arguments import ActivationName, LossName
from fastbp._optim import SGD, Adam

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Random: TypeAlias = SupportsIndex | np.random.Generator | np.random.BitGenerator
_Reduction: TypeAlias = Literal["sum", "mean"]

class MLP:
    def __init__(
        self,
        layer_sizes: Sequence[SupportsIndex],
        *,
        activation: ActivationName = "sigmoid",
        loss: LossName = "bce",
        dtype: DTypeLike = "float32",
        seed: _Random | None = None,
        n_threads: SupportsIndex | None = None,
        pos_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | None = None,
        label_smoothing: float = 0.0,
    ) -> None: ...
    @property
    def layer_sizes(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> str: ...
    @property
    def loss(self) -> str: ...
    @property
    def loss_options(self) -> dict[str, Any]: ...
    @property
    def dtype(self) -> np.dtype[np.floating[Any]]: ...
    @property
    def n_threads(self) -> int | None: ...
    @n_threads.setter
    def n_threads(self, value: SupportsIndex | None) -> None: ...
    @property
    def n_params(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def params(self) -> _Floats: ...
    @params.setter
    def params(self, value: ArrayLike) -> None: ...
    @property
    def grad(self) -> _Floats: ...
    @grad.setter
    def grad(self, value: ArrayLike) -> None: ...
    @property
    def weights(self) -> tuple[_Floats, ...]: ...
    @property
    def biases(self) -> tuple[_Floats, ...]: ...
    @property
    def weight_grads(self) -> tuple[_Floats, ...]: ...
    @property
    def bias_grads(self) -> tuple[_Floats, ...]: ...
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
    ) -> Callable[[ArrayLike], tuple[float, _Floats]]: ...
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
