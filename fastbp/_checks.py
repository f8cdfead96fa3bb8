"""Every error message of fastbp, in one place: what may come in, and what is said when it may not.

A check returns its argument in the form the kernels take, or raises: ``TypeError`` for a value of
the wrong kind, ``ValueError`` for one of the right kind that does not fit. A message is one
sentence that names the argument, what it is and what it should be, as in ``X has shape (5, 3); it
should have shape (n_samples, 2)``. Nothing here broadcasts, and nothing here computes. Ranges are
tested after the conversion to the dtype of the computation: those are the values that enter it.
Compiled callers may test a range themselves and come here only to raise.
"""

import functools
import inspect
import math
import operator
import reprlib
from collections.abc import Mapping
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from . import _tables

LOSSES = ("bce", "softmax", "squared_error", "poisson")
ACTIVATIONS = ("sigmoid", "tanh", "relu", "identity")
IN_USE = ("this {} is in use by another thread; give each thread its own, "
          "or wait for the call that is running")
UNIT_SUM_TOLERANCE = 1e-5  # for probabilities that were rounded to float32, or summed there
_SIZE_MAX = 2**63 - 1  # a Py_ssize_t of the 64-bit machines this is built for
_OVERLAP_WORK = 1000  # candidate solutions after which two arrays count as overlapping


# ---- calls


def unbound(function, given, names):
    """What to say of a call that does not bind to the parameters; ``None`` of one that does.

    ``given`` are the arguments by position, ``names`` those of the others.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*given, **dict.fromkeys(names))
        return None
    except TypeError:
        pass
    call = _name_of_call(function, given)
    parameters = list(signature.parameters.values())
    if parameters[:1] and parameters[0].name == "self":
        parameters, given = parameters[1:], given[1:]
    usage = call.rpartition(".")[2] + str(signature.replace(parameters=parameters))
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    known = [p.name for p in parameters]
    unknown = [name for name in names if name not in known]
    twice = [name for name in places[:len(given)] if name in names]
    if unknown:
        near = nearest(unknown[0], known)
        hint = f" (did you mean {near!r}?)" if near else ""
        what = f"has no argument {unknown[0]!r}{hint}"
    elif len(given) > len(places):
        plural = "s" * (len(places) != 1)
        what = f"takes {len(places)} argument{plural} by position and got {len(given)}"
        if places[:1] == ["layer_sizes"] and all(_integer(size) is not None for size in given):
            usage = f"{call}({list(given)}{', ...' * (len(places) > 1)}): layer_sizes is a sequence"
    elif twice:
        what = f"got {twice[0]!r} both by position and by name"
    else:
        missing = [p.name for p in parameters[len(given):]
                   if p.default is p.empty and p.name not in names]
        what = f"lacks {', '.join(missing)}"
    return f"{call} {what}; the call should be {usage}"


def _name_of_call(function, given):
    """``MLP`` of its `__init__`, ``Adam.step`` of a method that an Adam inherits."""
    owner, _, name = function.__qualname__.rpartition(".")
    if name.startswith("_"):
        return owner
    if given and getattr(type(given[0]), name, None) is function:
        owner = type(given[0]).__name__
    return f"{owner}.{name}" if owner else name


def nearest(name, names):
    """The name that a misspelt one is most like; ``None`` if it is like none of them."""
    import difflib  # only once something is wrong
    lower = {known.lower(): known for known in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return lower[close[0]] if close else None


def explained(function):
    """A function in Python that says the same of calls which do not bind; see `_calls`."""
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


# The caller's np.errstate, or warnings that are errors, should not decide what is computed: an
# overflow is an infinity here, which is then refused or is as good as any. To decorate with.
quiet = np.errstate(all="ignore")
_readable, _widened = quiet(_tables.readable), quiet(_tables.widened)


def public(function):
    """`explained` and `quiet`."""
    return explained(quiet(function))


# ---- arrays


def _read(name, value, kinds, wanted):
    """``value`` as an array whose dtype kind is one of ``kinds``, in whatever layout it has."""
    if type(value) not in _tables.PLAIN:
        if isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
            raise TypeError(  # asked in this order because np.ma imports numpy.ma
                f"{name} is a masked array of dtype {value.dtype}; it should be {wanted}")
        value = _readable(name, value, wanted)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} cannot be read as {wanted}: {error}") from error
    if array.dtype.kind not in kinds:
        array = _widened(array)
    if array.dtype.kind not in kinds:
        opaque = array.dtype == object and array.ndim == 0  # None, a sparse matrix
        has = f"is of type {type(value).__name__}," if opaque else "has"
        raise TypeError(f"{name} {has} dtype {array.dtype}; it should be {wanted}")
    return array


def converted(array, dtype, order="K"):
    """``array`` in ``dtype``, itself if it is."""
    return array if array.dtype == dtype else _cast(array, dtype, order)


@quiet
def _cast(array, dtype, order):
    return array.astype(dtype, order)


def _plain(array, dtype):
    """``array`` C-contiguous, aligned, of the native ``dtype``; copied only if it is not."""
    array = np.asarray(converted(array, dtype, "C"), order="C")
    return array if array.flags.aligned else array.copy()


def shown(shape):
    """A shape with named axes, as messages write it: ``(n_samples, 30)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _check_shape(name, array, shape):
    if array.shape == shape:
        return
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or have == want
        for have, want in zip(array.shape, shape, strict=True))
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}; it should have shape {shown(shape)}")


