import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._optimizer import Optimizer

class SGD(Optimizer):
    def __init__(
        self,
        lr: ArrayLike = 0.01,
        momentum: ArrayLike = 0.0,
        nesterov: bool = False,
        weight_decay: ArrayLike = 0.0,
    ) -> None: ...
    @property
    def momentum(self) -> float | NDArray[np.float64]: ...
    @property
    def nesterov(self) -> bool: ...

class Adam(Optimizer):
    def __init__(
        self,
        lr: ArrayLike = 1e-3,
        betas: tuple[ArrayLike, ArrayLike] = (0.9, 0.999),
        eps: ArrayLike = 1e-8,
        weight_decay: ArrayLike = 0.0,
        *,
        eps_hat: bool = False,
    ) -> None: ...
    @property
    def betas(self) -> tuple[float | NDArray[np.float64], float | NDArray[np.float64]]: ...
    @property
    def eps(self) -> float | NDArray[np.float64]: ...
    @property
    def eps_hat(self) -> bool: ...

def clip_grad_norm(
    grad: NDArray[np.float32] | NDArray[np.float64], max_norm: float
) -> float: ...
