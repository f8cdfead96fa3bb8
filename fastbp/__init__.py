"""Exact gradients of multilayer perceptrons on a CPU.

    net = fastbp.MLP([30, 64, 64, 1], seed=0)
    loss = net.backprop(X, y)           # fills net.grad, a view of which is net.weight_grads
"""

from fastbp._refusal import refuse as _refuse

try:
    from fastbp._kernels.dispatch import available_isas, get_isa
except ModuleNotFoundError as error:
    _refuse(ImportError(
        f"{error.name} is not compiled in {__path__[0]}: in a checkout run `pip install -e .`, "
        "or leave the folder so that Python finds the installed package"))
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
from fastbp._many import train_many
from fastbp._mlp import MLP
from fastbp._optim import SGD, Adam, clip_grad_norm
from fastbp._population import Population
from fastbp._random import poisson_order
from fastbp._version import __version__

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


def __getattr__(name):
    """`fastbp.reference` is imported when it is first asked for: it is a quarter of the import."""
    if name == "reference":
        from importlib import import_module

        return import_module("fastbp.reference")
    raise AttributeError(f"module 'fastbp' has no attribute {name!r}")