def real_array(name, value, dtype=None, ndim=None, shape=None):
    """A real array as the kernels take it: plain, C-contiguous, aligned, native.

    ``dtype=None`` keeps float32 and makes everything else float64. An entry of ``shape`` is an int,
    or a name that any length satisfies. Copies only what does not fit yet.
    """
    array = _read(name, value, "biuf", "an array of real numbers")
    if dtype is None:
        float32 = array.dtype.kind == "f" and array.dtype.itemsize == 4  # in either byte order
        dtype = np.float32 if float32 else np.float64
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}; it should have {ndim} dimensions")
    if shape is not None:
        _check_shape(name, array, shape)
    return _plain(array, dtype)


def samples_or_one(name, value, last):
    """A ``real_array`` of shape ``(n_samples, last)``, or ``(last,)`` for one sample."""
    array = real_array(name, value)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {array.shape}; "
                         f"it should have shape (n_samples, {last}) or ({last},)")
    return array


def common_dtype(*arrays):
    """float32 if all of ``arrays`` are, float64 otherwise."""
    return np.dtype(np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64)


def output(name, out, shape, dtype, inputs, in_place=()):
    """``out`` if it can be written to as it is, a new array if it is ``None``.

    ``inputs`` maps names to arguments, converted or not, that ``out`` must not overlap; those
    listed in ``in_place`` may be ``out`` itself.
    """
    if out is None:
        return np.empty(shape, dtype)
    dtype = np.dtype(dtype)
    if type(out) is not np.ndarray:
        raise TypeError(
            f"{name} is of type {type(out).__name__}; it should be an ndarray of dtype {dtype}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}; it should have dtype {dtype}")
    _check_shape(name, out, shape)
    _check_writable(name, out)
    for other, value in inputs.items():
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            continue                        # no memory of its own: said of it when it is converted
        if _overlap(out, array) and not (other in in_place and _same_memory(out, array)):
            raise ValueError(f"{name} overlaps {other}; it should have memory of its own")
    return out


def _overlap(a, b):
    """Whether an element of one lies in the other; their ends tell of most, in half the time."""
    return np.may_share_memory(a, b) and np.may_share_memory(a, b, max_work=_OVERLAP_WORK)


def _same_memory(a, b):
    return (a.ctypes.data == b.ctypes.data and a.dtype == b.dtype
            and a.shape == b.shape and a.strides == b.strides)


def _check_writable(name, array):
    for flag, wanted in (("c_contiguous", "C-contiguous"), ("writeable", "writable"),
                         ("aligned", "aligned")):
        if not getattr(array.flags, flag):
            raise ValueError(f"{name} is not {wanted}; it should be, because it is written to")


# ---- what a batch consists of


def _refuse_row(name, array, bad, wanted):
    """Raise for the first entry of ``array`` that the mask ``bad`` marks."""
    where = tuple(np.argwhere(bad)[0])
    read = f", as {array.dtype}" if np.isinf(array[where]) else ""
    raise ValueError(f"{name} has {array[where]!s} in row {where[0]}{read}; it should be {wanted}")


@quiet
def unit_interval_rows(name, array):
    """Raise for the first entry outside [0, 1] or NaN."""
    bad = ~((array >= 0) & (array <= 1))
    if bad.any():
        _refuse_row(name, array, bad, "in [0, 1]")


