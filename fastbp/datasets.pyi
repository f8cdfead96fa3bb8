import os
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

class DataError(ValueError):
    faults: tuple[str, ...]
    def __init__(self, message: str, faults: Iterable[str] = ()) -> None: ...

class Dataset(NamedTuple):
    X: NDArray[np.float64]
    y: NDArray[np.int64]
    feature_names: tuple[str, ...]
    target_name: str
    classes: tuple[str, str]
    description: str
    licence: str = ""

def load_breast_cancer() -> Dataset: ...
def read_table(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | None = None,
    *,
    decimal: Literal[".", ","] | None = None,
) -> Dataset: ...
