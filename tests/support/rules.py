"""Rules of optimizers, gradients for their steps and a schedule; no test is here."""


import numpy as np
import pytest

from fastbp import SGD, Adam, reference

RULES = {
    "sgd": (SGD, {"lr": 0.1}),
    "sgd-decay": (SGD, {"lr": 0.1, "weight_decay": 0.03}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}),
    "nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "nesterov-decay": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True,
                             "weight_decay": 0.03}),
    "adam": (Adam, {"lr": 0.03, "eps": 0.01}),
    "adam-betas": (Adam, {"lr": 0.03, "betas": (0.7, 0.95), "eps": 0.01}),
    "adamw": (Adam, {"lr": 0.03, "eps": 0.01, "weight_decay": 0.3}),
    "eps-hat": (Adam, {"lr": 0.03, "eps": 0.01, "eps_hat": True}),
}
RULE = pytest.mark.parametrize("rule", RULES)
STEPS = 60


def build(rule, twin=False):
    kind, options = RULES[rule]
    return (getattr(reference, kind.__name__) if twin else kind)(**options)


def problem(size, dtype, steps=STEPS, seed=0):
    """Parameters, and a gradient for every step."""
    rng = np.random.default_rng(seed)
    params = rng.standard_normal(size).astype(dtype)
    return params, rng.standard_normal((steps, size)).astype(dtype)


def schedule(lr, step):
    return lr / (1 + step % 3)