def target_array(y, n_samples, n_outputs, dtype, loss="bce"):
    """``y`` as ``(n_samples, n_outputs)``, its range unchecked.

    ``(n_samples,)`` is one output, or a class of each sample under "softmax", which stays so.
    """
    array = real_array("y", y, dtype)
    wanted = (n_samples, n_outputs)
    if array.shape == (n_samples,):
        if loss == "softmax":
            return array
        if n_outputs == 1:
            return array.reshape(wanted)
    if array.shape != wanted:
        flat = n_outputs == 1 or loss == "softmax"
        alternative = f"{shown((n_samples,))} or " if flat else ""
        classes = loss == "bce" and array.shape == (n_samples,)
        hint = ", or be classes under loss='softmax'" * classes
        raise ValueError(
            f"y has shape {array.shape}; it should have shape {alternative}{shown(wanted)}{hint}")
    return array


@quiet
def target_range(y, n_outputs, loss):
    """Raise for the first entry of a ``target_array`` that the loss has no meaning for."""
    if loss == "softmax" and y.ndim == 1:
        bad = ~((y >= 0) & (y < n_outputs) & (y == np.floor(y)))
        if bad.any():
            _refuse_row("y", y, bad, f"a class, an integer in [0, {n_outputs})")
    elif loss == "poisson":
        bad = ~((y >= 0) & (y < np.inf))
        if bad.any():
            _refuse_row("y", y, bad, "finite and at least 0")
    elif loss != "squared_error":
        unit_interval_rows("y", y)
        if loss == "softmax":
            total = y.sum(axis=1, dtype=np.float64)
            bad = ~(abs(total - 1) <= UNIT_SUM_TOLERANCE)
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(f"y has a sum of {total[row]} in row {row}; it should be 1, "
                                 f"within {UNIT_SUM_TOLERANCE:g}, or y a class for each sample")


def targets(y, n_samples, n_outputs, dtype, loss="bce"):
    """Targets of a loss: a ``target_array`` in its range."""
    array = target_array(y, n_samples, n_outputs, dtype, loss)
    target_range(array, n_outputs, loss)
    return array


@quiet
def sample_weight(w, n_samples, reduction, dtype, name="sample_weight"):
    """``None``, or finite weights ``(n_samples,)`` of at least 0 that "mean" can be divided by."""
    if w is None:
        return None
    array = real_array(name, w, dtype, shape=(n_samples,))
    bad = ~((array >= 0) & (array < np.inf))
    if bad.any():
        _refuse_row(name, array, bad, "finite and at least 0")
    total = array.sum(dtype=np.float64)
    if reduction == "mean" and not 0 < total < np.inf:
        raise ValueError(
            f"{name} sums to {total}; under reduction='mean' it should be a positive sum")
    return array


def at_least_one_sample(n_samples, reduction):
    """Refuse the mean over no samples; their sum is zero."""
    if n_samples == 0 and reduction == "mean":
        raise ValueError("X has no samples; under reduction='mean' it should have at least one")


def order(value, n_samples):
    """Indices ``(n_samples,)`` of samples, as intp; one may come twice, or not at all."""
    array = _read("order", value, "biuf", "an array of integers").copy()  # nobody else's to change
    if array.dtype.kind not in "iu" and array.size:  # np.asarray([]) is float64
        raise TypeError(f"order has dtype {array.dtype}; it should be an array of integers")
    _check_shape("order", array, (n_samples,))
    bad = (array < 0) | (array >= n_samples)  # before the cast to intp, which wraps
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"order has {array[i]!s} at position {i}; it should be in [0, {n_samples})")
    return _plain(array, np.intp)


# ---- numbers and names


def choice(name, value, allowed):
    """``value`` if it is one of the strings ``allowed``."""
    if isinstance(value, str) and value in allowed:
        return str(value)
    raise ValueError(
        f"{name} is {reprlib.repr(value)}; it should be one of {', '.join(map(repr, allowed))}")


def real_dtype(value):
    """float32 or float64 in any spelling NumPy takes; but ``None``, its float64, is refused."""
    try:
        dtype = None if value is None else np.dtype(value)
    except MemoryError:
        raise
    except Exception:  # NumPy's parser of dtype strings raises more than TypeError
        dtype = None
    if dtype is None or dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype is {reprlib.repr(value)}; it should be 'float32' or 'float64'")
    return dtype


def _integer(value):
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


