"""What a population takes for all of its networks, or for each of them."""

from bisect import bisect_left, bisect_right
from itertools import repeat
from numbers import Real

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .arrays import (
    in_memory,
    output,
    overlap,
    real_array,
    refuse_overlap,
    require_shape,
    shown,
)
from .batches import _indices, _is_step, target_values
from .networks import _SIZE_MAX
from .numbers import bit_generator, count, counted, integer, sequence


def n_networks(value, n_params):
    """An integer of at least 1, of networks whose parameters can be addressed."""
    number = count("n_networks", value)
    if 8 * number * n_params > _SIZE_MAX:
        raise ValueError(f"n_networks is {number}; the parameters of all networks should fit in "
                         f"{_SIZE_MAX} bytes")
    return number


def member(name, k, n_networks):
    """An index of a network, as those of a sequence are."""
    number = integer(k)
    if number is None:
        raise TypeError(f"{name} is {k!r}; it should be an integer")
    if not -n_networks <= number < n_networks:
        raise IndexError(f"{name} is {number}; it should be in [{-n_networks}, {n_networks})")
    return number


def seeds(value, n_networks):
    """What `MLP` takes as ``seed``, for each network; an int s stands for s, s + 1, …"""
    if value is None:
        return repeat(None, n_networks)
    first = integer(value)
    if first is not None:
        if first < 0:
            raise ValueError(f"seeds is {first}; a seed should be at least 0")
        return range(first, first + n_networks)
    return [bit_generator(seed, f"seeds[{k}]") for k, seed in enumerate(
        each("seeds", value, n_networks, "an int, None, or "))]


def each(name, value, n_networks, alternative=""):
    """A list of as many entries as there are networks; the ``alternative`` is in the message."""
    try:
        entries = None if isinstance(value, (str, bytes)) else sequence(name, value)
    except TypeError:
        entries = None
    if entries is None:
        raise TypeError(f"{name} is of type {type(value).__name__}; it should be "
                        f"{alternative}a sequence of {n_networks}, one for each network")
    if len(entries) != n_networks:
        raise ValueError(f"{name} has {counted(len(entries), 'entry', 'entries')}; it should have "
                         f"{n_networks}, one for each network")
    return entries


def each_number(name, value, n_networks, check):
    """``(n_networks,)`` float64 of one number for all, or one for each; ``check(name, number)``."""
    if getattr(value, "ndim", None) == 0 or not hasattr(value, "__len__"):
        return np.full(n_networks, check(name, value), np.float64)
    return np.array([check(f"{name}[{k}]", number)
                     for k, number in enumerate(each(name, value, n_networks, "a number, or "))])


def each_count(name, value, n_networks):
    """A list of integers of at least 1: one for all networks, or that of each."""
    if integer(value) is not None or not hasattr(value, "__len__"):
        return [count(name, value)] * n_networks
    return [count(f"{name}[{k}]", number)
            for k, number in enumerate(each(name, value, n_networks, "an integer, or "))]


def active(value, n_networks):
    """``(n_networks,)`` bool: which networks take part."""
    if value is None:
        return np.ones(n_networks, bool)
    try:
        mask = np.array(value)
    except ValueError:              # entries of different lengths
        mask = np.array(None)
    if mask.dtype != bool or mask.shape != (n_networks,):
        raise (ValueError if mask.dtype == bool else TypeError)(
            f"active has shape {mask.shape} and dtype {mask.dtype}; it should have shape "
            f"{(n_networks,)} and dtype bool")
    return mask


def each_batch_losses(value, n_batches, others):
    """``None``, or the arrays that take the losses of each network's mini-batches."""
    if value is None:
        return None
    arrays = each("batch_losses", value, len(n_batches), "None, or ")
    for k, (array, number) in enumerate(zip(arrays, n_batches, strict=True)):
        output(f"batch_losses[{k}]", array, (number, 2), float, {}, required=True)
    _apart("batch_losses", arrays, others)
    return arrays


