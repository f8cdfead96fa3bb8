"""Exact gradients of multilayer perceptrons on a CPU.

    net = fastbp.MLP([30, 64, 64, 1], seed=0)
    loss = net.backprop(X, y)           # fills net.grad, a view of which is net.weight_grads
"""

from fastbp import _modules
from fastbp._refusal import refuse as _refuse

try:
    _modules.install()
    from fastbp._kernels.dispatch import available_isas, get_isa
except ModuleNotFoundError as error:
    _refuse(ImportError(_modules.advice(error.name, __path__[0])))
except ImportError as error:
    _refuse(error)

from fastbp._config import get_include, get_num_threads, set_num_threads, show_config
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

# Imported when they are first asked for. One thread may import what another unpickles: both are
# right, since the modules import each other in one direction only, and those above wait for no
# other thread, as `from fastbp import ...` would (tests/api/test_import.py).
_LATER = {name: module for module, names in {
    "_equations": ("activate", "delta_step", "sigmoid", "sigmoid_backward", "weight_grad"),
    "_layers": ("Layers", "backprop"),
    "_logit_losses": ("bce_with_logits", "poisson_with_logits", "softmax_with_logits",
                      "squared_error"),
    "_many": ("train_many",),
    "_mlp": ("MLP",),
    "_optim": ("SGD", "Adam", "clip_grad_norm"),
    "_population": ("Population",),
    "_random": ("poisson_order",),
    "reference": ("reference",),
}.items() for name in names}


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'fastbp' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"fastbp.{_LATER[name]}")
    globals()[name] = getattr(module, name, module)
    return globals()[name]


def __dir__():
    return sorted({*globals(), *__all__})
