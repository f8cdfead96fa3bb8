"""Promise: p, δ_L and the loss of a softmax are within a few units in the last place, however
certain a class is, right or wrong: E1 to E3 for the exact z given.

Errors are counted as in test_sigmoid.py; `pytest -s` prints the worst and an input: z of the output
in question. A class at −∞ is not there, and classes are one-hot rows, to the bit.
"""

import functools

import numpy as np
import oracle
import pytest
from ulps import LARGEST, WIDER, Worst, logits, needs_wide, sample_losses, ulps, wide_error

import fastbp

WIDTHS = (2, 3, 4, 7, 10, 17, 40)
U = {"float32": 2.0**-24, "float64": 2.0**-53}


def wide_softmax(z):
    """p, 1 − p and −ln p in the wide format, each from its own tail."""
    z = z.astype(WIDER[z.dtype.name])
    top = z.max(axis=1, keepdims=True)
    E = np.exp(z - top)
    others, S = E @ (1 - np.eye(z.shape[1], dtype=z.dtype)), E.sum(axis=1, keepdims=True)
    return E / S, others / S, top - z + np.log1p(others.min(axis=1, keepdims=True))


def probabilities(z):
    """p as a network has it: its weights are the identity, so that its logits are z."""
    net = fastbp.MLP([z.shape[1]] * 2, loss="softmax", dtype=z.dtype, seed=0)
    net.weights[0][...], net.biases[0][:] = np.eye(z.shape[1]), 0
    return net.forward(z)


class SoftmaxErrors:
    """The largest errors of p, δ and the loss, beside what the wide format may be off."""

    def __init__(self, count):
        self.count, self.worst = count, {name: Worst() for name in ("p", "delta", "loss")}

    def see(self, z, y, exact):
        p, rest, surprise = exact
        hit = np.arange(z.shape[1]) == y[:, None]
        delta = fastbp.softmax_with_logits(z, y)[1]
        losses = sample_losses(fastbp.softmax_with_logits, z, y)
        z_true = z[hit]
        for name, found, true, at in (("p", probabilities(z), p, z),
                                      ("delta", delta, np.where(hit, -rest, p), z),
                                      ("loss", losses, surprise[hit], z_true)):
            self.worst[name].see(self.count(found.ravel(), true.ravel()), at.ravel())

    def check(self, isa, dtype, **slack):
        for name, worst in self.worst.items():
            worst.check(name, isa, dtype, slack.get(name, 0.0))


@functools.cache
def few_logits(dtype):
    """Batches of logits, their classes, and what is exact to 50 digits."""
    rng = np.random.default_rng(41)
    batches = [logits(dtype, 60, n_outputs, rng) for n_outputs in WIDTHS]
    return [(z, y, oracle.exact_softmax(z)) for z, y in batches]


def test_softmax_to_50_digits(isa, dtype):
    """A plain p − y has no correct digit for a class that is certain to 17 nats (37 in float64)."""
    errors = SoftmaxErrors(oracle.ulp_error)
    for batch in few_logits(dtype):
        errors.see(*batch)
    errors.check(isa, dtype)


@needs_wide
@pytest.mark.parametrize("n", [1000, pytest.param(100_000, marks=pytest.mark.exhaustive)])
def test_softmax_of_many_logits(isa, dtype, n):
    """z − max z rounds in the wide format too, and e^a is off by |a| times what a is."""
    rng, errors = np.random.default_rng(42), SoftmaxErrors(ulps)
    for n_outputs in WIDTHS:
        z, y = logits(dtype, n, n_outputs, rng)
        errors.see(z, y, wide_softmax(z))
    own = wide_error(dtype)
    of_p = own * (1 + 2 * LARGEST[dtype] / 16)  # `own` has 16 units
    errors.check(isa, dtype, p=of_p, delta=of_p, loss=own)


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
