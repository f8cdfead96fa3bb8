from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal, Self, SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import BaseCrossValidator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.neural_network import MLPClassifier as _TheirClassifier
from sklearn.neural_network import MLPRegressor as _TheirRegressor

from fastbp import MLP, Population

_Activation: TypeAlias = Literal["identity", "logistic", "tanh", "relu"]
_Loss: TypeAlias = Literal["squared_error", "poisson"]
_Floats: TypeAlias = NDArray[np.floating[Any]]
_Rows: TypeAlias = Any  # array-like, or a sparse matrix or array of SciPy

class _Fitted(BaseEstimator):
    coefs_: list[_Floats]
    intercepts_: list[_Floats]
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None
    stopped_: bool
    n_iter_: int
    t_: int
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

class MLPClassifier(ClassifierMixin, _Fitted):
    classes_: Any
    class_weight_: NDArray[np.float64]
    def __init__(
        self,
        hidden_layer_sizes: SupportsIndex | Sequence[SupportsIndex] = (100,),
        activation: _Activation | Sequence[_Activation] = "relu",
        *,
        solver: Literal["lbfgs", "newton-cg", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: SupportsIndex | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: dict[Any, float] | list[dict[Any, float]] | str | None = None,
        n_threads: SupportsIndex | None = None,
        dtype: Literal["float32", "float64"] | None = None,
    ) -> None: ...
    def fit(
        self,
        X: _Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self: ...
    def partial_fit(
        self,
        X: _Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self: ...
    def predict(self, X: _Rows) -> NDArray[Any]: ...
    def predict_proba(self, X: _Rows) -> _Floats: ...
    def predict_log_proba(self, X: _Rows) -> _Floats: ...
    def input_gradient(self, X: _Rows) -> _Floats: ...
    def to_network(self) -> MLP: ...
    @classmethod
    def from_network(
        cls,
        net: MLP,
        classes: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> Self: ...
    def to_sklearn(self) -> _TheirClassifier: ...
    @classmethod
    def from_sklearn(cls, estimator: _TheirClassifier) -> Self: ...

class MLPRegressor(RegressorMixin, _Fitted):
    def __init__(
        self,
        loss: _Loss = "squared_error",
        hidden_layer_sizes: SupportsIndex | Sequence[SupportsIndex] = (100,),
        activation: _Activation | Sequence[_Activation] = "relu",
        *,
        solver: Literal["lbfgs", "newton-cg", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: SupportsIndex | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_threads: SupportsIndex | None = None,
        dtype: Literal["float32", "float64"] | None = None,
    ) -> None: ...
    def fit(
        self,
        X: _Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self: ...
    def partial_fit(
        self,
        X: _Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self: ...
    def predict(self, X: _Rows) -> _Floats: ...
    def input_gradient(self, X: _Rows) -> _Floats: ...
    def to_network(self) -> MLP: ...
    @classmethod
    def from_network(
        cls,
        net: MLP,
        feature_names: Sequence[str] | None = None,
    ) -> Self: ...
    def to_sklearn(self) -> _TheirRegressor: ...
    @classmethod
    def from_sklearn(cls, estimator: _TheirRegressor) -> Self: ...

class _Ensemble(BaseEstimator):
    estimators_samples_: list[NDArray[np.intp]] | None
    n_iter_: NDArray[np.intp]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

class MLPEnsembleClassifier(ClassifierMixin, _Ensemble):
    estimators_: list[MLPClassifier]
    classes_: Any
    def __init__(
        self,
        n_estimators: int = 20,
        *,
        bootstrap: bool = False,
        max_samples: float | None = None,
        hidden_layer_sizes: SupportsIndex | Sequence[SupportsIndex] = (100,),
        activation: _Activation | Sequence[_Activation] = "relu",
        solver: Literal["lbfgs", "newton-cg", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: SupportsIndex | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: dict[Any, float] | list[dict[Any, float]] | str | None = None,
        n_threads: SupportsIndex | None = None,
        dtype: Literal["float32", "float64"] | None = None,
        client: Executor | Any | None = None,
    ) -> None: ...
    def fit(
        self,
        X: _Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self: ...
    @overload
    def predict(self, X: _Rows, return_std: Literal[False] = False) -> NDArray[Any]: ...
    @overload
    def predict(self, X: _Rows, return_std: Literal[True]) -> tuple[NDArray[Any], _Floats]: ...
    def predict_proba(self, X: _Rows) -> _Floats: ...
    def predict_log_proba(self, X: _Rows) -> _Floats: ...
    def to_network(self) -> Population: ...

class MLPEnsembleRegressor(RegressorMixin, _Ensemble):
    estimators_: list[MLPRegressor]
    def __init__(
        self,
        n_estimators: int = 20,
        *,
        bootstrap: bool = False,
        max_samples: float | None = None,
        loss: _Loss = "squared_error",
        hidden_layer_sizes: SupportsIndex | Sequence[SupportsIndex] = (100,),
        activation: _Activation | Sequence[_Activation] = "relu",
        solver: Literal["lbfgs", "newton-cg", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: SupportsIndex | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_threads: SupportsIndex | None = None,
        dtype: Literal["float32", "float64"] | None = None,
        client: Executor | Any | None = None,
    ) -> None: ...
    def fit(
        self,
        X: _Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self: ...
    @overload
    def predict(self, X: _Rows, return_std: Literal[False] = False) -> _Floats: ...
    @overload
    def predict(self, X: _Rows, return_std: Literal[True]) -> tuple[_Floats, _Floats]: ...
    def to_network(self) -> Population: ...

_Grid: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
_Scoring: TypeAlias = (
    str | Callable[..., Any] | Sequence[str] | Mapping[str, str | Callable[..., float]]
)

class MLPSearchCV(BaseSearchCV):
    cv_results_: dict[str, Any]
    best_estimator_: Any
    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    refit_time_: float
    scorer_: Any
    n_splits_: int
    multimetric_: bool
    n_resources_: list[int]
    n_candidates_: list[int]
    n_remaining_candidates_: int
    min_resources_: int
    max_resources_: int
    n_iterations_: int
    n_required_iterations_: int
    n_possible_iterations_: int
    def __init__(
        self,
        estimator: BaseEstimator,
        param_grid: _Grid | None = None,
        *,
        param_distributions: _Grid | None = None,
        n_iter: int | None = None,
        scoring: _Scoring | None = None,
        n_jobs: int | None = None,
        refit: bool | str | Callable[[dict[str, Any]], int] = True,
        cv: int | BaseCrossValidator | Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: int | np.random.RandomState | None = None,
        error_score: float | Literal["raise"] = ...,
        return_train_score: bool = False,
        halving: float | dict[str, Any] | None = None,
        client: Executor | Any | None = None,
    ) -> None: ...
