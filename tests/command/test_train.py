"""What `fastbp train` reckons with: the area under the curve, a split that keeps the classes."""


import numpy as np
import pytest

from fastbp._command.train import auc, stratified_split


def test_auc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 101):
        for n_values in (1, 2, 5, 1000):
            score, y = rng.integers(0, n_values, n) / 7, rng.integers(0, 2, n)
            y[:2] = 0, 1
            pairs = score[y == 1][:, None] - score[y == 0]
            wins = int((pairs > 0).sum()) * 2 + int((pairs == 0).sum())
            assert auc(y, score) == wins / (2 * pairs.size)


@pytest.mark.parametrize("fraction", [0.001, 0.25, 0.5, 0.999])
def test_split_keeps_the_classes(fraction):
    y = np.array([0] * 30 + [1] * 7)
    train, test = stratified_split(y, fraction, seed=3)
    assert sorted([*train, *test]) == list(range(37))
    for label, n in ((0, 30), (1, 7)):
        assert (y[test] == label).sum() == min(max(round(fraction * n), 1), n - 1)
    again = stratified_split(y, fraction, seed=3)
    np.testing.assert_array_equal(test, again[1])
    assert not np.array_equal(stratified_split(y, 0.5, 4)[1], stratified_split(y, 0.5, 5)[1])
