"""What Hypothesis hands to fastbp: arrays in every disguise, and what is wrong with some of them.

A strategy first draws the numbers, as a plain array, and then how they are handed over. So it knows
without asking fastbp what a call should compute (`Argument.plain`) and what it may refuse
(`Argument.faults`). `judged` holds a call to that. No test is here.
"""

import tempfile
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import NamedTuple

import numpy as np
import polars
from hypothesis import strategies as st

GUARD = 64  # bytes on either side of an array that is written to
REAL = ["f4", "f8", "f4", "f8", "f4", "f8", "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8",
        "f2", "g"]
NOT_REAL = ["F", "D", "G", "O", "U3", "S3", "M8[s]", "m8[s]", "V4", [("a", "f4")],
            np.dtypes.StringDType()]
PALETTES = {  # of float64; what an integer cannot hold is 0 in it
    "tame": np.arange(-8, 9) / 4,
    "unit": np.array([0, 0.25, 0.5, 1, 1, 0]),
    "count": np.array([0, 1, 2, 0.5, 7]),
    "wild": np.array([0.0, -0.0, 1, -1, 0.5, np.nan, np.inf, -np.inf, 5e-324, -1e-45, 1e-38, 1e-20,
                      17.4, -88.8, 89, 104, -745.2, 710, 1e19, -3e38, 4e38, 1e160, -1.7e308]),
}
JUNK = [None, "a", b"x", {}, {1.0}, object(), 2**70, [2**70, 0.5], [Decimal(1)], [Fraction(1, 2)],
        Ellipsis, int, (x for x in ()), np.ma.masked, np.ma.zeros(2), [None], [[1, 2], ["a", 1]]]
RAGGED = [[1, [2]], [[1, 2], [3]]]
SIZES = st.integers(0, 4) | st.sampled_from([7, 16, 17, 33])
WIDTHS = st.integers(1, 4) | st.sampled_from([7, 16, 17, 33])


class Fault(NamedTuple):
    """A reason to refuse a call: the exception, and what its message names."""

    kind: type
    name: str


class Argument(NamedTuple):
    """What is passed; the same numbers as a plain array if it holds some; what is wrong."""

    value: object
    plain: np.ndarray | None
    faults: tuple = ()


def numbers(dtype, shape, palette, seed):
    """An array of numbers from a palette, or of what ``palette(generator, shape)`` gives."""
    rng = np.random.default_rng(seed)
    values = palette(rng, shape) if callable(palette) else rng.choice(PALETTES[palette], shape)
    values = np.asarray(values, "f8")
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = np.where((values > info.min) & (values < info.max), values, 0)
    with np.errstate(all="ignore"):
        return values.astype(dtype)


# ---- disguises: each takes a plain array, and gives what numpy.asarray reads as the same numbers


class Sealed(np.ndarray):
    """A subclass with which nothing can be done but read its memory."""

    def __array_ufunc__(self, *args, **kwargs):
        raise AssertionError("a ufunc was called")

    def __array_function__(self, *args, **kwargs):
        raise AssertionError("a function was called")

    def __getitem__(self, key):
        raise AssertionError("an element was read")

    def __repr__(self):
        return f"Sealed({np.asarray(self)!r})"


