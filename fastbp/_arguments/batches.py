"""A batch: the targets, what each sample counts, and the order of samples."""

import numpy as np

from .arrays import (
    as_dtype,
    common_dtype,
    converted,
    plain,
    read_array,
    real_array,
    refuse_row,
    require_shape,
    shown,
)
from .calls import quiet
from .descriptors import LOSSES
from .numbers import integer

UNIT_SUM_TOLERANCE = 1e-5  # for probabilities that were rounded to float32, or summed there
ORDER = "an array of integers, or a list of arrays of integers, one for each step"


def target_values(y, dtype, name, n_outputs):
    """``y`` of a loss as an array of real numbers; names of classes are no numbers."""
    try:
        return real_array("y", y, dtype)
    except TypeError as error:
        loss = LOSSES[name]
        if not (loss.is_distribution or loss.labels) or not _has_strings(y):
            raise
        k = n_outputs if loss.is_distribution else 2
        raise TypeError(f"{error}: classes are 0 to {k - 1}, and np.unique(y, return_inverse=True) "
                        "numbers those that have names") from None


def _has_strings(value):
    try:
        array = np.asarray(value)
    except MemoryError:
        raise
    except Exception:       # what NumPy cannot read: the error at hand says so
        return False
    return array.dtype.kind in "SUT" or array.dtype == object and any(
        isinstance(each, str) for each in array.flat)


def target_array(y, n_samples, n_outputs, dtype, name):
    """``y`` of a loss as ``(n_samples, n_outputs)``, its range unchecked.

    ``(n_samples,)`` is one output; or the class of each sample, and then it stays so.
    """
    array = target_values(y, dtype, name, n_outputs)
    loss, wanted = LOSSES[name], (n_samples, n_outputs)
    if array.shape == (n_samples,):
        if loss.is_distribution:
            return array
        if n_outputs == 1:
            return array.reshape(wanted)
    if array.shape != wanted:
        flat = n_outputs == 1 or loss.is_distribution
        alternative = f"{shown((n_samples,))} or " if flat else ""
        hint = ""
        if loss.labels and array.shape == (n_samples,):
            others = [repr(each.name) for each in LOSSES.values() if each.is_distribution]
            hint = f", or be classes under loss={' or '.join(others)}"
        raise ValueError(
            f"y has shape {array.shape}; it should have shape {alternative}{shown(wanted)}{hint}")
    return array


@quiet
def target_range(y, n_outputs, name):
    """Raise for the first entry of a ``target_array`` that is outside the range of the loss."""
    loss = LOSSES[name]
    if loss.is_distribution and y.ndim == 1:
        bad = ~((y >= 0) & (y < n_outputs) & (y == np.floor(y)))
        if bad.any():
            refuse_row("y", y, bad, f"a class, an integer in [0, {n_outputs})")
        return
    if loss.targets.most is not None:
        bad = ~((y >= 0) & (y <= loss.targets.most) & (y < np.inf))
        if bad.any():
            refuse_row("y", y, bad, loss.targets.wanted)
    if loss.is_distribution:
        total = y.sum(axis=1, dtype=np.float64)
        bad = ~(abs(total - 1) <= UNIT_SUM_TOLERANCE)
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"y has a sum of {total[row]} in row {row}; it should be 1, "
                             f"within {UNIT_SUM_TOLERANCE:g}, or y a class for each sample")


def targets(y, n_samples, n_outputs, dtype, name):
    """Targets of a loss: a ``target_array`` in its range."""
    array = target_array(y, n_samples, n_outputs, dtype, name)
    target_range(array, n_outputs, name)
    return array


@quiet
def sample_weight(w, n_samples, reduction, dtype, name="sample_weight"):
    """``None``, or finite weights ``(n_samples,)`` of at least 0 that "mean" can be divided by."""
    if w is None:
        return None
    array = real_array(name, w, dtype, shape=(n_samples,))
    bad = ~((array >= 0) & (array < np.inf))
    if bad.any():
        refuse_row(name, array, bad, "finite and at least 0")
    total = array.sum(dtype=np.float64)
    if reduction == "mean" and not 0 < total < np.inf:
        raise ValueError(
            f"{name} sums to {total}; for a mean it should be a finite and positive sum")
    return array


@quiet
def class_weights(class_weight, y, name, dtype, sample_weight=None):
    """The weight of each sample by its class, (n_samples,): the sum of weight times probability.

    ``y`` is a ``target_array``. The sum goes class by class, so that no BLAS decides the bits. It
    is multiplied with the sample's own weight, if there is one.
    """
    of_classes = np.array(class_weight, dtype)
    loss = LOSSES[name]
    if loss.is_distribution and y.ndim == 1:
        weights = of_classes[y.astype(np.intp)]
    elif loss.labels:
        t = y.reshape(-1)
        weights = of_classes[0] * (1 - t) + of_classes[1] * t
    else:
        weights = np.add.reduce(np.multiply(y.T, of_classes[:, None]), axis=0)
    return weights if sample_weight is None else weights * sample_weight


