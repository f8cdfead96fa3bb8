"""The activations and the losses of fastbp: one descriptor for each.

Names, checks, messages, the choices of the command, the mappings of scikit-learn and PyTorch and
the tests are made from these two tables; a kernel and a twin in NumPy are what else there is to an
activation or a loss (CONTRIBUTING.md has the recipe). The numbers of the kernels are those of
_kernels/table.pxd, and tests/house/test_descriptors.py compares them.

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
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Literal, TypeAlias

ActivationName = Literal["sigmoid", "tanh", "relu", "identity"]
HiddenActivations: TypeAlias = ActivationName | Sequence[ActivationName]
LossName = Literal["bce", "softmax", "squared_error", "poisson"]


class Activation(SimpleNamespace):
    """An activation of hidden layers, h and act'(z) of z (E1, E4).

    name      as users give it
    number    in `Activation` of table.pxd
    sklearn   its name as a parameter of scikit-learn's estimators, or None
    torch     its class in torch.nn, or None
    contract  the first version of the contract that has recorded digests of it
    """

    sklearn = torch = None
    contract = 2


class Range(SimpleNamespace):
    """The range of an entry of y.

    most    entries are finite and from 0 to `most`; anything if it is None
    wanted  in messages: "it should be ..."
    """


UNIT_INTERVAL = Range(most=1.0, wanted="in [0, 1]")
COUNTS = Range(most=math.inf, wanted="finite and at least 0")
REAL = Range(most=None, wanted="a real number")


class Loss(SimpleNamespace):
    """A loss of logits z_L, its output h_L, and what it takes as targets (E2, E3).

    name             as users give it
    kernel           in `criteria` of variant.pxi; also the public function, if it has one
    output           h_L of z_L, a name of OUTPUTS
    targets          the `Range` of y
    options          which of pos_weight, class_weight, label_smoothing it takes
    is_distribution  h_L is one over the outputs: y may be (n,) classes, and its rows sum to 1
    sklearn          `out_activation_` of scikit-learn's estimators, or None
    torch            its classes in torch.nn, of logits and of outputs
    contract         as for an activation
    """

    options = torch = ()
    is_distribution = False
    sklearn = None
    contract = 2

    @property
    def labels(self):
        """Whether each output has its own target in [0, 1], a probability of one of two classes."""
        return self.targets is UNIT_INTERVAL and not self.is_distribution

    def n_classes(self, n_outputs):
        """The number of classes of a sample; None if the outputs do not choose among classes."""
        if self.is_distribution:
            return n_outputs
        return 2 if self.labels and n_outputs == 1 else None


ACTIVATIONS = {activation.name: activation for activation in (
    Activation(name="sigmoid", number=1, sklearn="logistic", torch="Sigmoid", contract=1),
    Activation(name="tanh", number=2, sklearn="tanh", torch="Tanh", contract=1),
    Activation(name="relu", number=3, sklearn="relu", torch="ReLU", contract=1),
    Activation(name="identity", number=0, sklearn="identity", torch="Identity", contract=1),
)}

DEFAULTS = {"activation": "sigmoid", "loss": "bce"}  # in every signature

# The numbers of outputs h_L; the last two are not activations of hidden layers.
OUTPUTS = {**{name: activation.number for name, activation in ACTIVATIONS.items()},
           "exponential": 4, "softmax": 5}

# In the order of `criteria` in variant.pxi.
LOSSES = {loss.name: loss for loss in (
    Loss(name="bce", kernel="bce_with_logits", output="sigmoid", targets=UNIT_INTERVAL,
         options=("pos_weight", "class_weight", "label_smoothing"), sklearn="logistic",
         torch=("BCEWithLogitsLoss", "BCELoss"), contract=1),
    Loss(name="softmax", kernel="softmax_with_logits", output="softmax", targets=UNIT_INTERVAL,
         options=("class_weight", "label_smoothing"), is_distribution=True, sklearn="softmax",
         torch=("CrossEntropyLoss",), contract=1),
    Loss(name="squared_error", kernel="squared_error", output="identity", targets=REAL,
         sklearn="identity", torch=("MSELoss",), contract=1),
    Loss(name="poisson", kernel="poisson_with_logits", output="exponential", targets=COUNTS,
         sklearn="exp", torch=("PoissonNLLLoss",), contract=1),
)}