def _as_numbers(value):
    """`as_number` of a number, or of each in a list or tuple: NumPy knows no fractions."""
    return [*map(as_number, value)] if isinstance(value, (list, tuple)) else as_number(value)


def count(name, value, minimum=1):
    """An integer of at least ``minimum``."""
    number = _integer(value)
    if number is None or number < minimum:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        raise (ValueError if is_number else TypeError)(
            f"{name} is {reprlib.repr(value)}; it should be an integer of at least {minimum}")
    return number


def n_threads(value):
    """A number of threads, or ``None`` to have it chosen."""
    return None if value is None else count("n_threads", value)


def layer_sizes(value, name="layer_sizes", given=None):
    """Two or more integers of at least 1 whose parameters can be addressed, as a tuple.

    ``given`` is what the caller has by that ``name``, if it is not ``value``.
    """
    shown_value = reprlib.repr(value if given is None else given)
    sizes, n_bytes = [], 0
    try:
        len(value)  # what has no length may have no end
        for size in map(_integer, value):
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


def _float(name, value, wanted, fits):
    """``value`` as a float for which ``fits`` is true; ``wanted`` says when that is."""
    number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"{name} is {reprlib.repr(value)}; it should be a number {wanted}")
    try:
        number = float(number)
    except OverflowError:
        number = math.inf
    if not fits(number):
        raise ValueError(f"{name} is {reprlib.repr(value)}; it should be a number {wanted}")
    return number


def positive(name, value):
    """A finite float above 0."""
    return _float(name, value, "above 0, and finite", lambda x: 0 < x < math.inf)


def non_negative(name, value):
    """A finite float of at least 0."""
    return _float(name, value, "of at least 0, and finite", lambda x: 0 <= x < math.inf)


def fraction(name, value):
    """A float in [0, 1)."""
    return _float(name, value, "in [0, 1)", lambda x: 0 <= x < 1)


def betas(value):
    """Adam's two decay rates, each a ``fraction``."""
    pair = sequence("betas", value)
    if len(pair) != 2:
        raise ValueError(f"betas has {len(pair)} entries; it should have two, each in [0, 1)")
    return fraction("betas[0]", pair[0]), fraction("betas[1]", pair[1])


def nesterov(value, momentum):
    """A boolean; looking a momentum step ahead needs a momentum."""
    if boolean("nesterov", value) and momentum == 0:
        raise ValueError("nesterov is True and momentum is 0; momentum should be above 0")
    return bool(value)


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
    """A list of str; a str, which is a sequence of them, is none."""
    found = None if isinstance(value, str) else sequence(name, value)
    if found is None or not all(isinstance(each, str) for each in found):
        raise TypeError(f"{name} is {reprlib.repr(value)}; it should be a sequence of str")
    return found


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


def labels(name, value, n):
    """No names, or ``n`` different ones, as a tuple; any number of them if ``n`` is ``None``."""
    names = tuple(strings(name, value))
    if names and n is not None and len(names) != n:
        raise ValueError(f"{name} has {len(names)} names; it should have {n}, or none")
    if len(set(names)) != len(names):
        twice = next(each for i, each in enumerate(names) if each in names[:i])
        raise ValueError(f"{name} has {twice!r} twice; its names should differ")
    return names


# ---- losses


class LossOptions(NamedTuple):
    """A loss by name, and what modifies it."""

    name: str = "bce"
    pos_weight: tuple | None = None  # one for each output
    class_weight: tuple | None = None  # one for each class
    label_smoothing: float = 0.0

    def smoothing(self, n_outputs):
        """(a, b) of the target t = a y + b."""
        if self.label_smoothing == 0:
            return 1.0, 0.0
        n_classes = 2 if self.name == "bce" else n_outputs
        return 1 - self.label_smoothing, self.label_smoothing / n_classes


def loss_options(loss, n_outputs, pos_weight=None, class_weight=None, label_smoothing=0.0):
    """The options of a loss, each refused where it has no meaning."""
    name = choice("loss", loss, LOSSES)
    if name == "softmax" and n_outputs < 2:
        raise ValueError(f"there is {n_outputs} output; under loss='softmax' there should be at "
                         "least 2")
    smoothing = fraction("label_smoothing", label_smoothing)
    if smoothing and name not in ("bce", "softmax"):
        raise ValueError(
            f"label_smoothing is {label_smoothing!r}; under loss={name!r} it should be 0")
    return LossOptions(name, _pos_weight(pos_weight, n_outputs, name),
                       _class_weight(class_weight, n_outputs, name), smoothing)


