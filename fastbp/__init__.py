"""Exact gradients of multilayer perceptrons on a CPU.

    net = fastbp.MLP([30, 64, 64, 1], seed=0)
    loss = net.backprop(X, y)           # fills net.grad, a view of which is net.weight_grads
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from fastbp._refusal import refuse as _refuse

try:
    from fastbp import _modules

    _modules.install()
    from fastbp._kernels.dispatch import available_isas, get_isa
except ModuleNotFoundError as error:
    _refuse(ImportError(_modules.advice(error.name, __path__[0])))
except ImportError as error:
    _refuse(error)

from fastbp._config import get_include, get_num_threads, set_num_threads, show_config
from fastbp._equations import activate, delta_step, sigmoid, sigmoid_backward, weight_grad
from fastbp._layers import Layers, backprop
from fastbp._logit_losses import (
    bce_with_logits,
    poisson_with_logits,
    softmax_with_logits,
    squared_error,
)
from fastbp._mlp import MLP
from fastbp._optim import SGD, Adam, clip_grad_norm
from fastbp._random import poisson_order
from fastbp._version import __version__

if _TYPE_CHECKING:
    from fastbp._many import train_many
    from fastbp._population import Population

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "Layers",
    "Population",
    "__version__",
    "activate",
    "available_isas",
    "backprop",
    "bce_with_logits",
    "clip_grad_norm",
    "delta_step",
    "get_include",
    "get_isa",
    "get_num_threads",
    "poisson_order",
    "poisson_with_logits",
    "reference",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_backward",
    "softmax_with_logits",
    "squared_error",
    "train_many",
    "weight_grad",
]


# Imported when they are first asked for: together they take as long as all the rest.
_LATER = {"Population": "fastbp._population", "train_many": "fastbp._many",
          "reference": "fastbp.reference"}


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'fastbp' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(_LATER[name])
    globals()[name] = getattr(module, name, module)
    return globals()[name]


def __dir__():
    return sorted({*globals(), *__all__})
