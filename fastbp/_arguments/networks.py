"""Networks: layer sizes, weights and biases, and what a model file says beside them."""

import reprlib

import numpy as np

from .arrays import as_dtype, common_dtype, converted, real_array, require_shape, shown
from .descriptors import ACTIVATIONS
from .numbers import choice, counted, integer, sequence, strings

_FLAT = ", one flat vector: W_1.ravel(), b_1, W_2.ravel(), ..."
_SIZE_MAX = 2**63 - 1  # a Py_ssize_t of the 64-bit machines this is built for


def layer_sizes(value, name="layer_sizes", given=None):
    """Two or more integers of at least 1 whose parameters can be addressed, as a tuple.

    ``given`` is the caller's argument of that ``name``, if it is not ``value`` itself.
    """
    shown_value = reprlib.repr(value if given is None else given)
    sizes, n_bytes = [], 0
    try:
        len(value)  # an iterator may never end
        for size in map(integer, value):
            if size is None or size < 1:
                sizes = []
                break
            n_bytes += 8 * (sizes[-1] + 1) * size if sizes else 0
            if n_bytes > _SIZE_MAX:
                raise ValueError(f"{name} is {shown_value}; "
                                 f"its parameters should fit in {_SIZE_MAX} bytes")
            sizes.append(size)
    except (TypeError, NotImplementedError):  # the latter from a memoryview of two axes
        sizes = []
    if len(sizes) < 2:
        raise ValueError(f"{name} is {shown_value}; "
                         "it should be two or more integers, each at least 1")
    return tuple(sizes)


def flat_vector(name, value, n_params, dtype=None):
    """A `real_array` with a number for each parameter of a network, in their order."""
    if isinstance(value, (list, tuple)) and any(
            getattr(entry, "ndim", 0) or isinstance(entry, (list, tuple)) for entry in value):
        raise ValueError(f"{name} has {counted(len(value), 'array')}; it should have shape "
                         f"{shown((n_params,))}{_FLAT}")
    return real_array(name, value, dtype, shape=(n_params,), or_else=_FLAT)


def activations(value, n_layers):
    """The names of activations, one for each layer, as a tuple."""
    names = [value] if isinstance(value, str) else sequence("activations", value)
    if len(names) != n_layers:
        raise ValueError(f"activations is {names!r}; it should list {counted(n_layers, 'name')}, "
                         "one for each layer")
    return _each_of("activations", names, ACTIVATIONS)


def _each_of(name, values, allowed):
    return tuple(choice(f"{name}[{l}]", value, allowed) for l, value in enumerate(values))


def hidden_activations(value, n_hidden, allowed=ACTIVATIONS):
    """The name that all hidden layers share, or a tuple with the name of each.

    ``value`` is a name, or a sequence of one for each. Names that are all the same become the one;
    those of no layer, which nothing depends on, the first of ``allowed``.
    """
    if isinstance(value, str):
        return choice("activation", value, allowed)
    try:
        names = sequence("activation", value)
    except TypeError:
        raise ValueError(f"activation is {reprlib.repr(value)}; it should be one of "
                         f"{', '.join(map(repr, allowed))}, or a sequence of them, one for each "
                         "hidden layer") from None
    if len(names) != n_hidden:
        outputs = "; that of the outputs comes from loss" * (len(names) == n_hidden + 1)
        raise ValueError(f"activation has {counted(len(names), 'name')}; it should have "
                         f"{n_hidden}, one for each hidden layer{outputs}")
    names = _each_of("activation", names, allowed)
    return names if len(set(names)) > 1 else next(iter(names or allowed))


def each_activation(activation, n_hidden):
    """The name of each hidden layer, of what `hidden_activations` returns."""
    return (activation,) * n_hidden if isinstance(activation, str) else activation


def last_activation(names):
    """Refuse an activation of the outputs where a loss brings its own."""
    if names[-1] != "identity":
        raise ValueError(f"the last of activations is {names[-1]!r}; it should be 'identity' for "
                         "a loss, which brings its own output")


def one_for_each_layer(name, arrays, n_layers):
    """Refuse a list that does not have one array for each layer."""
    if len(arrays) != n_layers:
        raise ValueError(
            f"{name} has {counted(len(arrays), 'array')}; it should have {n_layers}")


