"""Arrays: what NumPy can read as real numbers, in the form that the kernels take it."""

import numpy as np

from .calls import quiet
from .numbers import counted

_OVERLAP_WORK = 1000  # candidate solutions after which two arrays count as overlapping
_NEVER_TABLES = (np.ndarray, list, tuple, float, int)  # most arguments


@quiet
def _readable(name, value, wanted):
    """`tables.readable`, imported when the first value comes that may be a table."""
    from .tables import readable
    return readable(name, value, wanted)


@quiet
def _widened(array):
    from .tables import widened
    return widened(array)


def read_array(name, value, kinds, wanted):
    """``value`` as an array whose dtype kind is one of ``kinds``, in whatever layout it has."""
    if type(value) not in _NEVER_TABLES:
        if isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
            raise TypeError(  # asked in this order because np.ma imports numpy.ma
                f"{name} is a masked array of dtype {value.dtype}; it should be {wanted}")
        value = _readable(name, value, wanted)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        ragged = "inhomogeneous" in str(error)
        reason = "its entries have different lengths" if ragged else error
        raise kind(f"{name} cannot be read as {wanted}: {reason}") from error
    if array.dtype.kind not in kinds:
        array = _widened(array)
    if array.dtype.kind not in kinds:
        opaque = array.dtype == object and array.ndim == 0  # None, a sparse matrix
        has = f"is of type {type(value).__name__}," if opaque else "has"
        raise TypeError(f"{name} {has} dtype {array.dtype}; it should be {wanted}")
    return array


def converted(array, dtype, order="K"):
    """``array`` in ``dtype``; itself if it has that dtype."""
    return array if array.dtype == dtype else _cast(array, dtype, order)


@quiet
def _cast(array, dtype, order):
    return array.astype(dtype, order)


@quiet
def copies(arrays, dtype):
    """A copy of each array of a list: C-contiguous, aligned, of the native ``dtype``."""
    return [array.astype(dtype, "C") for array in arrays]


def plain(array, dtype):
    """``array`` C-contiguous, aligned, of the native ``dtype``; copied only if it is not."""
    array = np.asarray(converted(array, dtype, "C"), order="C")
    return array if array.flags.aligned else array.copy()


def shown(shape):
    """A shape with named axes, as messages write it: ``(n_samples, 30)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def require_shape(name, array, shape, or_else=""):
    if array.shape == shape:
        return
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or have == want
        for have, want in zip(array.shape, shape, strict=True))
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}; it should have shape "
                         f"{shown(shape)}{or_else}")


def real_array(name, value, dtype=None, ndim=None, shape=None, or_else=""):
    """A real array as the kernels take it: plain, C-contiguous, aligned, native.

    ``dtype=None`` keeps float32 and makes everything else float64. An entry of ``shape`` is an int,
    or a name that any length satisfies; ``or_else`` follows in the message of another shape. Copies
    only if it must convert.
    """
    array = read_array(name, value, "biuf", "an array of real numbers")
    if dtype is None:
        float32 = array.dtype.kind == "f" and array.dtype.itemsize == 4  # in either byte order
        dtype = np.float32 if float32 else np.float64
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}; it should have "
                         f"{counted(ndim, 'dimension')}")
    if shape is not None:
        require_shape(name, array, shape, or_else)
    return plain(array, dtype)


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


def as_dtype(arrays, dtype):
    """Every array of a list in ``dtype``, as by `converted`."""
    return [converted(array, dtype) for array in arrays]


def output(name, out, shape, dtype, inputs, in_place=(), required=False, or_else=""):
    """``out`` if it can be written to as it is, a new array if it is ``None`` and not required.

    ``inputs`` maps names to arguments, converted or not, that ``out`` must not overlap; those
    listed in ``in_place`` may be ``out`` itself. ``or_else`` follows in the message of float32 in
    place of float64, or the other way round; its {} is the dtype there is.
    """
    if out is None:
        if required:
            raise TypeError(f"{name} is None; it should be an ndarray to write to")
        return np.empty(shape, dtype)
    dtype = np.dtype(dtype)
    if type(out) is not np.ndarray:
        raise TypeError(
            f"{name} is of type {type(out).__name__}; it should be an ndarray of dtype {dtype}")
    if out.dtype != dtype:
        hint = or_else.format(out.dtype) if out.dtype in (np.float32, np.float64) else ""
        raise TypeError(f"{name} has dtype {out.dtype}; it should have dtype {dtype}{hint}")
    require_shape(name, out, shape)
    require_writable(name, out)
    for other, array in in_memory(inputs):
        if overlap(out, array) and not (other in in_place and same_memory(out, array)):
            refuse_overlap(name, other)
    return out


def in_memory(inputs):
    """The names and arrays of those arguments that are arrays in memory."""
    for name, value in inputs.items():
        try:
            yield name, np.asarray(value)
        except (TypeError, ValueError):
            continue            # its own conversion reports the error


def refuse_overlap(name, other):
    raise ValueError(f"{name} overlaps {other}; it should have memory of its own")


def overlap(a, b):
    """Whether the arrays share an element; most pairs are decided by their first and last bytes."""
    return np.may_share_memory(a, b) and np.may_share_memory(a, b, max_work=_OVERLAP_WORK)


def same_memory(a, b):
    return (a.ctypes.data == b.ctypes.data and a.dtype == b.dtype
            and a.shape == b.shape and a.strides == b.strides)


def require_writable(name, array):
    for flag, wanted in (("c_contiguous", "C-contiguous"), ("writeable", "writable"),
                         ("aligned", "aligned")):
        if not getattr(array.flags, flag):
            raise ValueError(f"{name} is not {wanted}; it should be, because it is written to")


def refuse_row(name, array, bad, wanted):
    """Raise for the first entry of ``array`` that the mask ``bad`` marks."""
    where = tuple(np.argwhere(bad)[0])
    read = f", as {array.dtype}" if np.isinf(array[where]) else ""
    raise ValueError(f"{name} has {array[where]!s} in row {where[0]}{read}; it should be {wanted}")


def refuse_norm(sample, norm, dtype):
    """Raise for the norm of a sample's gradient that is infinite or NaN."""
    raise ValueError(f"the gradient of sample {sample} has the norm {norm!s}, as {dtype}; "
                     "it should be finite to be clipped: check X, y, sample_weight and net.params")


@quiet
def positive_array(name, value, dtype):
    """Positive, finite numbers in ``dtype``; refuses one that overflows or becomes 0 there."""
    array = np.array(value, dtype)
    bad = ~((array > 0) & (array < np.inf))
    if bad.any():
        raise ValueError(f"{name} has {value[int(np.argmax(bad))]}, which is {array[bad][0]} in "
                         f"{np.dtype(dtype)}; it should be above 0 and finite there")
    return array
