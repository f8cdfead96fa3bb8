"""Optimizers: hyper-parameters, the vectors of a step, and the state that is saved."""

import numpy as np

from .arrays import converted, real_array, require_shape, require_writable, same_memory
from .numbers import boolean, counted, fraction, limit, sequence

_MARKS = {"momentum": "SGD", "betas": "Adam"}     # options that one kind alone has
MOST_STEPS = 2**53  # beyond that t + 1 == t in float64


def pair(name, value):
    """Two entries."""
    entries = sequence(name, value)
    if len(entries) != 2:
        raise ValueError(f"{name} has {counted(len(entries), 'entry', 'entries')}; it should have "
                         "two, each in [0, 1)")
    return entries


def betas(value):
    """Adam's two decay rates, each a ``fraction``."""
    first, second = pair("betas", value)
    return fraction("betas[0]", first), fraction("betas[1]", second)


def is_of_networks(value):
    """Whether it is a list, tuple or vector: numbers for the networks of a population."""
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def first_of_networks(name, numbers):
    """The first of the numbers that networks of a population have."""
    if not numbers:
        raise ValueError(f"{name} is empty; it should be a number, or one for each network of a "
                         "population")
    return numbers[0]


def equally_many(each):
    """Raise where options have numbers for different numbers of networks."""
    lengths = {name: len(numbers) for name, numbers in each.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{' and '.join(lengths)} have {' and '.join(map(str, lengths.values()))} "
                         "entries; they should have as many, one for each network")


def optimizer_for_networks(has_state, each, n_networks):
    """Raise for an optimizer that cannot begin with so many networks of a population."""
    if has_state:
        raise ValueError("optimizer has the state of one network; a population should have an "
                         "optimizer of its own, or one for each network")
    for name, numbers in each.items():
        if len(numbers) != n_networks:
            raise ValueError(f"{name} of the optimizer has {counted(len(numbers), 'number')}; it "
                             f"should have {n_networks}, one for each network")


def state_of_networks(d, options):
    """The state of an optimizer for the networks of a population: options, and a dict of each."""
    state_dict({name: d[name] for name in d if name != "networks"}, set(options))
    for name in d:
        if name not in options and name != "networks":
            raise ValueError(f"the state has {name!r}; it should have {', '.join(options)} and "
                             "networks")
    networks = sequence("networks", d["networks"])
    if not networks:
        raise ValueError("networks is empty; it should have the state of each network")
    for k, state in enumerate(networks):
        if not isinstance(state, dict) or "networks" in state:
            raise ValueError(f"networks[{k}] is no state of one network; it should be one")
    for name in options:
        for value in d[name] if name == "betas" and is_of_networks(d[name]) else (d[name],):
            if is_of_networks(value) and len(value) != len(networks):
                raise ValueError(f"{name} has {counted(len(value), 'number')}; it should have "
                                 f"{len(networks)}, one for each of networks")


def options_of_network(k, have, wanted):
    """Raise where the state of network ``k`` has other hyper-parameters than the optimizer."""
    for name in wanted:
        if not np.array_equal(have[name], wanted[name]):
            raise ValueError(f"networks[{k}] has {name} = {have[name]}; it should have the "
                             f"optimizer's, {wanted[name]}")


def refuse_number_of_networks(have, n_networks):
    raise ValueError(f"optimizer has the states of {counted(have, 'network')}; "
                     f"it should have those of {n_networks}")


def refuse_optimizer_of_networks(optimizer):
    raise ValueError(f"optimizer is {optimizer!r}, for the networks of a population; "
                     "one network should have an optimizer of its own")


def nesterov(value, momentum):
    """A boolean; looking a momentum step ahead needs a momentum."""
    if boolean("nesterov", value) and momentum == 0:
        raise ValueError("nesterov is True and momentum is 0; momentum should be above 0")
    return bool(value)


def refuse_optimizer(value):
    """Raise for a value that is not an optimizer of fastbp."""
    raise TypeError(
        f"optimizer is of type {type(value).__name__}; it should be a fastbp.SGD or fastbp.Adam")


def refuse_override(optimizer, kind, name):
    """Raise for a subclass of ``kind`` that overrides ``name``, which an epoch would not call."""
    raise TypeError(
        f"optimizer is of type {type(optimizer).__name__}, which overrides {name}; train_epoch "
        f"steps as {kind.__name__} does: it should leave {name} alone, or be used with backprop "
        "and optimizer.step instead of train_epoch")


def norm_limit(max_norm, max_grad_norm=None):
    """The limit of the norm of a whole gradient; that of each sample's excludes it."""
    if max_grad_norm is not None:
        raise ValueError("max_norm and max_grad_norm are both given; one of them should be None: "
                         "max_norm clips the gradient of a mini-batch, max_grad_norm that of each "
                         "sample, for privacy")
    return limit("max_norm", max_norm)


