from typing import Any, Literal, TypeAlias

import numpy as np
from distributed import Client
from numpy.typing import ArrayLike, NDArray

from fastbp import MLP

_Collection: TypeAlias = Any  # a Dask array, DataFrame or Series

class Objective:
    n_samples: int
    total_weight: float
    def __call__(self, params: ArrayLike) -> tuple[float, NDArray[np.float64]]: ...
    def hessp(self, params: ArrayLike, v: ArrayLike) -> NDArray[np.float64]: ...

def objective(
    net: MLP,
    X: _Collection,
    y: _Collection,
    *,
    sample_weight: _Collection | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    l2: float = 0.0,
    client: Client | None = None,
) -> Objective: ...
