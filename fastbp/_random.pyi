from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

def poisson_order(
    n: SupportsIndex,
    rate: float,
    steps: SupportsIndex,
    rng: SupportsIndex | np.random.Generator | np.random.BitGenerator | None = None,
) -> list[NDArray[np.intp]]: ...
