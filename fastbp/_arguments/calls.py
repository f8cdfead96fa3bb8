"""Calls whose arguments do not bind, and the decorators of public functions in Python."""

import functools
import inspect

import numpy as np

from .numbers import integer

# A decorator. The caller's np.errstate, or warnings that are errors, should not decide what is
# computed: an overflow is an infinity here, which is refused later or passes as one.
quiet = np.errstate(all="ignore")

# Arguments that a user may look for where they are not.
ELSEWHERE = {"max_norm": "MLP.fit and MLP.train_epoch have it, for one network"}

IN_USE = ("this {} is in use by a call that has not ended, of another thread or around this one; "
          "give each its own, or wait until that call ends")

# What other libraries call an argument, and its names here.
_SYNONYMS = {
    "lr": ("optimizer", "optimizers"), "learning_rate": ("lr", "optimizer", "optimizers"),
    "clip": ("max_norm",), "clip_norm": ("max_norm",), "clipnorm": ("max_norm",),
    "verbose": ("progress",), "early_stopping": ("patience",), "n_iter_no_change": ("patience",),
    "tol": ("min_delta",), "max_iter": ("epochs",), "epochs": ("max_iter",),
    "validation_split": ("validation_rows",), "random_state": ("seed", "seeds", "rng"),
    "weight_decay": ("l2",), "alpha": ("l2",),
}


def unbound(function, given, names):
    """The message for a call whose arguments do not bind to the parameters; ``None`` if they do.

    ``given`` are the arguments by position, ``names`` the names of the others. What a class has to
    say of arguments that it does not take is in its ``_absent``, by their names.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*given, **dict.fromkeys(names))
        return None
    except TypeError:
        pass
    owner = _owner(given)
    call = _name_of_call(function, owner)
    parameters = list(signature.parameters.values())
    if parameters[:1] and parameters[0].name in ("self", "cls"):
        parameters, given = parameters[1:], given[1:]
    usage = call.rpartition(".")[2] + str(signature.replace(parameters=parameters))
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    known = [p.name for p in parameters]
    unknown = [name for name in names if name not in known]
    twice = [name for name in places[:len(given)] if name in names]
    if unknown:
        synonyms = [name for name in _SYNONYMS.get(unknown[0], ()) if name in known]
        near = synonyms[0] if synonyms else nearest(unknown[0], known)
        absent = {**ELSEWHERE, **getattr(owner, "_absent", {})}
        hint = (f": {absent[unknown[0]]}" if unknown[0] in absent
                else f" (did you mean {near!r}?)" if near else "")
        what = f"has no argument {unknown[0]!r}{hint}"
    elif len(given) > len(places):
        plural = "s" * (len(places) != 1)
        what = f"takes {len(places)} argument{plural} by position and got {len(given)}"
        if places[:1] == ["layer_sizes"] and all(integer(size) is not None for size in given):
            usage = f"{call}({list(given)}{', ...' * (len(places) > 1)}): layer_sizes is a sequence"
    elif twice:
        what = f"got {twice[0]!r} both by position and by name"
    else:
        missing = [p.name for p in parameters[len(given):]
                   if p.default is p.empty and p.name not in names]
        what = f"lacks {', '.join(missing)}"
    return f"{call} {what}; the call should be {usage}"


def _owner(given):
    """The class whose method gets these arguments, if it is one; ``None`` without arguments."""
    if not given:
        return None
    return given[0] if isinstance(given[0], type) else type(given[0])


def _name_of_call(function, owner):
    """``MLP`` for its `__init__`, ``Adam.step`` for a method that Adam inherits."""
    defined_in, _, name = function.__qualname__.rpartition(".")
    if name.startswith("_"):
        return defined_in
    method = getattr(owner, name, None)
    if getattr(method, "__func__", method) is function:     # of a class method, what it calls
        defined_in = owner.__name__
    return f"{defined_in}.{name}" if defined_in else name


def nearest(name, names):
    """The name that is most similar to a misspelt one; ``None`` if none is similar."""
    import difflib  # slow to import, and needed only for an error
    lower = {known.lower(): known for known in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return lower[close[0]] if close else None


def explained(function):
    """The Python function with the errors of `unbound`; `_calls` does it for compiled functions."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except TypeError:
            message = unbound(call, args, kwargs)
            if message is None:
                raise
        raise TypeError(message)
    return call


def public(function):
    """`explained` and `quiet`."""
    return explained(quiet(function))
