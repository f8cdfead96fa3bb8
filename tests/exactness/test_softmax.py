"""Promise: of a softmax, a class at −∞ is not there, and classes are one-hot rows, to the bit; its
ends are right: E1 to E3. test_sweeps.py counts ulps.
"""

import numpy as np
import pytest
from families import WIDTHS, probabilities
from ulps import logits

import fastbp

U = {"float32": 2.0**-24, "float64": 2.0**-53}


def test_a_class_at_minus_infinity_is_not_there(isa, dtype):
    rng = np.random.default_rng(43)
    for n_outputs in WIDTHS[1:]:
        z, y = logits(dtype, 33, n_outputs, rng)
        for column in {0, n_outputs // 2, n_outputs - 1}:
            without = np.delete(z, column, axis=1)
            classes = y % (n_outputs - 1)
            absent = z.copy()
            absent[:, column] = -np.inf
            loss, delta = fastbp.softmax_with_logits(absent, classes + (classes >= column))
            expected, rest = fastbp.softmax_with_logits(without, classes)
            assert np.array_equal(delta[:, column], np.zeros(33))
            assert np.array_equal(np.delete(delta, column, axis=1), rest)
            # its terms lie elsewhere among the partial sums in float64
            assert abs(loss - expected) <= (z.size + 1) * 2.0**-53 * expected


def test_softmax_of_special_values(isa, dtype):
    most = np.finfo(dtype).max
    z = np.array([[0, -np.inf, 0], [most, -most, 0], [-most] * 3], dtype)
    loss, delta = fastbp.softmax_with_logits(z[:1], [1])
    assert loss == np.inf and delta.tolist() == [[0.5, -1, 0.5]]
    loss, delta = fastbp.softmax_with_logits(z[1:2], [0])
    assert loss == 0 and not delta.any()
    assert probabilities(z[2:]) == pytest.approx(1 / 3, rel=4 * U[dtype])
    for row in ([np.nan, 0, 1], [0, np.nan, 1], [0, 1, np.nan], [-np.inf] * 3):
        loss, delta = fastbp.softmax_with_logits(np.array([row], dtype), [2])
        assert np.isnan(loss) and np.isnan(delta).all()


@pytest.mark.parametrize("n_outputs", WIDTHS)
def test_classes_are_one_hot_rows(isa, dtype, n_outputs):
    z, y = logits(dtype, 100, n_outputs, np.random.default_rng(50))
    w = np.random.default_rng(51).random(100).astype(dtype)
    for options in ({}, {"label_smoothing": 0.1}, {"class_weight": np.arange(n_outputs) / 3}):
        by_class = fastbp.softmax_with_logits(z, y, w, **options)
        by_row = fastbp.softmax_with_logits(z, np.eye(n_outputs, dtype=dtype)[y], w, **options)
        assert by_class[0] == by_row[0] and np.array_equal(by_class[1], by_row[1])
