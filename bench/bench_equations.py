"""One public function per equation, fastbp beside the reference.

Before it is timed, the difference of the two is held to the sum of their error bounds. With u the
unit roundoff and gamma(k) = k u / (1 - k u), a sum of products is within gamma(k) of the sum of
their sizes, k being the roundings on the way of one. sigma and delta_L have 2 u and 4 u in fastbp,
11 u and 12 u in NumPy (`_error_bound`). The loss of a hard label adds two terms that are not
negative: 4 u in fastbp, and in NumPy, whose log1p is within 5 u of the rounded value, 7 + 5 + 2 u.
"""

import numpy as np
import pytest

import fastbp
from fastbp import _random, reference
from fastbp._error_bound import tails

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
    h, y = tails(z)[0], (numbers(5, (n, n_here), dtype) < 0).astype(dtype)
    return {
        "sigmoid": (z,),
        "sigmoid_backward": (grad, h),
        "delta_step": (delta, W, h),
        "weight_grad": (h, delta),
        "bce_with_logits": (z, y),
    }


def gamma(k, dtype):
    u = float(np.finfo(dtype).eps) / 2
    return k * u / (1 - k * u)


def tolerances(name, args, dtype):
    """What the results of the two may differ by, one array per result."""
    args = [np.abs(a.astype(np.float64)) if name != "bce_with_logits" else a.astype(np.float64)
            for a in args]
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
    z, y = args
    up, down = tails(z)
    terms = np.logaddexp(0, z) - y * z
    return [gamma(4 + 14, dtype) * terms.sum(), gamma(4 + 12, dtype) * ((1 - y) * up + y * down)]


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
