"""Functions and their NumPy twins give the same of any numbers, within what `oracle` grants each.

The numbers are such that products and sums of them are exact in float32: where both only add and
multiply, they agree to the bit.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from oracle import FASTBP, NUMPY
from strategies import numbers

import fastbp
from fastbp import reference

DIMS = st.integers(0, 4) | st.sampled_from([17, 33])


def some(rng, shape, share=0.1):
    """Quarters, and some that are not finite."""
    values = rng.integers(-12, 9, shape) / 4
    return np.where(rng.random(shape) < share * rng.integers(0, 2),
                    rng.choice([np.nan, np.inf, -np.inf], shape), values)


def arrays(draw, *shape, palette=some, dtypes=("f4", "f8")):
    return numbers(draw(st.sampled_from(dtypes)), shape, palette, draw(st.integers(0, 2**20)))


def close(a, b, units, scale):
    """|a − b| ≤ units · u · scale, or both NaN; u is the roundoff of a's dtype."""
    assert a.dtype == b.dtype and a.shape == b.shape
    info = np.finfo(a.dtype)
    ok = np.abs(a - b) <= units * (info.eps / 2 * np.abs(scale) + info.smallest_subnormal)
    assert np.all(ok | (a == b) | np.isnan(a) & np.isnan(b))


@given(st.data(), DIMS, DIMS, DIMS)
@np.errstate(all="ignore")
def test_any_numbers(data, n, fan_in, fan_out):
    z = arrays(data.draw, n, fan_in)
    close(fastbp.sigmoid(z), reference.sigmoid(z), FASTBP.sigma + NUMPY.sigma + 1,
          reference.sigmoid(z))

    # here both round once: products of the numbers are exact
    h, delta = arrays(data.draw, n, fan_in), arrays(data.draw, n, fan_out)
    for name, args in (("sigmoid_backward", (z, h)), ("weight_grad", (h, delta)),
                       ("delta_step", (delta, arrays(data.draw, fan_in, fan_out), h))):
        fast, slow = (getattr(twin, name)(*args) for twin in (fastbp, reference))
        for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (fast, slow)),
                        strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype

    # δ is within its units of M ≤ 1, and each of the two rounds δ times the weight once
    z = arrays(data.draw, n, fan_out)
    y, w = (arrays(data.draw, *shape, palette=palette) for shape, palette in (
        ((n, fan_out), "unit"), ((n,), "count")))
    fast, slow = (twin.bce_with_logits(z, y, w)[1] for twin in (fastbp, reference))
    close(fast, slow, FASTBP.delta + NUMPY.delta + 3, np.max(w, initial=0))


