import os
from collections.abc import Sequence
from typing import Any, Self, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._mlp import MLP
from fastbp._population import Population

_Path: TypeAlias = str | os.PathLike[str]

class SavedModel(tuple[Any, ...]):
    net: MLP | Population
    feature_mean: NDArray[np.float64]
    feature_scale: NDArray[np.float64]
    feature_names: tuple[str, ...]
    classes: tuple[str, ...] | tuple[float, ...]
    target_name: str
    recipe: Any | None
    def __new__(
        cls,
        net: MLP | Population,
        feature_mean: NDArray[np.float64],
        feature_scale: NDArray[np.float64],
        feature_names: tuple[str, ...],
        classes: tuple[str, ...] | tuple[float, ...],
        target_name: str,
        recipe: Any | None = None,
    ) -> Self: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def target(self) -> Any: ...
    @property
    def labels(self) -> NDArray[Any] | None: ...
    def forward(self, X: Any) -> NDArray[np.floating[Any]]: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def predict_proba(self, X: Any) -> NDArray[np.floating[Any]]: ...

def save_model(
    path: _Path,
    net: MLP | Population | SavedModel | Any,
    *,
    feature_mean: ArrayLike | None = None,
    feature_scale: ArrayLike | None = None,
    feature_names: Sequence[str] = (),
    classes: Sequence[str] | Sequence[float] | NDArray[Any] = (),
    target_name: str = "",
) -> None: ...
def load_model(path: _Path, *, n_threads: SupportsIndex | None = None) -> SavedModel: ...
