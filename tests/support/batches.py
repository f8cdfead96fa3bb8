"""What a loss takes, drawn by Hypothesis: targets, weights of samples, options, a reduction.

The ranges that api.md gives are tested here on the numbers in the dtype of the computation, with a
line of NumPy for each. No test is here; see strategies.py for arrays.
"""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from strategies import Argument, Fault, arrays, choices, scalars

from fastbp import _arguments
from fastbp._arguments.descriptors import COUNTS, REAL

LOSSES, ACTIVATIONS = tuple(_arguments.LOSSES), tuple(_arguments.ACTIVATIONS)
OPTIONS = ("pos_weight", "class_weight")
ABSENT = Argument(None, None)


def cast(argument, dtype):
    """The plain numbers in a dtype; None if the argument has no plain numbers."""
    if argument.plain is None:
        return None
    with np.errstate(all="ignore"):
        return np.array(argument.plain, dtype, order="C")


def each(argument):
    """The arrays of a sequence of them, or the argument alone."""
    return argument if isinstance(argument, list) else [argument]


class Call(NamedTuple):
    """Arguments by name, one or a list of them; arrays are computed with in one dtype."""

    arguments: dict
    dtype: np.dtype

    @property
    def passed(self):
        return {name: [x.value for x in a] if isinstance(a, list) else a.value
                for name, a in self.arguments.items()}

    @property
    def plain(self):
        """The arguments as they need no conversion."""
        def of(a):
            return a.value if a.plain is None else cast(a, self.dtype)
        return {name: [of(x) for x in a] if isinstance(a, list) else of(a)
                for name, a in self.arguments.items()}

    @property
    def faults(self):
        return [fault for a in self.arguments.values() for x in each(a) for fault in x.faults]


def common_dtype(*arguments):
    """float32 if all that are arrays are float32, in either byte order."""
    found = [a.plain.dtype for a in arguments if a.plain is not None]
    return np.dtype("f4" if all(d.kind == "f" and d.itemsize == 4 for d in found) else "f8")


# ---- ranges


def target_faults(y, loss, n_outputs):
    """The faults of targets whose shape fits."""
    with np.errstate(all="ignore"):
        described = _arguments.LOSSES[loss]
        if described.is_distribution and y.ndim == 1:
            good = np.isin(y, np.arange(n_outputs)).all()
        elif described.is_distribution:
            sums = y.sum(axis=1, dtype="f8")
            good = ((y >= 0) & (y <= 1)).all() and (abs(sums - 1) <= 1e-5).all()
        elif described.labels:
            good = ((y >= 0) & (y <= 1)).all()
        else:
            good = described.targets is REAL or (np.isfinite(y) & (y >= 0)).all()
    return () if good else (Fault(ValueError, "y has"),)


def weight_faults(w, mean):
    """The faults of weights (n,)."""
    good = (np.isfinite(w) & (w >= 0)).all()
    if mean and good:
        good = 0 < w.sum(dtype="f8") < np.inf
    return () if good else (Fault(ValueError, "sample_weight"),)


def class_counts(class_weight, y, loss):
    """What each sample counts by its class."""
    with np.errstate(all="ignore"):
        described = _arguments.LOSSES[loss]
        if described.is_distribution and y.ndim == 1:
            return class_weight[y.astype(int)]
        y = np.column_stack([1 - y.ravel(), y.ravel()]) if described.labels else y
        return (y * class_weight).sum(axis=1)


# ---- what is drawn


@st.composite
def targets(draw, loss, n, n_outputs, flat=None):
    """``flat``: whether (n,) will do; by default for one output, and for classes."""
    described, shapes = _arguments.LOSSES[loss], [(n, n_outputs)]
    if (n_outputs == 1 or described.is_distribution) if flat is None else flat:
        shapes.append((n,))

    def palette(rng, shape):
        if not described.is_distribution:
            low, high = (0, 4) if described.labels else (0, 20) if (
                described.targets is COUNTS) else (-9, 9)
            return rng.integers(low, high + 1, shape) / 4
        classes = rng.integers(0, max(n_outputs, 1), n)
        return classes if len(shape) == 1 else np.equal.outer(classes, np.arange(n_outputs))

    return draw(arrays("y", shapes, palette))


def weights(n):
    return st.just(ABSENT) | arrays("sample_weight", [(n,)], "count").map(
        lambda w: w if w.value is not None else ABSENT)


def pos_weights(n_outputs):
    """A number is one for each output; how it rounds is nobody's concern where there is none."""
    def some(rng, shape):
        return rng.integers(1, 9, shape) / 4

    given = arrays("pos_weight", [(n_outputs,), ()], some).map(
        lambda p: p if p.value is not None else ABSENT)
    return st.just(ABSENT) | given if n_outputs else st.just(ABSENT)


def class_weights(n_classes):
    def read(argument):
        if isinstance(argument.value, str):     # such as "balanced": the wrong one
            return Argument(argument.value, None, (Fault(ValueError, "class_weight"),))
        named = argument.value is None or isinstance(argument.value, dict)  # {} names no class
        return Argument(argument.value, None) if named else argument

    given = arrays("class_weight", [(n_classes,)], "count").map(read)
    by_class = st.dictionaries(st.integers(0, n_classes - 1), st.sampled_from([0, 0.5, 1, 3]))
    wrong = st.sampled_from([{n_classes: 1}, {-1: 1}, {0: -1}, {0: np.nan}, {"0": 1}, {True: 1},
                             {0.0: 1}, "balanced"])
    return (st.just(ABSENT) | given
            | by_class.map(lambda d: Argument(d, None))
            | wrong.map(lambda d: Argument(d, None, (Fault(ValueError, "class_weight"),))))


