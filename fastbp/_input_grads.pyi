from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._second_order import SecondOrder

_Floats: TypeAlias = NDArray[np.floating[Any]]

class InputGradients(SecondOrder):
    def input_grad(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def jacobian(
        self,
        X: ArrayLike,
        *,
        of: Literal["output", "logits"] = "output",
        wrt: Literal["params", "input"] = "params",
        out: _Floats | None = None,
    ) -> _Floats: ...