def _apart(name, arrays, others):
    """Raise where two of these C-contiguous arrays share memory, or one of them and another.

    In the order of their memory only neighbours can, and those that lie within another's bytes.
    """
    order = sorted(range(len(arrays)), key=lambda k: arrays[k].ctypes.data)
    starts = [arrays[k].ctypes.data for k in order]
    ends = [arrays[k].ctypes.data + arrays[k].nbytes for k in order]
    for i, (end, following) in enumerate(zip(ends, starts[1:], strict=False)):
        if following < end:
            j, k = sorted(order[i:i + 2])
            raise ValueError(f"{name}[{k}] overlaps {name}[{j}]; each should have memory of its "
                             "own")
    for other, array in in_memory(others):
        low, high = byte_bounds(array)
        for k in order[bisect_right(ends, low):bisect_left(starts, high)]:
            if overlap(arrays[k], array):
                refuse_overlap(f"{name}[{k}]", other)


def each_rng(value, shuffle, rows, active=None):
    """One bit generator for all networks, or a list of one for each; None without ``shuffle``.

    One shuffles the rows of all ``active`` networks alike, so that they should be equally many.
    """
    n_networks = len(rows)
    if not shuffle and value is None:
        return None
    one = value is None or isinstance(value, (np.random.Generator, np.random.BitGenerator))
    if one or integer(value) is not None:
        source = bit_generator(value)
        numbers = {indices.size for k, indices in enumerate(rows) if active is None or active[k]}
        if shuffle and len(numbers) > 1:
            raise ValueError(
                f"rng is {'one generator' if one and value is not None else value}, and the "
                f"networks take different numbers of rows, {min(numbers)} to {max(numbers)}; it "
                f"should be a sequence with a source for each network, such as range({n_networks})")
    else:
        sources = each("rng", value, n_networks, "an int, a generator, None, or ")
        source = [bit_generator(rng, f"rng[{k}]") for k, rng in enumerate(sources)]
    return source if shuffle else None


def each_rows(value, n_networks, n_samples, name="rows"):
    """The indices that each network takes, a list of intp arrays; the same one where all share it.

    One array of indices is for all networks; a list, tuple or matrix has those of each.
    ``n_samples`` is the number of samples that all may take, or a list of those of each.
    """
    numbers = n_samples if isinstance(n_samples, list) else [n_samples] * n_networks
    if value is None:
        whole = {n: np.arange(n, dtype=np.intp) for n in set(numbers)}
        return [whole[n] for n in numbers]
    several = isinstance(value, (list, tuple)) and any(map(_is_step, value))
    if not several and getattr(value, "ndim", 1) != 2:
        rows = [_indices(name, value, ("n_rows",), min(numbers))] * n_networks
    else:
        lists = each(name, value, n_networks, "an array of integers, or ")
        rows = [_indices(f"{name}[{k}]", indices, ("n_rows",), numbers[k])
                for k, indices in enumerate(lists)]
    for k, indices in enumerate(rows):
        if indices.size == 0:
            raise ValueError(f"{name}[{k}] is empty; it should have at least one index")
    return rows


def samples_of_networks(name, value, dtype, read=real_array):
    """An array of what each sample has, of all networks or of each: so many samples for each."""
    try:
        return read(name, value, dtype)
    except ValueError:
        dims = [_dims(part) for part in value] if isinstance(value, (list, tuple)) else []
        if len(set(dims)) != 1 or dims[0] != (2 if name == "X" else 1):
            raise
        numbers = [len(part) for part in value]
        if min(numbers) == max(numbers):
            raise
        raise ValueError(
            f"{name} cannot be read as an array of real numbers: its parts have {min(numbers)} to "
            f"{max(numbers)} samples; it should be one array, of which `rows`, or in a validation "
            "`validation_rows`, are those of each network; train_many takes a list of arrays"
        ) from None


def _dims(value):
    """How many axes an array, a table, or a list of lists has, by its first entries."""
    dims = getattr(value, "ndim", None)
    if dims is not None:
        return dims
    return 1 + _dims(value[0]) if isinstance(value, (list, tuple)) and value else 0


def targets_of_networks(y, dtype, loss, n_outputs):
    """The same of targets."""
    return samples_of_networks("y", y, dtype, lambda _, value, dtype: target_values(
        value, dtype, loss, n_outputs))


