import os
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._mlp import MLP

_Path: TypeAlias = str | os.PathLike[str]

class SavedModel(NamedTuple):
    net: MLP
    feature_mean: NDArray[np.float64]
    feature_scale: NDArray[np.float64]
    feature_names: tuple[str, ...]
    classes: tuple[str, ...]
    target_name: str
    def forward(self, X: ArrayLike) -> NDArray[np.floating[Any]]: ...

def save_model(
    path: _Path,
    net: MLP,
    *,
    feature_mean: ArrayLike | None = None,
    feature_scale: ArrayLike | None = None,
    feature_names: Sequence[str] = (),
    classes: Sequence[str] = (),
    target_name: str = "",
) -> None: ...
def load_model(path: _Path, *, n_threads: SupportsIndex | None = None) -> SavedModel: ...