def weights_with_classes(w, options, y, n_samples, reduction, dtype):
    """The weight of each sample, its own times that of its class; ``None`` if all are 1."""
    if options.class_weight is None:
        return sample_weight(w, n_samples, reduction, dtype)
    own = sample_weight(w, n_samples, "sum", dtype)
    product = class_weights(options.class_weight, y, options.name, dtype, own)
    return sample_weight(product, n_samples, reduction, dtype, "sample_weight times class_weight")


def at_least_one_sample(n_samples, reduction=None):
    """Refuse the mean over no samples, or an epoch of none; their sum is zero."""
    if n_samples == 0 and reduction != "sum":
        mean = "" if reduction is None else "for a mean "
        raise ValueError(f"X has no samples; {mean}it should have at least one")


def logits_and_targets(z, y, w, name):
    """The arguments of a loss of logits, in their common dtype; y's range unchecked."""
    loss, z = LOSSES[name], real_array("z", z)
    if z.ndim != 2 and (z.ndim != 1 or loss.is_distribution):
        flat = "" if loss.is_distribution else "(n_samples,) or "
        raise ValueError(
            f"z has shape {z.shape}; it should have shape {flat}(n_samples, n_outputs)")
    y = target_values(y, None, name, z.shape[-1])
    classes = loss.is_distribution and y.ndim == 1
    require_shape("y", y, z.shape[:1] if classes else z.shape)
    arrays = [z] if classes else [z, y]
    w = sample_weight(w, z.shape[0], "sum", None)
    arrays += [] if w is None else [w]
    dtype = common_dtype(*arrays)
    z, y = as_dtype([z, y], dtype)
    return z, y, None if w is None else converted(w, dtype)


def order(value, n_samples):
    """Indices of samples as intp, and ``None`` or how many of them each step takes.

    At least one of them, or a list or tuple of arrays of any length, one for each step. An index
    may occur twice, or not at all.
    """
    if not isinstance(value, (list, tuple)) or not len(value) or not _is_step(value[0]):
        try:
            found = _indices("order", value, ("n_indices",), n_samples, ORDER,
                             ", or be a list of arrays, one for each step")
        except (TypeError, ValueError):
            _refuse_mixed(value)
            raise
        if not found.size:
            at_least_one_sample(n_samples)
            raise ValueError("order is empty; it should have at least one index, or be a list of "
                             "arrays, one for each step")
        return found, None
    steps = list(value)
    if not _fit(steps):
        steps = [_indices(f"order[{i}]", each, ("n_indices",), n_samples)
                 for i, each in enumerate(steps)]
    found = np.concatenate(steps)  # a copy, as below
    if ((found < 0) | (found >= n_samples)).any():
        for i, each in enumerate(steps):
            _indices(f"order[{i}]", each, ("n_indices",), n_samples)
    return found, np.array([each.size for each in steps], np.intp)


def _fit(steps):
    """Whether all are what `poisson_order` gives: thousands are looked at in turn."""
    return all(type(each) is np.ndarray and each.ndim == 1 and each.dtype == np.intp
               for each in steps)


def _is_step(value):
    """Whether an entry of an order has entries itself; an array without axes has none."""
    if isinstance(value, (str, bytes)):
        return False
    return getattr(value, "ndim", 1) > 0 and hasattr(value, "__len__")


def _refuse_mixed(order):
    """Raise for a list of indices, which cannot be read, that has arrays among them."""
    steps = [_is_step(each) for each in order] if isinstance(order, (list, tuple)) else []
    if any(steps):
        i = steps.index(True)
        raise TypeError(f"order[0] is of type {type(order[0]).__name__} and order[{i}] of type "
                        f"{type(order[i]).__name__}; order should be {ORDER}")


def _refuse_large(name, value, n_samples):
    """Raise for the first index outside in a list of integers that no dtype of NumPy holds."""
    for i, each in enumerate(value if isinstance(value, (list, tuple)) else ()):
        number = integer(each)
        if number is None:
            return
        if not 0 <= number < n_samples:
            _refuse_index(name, number, i, n_samples)


def _refuse_index(name, index, i, n_samples):
    raise ValueError(f"{name} has {index!s} at position {i}; it should be in [0, {n_samples})")


def _indices(name, value, shape, n_samples, wanted="an array of integers", or_else=""):
    try:
        # A copy, so that no other thread can change it after this check.
        array = read_array(name, value, "biuf", wanted).copy()
        if array.dtype.kind not in "iu" and array.size:  # np.asarray([]) is float64
            mask = f": np.flatnonzero({name}) has those of a mask" * (array.dtype == bool)
            raise TypeError(f"{name} has dtype {array.dtype}; it should be {wanted}{mask}")
    except TypeError:
        _refuse_large(name, value, n_samples)
        raise
    require_shape(name, array, shape, or_else)
    bad = (array < 0) | (array >= n_samples)  # before the cast to intp, which wraps
    if bad.any():
        i = int(np.argmax(bad))
        _refuse_index(name, array[i], i, n_samples)
    return plain(array, np.intp)