def layer_lists(weights, biases):
    """A list of weights and one of biases, as long as each other and not empty."""
    weights, biases = sequence("weights", weights), sequence("biases", biases)
    if not weights or len(biases) != len(weights):
        raise ValueError(f"weights has {counted(len(weights), 'array')} and biases has "
                         f"{len(biases)}; there should be as many of one as of the other, "
                         "at least one")
    return weights, biases


def layer_arrays(weights, biases):
    """Weights ``(fan_in, fan_out)`` that chain, biases ``(fan_out,)``, both in one dtype; sizes."""
    weights, biases = layer_lists(weights, biases)
    weights = [real_array(f"weights[{i}]", W) for i, W in enumerate(weights)]
    biases = [real_array(f"biases[{i}]", b) for i, b in enumerate(biases)]
    sizes = ["fan_in"]
    try:
        for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
            require_shape(f"weights[{i}]", W, (sizes[-1], "fan_out"))
            if 0 in W.shape:
                raise ValueError(f"weights[{i}] has shape {W.shape}; "
                                 "its fan_in and fan_out should be at least 1")
            sizes[-1:] = W.shape
            if b.shape != (sizes[-1],) and b.shape == W.shape[:1]:
                raise ValueError(f"biases[{i}] has shape {b.shape}; it should have shape "
                                 f"{shown(sizes[-1:])}, or weights[{i}], {W.shape}, be "
                                 "transposed: it is (fan_in, fan_out)")
            require_shape(f"biases[{i}]", b, (sizes[-1],))
    except ValueError:
        columns = [b.size for b in biases]
        rows = [weights[0].shape[-1] if weights[0].ndim else 0, *columns]
        refuse_transposed("weights", weights, list(zip(rows, columns, strict=False)), "io")
        raise
    dtype = common_dtype(*weights, *biases)
    return as_dtype(weights, dtype), as_dtype(biases, dtype), tuple(sizes)


def network_arrays(weights, biases, X):
    """`layer_arrays` and X ``(n_samples, fan_in)``, all in one dtype; sizes."""
    weights, biases, sizes = layer_arrays(weights, biases)
    X = real_array("X", X, shape=("n_samples", sizes[0]))
    dtype = common_dtype(weights[0], X)
    return as_dtype(weights, dtype), as_dtype(biases, dtype), converted(X, dtype), sizes


def refuse_transposed(name, arrays, shapes, layout):
    """Raise if ``arrays`` have the ``shapes`` of weights transposed: those of the other layout."""
    # not np.shape, which a subclass of ndarray may answer
    found = [array.shape if isinstance(array, np.ndarray) else None for array in arrays]
    if found != shapes and found == [shape[::-1] for shape in shapes]:
        own, other = ("(fan_in, fan_out)", "(fan_out, fan_in)")[::1 if layout == "io" else -1]
        raise ValueError(
            f"{name} look transposed: their shapes are {reprlib.repr(found)}, {other}; they should "
            f"be {own}, or be given to Layers(layout={'oi' if layout == 'io' else 'io'!r})")


def standardisation(name, value, n_features):
    """``feature_mean`` or ``feature_scale`` of a model, float64 ``(n_features,)``."""
    array = real_array(name, value, np.float64, shape=(n_features,))
    fits, wanted = np.isfinite(array), "finite"
    if name == "feature_scale":
        fits, wanted = fits & (array > 0), "finite and above 0"
    if not fits.all():
        i = int(np.argmin(fits))
        raise ValueError(f"{name} has {array[i]} at position {i}; it should be {wanted}")
    return array


def distinct_names(name, value, n):
    """No names, or ``n`` different ones, as a tuple; ``n=None`` allows any number."""
    names = tuple(strings(name, value))
    if names and n is not None and len(names) != n:
        raise ValueError(f"{name} has {counted(len(names), 'name')}; it should have {n}, or none")
    if len(set(names)) != len(names):
        twice = next(each for i, each in enumerate(names) if each in names[:i])
        raise ValueError(f"{name} has {twice!r} twice; its names should differ")
    return names


def addresses(name, count, wanted):
    """The error of a list of addresses that is too short or too long."""
    return ValueError(f"{name} has {counted(count, 'address', 'addresses')}; it should have "
                      f"{wanted}, one for each layer's weights and one for its biases")