def inputs(X, dtype, n_networks, n_features):
    """X of all networks, (n, n_features), or of each, (n_networks, n, n_features)."""
    array, one = samples_of_networks("X", X, dtype), ("n_samples", n_features)
    if array.ndim == 3:
        require_shape("X", array, (n_networks, *one))
    else:
        require_shape("X", array, one, f" or {shown((n_networks, *one))}")
    return array


def has_each(name, value, n_samples, n_networks, widths):
    """Whether an array has a part for each network: its shape is that of one, or (n_networks, …).

    ``widths`` are the shapes that one sample may have there. A shape that fits both is one for all.
    """
    shape = np.shape(value)
    fitting = [(n_samples, *width) for width in widths]
    if shape in fitting:
        return False
    if shape in [(n_networks, *one) for one in fitting]:
        return True
    wanted = [*fitting, *((n_networks, *one) for one in fitting)]
    raise ValueError(f"{name} has shape {shape}; it should have one of the shapes "
                     f"{', '.join(map(str, wanted))}")


def networks_of_any_kind(value, kind):
    """A list of networks that share no parameters."""
    entries = sequence("networks", value)
    if not entries:
        raise ValueError("networks is empty; it should have at least one network")
    for k, net in enumerate(entries):
        if not isinstance(net, kind):
            raise TypeError(f"networks[{k}] is of type {type(net).__name__}; "
                            f"it should be a fastbp.{kind.__name__}")
    return entries


def networks(value, kind):
    """A list of networks of one shape, activation, loss and dtype."""
    entries = networks_of_any_kind(value, kind)
    for k, net in enumerate(entries):
        if _kind_of(net) != _kind_of(entries[0]):
            raise ValueError(f"networks[{k}] is {net!r}; all should be alike, as networks[0] is: "
                             f"{entries[0]!r}")
    return entries


def _kind_of(net):
    """All that networks of a population share, comparable."""
    options = {name: np.asarray(option).tolist() for name, option in net.loss_options.items()}
    return net.layer_sizes, net.activation, net.loss, net.dtype, options


def refuse_both(name, other):
    """Raise where two arguments are given that exclude each other."""
    raise ValueError(f"{name} and {other} are both given; one of them should be None")


def distinct(name, entries, places=None):
    """Raise where one object stands for two networks, or two have one of the ``places``."""
    seen = {}
    for k, place in enumerate(map(id, entries) if places is None else places):
        if seen.setdefault(place, k) != k:
            same = "is" if entries[k] is entries[seen[place]] else "has the parameters of"
            raise ValueError(f"{name}[{k}] {same} {name}[{seen[place]}]; each network should have "
                             "its own")


def refuse_of_network(name, k, error):
    """Raise the error of an argument's part for network k, with that number."""
    text = str(error)
    named = text.removeprefix(name)
    raise type(error)(f"{name}[{k}]{named if named != text else ': ' + text}") from None


def rows_with_weight(weights, rows, name):
    """Raise for a network whose rows have no weight, or more than float64 holds.

    ``weights`` are ``(1, n_samples)``, of all networks, or ``(n_networks, n_samples)``.
    """
    for k, indices in enumerate(rows):
        row_weights(weights[k if len(weights) > 1 else 0], indices, k, name)


def row_weights(weights, indices, k, name="rows"):
    """Raise where the rows of network k, or of the one, have no weight, or more than float64 holds.
    """
    total = weights[indices].sum(dtype=np.float64)
    if not 0 < total < np.inf:
        whose = "" if k is None else f" of network {k}"
        raise ValueError(f"sample_weight sums to {total} over the {name}{whose}; "
                         "it should sum to a finite number above 0")


def all_or_each(name, value, n_networks):
    """The entries of a list or tuple, one for each network; ``None`` for what is for all."""
    if not isinstance(value, (list, tuple)):
        return None
    flat = len(value) == n_networks and (
        isinstance(value[0], (Real, str)) or name == "X" and _dims(value[0]) == 1)
    if flat or len(value) != n_networks:
        found = f"{name}[0] is of type {type(value[0]).__name__}" if flat else (
            f"{name} is of type {type(value).__name__} and has "
            f"{counted(len(value), 'entry', 'entries')}")
        raise ValueError(f"{found}; {name} should be one array for all networks, or a list of "
                         f"{n_networks} arrays, one for each")
    return list(value)
