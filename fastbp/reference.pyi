from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp._arguments import HiddenActivations, LossName
from fastbp._equations import activate as activate
from fastbp._equations import delta_step as delta_step
from fastbp._equations import sigmoid as sigmoid
from fastbp._equations import sigmoid_backward as sigmoid_backward
from fastbp._equations import weight_grad as weight_grad
from fastbp._layers import backprop as backprop
from fastbp._logit_losses import bce_with_logits as bce_with_logits
from fastbp._logit_losses import poisson_with_logits as poisson_with_logits
from fastbp._logit_losses import softmax_with_logits as softmax_with_logits
from fastbp._logit_losses import squared_error as squared_error
from fastbp._optim import clip_grad_norm as clip_grad_norm
from fastbp._twin.second_order import Linearization

_Floats: TypeAlias = NDArray[np.floating[Any]]

def forward(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
) -> tuple[_Floats, _Floats]: ...
def per_sample_grad_norms(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    out: _Floats | None = None,
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> _Floats: ...
def clipped_backprop(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    max_norm: float,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    noise_multiplier: float = 0.0,
    rng: np.random.Generator | np.random.BitGenerator | None = None,
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, list[_Floats], list[_Floats], _Floats]: ...
def per_sample_grads(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    out: _Floats | None = None,
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> _Floats: ...

def hvp(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    V: Sequence[ArrayLike],
    v: Sequence[ArrayLike],
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[list[_Floats], list[_Floats]]: ...

def gnvp(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    V: Sequence[ArrayLike],
    v: Sequence[ArrayLike],
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[list[_Floats], list[_Floats]]: ...

def linearize(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> Linearization: ...

def input_grad(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
    out: _Floats | None = None,
) -> _Floats: ...
def jacobian(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    *,
    activation: HiddenActivations = "sigmoid",
    loss: LossName = "bce",
    of: Literal["output", "logits"] = "output",
    wrt: Literal["params", "input"] = "params",
    out: _Floats | None = None,
) -> _Floats: ...

class SGD:
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None: ...
    def step(self, params: _Floats, grad: _Floats) -> None: ...

class Adam:
    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    eps_hat: bool
    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        eps_hat: bool = False,
    ) -> None: ...
    def step(self, params: _Floats, grad: _Floats) -> None: ...
