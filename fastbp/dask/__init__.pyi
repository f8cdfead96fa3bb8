from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Self, SupportsIndex, TypeAlias

import numpy as np
from distributed import Client
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from fastbp import sklearn as _sklearn
from fastbp.dask._objective import objective as objective
from fastbp.sklearn import _Activation, _Loss

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Collection: TypeAlias = Any  # a Dask array, DataFrame or Series
_Solver: TypeAlias = Literal["lbfgs", "newton-cg", "adam", "sgd"]
_Rate: TypeAlias = Literal["constant", "invscaling", "adaptive"]

class SchedulerLost(ConnectionError): ...

class _Fitted(BaseEstimator):
    coefs_: list[_Floats]
    intercepts_: list[_Floats]
    loss_: float
    loss_curve_: list[float]
    n_iter_: int
    t_: int
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

class DaskMLPClassifier(ClassifierMixin, _Fitted):
    classes_: NDArray[Any]
    def __init__(
        self,
        hidden_layer_sizes: SupportsIndex | Sequence[SupportsIndex] = (100,),
        activation: _Activation | Sequence[_Activation] = "relu",
        *,
        solver: _Solver = "lbfgs",
        alpha: float = 0.0001,
        batch_size: SupportsIndex | Literal["auto"] = "auto",
        average_every: SupportsIndex | None = None,
        n_replicas: SupportsIndex = 16,
        learning_rate: _Rate = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: SupportsIndex = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: SupportsIndex = 15000,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        n_threads: SupportsIndex = 1,
        dtype: Literal["float32", "float64"] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        client: Client | None = None,
    ) -> None: ...
    def fit(
        self, X: _Collection, y: _Collection, sample_weight: _Collection | None = None
    ) -> Self: ...
    def predict(self, X: _Collection) -> _Collection: ...
    def predict_proba(self, X: _Collection) -> _Collection: ...
    def score(
        self, X: _Collection, y: _Collection, sample_weight: _Collection | None = None
    ) -> float: ...
    def to_local(self) -> _sklearn.MLPClassifier: ...

class DaskMLPRegressor(RegressorMixin, _Fitted):
    def __init__(
        self,
        loss: _Loss = "squared_error",
        hidden_layer_sizes: SupportsIndex | Sequence[SupportsIndex] = (100,),
        activation: _Activation | Sequence[_Activation] = "relu",
        *,
        solver: _Solver = "lbfgs",
        alpha: float = 0.0001,
        batch_size: SupportsIndex | Literal["auto"] = "auto",
        average_every: SupportsIndex | None = None,
        n_replicas: SupportsIndex = 16,
        learning_rate: _Rate = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: SupportsIndex = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: SupportsIndex = 15000,
        n_threads: SupportsIndex = 1,
        dtype: Literal["float32", "float64"] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        client: Client | None = None,
    ) -> None: ...
    def fit(
        self, X: _Collection, y: _Collection, sample_weight: _Collection | None = None
    ) -> Self: ...
    def predict(self, X: _Collection) -> _Collection: ...
    def score(
        self, X: _Collection, y: _Collection, sample_weight: _Collection | None = None
    ) -> float: ...
    def to_local(self) -> _sklearn.MLPRegressor: ...
