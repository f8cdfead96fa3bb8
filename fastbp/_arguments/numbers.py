"""Numbers, names and sequences."""

import math
import operator
import reprlib
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np


def choice(name, value, allowed):
    """``value`` if it is one of the strings ``allowed``."""
    if isinstance(value, str) and value in allowed:
        return str(value)
    raise ValueError(
        f"{name} is {reprlib.repr(value)}; it should be one of {', '.join(map(repr, allowed))}")


def real_dtype(value):
    """float32 or float64 in any spelling of NumPy, but ``None``, which NumPy reads as float64."""
    try:
        dtype = None if value is None else np.dtype(value)
    except MemoryError:
        raise
    except Exception:  # NumPy's parser of dtype strings raises more than TypeError
        dtype = None
    if dtype is None or dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype is {reprlib.repr(value)}; it should be 'float32' or 'float64'")
    return dtype


def integer(value):
    """``value`` as an int, ``None`` if it is not an integer; a bool is not."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_number(value):
    """A number of any kind as an int or a float; anything else, and a bool, as it is."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        return value
    if isinstance(value, Integral):
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def as_numbers(value):
    """`as_number` of a number, or of each in a list or tuple: NumPy cannot read a Fraction."""
    return [*map(as_number, value)] if isinstance(value, (list, tuple)) else as_number(value)


def count(name, value, minimum=1, most=None):
    """An integer of at least ``minimum``, and at most ``most``."""
    number = integer(value)
    if number is None or number < minimum:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        raise (ValueError if is_number else TypeError)(
            f"{name} is {reprlib.repr(value)}; it should be an integer of at least {minimum}")
    if most is not None and number > most:
        raise ValueError(f"{name} is {reprlib.repr(value)}; it should be at most {most}")
    return number


def byte_count(name, value):
    """An integer of at least 0, as a float."""
    return float(min(count(name, value, 0), 2**62))


def n_threads(value):
    """A number of threads, or ``None`` to have it chosen."""
    return None if value is None else count("n_threads", value)


def _float(name, value, wanted, fits):
    """``value`` as a float for which ``fits`` is true; ``wanted`` says when that is."""
    number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"{name} is {reprlib.repr(value)}; it should be a number {wanted}")
    given = number
    try:
        number = float(number)
    except OverflowError:
        number = math.inf
    if math.isinf(number) and number != given:  # beyond float64's largest number
        number = math.nan
    if not fits(number):
        raise ValueError(f"{name} is {reprlib.repr(value)}; it should be a number {wanted}")
    return number


def positive(name, value):
    """A finite float above 0."""
    return _float(name, value, "above 0, and finite", lambda x: 0 < x < math.inf)


def limit(name, value):
    """A float above 0; infinity sets no limit."""
    return _float(name, value, "above 0 that float64 has, or infinity", lambda x: x > 0)


def probability(name, value):
    """A float in (0, 1]."""
    return _float(name, value, "in (0, 1]", lambda x: 0 < x <= 1)


def non_negative(name, value):
    """A finite float of at least 0."""
    return _float(name, value, "of at least 0, and finite", lambda x: 0 <= x < math.inf)


def fraction(name, value):
    """A float in [0, 1)."""
    return _float(name, value, "in [0, 1)", lambda x: 0 <= x < 1)


def boolean(name, value):
    """``True`` or ``False``, Python's or NumPy's; 0 and 1 are neither."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {reprlib.repr(value)}; it should be True or False")
    return bool(value)


def string(name, value):
    """A str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {reprlib.repr(value)}; it should be a str")
    return value


def strings(name, value):
    """A list of str. A single str is refused, although it is a sequence of str."""
    found = None if isinstance(value, str) else sequence(name, value)
    if found is None or not all(isinstance(each, str) for each in found):
        raise TypeError(f"{name} is {reprlib.repr(value)}; it should be a sequence of str")
    return found


def sequence(name, value):
    """``value`` as a list; no generator, of unknown length, no set, of unknown order, no dict."""
    try:
        len(value)
        found = None if isinstance(value, (set, frozenset, Mapping)) else list(value)
    except (TypeError, NotImplementedError):  # the latter from a memoryview of two axes
        found = None
    if found is None:
        raise TypeError(f"{name} is of type {type(value).__name__}; it should be a sequence")
    return found


def counted(n, what, several=None):
    """``1 name``, ``2 names``."""
    return f"{n} {what if n == 1 else several or what + 's'}"


def _full_name(kind):
    """With its module: PyTorch has a Generator too."""
    module = kind.__module__
    return kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"


def bit_generator(rng, name="rng", seeds=True):
    """The bit generator behind ``rng``; a fresh PCG64 for ``None`` or, with ``seeds``, an int.

    Raises ``TypeError`` for anything but these, a ``Generator`` or a ``BitGenerator``, and
    ``ValueError`` for a negative seed.
    """
    if rng is None:
        return np.random.PCG64()
    if isinstance(rng, np.random.Generator):
        return rng.bit_generator
    if isinstance(rng, np.random.BitGenerator):
        return rng
    seed = integer(rng)
    if not seeds:
        given = f"of type {_full_name(type(rng))}" if seed is None else str(seed)
        raise TypeError(f"{name} is {given}; for noise it should be a numpy.random.Generator or a "
                        "numpy.random.BitGenerator, or None: an int gives the same noise at each "
                        "call")
    if seed is None:
        raise TypeError(f"{name} is of type {_full_name(type(rng))}; it should be an int, "
                        "a numpy.random.Generator or a numpy.random.BitGenerator, or None")
    if seed < 0:
        raise ValueError(f"{name} is {seed}; a seed should be at least 0")
    return np.random.PCG64(seed)