def flat_gradient(grad):
    """A flat array of a float dtype that can be written to."""
    _float_array("grad", grad)
    require_shape("grad", grad, ("n_params",))
    require_writable("grad", grad)
    return np.asarray(grad)


def _float_array(name, array):
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is of type {type(array).__name__}; it should be an ndarray")
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} has dtype {array.dtype}; it should have float32 or float64")


def optimizer_arrays(params, grad):
    """The flat arrays of ``opt.step``: of one float dtype and one length, ``params`` writable."""
    _float_array("params", params)
    _float_array("grad", grad)
    if grad.dtype != params.dtype:
        raise TypeError(
            f"grad has dtype {grad.dtype}; it should have that of params, {params.dtype}")
    require_shape("params", params, ("n_params",))
    require_shape("grad", grad, params.shape)
    require_writable("params", params)
    if not (grad.flags.c_contiguous and grad.flags.aligned):
        raise ValueError("grad is not C-contiguous and aligned; it should be")
    if not same_memory(params, grad) and np.may_share_memory(params, grad):
        raise ValueError("grad overlaps params; it should have memory of its own")
    return np.asarray(params), np.asarray(grad)


def state_dict(d, needed):
    """Refuse a value that is not a dict, or lacks a name of ``needed``."""
    if not isinstance(d, dict):
        raise TypeError(f"state_dict is of type {type(d).__name__}; it should be a dict")
    missing = sorted(needed - d.keys())
    if missing:
        has, wants = (next((_MARKS[name] for name in _MARKS if name in names), None)
                      for names in (d, needed))
        if has and wants and has != wants:
            raise ValueError(f"state_dict is that of a fastbp.{has}; it should be that of a "
                             f"fastbp.{wants}")
        raise ValueError(f"state_dict lacks {', '.join(missing)}; it should have "
                         f"{', '.join(sorted(needed))}")


def state_vectors(d, needed, names):
    """Copies of the vectors in a `state_dict`, by name: all of ``names``, or none before a step."""
    state = {name: real_array(name, d[name], ndim=1).copy() for name in names if name in d}
    if d.keys() != needed | state.keys() or len(state) not in (0, len(names)):
        raise ValueError(f"state_dict has {', '.join(map(str, d))}; it should have "
                         f"{', '.join(sorted(needed))} and, after a step, {', '.join(names)}")
    return state


def steps(t, names, state):
    """Refuse a number of steps that does not fit the vectors of a `state_dict`."""
    if t > MOST_STEPS:
        raise ValueError(f"t is {t}; it should be at most {MOST_STEPS}")
    if t and names and not state:
        raise ValueError(f"state_dict has t = {t} and lacks {', '.join(names)}; it should have "
                         "them after a step")
    if len({(vector.size, vector.dtype) for vector in state.values()}) > 1:
        raise ValueError(f"{' and '.join(names)} should have one size and dtype")


def saved_powers(value, t):
    """``beta_powers`` of a `state_dict`, each a ``fraction``; 1 before the first step."""
    powers = sequence("beta_powers", value)
    if len(powers) != 2:
        raise ValueError(f"beta_powers has {counted(len(powers), 'entry', 'entries')}; it should "
                         "have two")
    return [fraction("beta_powers", power) if t else 1.0 for power in powers]


def eps_in(dtype, eps):
    """Refuse an ``eps`` that rounds to 0 in ``dtype``."""
    if converted(np.asarray(eps), dtype) == 0:
        raise ValueError(f"eps is {eps}; it should be above 0 as {dtype}")


def vector_in_range(name, vector, squares):
    """Refuse values that no step with finite numbers leads to; a mean of squares may overflow."""
    wanted = "at least 0" if squares else "finite"
    bad = ~(vector >= 0 if squares else np.isfinite(vector))
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(f"{name} has {vector[i]} at position {i}; it should be {wanted}")


def beta_powers(powers, betas, t):
    """Refuse powers that are not beta^t, up to t roundings and the spacing of subnormal numbers."""
    for power, beta in zip(powers, betas, strict=True):
        if abs(power - beta**t) > t * 2.0**-52 * beta**t + 2.0**-1022:
            raise ValueError(f"beta_powers is {tuple(powers)}; after t = {t} steps with betas "
                             f"{tuple(betas)} it should be {tuple(b**t for b in betas)}")


def optimizer_state(n_params, dtype_of_params, size, dtype):
    """Refuse parameters of another size or dtype than the optimizer's state has."""
    if (n_params, dtype_of_params) != (size, dtype):
        raise ValueError(f"params has {counted(n_params, 'entry', 'entries')} of "
                         f"{dtype_of_params}; it should have {size} of {np.dtype(dtype)}, as at "
                         "the first step: an optimizer belongs to one network")
