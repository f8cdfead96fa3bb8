"""The activations and the losses of fastbp: one descriptor for each.

Names, checks, messages, the choices of the command, the mappings of scikit-learn and PyTorch and
the tests are made from these two tables; a kernel and a twin in NumPy are what else there is to an
activation or a loss (CONTRIBUTING.md has the recipe). The numbers of the kernels are those of
_kernels/table.pxd, and tests/test_descriptors.py compares them.

| name            | output h_L | y                         | loss of a sample               |
|-----------------|------------|---------------------------|--------------------------------|
| "bce"           | sigma(z)   | in [0, 1]                 | -sum t log h + (1-t) log (1-h) |
| "softmax"       | softmax(z) | a class, or probabilities | -sum t log h                   |
| "squared_error" | z          | real                      | sum (h - t)^2 / 2              |
| "poisson"       | e^z        | at least 0                | sum h - t log h                |

Each loss is paired with its canonical output, so that delta_L = h - t; t is y with its labels
smoothed.
"""

import math
from typing import Literal, NamedTuple

ActivationName = Literal["sigmoid", "tanh", "relu", "identity"]
LossName = Literal["bce", "softmax", "squared_error", "poisson"]


class Activation(NamedTuple):
    """An activation of hidden layers, h and act'(z) of z (E1, E4)."""

    name: str
    number: int  # in `Activation` of table.pxd
    sklearn: str | None = None  # its name as a parameter of scikit-learn's estimators
    torch: str | None = None  # its class in torch.nn
    contract: int = 2  # the first version of the contract that has recorded digests of it


class Range(NamedTuple):
    """The range of an entry of y: finite and from 0 to ``most``, or anything if that is None."""

    most: float | None
    wanted: str  # in messages: "it should be ..."


UNIT_INTERVAL = Range(1.0, "in [0, 1]")
COUNTS = Range(math.inf, "finite and at least 0")
REAL = Range(None, "a real number")


class Loss(NamedTuple):
    """A loss of logits z_L, its output h_L, and what it takes as targets (E2, E3)."""

    name: str
    kernel: str  # in `criteria` of variant.pxi; also the public function, if it has one
    output: str  # h_L of z_L: a name of OUTPUTS
    targets: Range
    options: tuple = ()  # which of pos_weight, class_weight, label_smoothing it takes
    is_distribution: bool = False  # over the outputs: y may be (n,) classes, its rows sum to 1
    sklearn: str | None = None  # `out_activation_` of scikit-learn's estimators
    torch: tuple = ()  # its classes in torch.nn, of logits and of outputs
    contract: int = 2  # as for an activation

    @property
    def labels(self):
        """Whether targets are probabilities, each output apart: two classes for one output."""
        return self.targets is UNIT_INTERVAL and not self.is_distribution

    def n_classes(self, n_outputs):
        """How many classes the outputs tell apart; None if they are not classes of one sample."""
        if self.is_distribution:
            return n_outputs
        return 2 if self.labels and n_outputs == 1 else None


ACTIVATIONS = {activation.name: activation for activation in (
    Activation("sigmoid", 1, "logistic", "Sigmoid", contract=1),
    Activation("tanh", 2, "tanh", "Tanh", contract=1),
    Activation("relu", 3, "relu", "ReLU", contract=1),
    Activation("identity", 0, "identity", "Identity", contract=1),
)}

DEFAULTS = {"activation": "sigmoid", "loss": "bce"}  # in every signature

# The numbers of outputs h_L; the last two are not activations of hidden layers.
OUTPUTS = {**{name: activation.number for name, activation in ACTIVATIONS.items()},
           "exponential": 4, "softmax": 5}

# In the order of `criteria` in variant.pxi.
LOSSES = {loss.name: loss for loss in (
    Loss("bce", "bce_with_logits", "sigmoid", UNIT_INTERVAL,
         ("pos_weight", "class_weight", "label_smoothing"), sklearn="logistic",
         torch=("BCEWithLogitsLoss", "BCELoss"), contract=1),
    Loss("softmax", "softmax_with_logits", "softmax", UNIT_INTERVAL,
         ("class_weight", "label_smoothing"), is_distribution=True, sklearn="softmax",
         torch=("CrossEntropyLoss",), contract=1),
    Loss("squared_error", "squared_error", "identity", REAL, sklearn="identity",
         torch=("MSELoss",), contract=1),
    Loss("poisson", "poisson_with_logits", "exponential", COUNTS, sklearn="exp",
         torch=("PoissonNLLLoss",), contract=1),
)}