def _pos_weight(value, n_outputs, loss):
    if value is None:
        return None
    if loss != "bce":
        raise ValueError(
            f"pos_weight is {reprlib.repr(value)}; under loss={loss!r} it should be None")
    array = real_array("pos_weight", _as_numbers(value), np.float64)
    if array.ndim == 0:
        return (positive("pos_weight", array.item()),) * n_outputs
    _check_shape("pos_weight", array, (n_outputs,))
    return tuple(positive(f"pos_weight[{j}]", p) for j, p in enumerate(array.tolist()))


@quiet
def positive_array(name, value, dtype):
    """Numbers that were positive and finite, and are in ``dtype``."""
    array = np.array(value, dtype)
    bad = ~((array > 0) & (array < np.inf))
    if bad.any():
        raise ValueError(f"{name} has {value[int(np.argmax(bad))]}, which is {array[bad][0]} in "
                         f"{np.dtype(dtype)}; it should be above 0 and finite there")
    return array


def _class_weight(value, n_outputs, loss):
    if value is None:
        return None
    n_classes = {"softmax": n_outputs, "bce": 2 if n_outputs == 1 else 0}.get(loss, 0)
    if not n_classes:
        raise ValueError(f"class_weight is {reprlib.repr(value)}; under loss={loss!r} with "
                         f"{n_outputs} outputs it should be None")
    if isinstance(value, Mapping):  # a class that is not named counts 1
        unknown = [key for key in value if _integer(key) not in range(n_classes)]
        if unknown:
            raise ValueError(f"class_weight has the key {unknown[0]!r}; "
                             f"its keys should be integers in [0, {n_classes})")
        value = [value.get(c, 1.0) for c in range(n_classes)]
    if isinstance(value, str):
        raise ValueError(f"class_weight is {value!r}; it should be a dict or {n_classes} numbers, "
                         "one for each class")
    array = real_array("class_weight", _as_numbers(value), np.float64, shape=(n_classes,))
    return tuple(non_negative(f"class_weight[{c}]", w) for c, w in enumerate(array.tolist()))


def logits_and_targets(z, y, w, loss):
    """The arguments of a loss of logits, in their common dtype; y's range unchecked."""
    z = real_array("z", z)
    if z.ndim != 2 and (z.ndim != 1 or loss == "softmax"):
        flat = "" if loss == "softmax" else "(n_samples,) or "
        raise ValueError(
            f"z has shape {z.shape}; it should have shape {flat}(n_samples, n_outputs)")
    y = real_array("y", y)
    classes = loss == "softmax" and y.ndim == 1
    _check_shape("y", y, z.shape[:1] if classes else z.shape)
    arrays = [z] if classes else [z, y]
    w = sample_weight(w, z.shape[0], "sum", None)
    arrays += [] if w is None else [w]
    dtype = common_dtype(*arrays)
    z, y = as_dtype([z, y], dtype)
    return z, y, None if w is None else converted(w, dtype)


@quiet
def class_weights(class_weight, y, loss, dtype, sample_weight=None):
    """What each sample counts by its class, (n_samples,): sum over classes of weight times share.

    ``y`` is one of ``targets``. Added up class after class, so that no BLAS decides the bits. Times
    the sample's own weight, if it has one.
    """
    w = np.array(class_weight, dtype)
    if loss == "softmax" and y.ndim == 1:
        of_class = w[y.astype(np.intp)]
    elif loss == "bce":
        t = y.reshape(-1)
        of_class = w[0] * (1 - t) + w[1] * t
    else:
        of_class = np.add.reduce(np.multiply(y.T, w[:, None]), axis=0)
    return of_class if sample_weight is None else of_class * sample_weight


# ---- networks and optimizers


def sequence(name, value):
    """``value`` as a list; a generator, whose length nobody knows, is refused."""
    try:
        len(value)
        return list(value)
    except (TypeError, NotImplementedError):  # the latter from a memoryview of two axes
        raise TypeError(
            f"{name} is of type {type(value).__name__}; it should be a sequence") from None


