from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from fastbp._per_sample import PerSample

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Reduction: TypeAlias = Literal["sum", "mean"]

class SecondOrder(PerSample):
    def hvp(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def gnvp(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def linearize(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "sum",
        l2: float = 0.0,
        memory: SupportsIndex = 1073741824,
    ) -> Linearization: ...

class Linearization:
    @property
    def params(self) -> _Floats: ...
    @property
    def loss(self) -> float: ...
    @property
    def grad(self) -> _Floats: ...
    @property
    def kept(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    def hvp(self, v: ArrayLike, out: _Floats | None = None) -> _Floats: ...
    def gnvp(self, v: ArrayLike, out: _Floats | None = None) -> _Floats: ...
    @property
    def hessian(self) -> LinearOperator: ...
    @property
    def gauss_newton(self) -> LinearOperator: ...
