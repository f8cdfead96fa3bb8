"""One public function per equation, fastbp beside the reference.

Before it is timed, the difference of the two is held to the sum of their error bounds. With u the
unit roundoff and gamma(k) = k u / (1 - k u), a sum of products is within gamma(k) of the sum of
their sizes, k being the roundings on the way of one. sigma and delta_L have 2 u and 4 u in fastbp,
11 u and 12 u in NumPy (`_twin/rounding.py`). The loss of a hard label adds two terms that are not
negative: 4 u in fastbp, and in NumPy, whose log1p is within 5 u of the rounded value, 7 + 5 + 2 u.
"""

import numpy as np
import pytest

import fastbp
from fastbp import _random, reference

SHAPES = ((32, 8, 8), (64, 32, 32), (256, 64, 64), (256, 512, 512))  # n, n_here, n_next


def numbers(seed, shape, dtype):
    """Uniform in [-1, 1)."""
    bits = _random.raw_bits(seed, int(np.prod(shape)))
    return ((bits >> np.uint64(11)) * 2.0**-52 - 1.0).astype(dtype).reshape(shape)


def arguments(shape, dtype):
    """The arguments of each function, by its name."""
    n, n_here, n_next = shape
    z, W = 8 * numbers(1, (n, n_here), dtype), numbers(2, (n_here, n_next), dtype)
    grad, delta = numbers(3, (n, n_here), dtype), numbers(4, (n, n_next), dtype)
    h, y = reference.sigmoid(z), (numbers(5, (n, n_here), dtype) < 0).astype(dtype)
    classes = np.argmax(grad, axis=1).astype(dtype)
    return {
        "sigmoid": (z,),
        "sigmoid_backward": (grad, h),
        "delta_step": (delta, W, h),
        "weight_grad": (h, delta),
        "activate": (z, "tanh"),
        "bce_with_logits": (z, y),
        "softmax_with_logits": (z, classes),
        "squared_error": (z, y),
        "poisson_with_logits": (z, y),
    }


def gamma(k, dtype):
    u = float(np.finfo(dtype).eps) / 2
    return k * u / (1 - k * u)


def tolerances(name, args, dtype):
    """How far the results of the two may differ, one array per result."""
    signed = "logits" in name or name in ("activate", "squared_error")
    args = [a.astype(np.float64) if signed else np.abs(a.astype(np.float64))
            for a in args if isinstance(a, np.ndarray)]
    if name == "sigmoid":
        return [gamma(2 + 11, dtype)]  # sigma <= 1
    if name == "sigmoid_backward":
        grad, h = args
        return [2 * gamma(3, dtype) * grad * h * (1 - h)]
    if name == "delta_step":
        delta, W, h = args
        return [2 * gamma(W.shape[1] + 5, dtype) * (delta @ W.T) * h * (1 - h)]
    if name == "weight_grad":
        h, delta = args
        k = 2 * gamma(len(h) + 2, dtype)
        return [k * (h.T @ delta), k * delta.sum(axis=0)]
    if name == "activate":
        z, = args
        return [gamma(2 + 7, dtype) * np.abs(np.tanh(z)), gamma(8 + 18, dtype) / np.cosh(z) ** 2]
    z, y = args
    return LOSS_TOLERANCES[name](z, y, dtype)


def summed(k, terms, dtype):
    """How far two sums of terms with k roundings each may differ."""
    return (gamma(k, dtype) + 2 * gamma(terms.size / 8 + 3, "float64")) * terms.sum()


def bce_tolerances(z, y, dtype):
    up, down = reference.sigmoid(z), reference.sigmoid(-z)
    terms = np.logaddexp(0, z) - y * z
    return [summed(4 + 14, terms, dtype), gamma(4 + 12, dtype) * ((1 - y) * up + y * down)]


def softmax_tolerances(z, classes, dtype):
    t = np.eye(z.shape[1])[classes.astype(int)]
    p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
    k = gamma(8 + 7 + 16 + z.shape[1], dtype)
    terms = np.ptp(z, axis=1) + np.log(z.shape[1])
    return [summed(8 + 7 + 16 + z.shape[1], terms, dtype), k * ((1 - t) * p + t)]


def squared_error_tolerances(z, y, dtype):
    return [summed(3 + 3, (z - y) ** 2 / 2, dtype), gamma(1 + 1, dtype) * np.abs(z - y)]


def poisson_tolerances(z, y, dtype):
    return [summed(4 + 9, np.exp(z) + y * np.abs(z), dtype),
            gamma(4 + 8, dtype) * (np.exp(z) + y)]


LOSS_TOLERANCES = {"bce_with_logits": bce_tolerances, "softmax_with_logits": softmax_tolerances,
                   "squared_error": squared_error_tolerances,
                   "poisson_with_logits": poisson_tolerances}


def results(f, args):
    found = f(*args)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("module", [fastbp, reference], ids=["fastbp", "reference"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("name", arguments(SHAPES[0], "float32"))
def test_equation(benchmark, name, shape, dtype, module):
    args = arguments(shape, dtype)[name]
    both = (results(getattr(side, name), args) for side in (fastbp, reference))
    for a, b, tolerance in zip(*both, tolerances(name, args, dtype), strict=True):
        assert np.all(np.abs(np.float64(a) - np.float64(b)) <= tolerance)
    benchmark.group = f"{name} {'x'.join(map(str, shape))} {dtype}"
    benchmark(getattr(module, name), *args)