def layer_arrays(weights, biases):
    """Weights ``(fan_in, fan_out)`` that chain, biases ``(fan_out,)``, both in one dtype; sizes."""
    weights, biases = sequence("weights", weights), sequence("biases", biases)
    if not weights or len(biases) != len(weights):
        raise ValueError(f"weights has {len(weights)} arrays and biases has {len(biases)}; "
                         "there should be as many of one as of the other, at least one")
    weights = [real_array(f"weights[{i}]", W) for i, W in enumerate(weights)]
    biases = [real_array(f"biases[{i}]", b) for i, b in enumerate(biases)]
    sizes = ["fan_in"]
    try:
        for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
            _check_shape(f"weights[{i}]", W, (sizes[-1], "fan_out"))
            if 0 in W.shape:
                raise ValueError(f"weights[{i}] has shape {W.shape}; "
                                 "its fan_in and fan_out should be at least 1")
            sizes[-1:] = W.shape
            if b.shape != (sizes[-1],) and b.shape == W.shape[:1]:
                raise ValueError(f"biases[{i}] has shape {b.shape}; it should have shape "
                                 f"{shown(sizes[-1:])}, or weights[{i}], {W.shape}, be "
                                 "transposed: it is (fan_in, fan_out)")
            _check_shape(f"biases[{i}]", b, (sizes[-1],))
    except ValueError:
        columns = [b.size for b in biases]
        rows = [weights[0].shape[-1] if weights[0].ndim else 0, *columns]
        refuse_transposed("weights", weights, list(zip(rows, columns, strict=False)), "io")
        raise
    dtype = common_dtype(*weights, *biases)
    return as_dtype(weights, dtype), as_dtype(biases, dtype), tuple(sizes)


def refuse_transposed(name, arrays, shapes, layout):
    """Raise if ``arrays`` do not have the ``shapes`` that weights have in ``layout``, but in the
    other one."""
    found = [np.shape(array) for array in arrays]
    if found != shapes and found == [shape[::-1] for shape in shapes]:
        own, other = ("(fan_in, fan_out)", "(fan_out, fan_in)")[::1 if layout == "io" else -1]
        raise ValueError(
            f"{name} look transposed: their shapes are {reprlib.repr(found)}, {other}; they should "
            f"be {own}, or be given to Layers(layout={'oi' if layout == 'io' else 'io'!r})")


def as_dtype(arrays, dtype):
    """Every array of a list in ``dtype``, itself if it is."""
    return [converted(array, dtype) for array in arrays]


def optimizer_arrays(params, grad):
    """The flat arrays of ``opt.step``: of one float dtype and one length, ``params`` writable."""
    for name, array in (("params", params), ("grad", grad)):
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"{name} is of type {type(array).__name__}; it should be an ndarray")
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name} has dtype {array.dtype}; it should have float32 or float64")
    if grad.dtype != params.dtype:
        raise TypeError(
            f"grad has dtype {grad.dtype}; it should have that of params, {params.dtype}")
    _check_shape("params", params, ("n_params",))
    _check_shape("grad", grad, params.shape)
    _check_writable("params", params)
    if not (grad.flags.c_contiguous and grad.flags.aligned):
        raise ValueError("grad is not C-contiguous and aligned; it should be")
    if not _same_memory(params, grad) and np.may_share_memory(params, grad):
        raise ValueError("grad overlaps params; it should have memory of its own")
    return np.asarray(params), np.asarray(grad)


def state_vector(name, vector, squares):
    """Refuse what no step with finite numbers leaves in a state; a mean of squares may overflow."""
    wanted = "at least 0" if squares else "finite"
    bad = ~(vector >= 0 if squares else np.isfinite(vector))
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(f"{name} has {vector[i]} at position {i}; it should be {wanted}")


def beta_powers(powers, betas, t):
    """Refuse powers that are not beta^t, which t roundings and subnormal numbers lead away from."""
    for power, beta in zip(powers, betas, strict=True):
        if abs(power - beta**t) > t * 2.0**-52 * beta**t + 2.0**-1022:
            raise ValueError(f"beta_powers is {tuple(powers)}; after t = {t} steps with betas "
                             f"{tuple(betas)} it should be {tuple(b**t for b in betas)}")


def optimizer_state(n_params, dtype_of_params, size, dtype):
    """Refuse parameters that are not those an optimizer's state was created for."""
    if (n_params, dtype_of_params) != (size, dtype):
        raise ValueError(f"params has {n_params} entries of {dtype_of_params}; "
                         f"it should have {size} of {np.dtype(dtype)}, as at the first step: "
                         "an optimizer belongs to one network")
