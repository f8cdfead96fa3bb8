"""SGD and Adam follow the formulas within their rounding, on every vector length and instruction
set. (How they go on from a saved state: test_optimiser_state.py.)

`trajectory` evaluates the formulas in a wider format. Beside every value x stands e_x, how far a
computation with unit roundoff u may be off, whatever the order of its operations:

    a + c b with a rounded constant c   e = e_a + |c| e_b + 4 u (|a| + e_a + |c| (|b| + e_b))
                                        at most three roundings, each of no more than that sum
    √v                                  |√v̂ − √v| = |v̂ − v|/(√v̂ + √v) ≤ min(e_v/√v, √e_v)
    m/d                                 (e_m + |m/d| e_d)/(d − e_d), and a rounding
    1 − βᵗ                              t roundings of βᵗ in float64: t 2⁻⁵² absolute
"""

from fractions import Fraction

import numpy as np
import pytest
from all_pairs import all_pairs
from rules import RULE, RULES, build, problem, schedule

from fastbp import SGD, Adam

# ---- the formulas, with bounds


class Ball:
    """Wide values x, and the bound e of what a computation of them may be off."""

    def __init__(self, x, e=0.0):
        self.x, self.e = x, np.broadcast_to(e, x.shape)

    @property
    def size(self):
        return np.abs(self.x) + self.e


def axpy(a, c, b, u):
    """a + c b for a rounded constant c."""
    rounding = 4 * u * (a.size + abs(c) * b.size)
    return Ball(a.x + c * b.x, a.e + abs(c) * b.e + rounding)


def square(a, u):
    return Ball(a.x**2, (2 * np.abs(a.x) + a.e) * a.e + u * a.size**2)