@st.composite
def good_options(draw, loss, n_outputs):
    """As keywords of a constructor."""
    found = {}
    described = _arguments.LOSSES[loss]
    if "label_smoothing" in described.options:
        found["label_smoothing"] = draw(st.sampled_from([0.0, 0.0, 0.25, 0.5]))
    if "pos_weight" in described.options:
        found["pos_weight"] = draw(st.sampled_from([None, None, 0.5, [2.0] * n_outputs]))
    if "class_weight" in described.options and described.n_classes(n_outputs):
        found["class_weight"] = draw(st.sampled_from([None, None, {1: 0.5}, {0: 0}]))
    return found


def smoothings():
    return st.just(Argument(0.0, None)) | scalars(
        "label_smoothing", [0.25, 0.5, 0], lambda x: 0 <= x < 1)


@st.composite
def options(draw, loss, n_outputs):
    """Those that the loss has; they are read in float64."""
    found = {}
    described = _arguments.LOSSES[loss]
    if "pos_weight" in described.options:
        found["pos_weight"] = draw(pos_weights(n_outputs))
    n_classes = described.n_classes(n_outputs)
    if "class_weight" in described.options and n_classes and n_classes > 1:
        found["class_weight"] = draw(class_weights(n_classes))
    if "label_smoothing" in described.options:
        found["label_smoothing"] = draw(smoothings())
    return found


def option_faults(name, values, dtype):
    """The faults of an option whose shape fits; its numbers are read in float64."""
    wide = cast(values, np.dtype("f8"))
    with np.errstate(all="ignore"):
        narrow = wide.astype(dtype)
    good = np.isfinite(wide).all() and (wide >= 0).all()
    if name == "pos_weight":
        good = (wide > 0).all() and (narrow > 0).all() and np.isfinite(narrow).all()
    return () if good else (Fault(ValueError, name),)


def class_weight_array(argument, n_classes, dtype):
    if isinstance(argument.value, dict):
        return np.array([argument.value.get(c, 1) for c in range(n_classes)], dtype)
    return None if argument.plain is None else np.array(argument.plain, "f8").astype(dtype)


def range_faults(arguments, loss, n_outputs, dtype):
    """What is wrong with the numbers of the arguments that are right otherwise."""
    faults = []
    for name, a in arguments.items():
        if isinstance(a, list) or a.plain is None or a.faults:
            continue
        if name == "y":
            faults += target_faults(cast(a, dtype), loss, n_outputs)
        elif name == "sample_weight":
            faults += weight_faults(cast(a, dtype), False)
        elif name in OPTIONS:
            faults += option_faults(name, a, dtype)
    return faults


def with_range_faults(arguments, loss, n_outputs, dtype, mean=False, n=1):
    """The arguments, y with all that is wrong with their numbers: an error names any of it."""
    other_faults = any(x.faults for a in arguments.values() for x in each(a))
    if other_faults:                                    # perhaps also with what has the dtype
        faults = [fault for d in ("f4", "f8")
                  for fault in range_faults(arguments, loss, n_outputs, np.dtype(d))]
    else:
        faults = range_faults(arguments, loss, n_outputs, dtype)
    if mean and not n:
        faults.append(Fault(ValueError, "X has no samples"))
    y, w, c = (arguments.get(name, ABSENT) for name in ("y", "sample_weight", "class_weight"))
    if not faults and not other_faults:
        w = None if w.plain is None else cast(w, dtype)
        if c.value is not None:
            c = class_weight_array(c, max(n_outputs, 2), dtype)
            with np.errstate(all="ignore"):
                counts = class_counts(c, cast(y, dtype), loss)
                w = counts if w is None else counts * w
        faults += () if w is None else weight_faults(w, mean)
    return {**arguments, "y": y._replace(faults=(*y.faults, *faults))}


def counts(name):
    """An integer of at least 1, or something else."""
    wrong = [(ValueError, [0, -1, 1.0, 2.5, np.float32(2), np.nan, -2**70, Fraction(3), np.int8(-2)]
              ), (TypeError, [None, "2", True, np.True_, [2], Decimal(2), np.ones(2, int), 2j])]
    return (st.sampled_from([1, 2, 3, 5, 8, 2**62, 2**70, np.uint8(3), np.array(2)]).map(
                lambda n: Argument(n, None))
            | st.sampled_from([Argument(value, None, (Fault(kind, name),))
                               for kind, values in wrong for value in values]))


def threads():
    return st.just(ABSENT) | counts("n_threads").map(
        lambda n: n if n.value is not None else ABSENT)


def penalties():
    return scalars("l2", [0.0, 0.0, 0.25, 3], lambda x: 0 <= x < np.inf)


def reductions():
    return choices("reduction", ("sum", "mean"))


def is_mean(reduction):
    return not reduction.faults and reduction.value == "mean"
