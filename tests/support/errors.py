"""What the tests of errors share: `refused`, and arrays that are. No test is here."""

import numpy as np
import pytest

import fastbp
from fastbp import reference

TWINS = pytest.mark.parametrize("twin", [fastbp, reference], ids=["fast", "reference"])


def refused(call, kind, *words):
    """``call()`` raises exactly ``kind``, and says ``words`` and what should be."""
    with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
        call()
    message = str(caught.value)
    assert caught.type is kind, message
    for word in (*words, "should"):
        assert word in message, message


def half(*shape, dtype="float64"):
    return np.full(shape, 0.5, dtype)


# Not real numbers, each of the shape it is given.
KINDS = {
    "complex": lambda shape: np.zeros(shape, complex),
    "object": lambda shape: np.full(shape, None),
    "string": lambda shape: np.full(shape, "a"),
    "masked": np.ma.zeros,
    "date": lambda shape: np.zeros(shape, "M8[s]"),
    "None": lambda shape: None,
}

# Arrays of a given shape that cannot be written to, or not directly: (make, exception, word).
OUTPUTS = {
    "dtype": (lambda s, t: np.full(s, 7, "float64" if t == "float32" else "float32"),
              TypeError, "dtype"),
    "byte order": (lambda s, t: np.full(s, 7, np.dtype(t).newbyteorder()), TypeError, "dtype"),
    "list": (lambda s, t: np.full(s, 7.0).tolist(), TypeError, "list"),
    "subclass": (lambda s, t: np.ma.zeros(s, t), TypeError, "MaskedArray"),
    "shape": (lambda s, t: np.full((*s[:-1], s[-1] + 1), 7, t), ValueError, "shape"),
    "one more axis": (lambda s, t: np.full((1, *s), 7, t), ValueError, "shape"),
    "strided": (lambda s, t: np.full((*s[:-1], 2 * s[-1]), 7, t)[..., ::2],
                ValueError, "C-contiguous"),
    "read-only": (lambda s, t: np.broadcast_to(np.full(s, 7, t), s), ValueError, "writable"),
    "misaligned": (lambda s, t: np.zeros(8 * np.prod(s) + 1, "b")[1:].view(t)[:np.prod(s)]
                   .reshape(s), ValueError, "aligned"),
}