def root(a):
    r = np.sqrt(a.x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Ball(r, np.fmin(a.e / r, np.sqrt(a.e)))


def quotient(a, b, u):
    x = a.x / b.x
    e = (a.e + np.abs(x) * b.e) / (b.x - b.e)
    return Ball(x, e + u * (np.abs(x) + e))


def scaled(a, c, relative):
    """c a, for a constant c that is off by a relative error itself."""
    return Ball(c * a.x, abs(c) * (a.e + relative * a.size))


def sgd_steps(p, grads, u, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = Ball(0 * p.x)
    for t, g in enumerate(grads):
        g = axpy(Ball(g), weight_decay, p, u) if weight_decay else Ball(g)
        v = axpy(g, momentum, v, u) if momentum else g
        p = axpy(p, -schedule(lr, t), axpy(g, momentum, v, u) if nesterov else v, u)
        yield p


def adam_steps(p, grads, u, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, eps_hat=False):
    (b1, b2), m, v = betas, Ball(0 * p.x), Ball(0 * p.x)
    wide = p.x.dtype.type
    for t, g in enumerate(grads):
        g, rate = Ball(g), schedule(lr, t)
        m = axpy(scaled(m, b1, 2 * u), 1 - b1, g, u)
        v = axpy(scaled(v, b2, 2 * u), 1 - b2, square(g, u), u)
        c1, c2 = 1 - wide(b1)**(t + 1), 1 - wide(b2)**(t + 1)
        # off by these, and by the rounding of the constants made of them
        e1, e2 = ((t + 2) * 2.0**-52 / c + 2 * u for c in (c1, c2))
        d = root(v) if eps_hat else scaled(root(v), 1 / np.sqrt(c2), e2 + 2 * u)
        d = axpy(d, eps, Ball(np.ones_like(d.x)), u)
        if eps_hat:
            rate = rate * np.sqrt(c2)
        step = scaled(quotient(m, d, u), rate / c1, e1 + e2 + 4 * u)
        p = axpy(scaled(p, 1 - schedule(lr, t) * weight_decay, 3 * u), -1, step, u)
        yield p


def trajectory(rule, params, grads):
    """The exact parameters after every step, and their bounds."""
    kind, options = RULES[rule]
    u = float(np.finfo(params.dtype).eps) / 2
    wide = np.float64 if params.dtype == np.float32 else np.longdouble
    steps = sgd_steps if kind is SGD else adam_steps
    own = 1 + 2 * float(np.finfo(wide).eps) / u  # the wide format errs within the same bound
    for p in steps(Ball(params.astype(wide)), grads.astype(wide), u, **options):
        yield p.x, own * p.e


@all_pairs("isa", "dtype", rule=RULES, twin=[False, True])
def test_within_rounding_of_the_formulas(rule, twin, dtype, isa):
    """Fast and reference, hence one of the other, under a schedule of learning rates."""
    params, grads = problem(70, dtype)
    optimizer, lr = build(rule, twin), RULES[rule][1]["lr"]
    for t, (exact, bound) in enumerate(trajectory(rule, params.copy(), grads)):
        optimizer.lr = schedule(lr, t)
        optimizer.step(params, grads[t])
        assert (np.abs(params - exact) <= bound).all(), f"step {t + 1}"


def test_the_bound_tells_the_rules_apart(dtype):
    params, grads = problem(70, dtype)
    ends = {}
    for rule in RULES:
        *_, ends[rule] = trajectory(rule, params, grads)
    for a in ends:
        for b in ends:
            if a < b:
                assert (np.abs(ends[a][0] - ends[b][0]) > ends[a][1] + ends[b][1]).any(), (a, b)


@pytest.mark.parametrize("options", [
    {"lr": 0.5}, {"lr": 0.5, "weight_decay": 0.25}, {"lr": 0.5, "momentum": 0.5},
    {"lr": 0.25, "momentum": 0.5, "nesterov": True},
    {"lr": 0.25, "momentum": 0.5, "nesterov": True, "weight_decay": 0.25}])
def test_sgd_is_exact_where_nothing_rounds(options, dtype, isa):
    """v ← μ v + g; p ← p − lr (g + μ v if nesterov else v), in fractions of a power of two."""
    lr, mu, decay = (Fraction(options.get(k, 0)) for k in ("lr", "momentum", "weight_decay"))
    params = np.arange(-9, 10, dtype=dtype)
    p, v = [Fraction(float(x)) for x in params], [Fraction(0)] * 19
    optimizer = SGD(**options)
    for step in range(3):
        grad = np.roll(np.arange(-9, 10, dtype=dtype), step)
        optimizer.step(params, grad)
        g = [Fraction(float(x)) + decay * y for x, y in zip(grad, p, strict=True)]
        v = [mu * x + y for x, y in zip(v, g, strict=True)]
        s = [x + mu * y if options.get("nesterov") else y for x, y in zip(g, v, strict=True)]
        p = [x - lr * y for x, y in zip(p, s, strict=True)]
        assert [Fraction(float(x)) for x in params] == p


@pytest.mark.parametrize("g", [1.0, -3.0])
def test_adam_under_a_constant_gradient(g, dtype, isa):
    """m̂ = g and v̂ = g² whatever the betas: every step is lr g/(|g| + eps)."""
    params = np.zeros(5, dtype)
    grads = np.full((20, 5), g, dtype)
    optimizer, (lr, eps) = build("adam"), (RULES["adam"][1][k] for k in ("lr", "eps"))
    moved, own = 0, 40 * 2.0**-53  # two roundings a step of |moved| < 1
    for t, (_, bound) in enumerate(trajectory("adam", params.copy(), grads)):
        optimizer.lr = schedule(lr, t)
        moved -= optimizer.lr * g / (abs(g) + eps)
        optimizer.step(params, grads[t])
        assert (np.abs(params - moved) <= bound + own).all()


def test_adam_decays_without_a_gradient(dtype, isa):
    """AdamW: p (1 − lr weight_decay)ᵗ, and no 0/0 anywhere."""
    params = np.ones(5, dtype)
    optimizer = Adam(lr=0.25, weight_decay=0.5)
    for t in range(1, 6):  # 7ᵗ/8ᵗ has 3 t bits
        optimizer.step(params, np.zeros(5, dtype))
        assert (params == 0.875**t).all()


# ---- any length, anywhere


@RULE
def test_any_length_has_the_same_bits(rule, dtype, isa):
    """Vectors of 1 to 70 inside a larger one: every element as in the longest, none beside."""
    params, grads = problem(70, dtype, 3)
    whole, optimizer = params.copy(), build(rule)
    for g in grads:
        optimizer.step(whole, g)
    for size in range(1, 71):
        memory = np.full(size + 2, 7, dtype)
        part, optimizer = memory[1:-1], build(rule)
        part[:] = params[70 - size:]
        for g in grads:
            optimizer.step(part, g[70 - size:])
        np.testing.assert_array_equal(part, whole[70 - size:])
        assert memory[0] == memory[-1] == 7


@RULE
def test_the_gradient_is_read_only(rule, dtype):
    """It is not written to, may be read-only, and may be the parameters themselves."""
    params, grads = problem(70, dtype, 1)
    frozen, twin = np.broadcast_to(grads[0], 70), params.copy()
    build(rule).step(params, frozen)
    build(rule).step(twin, grads[0])
    np.testing.assert_array_equal(params, twin)
    build(rule).step(params, params)
    build(rule).step(twin, twin.copy())
    np.testing.assert_array_equal(params, twin)
