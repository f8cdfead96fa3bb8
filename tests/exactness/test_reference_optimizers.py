"""SGD and Adam of the NumPy reference are their closed forms; the first step binds their state."""

from fractions import Fraction

import numpy as np
import pytest
from oracle import assert_within, mp

from fastbp import reference

UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@dtypes
@pytest.mark.parametrize(("nesterov", "momentum", "weight_decay"), [
    (False, 0, 0), (False, 0.5, 0), (False, 0, 0.25), (False, 0.5, 0.25), (True, 0.5, 0),
    (True, 0.5, 0.25)])
def test_sgd_is_its_closed_form(dtype, nesterov, momentum, weight_decay):
    """v_t = Σ_s μ^{t−s} g_s in fractions. A step adds at most four bits: nothing is rounded."""
    start, grads = [3, -5, 0], [[1, -2, 4], [0, 3, -1], [2, 2, -3], [-4, 1, 1]]
    params = np.array(start, dtype)
    optimizer = reference.SGD(0.5, momentum, nesterov, weight_decay)
    for grad in grads:
        optimizer.step(params, np.array(grad, dtype))
    lr, mu, decay = map(Fraction, (0.5, momentum, weight_decay))
    for i, p in enumerate(map(Fraction, start)):
        seen = []
        for grad in grads:
            seen.append(grad[i] + decay * p)
            v = sum(mu**(len(seen) - 1 - s) * g for s, g in enumerate(seen))
            p -= lr * (seen[-1] + mu * v if nesterov else v)
        assert Fraction(float(params[i])) == p


@dtypes
@pytest.mark.parametrize("eps_hat", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_its_closed_form(dtype, eps_hat, weight_decay):
    """m_t = (1 − β₁) Σ_s β₁^{t−s} g_s and v_t alike, to 50 digits, for gradients of one sign."""
    lr, betas, eps, steps = 0.05, (0.9, 0.97), 1e-3, 12
    rng = np.random.default_rng(7)
    params = rng.standard_normal(5).astype(dtype)
    grads = (rng.random((steps, 5)) + 0.1).astype(dtype) * np.array([1, -1, 1, -1, 1], dtype)
    expected, bound = [mp.mpf(float(p)) for p in params], np.zeros(5)
    optimizer = reference.Adam(lr, betas, eps, weight_decay, eps_hat=eps_hat)
    b1, b2 = map(mp.mpf, betas)
    for t in range(1, steps + 1):
        optimizer.step(params, grads[t - 1])
        for i in range(5):
            seen = [mp.mpf(float(g)) for g in grads[:t, i]]
            m = (1 - b1) * sum(b1**(t - 1 - s) * g for s, g in enumerate(seen))
            v = (1 - b2) * sum(b2**(t - 1 - s) * g * g for s, g in enumerate(seen))
            c1, c2 = 1 - b1**t, 1 - b2**t
            ratio = (m * mp.sqrt(c2) / c1 / (mp.sqrt(v) + eps) if eps_hat
                     else m / c1 / (mp.sqrt(v / c2) + eps))
            expected[i] = (1 - mp.mpf(lr) * mp.mpf(weight_decay)) * expected[i] - lr * ratio
            # Terms of one sign: those of m pass through 3 t roundings (β₁ to the dtype, product,
            # sum; 1 − β₁ is exact for β₁ ≥ ½) and those of v through 3 t + 1, halved by the root;
            # the rest of the update is ten more, decay and subtraction are five of p. A Python
            # float 1 − βᵗ is off by 3 · 2⁻⁵³. One t stands for all terms of second order.
            update = abs(lr * ratio)
            roundings = 3 * t + (3 * t + 1) / 2 + 10 + t
            lost = 3 * 2.0**-53 * (1 / c1 + 1 / c2) * update
            bound[i] += float(
                UNIT[dtype] * (roundings * update + 5 * (abs(expected[i]) + update)) + lost)
    # an earlier error only shrinks by decay, since p does not feed back: errors of steps add
    assert_within(params, np.array(expected), bound, "params")


@pytest.mark.parametrize("make", [reference.SGD, reference.Adam])
def test_the_state_belongs_to_the_first_step(make):
    optimizer = make()
    optimizer.step(np.ones(3), np.ones(3))
    for params in (np.ones(4), np.ones(3, np.float32)):
        with pytest.raises(ValueError, match="3 of float64, as at the first step"):
            optimizer.step(params, params.copy())
        assert (params == 1).all()