class Becomes:
    """What is no array, and becomes one."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


def strided(a):
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def reversed_(a):
    return np.copy(np.flip(a))[(slice(None, None, -1),) * a.ndim]


def misaligned(a):
    memory = np.zeros(a.nbytes + 1, "u1")[1:]
    memory[:] = np.frombuffer(a.tobytes(), "u1")
    return memory.view(a.dtype).reshape(a.shape) if a.size else a


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def subclass(a):
    return a.view(Sealed)


def matrix(a):
    return a.view(np.matrix) if a.ndim == 2 else a


def mapped(a):
    if not a.size:
        return a
    with tempfile.TemporaryFile() as file:
        array = np.memmap(file, a.dtype, "w+", shape=a.shape)
    array[...] = a
    return array


def part(a):
    """A view into a larger array, contiguous when only the first axis is longer."""
    wide = np.zeros(tuple(n + 2 for n in a.shape), a.dtype)
    view = wide[(..., *(slice(1, -1),) * a.ndim)]
    view[...] = a
    return view


def nested(a):
    """Lists; but those of no entries have lost the shape, and those of no numbers the dtype."""
    return a.tolist() if a.size else a


def column_major(a):
    return np.copy(a, order="F")


def table(a):
    """Columns of polars, which tells NaN from missing, and whose numbers have at most 8 bytes."""
    if not a.size or not 1 <= a.ndim <= 2 or a.dtype.kind not in "biuf" or a.itemsize > 8:
        return a
    native = a.astype(a.dtype.newbyteorder("="))
    return polars.Series(native) if a.ndim == 1 else polars.DataFrame(native)


LAYOUTS = [np.copy, column_major, strided, reversed_, misaligned, read_only, subclass, matrix,
           mapped, part, nested, Becomes, lambda a: a.astype(a.dtype.newbyteorder()),
           lambda a: np.broadcast_to(a, a.shape), memoryview, table]


def constant(a):
    """Every row the first, with stride 0."""
    return np.broadcast_to(a[:1], a.shape)


def in_disguise(draw, plain):
    """The array in a layout of its own, and a plain copy of what it says."""
    if plain.ndim and plain.shape[0] and draw(st.integers(0, 15)) == 0:
        value = constant(plain)
        return value, value.copy()
    value = draw(st.sampled_from([*[lambda a: a] * 5, *LAYOUTS]))(plain.copy())
    if isinstance(value, (list, int, float, bool)):     # of Python's numbers
        plain = np.array(value)
    return value, plain


# ---- arguments


def fits(shape, wanted):
    return len(shape) == len(wanted) and all(
        isinstance(want, str) or have == want for have, want in zip(shape, wanted, strict=True))


@st.composite
def arrays(draw, name, shapes, palette="tame", dtypes=REAL):
    """Mostly real numbers of one of ``shapes``; else another shape, or no real numbers.

    In a shape, a name stands for any length; without any shapes, all of them fit.
    """
    shape = draw(st.sampled_from(shapes)) if shapes else draw(st.lists(SIZES, max_size=3))
    shape = tuple(draw(SIZES) if isinstance(size, str) else size for size in shape)
    fate = draw(st.integers(0, 39))
    if fate == 0:
        return Argument(draw(st.sampled_from(JUNK)), None, (Fault(TypeError, name),))
    if fate == 1:
        return Argument(draw(st.sampled_from(RAGGED)), None, (Fault(ValueError, name),))
    if fate == 2:
        kind = draw(st.sampled_from(NOT_REAL))
        value = np.ma.zeros(shape) if draw(st.booleans()) else np.zeros(shape, kind)
        return Argument(value, None, (Fault(TypeError, name),))
    faults = ()
    if fate == 3 and shapes:
        shape = draw(st.lists(st.integers(0, 4), max_size=4).map(tuple)
                     .filter(lambda other: not any(fits(other, known) for known in shapes)))
        faults = (Fault(ValueError, name),)
    palette = "wild" if draw(st.integers(0, 7)) == 0 or faults else palette
    plain = numbers(draw(st.sampled_from(dtypes)), shape, palette, draw(st.integers(0, 2**20)))
    return Argument(*in_disguise(draw, plain), faults)


@st.composite
def scalars(draw, name, good, fits):
    """One of the numbers ``good``; else one for which ``fits`` is false, or no number at all."""
    value = draw(st.sampled_from(list(good) * 3) | st.sampled_from(
        [0, -1, 1, 0.25, -0.0, 1.5, np.nan, np.inf, 5e-324, np.float32(0.5), Fraction(1, 2),
         np.array(0.5), np.float16(2), 10**400, -10**400, np.longdouble(1), True, np.False_, "1",
         b"1", None, 1j, [0.5], np.array([0.5]), Decimal(1), object()]))
    number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, bool) or not isinstance(number, Real):
        return Argument(value, None, (Fault(TypeError, name),))
    try:
        number = float(number)
    except OverflowError:
        number = np.inf
    return Argument(value, None, () if fits(number) else (Fault(ValueError, name),))


def choices(name, allowed):
    """One of the strings ``allowed``, or something else."""
    wrong = st.sampled_from(["", "Sum", "gelu", None, 1, b"sum", ("sum",), np.zeros(2), object()])
    return (st.sampled_from([str(s) for s in allowed] * 8).map(lambda s: Argument(s, None))
            | wrong.map(lambda s: Argument(s, None, (Fault(ValueError, name),))))


def activations(allowed, n_hidden):
    """One of the names ``allowed``, or one for each hidden layer; or something else."""
    names = [str(name) for name in allowed]
    each = st.lists(st.sampled_from(names), min_size=n_hidden, max_size=n_hidden)
    wrong = st.lists(st.sampled_from(names), max_size=n_hidden + 2).filter(
        lambda found: len(found) != n_hidden) | each.map(lambda found: [*found[1:], "gelu"])
    as_sequence = st.sampled_from([list, tuple, np.array])
    return choices("activation", allowed) | st.builds(
        lambda found, make: Argument(make(found), None), each, as_sequence) | wrong.map(
        lambda found: Argument(found, None, (Fault(ValueError, "activation"),)))


# ---- arrays to write to


class Output(NamedTuple):
    """An array to write to, the bytes it lies in, and what is wrong with it."""

    value: object
    memory: np.ndarray
    faults: tuple

    def place(self):
        """Where in the memory the array is; everything else is a guard, which nobody may write."""
        start = self.value.ctypes.data - self.memory.ctypes.data
        return slice(start, start + self.value.nbytes)


@st.composite
def outputs(draw, name, shape, dtype):
    """Mostly an array of ``shape`` and ``dtype`` to write to, between guards."""
    flaw = draw(st.sampled_from([None] * 16 + [
        "dtype", "order", "type", "subclass", "shape", "strided", "fortran", "locked", "shifted"]))
    kind, dtype = None, np.dtype(dtype)
    if flaw == "dtype":
        dtype, kind = np.dtype(draw(st.sampled_from(["f4", "f8", "f2", "i4", "D", "O"]).filter(
            lambda other: np.dtype(other) != dtype))), TypeError
    elif flaw == "order":
        dtype, kind = dtype.newbyteorder(), TypeError
    elif flaw == "shape":
        shape, kind = draw(st.lists(st.integers(0, 4), max_size=3).map(tuple).filter(
            lambda other: other != shape)), ValueError
    if dtype.hasobject:
        memory = value = np.full(shape, None)
        return Output(value, memory, (Fault(kind, name),))
    step = 2 if flaw == "strided" and shape else 1
    wide = (*shape[:-1], step * shape[-1]) if shape else shape
    n_bytes = int(np.prod(wide, dtype=int)) * dtype.itemsize
    offset = GUARD + draw(st.sampled_from([0, 0, 16, 24, 40])) + (flaw == "shifted")
    memory = np.random.default_rng(n_bytes).integers(0, 100, 2 * GUARD + n_bytes + 48, "u1")
    value = memory[offset:offset + n_bytes].view(dtype).reshape(
        wide, order="F" if flaw == "fortran" else "C")
    value = value[..., ::step] if shape else value
    value.flags.writeable = flaw != "locked"
    flags = value.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable) and kind is None:
        kind = ValueError
    if flaw in ("type", "subclass"):
        kind = TypeError
        others = [np.ndarray.tolist, memoryview, np.ma.asarray, lambda a: 3, lambda a: "out"]
        value = value.view(Sealed) if flaw == "subclass" else draw(st.sampled_from(others))(value)
    return Output(value, memory, () if kind is None else (Fault(kind, name),))


# ---- what a call should do


def judged(call, faults):
    """What ``call()`` returns, or the error it raises: for one of ``faults``, if there are any."""
    try:
        with np.errstate(all="ignore"):
            result = call()
    except (TypeError, ValueError) as error:
        said = str(error)
        assert any(type(error) is fault.kind and fault.name in said for fault in faults), (
            f"{error!r}, expected of {faults}")
        return error
    assert not faults, f"accepted in spite of {faults}"
    return result


def memory_of(*values):
    """The bytes of all memory that arrays lie in, and other values as they print."""
    found = []
    for value in values:
        value = value.array if isinstance(value, Becomes) else value
        while isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray):
            value = value.base
        if isinstance(value, np.ndarray):
            found.append(np.ndarray.tobytes(value))
        else:
            found.append(memory_of(*value) if isinstance(value, (list, tuple)) else repr(value))
    return found


def same(a, b):
    """The same types, shapes and bits; a NaN has no bits of its own."""
    if isinstance(a, (tuple, list)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
        return
    assert type(a) is type(b), (type(a), type(b))
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape), (a.dtype, a.shape, b.dtype, b.shape)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


def of_networks(value):
    """Whether the optimizer takes it for numbers of a population's networks."""
    return isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim == 1


def one_number(name, good, fits):
    """`scalars` of an optimizer of one network."""
    return scalars(name, good, fits).filter(lambda argument: not of_networks(argument.value))
