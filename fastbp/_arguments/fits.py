"""What a fit of many epochs takes: rates by the epoch, held-out samples, a function to call."""

import inspect
from numbers import Real

import numpy as np

from .numbers import counted, positive, sequence
from .population import each_number

_SAMPLES = {    # whether lists have those of each network, or there is one: what `validation` is
    True: "(X, y) or (X, y, sample_weight), where each is an array for all networks or a list of "
          "one for each: ([X_0, X_1, ...], [y_0, y_1, ...])",
    False: "(X, y) or (X, y, sample_weight), each for all networks, or with an axis of n_networks "
           "in front",
    None: "(X, y) or (X, y, sample_weight)"}


def function(name, value, *arguments):
    """A function that can be called with arguments of these names, by position."""
    call = f"{name}({', '.join(arguments)})"
    if not callable(value):
        raise TypeError(f"{name} is of type {type(value).__name__}; it should be a function that "
                        f"is called as {call}")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):     # some that are written in C do not tell theirs
        return value
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(f"{name} is a function of {signature}; it should be one that can be called "
                        f"as {call}") from None
    return value


def schedule(value, epochs, n_networks):
    """``None``, or a function from the epoch to the learning rate of all networks or of each."""
    if value is None:
        return None
    if isinstance(value, Real) or isinstance(value, np.ndarray) and value.ndim == 0:
        number = positive("schedule", value)
        return lambda epoch: number
    if callable(value):
        rate = function("schedule", value, "epoch")
        return lambda epoch: _rates(f"schedule({epoch})", rate(epoch), n_networks)
    try:
        entries = sequence("schedule", None if isinstance(value, (str, bytes)) else value)
    except TypeError:
        raise TypeError(f"schedule is of type {type(value).__name__}; it should be a function that "
                        f"is called as schedule(epoch), a sequence of {epochs} learning rates, "
                        "one for each epoch, or a number") from None
    if len(entries) < epochs:
        raise ValueError(f"schedule has {counted(len(entries), 'entry', 'entries')}; it should "
                         f"have {epochs}, one for each epoch, or be a function of the epoch")
    rates = [_rates(f"schedule[{epoch}]", entry, n_networks) for epoch, entry in enumerate(entries)]
    return rates.__getitem__


def _rates(name, value, n_networks):
    if np.ndim(value) == 0:
        return positive(name, value)
    return each_number(name, value, n_networks, positive)


def validation(value, lists):
    """X, y and weights or None, of ``(X, y)`` or ``(X, y, sample_weight)``.

    ``lists`` says whether lists have the samples of each network, or else arrays; ``None`` is for
    a network that has no others beside it.
    """
    parts = value if isinstance(value, (tuple, list)) else ()
    if len(parts) not in (2, 3):
        many = f" with {counted(len(parts), 'entry', 'entries')}" if parts else ""
        raise TypeError(f"validation is of type {type(value).__name__}{many}; it should be "
                        f"{_SAMPLES[lists]}")
    return (*parts, None)[:3]


def refuse_of_validation(error, value, lists):
    """Raise the error of a part of ``validation``, which may be as many pairs as it has parts."""
    pairs = all(isinstance(part, (tuple, list)) and len(part) in (2, 3) for part in value)
    form = f"; validation should be {_SAMPLES[lists]}" if pairs else ""
    raise type(error)(f"validation: {error}{form}") from None


def refuse_losses_of_epochs(epochs):
    """Raise where the losses of mini-batches are asked for in more than one epoch."""
    raise ValueError(f"batch_losses is given and epochs is {epochs}; epochs should be 1")


def client(value):
    """Whether a cluster is one of Dask; otherwise it is an executor.

    A `distributed.Client` is known by its methods.
    """
    from concurrent.futures import Executor  # which other calls do not need

    if isinstance(value, Executor):
        return False
    if not all(callable(getattr(value, name, None)) for name in ("submit", "scatter")):
        raise TypeError(f"client is of type {type(value).__name__}; it should be a "
                        "distributed.Client or a concurrent.futures.Executor")
    if getattr(value, "asynchronous", False):
        raise ValueError("client is asynchronous; it should be one that waits for its answers, "
                         "made with asynchronous=False")
    return True
