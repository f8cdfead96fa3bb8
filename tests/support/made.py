"""Objects of every class that is copied and pickled, each in a state that no variant's rounding
decides; no test is here.

`pickles.json` holds what version 0.1.0 wrote of them: {name: [base64 for protocols 2 to 5]}.
"""

import warnings

import numpy as np
from fastbp._unchecked import UncheckedLayers
from sklearn.exceptions import ConvergenceWarning

from fastbp import MLP, SGD, Adam, Layers
from fastbp.sklearn import MLPClassifier, MLPRegressor

SIZES = (3, 4, 2)


class Network(MLP):
    """With arguments and attributes of its own."""

    def __init__(self, name):
        super().__init__(SIZES, seed=5)
        self.name, self.history = name, [0.5]


class Encoder(Layers):
    def __init__(self, name):
        super().__init__(SIZES, ["tanh", "relu"], layout="oi")
        self.name = name


class Scheduled(Adam):
    def __init__(self, rates):
        super().__init__(rates[0], (0.5, 0.25))
        self.rates = rates


class Slotted(SGD):
    __slots__ = ("rates",)


def network(**options):
    net = MLP(SIZES, seed=7, **options)
    net.grad = np.arange(net.n_params) / 8
    return net


def stepped(optimizer, **vectors):
    """The optimizer after three steps that left these vectors."""
    state = {**optimizer.state_dict(), "t": 3}
    if "beta_powers" in state:
        state["beta_powers"] = tuple(beta**3 for beta in optimizer.betas)
    optimizer.load_state_dict({**state, **vectors})
    return optimizer


def slotted():
    optimizer = stepped(Slotted(0.5, 0.25), v=np.arange(4.0))
    optimizer.rates = [0.5, 0.25]
    return optimizer


def data():
    X = np.arange(24.0).reshape(12, 2) % 7
    return X, np.arange(12) % 2


def fitted(kind, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kind(hidden_layer_sizes=(3,), max_iter=2, random_state=0, **options).fit(*data())


MADE = {
    "MLP": network,
    "MLP with options": lambda: network(
        activation="tanh", loss="softmax", dtype="float64", class_weight={1: 2.5},
        label_smoothing=0.125, n_threads=2),
    "MLP of mixed layers": lambda: MLP([3, 4, 5, 2], activation=["tanh", "relu"], seed=1),
    "MLP of a subclass": lambda: Network("mine"),
    "objective": lambda: network().objective(
        np.arange(6).reshape(2, 3), np.ones((2, 2)), sample_weight=[1, 2], reduction="mean",
        l2=0.5),
    "Layers": lambda: Layers(SIZES, ["tanh", "identity"], dtype="float64", n_threads=1),
    "Layers of a subclass": lambda: Encoder("mine"),
    "UncheckedLayers": lambda: UncheckedLayers(SIZES, ["tanh", "identity"], layout="oi"),
    "SGD": lambda: SGD(0.5, weight_decay=0.125),
    "SGD with momentum": lambda: stepped(SGD(0.5, 0.25, True), v=np.arange(4.0)),
    "Adam": lambda: Adam(0.5, (0.25, 0.5), 1e-3, eps_hat=True),
    "Adam with a state": lambda: stepped(Adam(0.5, (0.5, 0.25)), m=np.arange(4, dtype="f"),
                                         v=np.arange(4, dtype="f") / 4),
    "Adam of a subclass": lambda: stepped(Scheduled([0.5, 0.25]), m=np.arange(4.0),
                                          v=np.arange(4.0)),
    "SGD with slots": slotted,
    "MLPClassifier": lambda: fitted(MLPClassifier),
    "MLPRegressor": lambda: fitted(MLPRegressor, solver="sgd"),
    "MLPRegressor, lbfgs": lambda: fitted(MLPRegressor, solver="lbfgs"),
    "MLPClassifier, not fitted": lambda: MLPClassifier(alpha=0.5),
}


def known(thing):
    """All that is known of a thing, to compare: arrays as their dtype, shape and bytes."""
    if isinstance(thing, np.ndarray):
        return thing.dtype.str, thing.shape, thing.tobytes()
    if isinstance(thing, dict):
        return {name: known(value) for name, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [known(value) for value in thing]
    if type(thing).__module__.partition(".")[0] in ("fastbp", "made", "sklearn"):
        return type(thing), known(thing.__getstate__())
    return thing
