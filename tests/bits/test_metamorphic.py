"""Promise: what a change of the sample weights does, to the bit where it only shifts exponents."""

import numpy as np
import oracle
import pytest
from bits import NETWORKS, network, same_bits, sample_weights


@pytest.mark.parametrize("shift", [-60, -3, 1, 40])
def test_weights_scaled_by_a_power_of_two(isa, dtype, shift):
    for sizes, n in NETWORKS[:6]:
        net, X, y = network(sizes, n, dtype)
        w = sample_weights(np.random.PCG64(n), n, dtype)
        for reduction, power in (("sum", shift), ("mean", 0)):
            loss = net.backprop(X, y, sample_weight=w, reduction=reduction)
            grad = net.grad.copy()
            scaled = net.backprop(X, y, sample_weight=np.ldexp(w, shift), reduction=reduction)
            assert same_bits(scaled, np.ldexp(loss, power))
            assert same_bits(net.grad, np.ldexp(grad, power))


def test_weight_of_zero_leaves_a_sample_out(isa, dtype):
    """The exact gradient is that of the rest; bits differ, because blocks begin elsewhere."""
    u = float(np.finfo(dtype).epsneg)
    for sizes, n in NETWORKS[1:5]:
        net, X, y = network(sizes, n, dtype)
        w = sample_weights(np.random.PCG64(n), n, dtype)
        w[::3] = 0
        kept = w > 0
        exact, _ = oracle.error_bound(net.weights, net.biases, X[kept], y[kept],
                                      sample_weight=w[kept], u=u)
        _, bound = oracle.error_bound(net.weights, net.biases, X, y, sample_weight=w, u=u)
        loss = net.backprop(X, y, sample_weight=w)
        oracle.assert_within(loss, exact.loss, bound.loss, "loss")
        for got, x, e in zip([*net.weight_grads, *net.bias_grads], [*exact.dW, *exact.db],
                             [*bound.dW, *bound.db], strict=True):
            oracle.assert_within(got, x, e, "gradient")


def test_unit_weights_are_no_weights(isa, dtype):
    for sizes, n in NETWORKS[:6]:
        net, X, y = network(sizes, n, dtype)
        for reduction in ("sum", "mean"):
            loss = net.backprop(X, y, reduction=reduction)
            grad = net.grad.copy()
            weighted = net.backprop(X, y, reduction=reduction, sample_weight=np.ones(n))
            assert same_bits(weighted, loss)
            assert same_bits(net.grad, grad)
