import os
from typing import TypeAlias

import onnx
from sklearn.base import BaseEstimator

from fastbp import MLP, Population
from fastbp.io import SavedModel

_Model: TypeAlias = MLP | Population | SavedModel | BaseEstimator

def to_onnx(model: _Model) -> onnx.ModelProto: ...
def export(model: _Model, path: str | os.PathLike[str]) -> None: ...
def register_skl2onnx() -> None: ...
